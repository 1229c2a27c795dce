"""Trouble, provoked for real: it costs the case under way and nothing else."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from importlib import resources

import numpy as np
import psutil
import pytest

from benchmarks.kills import ended, rounds_in
from edgeprof.backends.base import Stop
from edgeprof.backends.runtime import RuntimeBackend
from edgeprof.errors import EdgeprofError, StoreError, WorkerError
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Round
from edgeprof.timing.process import Worker
from edgeprof.timing.session import run_session

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)
MAIN = [sys.executable, "-c", "from edgeprof.cli import main; main()"]
PATIENCE_S = 5.0  # a worker needs less to start and measure a network of this size
FATAL_BATCH = 13

FAULTS = """
import ctypes
import resource
import signal


def answers():
    pipes = [int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and int(fd) < 1000]
    return [fd for fd in pipes if os.path.exists("/proc/self/fd/%d" % fd)
            and os.readlink("/proc/self/fd/%d" % fd).startswith("pipe")][0]


def allocate():
    with open("/proc/self/statm") as stream:
        now = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**26, now + 2**26))
    hoard = []
    while True:
        hoard.append(bytearray(2**20))


def say(text):
    os.write(answers(), text)


FAULTS = {
    "null": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "real-time signal": lambda: os.kill(os.getpid(), 40),
    "memory": allocate,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "half an answer": lambda: (say(b'{"ok": {"runs_'), os.kill(os.getpid(), signal.SIGSTOP)),
    "nonsense": lambda: say(b"login: \\xff\\n"),
    "a list": lambda: say(b"[1]\\n"),
    "pipes closed": lambda: (os.close(0), os.close(answers()), time.sleep(600)),
}


class Session(Session):
    def run(self):
        if os.environ["BATCH"] in ("all", str(list(self._inputs.values())[0].shape[0])):
            FAULTS[os.environ["FAULT"]]()
        super(Session, self).run()
"""

# --- a runtime that goes wrong, in a worker of its own


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """ONNX Runtime's driver with a fault, as a module that a worker can be told to run."""
    root = tmp_path_factory.mktemp("drivers")
    package = root / "edgeprof_test_drivers"
    package.mkdir()
    (package / "__init__.py").touch()
    ours = (resources.files("edgeprof") / "backends/ort.py").read_text("utf-8")
    (package / "faulty.py").write_text(ours + FAULTS)
    sys.path.insert(0, str(root))
    yield "edgeprof_test_drivers.faulty"
    sys.path.remove(str(root))
    sys.modules.pop("edgeprof_test_drivers", None)


class Faulty(RuntimeBackend):
    """A real backend with a fault, on a machine that does not drift."""

    def __init__(self, driver, fault, batch=FATAL_BATCH):
        environment = {"FAULT": fault, "BATCH": str(batch)}
        cpu = ("CPUExecutionProvider",)
        super().__init__("ort-cpu", driver, cpu, ("blocking",), environment, PATIENCE_S)

    def measure(self, case, number, stop, tiles):
        if number == 0:  # a sentinel
            return steady(1.0)
        return super().measure(case, number, stop, tiles)


def steady(ms):
    return Round(number=1, status="ok", runs_ns=np.full(20, round(ms * 1e6), np.int64))


def case(batch=2, fc=1):
    identity = dict(precision="fp32", threads=1, launch="blocking", board="cpu", machine="m", runtime="r")
    return Case(net=net_spec(conv=0, fc=fc, neurons=8), batch=batch, backend="ort-cpu", **identity)


CASES = (case(2), case(FATAL_BATCH), case(3))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "edgeprof.db", create=True) as opened:
        yield opened


def run(store, backend, cases=CASES, **more):
    with contextlib.closing(backend):
        options = {"stop": QUICK, "seed": 1, "rounds": 2, "sleep": lambda s: None, **more}
        return run_session(cases, store, backend, "minimum", **options)


