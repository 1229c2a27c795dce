"""A session of rounds on the real runtime, with networks small enough for a test."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.errors import BackendError, StoreError, WorkerError
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Round
from edgeprof.timing.session import SENTINEL_EVERY_S, SENTINEL_NET, device_lock, run_session

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)


def case(fc=1, **more):
    identity = dict(
        precision="fp32", threads=1, launch="blocking", board="cpu", machine="m", backend="ort-cpu"
    )
    return Case(**{"net": net_spec(conv=0, fc=fc, neurons=8), "batch": 2, "runtime": "r", **identity, **more})


CASES = (case(1), case(2), case(3))
# larger than the runtime's memory planner can count: refused when it is loaded or run, on any machine
IMPOSSIBLE = case(batch=2**20, net=net_spec(conv=0, fc=0, tile=65_000))


def rounds_in(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT case_key, number, session, status, superseded FROM rounds ORDER BY id"
        ).fetchall()


@pytest.fixture(scope="module")
def real():
    backend = open_backend("ort-cpu")
    yield backend
    backend.close()


class Steps:
    """A backend in the hands of a test: it does what it is told, by turns, and the real one's work else; its
    sentinels are as steady as no real machine's."""

    simulated = False
    name = "ort-cpu"
    launches = ("blocking",)

    def __init__(self, real, at=lambda case, number, turn: None):
        self._real, self._at = real, at
        self.asked = []
        self.restarts = 0

    def runtime(self):
        return self._real.runtime()

    def facts(self):
        return self._real.facts()

    def measure(self, case, number, stop, tiles):
        self.asked.append((case, number))
        found = self._at(case, number, len(self.asked)) or (steady(1.0) if is_sentinel(case) else None)
        return replace(found, number=number) if found else self._real.measure(case, number, stop, tiles)

    def restart(self):
        self.restarts += 1

    def close(self):
        pass


def is_sentinel(case):
    return case.net == SENTINEL_NET


def steady(ms):
    return Round(number=0, status="ok", runs_ns=np.full(20, round(ms * 1e6), np.int64))


@pytest.fixture
def calm(real):
    """The real backend on a machine that does not drift."""
    return Steps(real)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "edgeprof.db"


@pytest.fixture
def store(path):
    with Store(path, create=True) as opened:
        yield opened


def run(cases, store, backend, **more):
    return run_session(
        cases, store, backend, "minimum", **{"stop": QUICK, "seed": 1, "sleep": lambda s: None, **more}
    )


def test_every_case_is_measured_once_per_round(store, calm, path):
    seen = []
    result = run(CASES, store, calm, rounds=2, watch=seen.append, facts={"machine": {"model": "m"}})
    assert (result.cases, result.measured, result.reused, result.failed, result.stopped) == (3, 3, 0, (), "")
    found = store.measurements()
    assert [m.case for m in found] == list(CASES)
    assert {m.status for m in found} == {"ok"}
    assert all(len(m.rounds_ms) == 2 for m in found)
    assert {(k, n) for k, n, *_ in rounds_in(path)} == {(c.key(), n) for c in CASES for n in (1, 2)}
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total == 6
    assert 0 < result.measuring_s <= result.wall_s
    assert found[0].environment["machine"] == {"model": "m"}
    assert found[0].environment["runtime"] == "onnxruntime"
    assert found[0].environment["load_1m"] >= 0


