"""``kill -9`` of a whole sweep at any moment: nothing is lost but the case under way, and the same command resumes."""

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter

import psutil

from edgeprof.store import Store

SWEEP = """
name = "tiny"
[net]
conv = 0
neurons = 8
batch = 2
threads = 1
[vary]
fc = [0, 1, 2, 3, 4, 5, 6, 7]
"""
CASES, ROUNDS, KILLS = 8, 3, 20
COMMAND = [sys.executable, "-c", "from edgeprof.cli import main; main()", "sweep"]


def rounds_in(path):
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            return db.execute(
                "SELECT case_key, number, session, superseded, status FROM rounds ORDER BY id"
            ).fetchall()
        except sqlite3.OperationalError:
            return []  # killed before its tables were made


def ended(pid, within_s=10.0):
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


def test_a_sweep_that_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path):
    (tmp_path / "tiny.toml").write_text(SWEEP)
    db = tmp_path / "edgeprof.db"
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
    environment |= {
        "TMPDIR": str(tmp_path),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"),
    }  # twenty quick starts
    rng = random.Random(20161114)
    log = []
    for _ in range(KILLS):
        sweep = subprocess.Popen(
            [*COMMAND, *flags],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        first = sweep.stderr.readline()
        assert "cases" in first, first + sweep.stderr.read()
        time.sleep(rng.uniform(0.0, 1.3))
        children = (
            [child.pid for child in psutil.Process(sweep.pid).children()] if sweep.poll() is None else []
        )
        sweep.kill()
        sweep.wait()
        sweep.stderr.close()
        assert all(ended(pid) for pid in children)
        found = rounds_in(db)
        assert len(found) >= len(log[-1] if log else [])
        log.append(found)
    done = subprocess.run(
        [*COMMAND, *flags, "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = rounds_in(db)
    current = Counter((key, number) for key, number, _, superseded, _ in rows if not superseded)
    assert len(current) == CASES * ROUNDS
    assert set(current.values()) == {1}
    assert {key for key, _ in current} == {key for key, *_ in rows}
    assert len({key for key, _ in current}) == CASES
    assert {status for *_, status in rows} == {"ok"}
    # what one session wrote, no other measured again: a kill loses the case under way and nothing more
    by_session = {(key, number, session) for key, number, session, *_ in rows}
    assert len(by_session) == CASES * ROUNDS
    with Store(db) as store:
        assert [m.status for m in store.measurements()] == ["ok"] * CASES
    assert (
        sum(0 < len(found) < CASES * ROUNDS for found in log) >= 3
    )  # the kills came in the middle of the work