def workers():
    """Living processes that this one started."""
    return {p.pid for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("null", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("exit", "status 3"),
        ("real-time signal", "signal 40"),
        ("memory", "memory"),
        ("killed", "SIGKILL"),
        ("stopped", "no answer"),
        ("half an answer", "no answer"),
        ("nonsense", "nonsense"),
        ("a list", "nonsense"),
        ("pipes closed", "closed its output"),
    ],
)
def test_a_fault_of_the_runtime_costs_one_case(fault, reason, driver, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = workers()
    result = run(store, Faulty(driver, fault))
    assert [c for c, _ in result.failed] == [CASES[1]]
    assert reason in result.failed[0][1]
    assert result.measured == 2
    assert {m.case.batch: m.status for m in store.measurements()} == {2: "ok", FATAL_BATCH: "failed", 3: "ok"}
    assert workers() <= before
    assert list(tmp_path.glob("edgeprof-*")) == []
    mended = run(store, Faulty(driver, "none", batch=0))
    assert (mended.measured, mended.reused, mended.failed) == (1, 2, ())
    assert {m.status for m in store.measurements()} == {"ok"}


def test_a_board_that_is_gone_fails_every_case_and_the_next_session_goes_on(driver, store):
    run(store, Faulty(driver, "none", batch=0), rounds=1)
    gone = run(store, Faulty(driver, "killed", batch="all"))
    assert [c for c, _ in gone.failed] == sorted(CASES, key=[c for c, _ in gone.failed].index)
    assert all("SIGKILL" in reason for _, reason in gone.failed)
    assert all(len(m.rounds_ms) == 1 for m in store.measurements())
    back = run(store, Faulty(driver, "none", batch=0))
    assert (back.measured, back.failed) == (3, ())
    assert {m.status for m in store.measurements()} == {"ok"}


def test_a_segmentation_fault_in_the_middle_of_a_run(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model_bytes(net_spec(conv=1, depth=4, fc=1, neurons=8), 2))
    stop = {"target_ci": 1e-12, "min_runs": 10**9, "min_s": 600, "max_s": 600}
    request = dict(do="measure", model=str(path), threads=1, providers=["CPUExecutionProvider"], options={})
    with Worker("edgeprof.backends.ort") as worker:
        worker.ask({"do": "describe"}, 60)
        crash = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -SEGV {worker.pid}"])
        with pytest.raises(WorkerError, match="SIGSEGV"):
            worker.ask({**request, "stop": stop}, 60)
        crash.wait()
        assert worker.ask({**request, "stop": QUICK.as_dict()}, 60)["runs_ns"]


# --- a clock that jumps


class Steady:
    """A backend on which every network takes a millisecond."""

    simulated = False
    name = "ort-cpu"
    launches = ("blocking",)

    def runtime(self):
        return "r"

    def facts(self):
        return {}

    def measure(self, case, number, stop, tiles):
        return Round(number=number, status="ok", runs_ns=np.full(20, 10**6, np.int64))

    def restart(self):
        pass

    def close(self):
        pass


def jumping(jumps):
    """A clock that goes a tenth of a second a look, and jumps by so many seconds at these looks."""
    now, looks = 1e6, 0

    def read():
        nonlocal now, looks
        looks += 1
        now += 0.1 + jumps.get(looks, 0)
        return now

    return read


def test_a_clock_that_jumps_back_does_not_stretch_the_budget(store):
    cases = [case(fc=fc) for fc in range(40)]
    back = dict.fromkeys(range(10, 10_000, 10), -3600)
    result = run(store, Steady(), cases, rounds=1, budget_s=5, clock=jumping(back))
    assert result.stopped == "budget"
    assert 0 < result.measured < 40
    assert 0 <= result.wall_s <= 10
    clock = jumping({5: -1e9, 20: -1e9})
    again = run(store, Steady(), cases, rounds=1, budget_s=10_000, clock=clock)
    assert (again.stopped, again.measured) == ("", 40 - result.measured)
    assert again.wall_s >= 0


def test_a_clock_that_jumps_ahead_spends_the_budget_and_no_more(store):
    cases = [case(fc=fc) for fc in range(20)]
    result = run(store, Steady(), cases, budget_s=1000, clock=jumping({20: 3600}))
    assert result.stopped == "budget"
    assert 0 < result.measured < 20
    assert len(store.measurements()) == result.measured


# --- whole sweeps, as processes

SWEEP = "[net]\nconv = 0\nneurons = 8\nbatch = 2\nthreads = 1\n[vary]\nfc = [{}]\n"
FLAGS = ["sweep", "s.toml", "--target-ci", "20%"]
REAL = [*FLAGS, "--backend", "ort-cpu", "--rounds", "2"]
SIMULATED = [*FLAGS, "--backend", "simulated:gtx960-theano,noise=1%", "--rounds", "3"]


@pytest.fixture
def here(tmp_path):
    (tmp_path / "s.toml").write_text(SWEEP.format(", ".join(map(str, range(6)))))
    (tmp_path / "tmp").mkdir()
    return tmp_path


def started(arguments, here, **more):
    return subprocess.Popen(
        [*MAIN, *arguments],
        cwd=here,
        env={**os.environ, "TMPDIR": str(here / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def done(arguments, here):
    """Status, standard output and standard error of a command."""
    process = started(arguments, here)
    out, err = process.communicate(timeout=100)
    assert "Traceback" not in err
    return process.returncode, out, err


def refused(found):
    """What an error says: two lines, and status 2."""
    status, _, err = found
    *_, message, hint = err.splitlines()
    assert status == 2, err
    assert message.startswith("error: ")
    assert hint.startswith("hint: ")
    return message, hint


def measured(path):
    """(case, round, session) of what was measured with success, in the order written."""
    return [row[:3] for row in rounds_in(path) if row[4] == "ok"]


MOMENTS = (  # whom, seconds from when it says what it sets out to do, or from its first round
    ("process", "start", 0.0),
    ("group", "start", 0.7),
    ("group", "round", 0.0),
    ("process", "round", 0.3),
)


def test_sigterm_ends_a_sweep_as_ctrl_c_does(here):
    db, kept = here / "x.db", []
    for whom, since, delay in MOMENTS:
        sweep = started([*REAL, "--db", "x.db"], here, start_new_session=True)
        first = sweep.stderr.readline()
        assert "cases" in first
        deadline = time.monotonic() + 60
        while since == "round" and measured(db) == kept and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        children = [child.pid for child in psutil.Process(sweep.pid).children(recursive=True)]
        before = measured(db)
        (os.killpg if whom == "group" else os.kill)(sweep.pid, signal.SIGTERM)
        out, err = sweep.communicate(timeout=60)
        assert sweep.returncode == 130, err
        assert out == ""
        assert "Traceback" not in err
        assert "kept in x.db" in err
        assert all(ended(pid) for pid in children)
        assert [p.name for p in (here / "tmp").iterdir() if p.is_dir()] == []
        assert before[: len(kept)] == kept
        kept = measured(db)
        assert kept[: len(before)] == before
    assert len(kept) >= 2
    assert {row[4] for row in rounds_in(db)} == {"ok"}
    assert max(Counter(row[:2] for row in rounds_in(db) if not row[3]).values()) == 1


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, which can be made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def read_only(folder):
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder, but=0):
    """Leave ``but`` bytes free."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "filler").write_bytes(b"x" * (free - but))


def networks(path):
    """How many networks a database has measurements of."""
    with Store(path) as store:
        return len(store.measurements())


def test_a_disk_that_fills_up_ends_a_sweep_and_the_same_command_goes_on(here, disk):
    db = disk / "x.db"
    assert done([*SIMULATED, "--db", str(db)], here)[0] == 0
    assert networks(db) == 6
    fill(disk, but=100_000)
    (here / "s.toml").write_text(SWEEP.format(", ".join(map(str, range(64)))))
    message, hint = refused(done([*SIMULATED, "--db", str(db)], here))
    assert "x.db" in message
    assert "free some space" in hint
    assert networks(db) >= 6
    kept = measured(db)
    (disk / "filler").unlink()
    status, _, err = done([*SIMULATED, "--db", str(db)], here)
    assert status == 0, err
    assert measured(db)[: len(kept)] == kept
    assert networks(db) == 64


def test_a_full_disk_for_what_is_temporary_keeps_what_was_measured(here, disk):
    (here / "tmp").rmdir()
    (here / "tmp").symlink_to(disk)
    fill(disk, but=4096)
    found, _, err = done([*REAL, "--db", "x.db", "--fc", "1"], here)
    assert found == 2, err
    assert re.search(r"edgeprof-\d+-.*[Ss]pace left", err)
    assert measured(here / "x.db") == []
    (disk / "filler").unlink()
    found, _, err = done([*REAL, "--db", "x.db", "--fc", "1"], here)
    assert found == 0, err
    assert len(set(measured(here / "x.db"))) == 2


def test_a_profile_that_a_full_disk_cuts_short_is_said(disk):
    fill(disk, but=4096)
    backend = RuntimeBackend(
        "ort-cpu",
        "edgeprof.backends.ort",
        ("CPUExecutionProvider",),
        ("blocking",),
        {"TMPDIR": str(disk)},
    )
    with contextlib.closing(backend), pytest.raises(EdgeprofError, match="cut short: is there space left in"):
        backend.measure(case(), 1, Stop(max_s=0.1), None)


def test_a_read_only_file_system_is_read_and_not_written(here, disk):
    db = disk / "x.db"
    assert done([*SIMULATED, "--db", str(db)], here)[0] == 0
    content = db.read_bytes()
    read_only(disk)
    assert networks(db) == 6
    status, out, err = done(["export", "--db", str(db)], here)
    assert (status, err) == (0, "")
    assert len(json.loads(out)) == 6
    for path in (db, disk / "new.db"):
        message, hint = refused(done([*SIMULATED, "--db", str(path)], here))
        assert path.name in message
        assert "writable" in hint
    assert db.read_bytes() == content
    assert sorted(p.name for p in disk.iterdir()) == ["x.db"]


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeprof.store import Store
store = Store(Path(sys.argv[1]), create=True)
for number in range(3):
    store.add_sweep({"number": number})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",)])
def test_what_a_kill_left_in_the_log_is_read_on_a_read_only_file_system(left, here, disk):
    """As when the disk of a board that lost its power is looked at elsewhere."""
    subprocess.run([sys.executable, "-c", KILLED, str(here / "x.db")], check=False, timeout=60)
    for suffix in ("", *left):
        shutil.copy(here / f"x.db{suffix}", disk / f"x.db{suffix}")
    read_only(disk)
    with Store(disk / "x.db") as store:
        assert [s["number"] for s in store.sweeps()] == [0, 1, 2]
        with pytest.raises(StoreError, match=r"readonly|read-only"):
            store.add_sweep({})
    with contextlib.closing(sqlite3.connect(here / "x.db")) as db:
        assert db.execute("SELECT count(*) FROM sweeps").fetchone() == (3,)