def test_rounds_have_orders_of_their_own(store, real):
    cases = [case(fc) for fc in range(8)]
    backend = Steps(real, lambda c, number, turn: steady(1.0))
    run(cases, store, backend, rounds=3)
    orders = [[c for c, n in backend.asked if n == number and not is_sentinel(c)] for number in (1, 2, 3)]
    assert all(sorted(order, key=cases.index) == cases for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [n for c, n in backend.asked if not is_sentinel(c)] == [1] * 8 + [2] * 8 + [3] * 8


def test_a_second_session_measures_only_what_is_missing(store, calm, path):
    run(CASES[:2], store, calm, rounds=1)
    result = run(CASES, store, calm, rounds=2)
    assert (result.measured, result.reused) == (3, 0)
    assert len(rounds_in(path)) == 6
    result = run(CASES, store, calm, rounds=2)
    assert (result.measured, result.reused) == (0, 3)
    assert len(rounds_in(path)) == 6


def test_fresh_measures_again_and_keeps_the_old_rows(store, calm, path):
    run(CASES, store, calm, rounds=1)
    result = run(CASES, store, calm, rounds=1, fresh=True)
    assert (result.measured, result.reused) == (3, 0)
    rows = rounds_in(path)
    assert [row[4] for row in rows] == [1, 1, 1, 0, 0, 0]
    assert len({row[2] for row in rows}) == 2
    assert len(store.measurements()) == 3


def test_fresh_leaves_other_cases_alone(store, calm):
    run(CASES, store, calm, rounds=1)
    run(CASES[:1], store, calm, rounds=1, fresh=True)
    assert len(store.measurements()) == 3


@pytest.mark.parametrize(
    "error", [WorkerError("the worker ended", "so"), BackendError("refused", "so"), MemoryError()]
)
def test_a_case_that_fails_is_kept_with_its_reason_and_the_others_go_on(store, real, error):
    def at(case, number, turn):
        if case == CASES[1]:
            raise error

    backend = Steps(real, at)
    result = run(CASES, store, backend, rounds=2)
    assert [c for c, _ in result.failed] == [CASES[1]]
    assert result.measured == 2
    assert [n for c, n in backend.asked if c == CASES[1]] == [1]
    found = {m.case: m for m in store.measurements()}
    assert found[CASES[1]].status == "failed"
    assert found[CASES[1]].reason
    assert found[CASES[0]].status == found[CASES[2]].status == "ok"


def test_a_network_that_no_machine_holds_is_a_failed_case(store, calm):
    result = run((*CASES, IMPOSSIBLE), store, calm, rounds=1)
    assert [c for c, _ in result.failed] == [IMPOSSIBLE]
    assert result.failed[0][1]
    assert result.measured == 3


def test_a_failed_case_is_tried_again_by_the_next_session(store, real, calm):
    def at(case, number, turn):
        if case == CASES[0]:
            raise WorkerError("bad luck", "so")

    run(CASES, store, Steps(real, at), rounds=1)
    result = run(CASES, store, calm, rounds=1)
    assert (result.measured, result.reused, result.failed) == (1, 2, ())
    assert {m.status for m in store.measurements()} == {"ok"}


def test_a_worker_that_is_really_killed_costs_one_case(store, real, calm, path):
    pids = []

    def at(case, number, turn):
        if case == CASES[0] and not pids:
            real.measure(case, number, QUICK, None)
            pids.append(real._worker.pid)
            subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -9 {pids[0]}"])
            real.measure(case, number, Stop(target_ci=1e-12, min_runs=10**9, min_s=60, max_s=60), None)

    result = run(CASES, store, Steps(real, at), rounds=1)
    assert [c for c, _ in result.failed] == [CASES[0]]
    assert "SIGKILL" in result.failed[0][1]
    assert result.measured == 2
    assert run(CASES, store, calm, rounds=1).measured == 1


def test_the_budget_ends_a_session_and_the_next_goes_on(store, calm):
    times = iter(range(10**6))
    result = run(CASES, store, calm, rounds=1, budget_s=4, clock=lambda: float(next(times)))
    assert result.stopped == "budget"
    assert 0 < result.measured < 3
    assert run(CASES, store, calm, rounds=1).stopped == ""
    assert len(store.measurements()) == 3


def test_ctrl_c_keeps_everything_measured(store, real, calm, path):
    def at(case, number, turn):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        run(CASES, store, Steps(real, at), rounds=2)
    assert len(rounds_in(path)) == 3
    with Store(path) as other:
        assert {m.status for m in other.measurements()} == {"partial"}
    run(CASES, store, calm, rounds=2)
    assert {m.status for m in store.measurements()} == {"ok"}
    assert len(rounds_in(path)) == 6


def test_a_full_disk_ends_the_session(store, real):
    store.add_cases(CASES, "minimum", False, 1)
    store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="full"):
        run([case(fc) for fc in range(20)], store, Steps(real, lambda *_: steady(1.0)), rounds=20)


# --- sentinels


