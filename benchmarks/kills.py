"""SIGKILL of a real sweep at random moments: nothing is lost but the case under way, and the same command resumes."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgeprof.store import Store

SWEEP = """
name = "tiny"
[net]
conv = 0
batch = 2
threads = 1
[vary]
fc = [1, 2, 3, 4, 5, 6, 7, 8]
neurons = [{neurons}]
"""
FC_CHOICES = 8
ROUNDS = 3
LONGEST_S = (
    3.0  # from when the sweep says what it sets out to do: half of it is its first look at the sentinels
)
COMMAND = [sys.executable, "-c", "from edgeprof.cli import main; main()", "sweep"]

RoundRow = tuple[str, int, str, int, str]  # case, number, session, superseded, status


@dataclass(frozen=True)
class Kills:
    """What a sweep that was killed again and again left: its rounds, and how many kills came before its end."""

    cases: int
    rounds: int
    in_the_middle: int


def rounds_in(path: Path) -> list[RoundRow]:
    """Every row of measurements in the order written."""
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            return db.execute(
                "SELECT case_key, number, session, superseded, status FROM rounds ORDER BY id"
            ).fetchall()
        except sqlite3.OperationalError:
            return []  # killed before its tables were made


def ended(pid: int, within_s: float = 10.0) -> bool:
    """True when the process is gone in time, or waits for nobody but its new parent."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def _kept(rows: list[RoundRow]) -> list[tuple[str, int, str, str]]:
    """Rows without what may change: one that was measured again is superseded."""
    return [(key, number, session, status) for key, number, session, _, status in rows]


def kill_again_and_again(folder: Path, kills: int, seed: int) -> Kills:
    """Start a sweep in ``folder``, kill it, start it again …; at the end let it finish.

    :raises AssertionError: something was lost, measured twice, left running or left behind.
    """
    neurons = range(8, 8 + -(-kills // 20))  # 20 kills find eight cases at work
    cases = FC_CHOICES * len(neurons)
    (folder / "tiny.toml").write_text(SWEEP.format(neurons=", ".join(map(str, neurons))))
    db = folder / "edgeprof.db"
    flags = [
        "tiny.toml",
        "--backend",
        "ort-cpu",
        "--db",
        db.name,
        "--rounds",
        str(ROUNDS),
        "--target-ci",
        "20%",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"TMPDIR": str(folder), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}  # quick starts
    rng = random.Random(seed)
    log: list[list[RoundRow]] = []
    for _ in range(kills):
        sweep = subprocess.Popen(
            [*COMMAND, *flags],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert sweep.stderr
        first = sweep.stderr.readline()
        assert "cases" in first, first + sweep.stderr.read()
        time.sleep(rng.uniform(0.0, LONGEST_S))
        children = [c.pid for c in psutil.Process(sweep.pid).children()] if sweep.poll() is None else []
        sweep.kill()
        sweep.wait()
        sweep.stderr.close()
        assert all(ended(pid) for pid in children)
        found = rounds_in(db)
        assert _kept(found)[: len(log[-1])] == _kept(log[-1]) if log else True
        log.append(found)
    done = subprocess.run(
        [*COMMAND, *flags, "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + 2 * cases,
    )
    assert done.returncode == 0, done.stderr
    rows = rounds_in(db)
    current = Counter((key, number) for key, number, _, superseded, _ in rows if not superseded)
    assert len(current) == cases * ROUNDS
    assert set(current.values()) == {1}
    assert {key for key, _ in current} == {key for key, *_ in rows}
    assert len({key for key, _ in current}) == cases
    assert {status for *_, status in rows} == {"ok"}
    # what one session wrote, no other measured again: a kill loses the case under way and nothing more
    assert len({(key, number, session) for key, number, session, *_ in rows}) == cases * ROUNDS
    with Store(db) as store:
        assert [m.status for m in store.measurements()] == ["ok"] * cases
    left = [path.name for path in folder.glob("edgeprof-*-*") if path.is_dir()]
    assert not left, left
    middle = sum(0 < len(found) < cases * ROUNDS for found in log)
    return Kills(cases, cases * ROUNDS, middle)
