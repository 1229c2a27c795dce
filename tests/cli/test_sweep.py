"""``edgeprof sweep``: simulated and on this machine's processor; interrupted, killed, and resumed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

STUDY = "simulated:gtx960-theano,noise=1%"
KEYS = {
    "cases",
    "measured",
    "reused",
    "failed",
    "wall_s",
    "measuring_s",
    "stopped",
    "power_modes",
    "warnings",
    "db",
}
TINY = """
[net]
fc = 0
tile = 12
threads = 1
[vary]
batch = [1, 2]
depth = [3, 4, 5]
"""


def test_the_contract(edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("sweep", "group4", "--backend", STUDY, "--db", "g4.db")
    assert found.keys() == KEYS
    assert (found["cases"], found["measured"], found["reused"], found["failed"]) == (25, 25, 0, [])
    assert (found["stopped"], found["warnings"], found["db"]) == (None, [], "g4.db")
    assert 0 < found["wall_s"] < 60
    again = edgeprof_json("sweep", "group4", "--backend", STUDY, "--db", "g4.db")
    assert (again["measured"], again["reused"]) == (0, 25)
    fresh = edgeprof_json("sweep", "group4", "--backend", STUDY, "--db", "g4.db", "--fresh")
    assert (fresh["measured"], fresh["reused"]) == (25, 0)


def test_what_people_see(edgeprof: Callable[..., Any]) -> None:
    status, out, err = edgeprof("sweep", "group4", "--backend", STUDY, "--db", "g4.db", "--rounds", "1")
    assert status == 0
    assert out.splitlines()[0].startswith("25 measured, 0 reused, 0 failed of 25 cases in ")
    assert "try: edgeprof fit --db g4.db" in out
    assert err.splitlines()[0].startswith("NVIDIA GeForce GTX 960 · Theano with cuDNN")
    assert "warning: fewer than three rounds" in err
    assert "(25 cases)" in err


def test_several_sweeps_share_their_cases(edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("sweep", "group3", "group4", "--backend", STUDY, "--db", "g.db")
    assert found["cases"] == 49  # one of the 50 networks is in both


def test_flags_override_the_file(edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json(
        "sweep", "group4", "--conv", "1,2", "--batch", "64", "--backend", STUDY, "--db", "g.db"
    )
    assert found["cases"] == 10
    cases = [m["case"] for m in edgeprof_json("export", "--db", "g.db")]
    assert {c["net"]["conv"] for c in cases} == {1, 2}
    assert {c["batch"] for c in cases} == {64}


def test_a_dry_run_measures_nothing(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("sweep", "group4", "--dry-run", "--db", "g.db")
    assert found.keys() == {"cases", "rounds", "estimate_s", "db"}
    assert (found["cases"], found["rounds"]) == (25, 3)
    assert found["estimate_s"] > 1
    status, out, err = edgeprof("sweep", "family", "--nets", "60", "--dry-run", "--db", "g.db")
    assert (status, err) == (0, "")
    assert out.startswith("60 cases × 3 rounds, about ")
    status, out, err = edgeprof(
        "sweep", "kernels", "--nets", "1", "--rounds", "1", "--dry-run", "--db", "g.db"
    )
    assert (status, err) == (0, "")
    assert out.startswith("1 case × 1 round, about ")
    assert not Path("g.db").exists()


def test_the_budget(edgeprof_json: Callable[..., Any], here: Path) -> None:
    (here / "s.toml").write_text(TINY)
    arguments = ["sweep", "s.toml", "--target-ci", "20%", "--db", "b.db"]
    found = edgeprof_json(*arguments, "--budget", "1s")
    assert found["stopped"] == "budget"
    assert 0 < found["measured"] <= found["cases"]
    assert found["wall_s"] < 30


def test_this_machine(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], here: Path) -> None:
    Path("s.toml").write_text("[net]\nthreads = 1\nbatch = 1\nfc = 0\n[vary]\ndepth = [4]\ntile = [12, 14]\n")
    found = edgeprof_json("sweep", "s.toml", "--rounds", "1", "--db", "s.db")
    assert (found["measured"], found["failed"]) == (2, [])
    assert found["warnings"].count("few-rounds") == 1
    assert edgeprof("sweep", "s.toml", "--rounds", "1", "--db", "s.db")[1].startswith("0 measured, 2 reused")


def test_a_case_that_fails_is_named_and_the_sweep_goes_on(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], here: Path
) -> None:
    law = {
        **json.loads(Path(law_path()).read_text("utf-8")),
        "overhead": [
            {"text": "1e308*(C - 1)*C*C", "coefficient": 1e300}
        ],  # no finite time from two conv layers on
    }
    Path("law.json").write_text(json.dumps(law))
    arguments = [
        "sweep",
        "group4",
        "--conv",
        "1,2",
        "--depth",
        "5",
        "--backend",
        "simulated:law.json",
        "--db",
        "f.db",
    ]
    status, _, err = edgeprof(*arguments)
    assert status == 2  # a law that cannot be played back is no backend's failure
    assert "Traceback" not in err


def law_path() -> Path:
    from edgeprof import catalogue

    return catalogue.find("laws", "gtx960-theano")


def rounds_in(path: Path) -> int:
    """Rounds that another process has written so far."""
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM rounds").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def stopped_by(
    number: int, started: Callable[..., subprocess.Popen[str]], here: Path
) -> tuple[int, str, str, int]:
    """Start a sweep on this machine and send it a signal once two rounds are measured."""
    arguments = ["sweep", "s.toml", "--target-ci", "20%", "--db", "i.db", "--json"]
    (here / "s.toml").write_text(TINY)
    sweep = started(*arguments, cwd=here)
    end = time.monotonic() + 60
    while rounds_in(here / "i.db") < 2 and sweep.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(sweep.pid, number)
    out, err = sweep.communicate(timeout=60)
    return sweep.returncode, out, err, rounds_in(here / "i.db")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_resumed(
    number: int,
    started: Callable[..., subprocess.Popen[str]],
    edgeprof_json: Callable[..., Any],
    here: Path,
) -> None:
    status, out, err, kept = stopped_by(number, started, here)
    assert out == ""
    assert kept >= 2
    if number == signal.SIGINT:
        assert status == 130
        assert "interrupted: everything measured is kept in i.db; the same command goes on from there" in err
        assert "Traceback" not in err
    arguments = ["sweep", "s.toml", "--target-ci", "20%", "--db", "i.db"]
    found = edgeprof_json(*arguments)
    assert found["failed"] == []
    with sqlite3.connect("i.db") as db:
        (current,) = db.execute(
            "SELECT count(*) FROM rounds WHERE superseded = 0 AND status = 'ok'"
        ).fetchone()
        assert current == 3 * found["cases"]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_interrupted_before_it_began(started: Callable[..., subprocess.Popen[str]], here: Path) -> None:
    """Among the first imports, and later."""
    for after_s in (0.0, 0.3, 1.5):
        sweep = started("sweep", "family", "--nets", "2000", "--dry-run", cwd=here)
        until = time.monotonic() + 60
        while not meets(sweep.pid, signal.SIGINT) or sum(psutil.Process(sweep.pid).cpu_times()[:2]) < 0.12:
            assert time.monotonic() < until  # 0.12 s of a processor: the interpreter itself has started
            time.sleep(0.001)
        time.sleep(after_s)
        os.kill(sweep.pid, signal.SIGINT)
        out, err = sweep.communicate(timeout=60)
        assert sweep.returncode in (0, 130), err
        if sweep.returncode:
            assert out == ""
            assert "interrupted" in err
        # a signal that meets the interpreter in a callback of its own is lost, and said so by it
        assert "Traceback" not in err or "Exception ignored in" in err


def meets(pid: int, number: int) -> bool:
    """True once a process has a handler of its own for a signal."""
    caught = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_what_to_try_next_can_be_pasted(edgeprof: Callable[..., Any], here: Path) -> None:
    _, out, _ = edgeprof(
        "sweep", "quick", "--nets", "8", "--backend", "simulated:gtx960-theano", "--db", "my é.db"
    )
    assert "try: edgeprof fit --db 'my é.db' --out law.json" in out
    assert (
        "edgeprof predict --law 'a law.json'" in edgeprof("fit", "--db", "my é.db", "--out", "a law.json")[1]
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--rate", "50"], "does not run on and on"),
        (["--tiles", "nowhere"], "no such file or folder: nowhere"),
        (["--db", "no/such.db"], "unable to open database file"),
        (["--db", "text.db"], "is not a database"),
    ],
)
def test_what_is_refused_is_refused_first(
    flags: list[str], says: str, refused: Callable[..., tuple[str, str]], here: Path
) -> None:
    (here / "text.db").write_text("no database")
    for more in ((), ("--dry-run",)):
        assert says in refused("sweep", "quick", "--backend", STUDY, *flags, *more)[0]
    assert [path.name for path in here.iterdir()] == ["text.db"]