def test_readings_of_the_sentinel_are_stored(store, real):
    run(CASES, store, real, rounds=1)
    readings = store.sentinels()
    assert len(readings) >= 2  # at the beginning and at the end
    assert all(r.latency_ms > 0 and r.name == "compute" for r in readings)
    assert len({r.session for r in readings}) == 1
    assert not any(is_sentinel(m.case) for m in store.measurements())


def drifting(*latencies):
    """Sentinels of these latencies, the last one from then on; every case takes 1 ms."""
    left = list(latencies)

    def at(case, number, turn):
        if is_sentinel(case):
            return steady(left.pop(0) if len(left) > 1 else left[0])
        return steady(1.0)

    return at


def test_what_was_measured_while_the_sentinel_drifted_is_measured_once_more(store, real, path):
    backend = Steps(real, drifting(1.0, 1.05, 1.0))
    slept = []
    times = iter(range(0, 10**6))
    result = run(CASES, store, backend, rounds=1, sleep=slept.append, clock=lambda: float(next(times)))
    rows = rounds_in(path)
    again = {key for key, *_, superseded in rows if superseded}
    assert again
    assert len(rows) == 3 + len(again)
    assert backend.restarts == 1
    assert slept
    assert set(result.warnings) == {"drift"}
    assert {m.status for m in store.measurements()} == {"ok"}


def test_a_drift_that_stays_does_not_go_on_for_ever(store, real, path):
    backend = Steps(real, drifting(1.0, 2.0))
    run(CASES, store, backend, rounds=2)
    rows = rounds_in(path)
    assert len(rows) <= 2 * 2 * len(CASES)
    assert sum(not row[4] for row in rows) == 6


def test_a_small_change_is_no_drift(store, real, path):
    result = run(CASES, store, Steps(real, drifting(1.0, 1.02)), rounds=1)
    assert result.warnings == ()
    assert len(rounds_in(path)) == 3


def test_cases_of_other_threads_have_a_sentinel_of_their_own(store, real, path):
    def at(case, number, turn):
        return steady(1.0 / case.threads)

    cases = [case(fc, threads=threads) for fc in (1, 2, 3) for threads in (1, 2)]
    times = iter(range(0, 10**9, int(SENTINEL_EVERY_S)))
    result = run(cases, store, Steps(real, at), rounds=2, clock=lambda: float(next(times)))
    assert result.warnings == ()
    assert len(rounds_in(path)) == 12


def test_a_sentinel_that_crashes_counts_as_drift(store, real):
    crashed = []

    def at(case, number, turn):
        if is_sentinel(case) and len(crashed) < 1:
            crashed.append(turn)
            raise WorkerError("gone", "so")

    backend = Steps(real, at)
    result = run(CASES, store, backend, rounds=1)
    assert backend.restarts == 1
    assert "drift" in result.warnings
    assert {m.status for m in store.measurements()} == {"ok"}


# --- tiles, and one sweep at a time


def test_real_tiles_are_what_the_network_is_fed(store, real):
    tiles = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    shapes = []

    def at(case, number, turn):
        return None

    backend = Steps(real, at)
    measure = backend.measure

    def watching(case, number, stop, path):
        shapes.append(None if path is None else np.load(path).shape)
        return measure(case, number, stop, path)

    backend.measure = watching
    run([case(1, batch=5)], store, backend, rounds=1, tiles=tiles)
    assert (5, 1, 28, 28) in shapes
    assert len(store.measurements()) == 1


HOLD = """
import sys
from edgeprof.timing.session import device_lock
with device_lock(sys.argv[1], lambda text: print(text, flush=True), poll_s=0.02):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def hold(device):
    command = [sys.executable, "-c", HOLD, device]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_a_second_sweep_says_so_and_waits(end):
    device = f"test-{os.getpid()}-{end.split()[0]}"
    first = hold(device)
    assert first.stdout.readline() == "mine\n"
    second = hold(device)
    assert device in second.stdout.readline()
    assert second.poll() is None
    if end == "killed":
        first.kill()
    first.communicate("" if end == "killed" else "done\n", timeout=20)
    assert second.stdout.readline() == "mine\n"
    second.communicate("done\n", timeout=20)
    assert second.returncode == 0


def test_other_devices_do_not_wait():
    with device_lock(f"test-{os.getpid()}-a", pytest.fail), device_lock(f"test-{os.getpid()}-b", pytest.fail):
        pass
