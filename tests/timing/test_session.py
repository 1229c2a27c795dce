"""A session of rounds on the real runtime, with networks small enough for a test."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.boards.detect import load_1m
from edgeprof.boards.sensors.host import HostReading
from edgeprof.errors import BackendError, BoardError, StoreError, WorkerError
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.spec import read_sweep
from edgeprof.target import open_target
from edgeprof.timing.drift import FIRST, READING, SENTINELS
from edgeprof.timing.measurement import Round
from edgeprof.timing.place import device_lock
from edgeprof.timing.session import (
    AGAIN,
    COOL_C,
    COOL_S,
    COOLING_S,
    SENTINEL_EVERY_S,
    VAIN,
    WAIT_S,
    run_session,
)

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
    return (case.net, case.batch) in SENTINELS.values()


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


def drifts(result):
    """What a session says of drift; the machine itself may be disturbed as well."""
    return [code for code in result.warnings if code.startswith("drift")]


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


def test_a_warning_counts_cases_and_not_rounds(store, real):
    missed = replace(steady(1.0), stopped="time", warnings=("target-missed",))
    backend = Steps(real, lambda c, number, turn: missed if c in CASES[:2] and number else None)
    result = run(CASES, store, backend, rounds=3)
    assert result.warnings.count("target-missed") == 2
    assert {case for case, code in result.warned if code == "target-missed"} == set(CASES[:2])


def test_a_full_disk_ends_the_session(store, real):
    store.add_cases(CASES, "minimum", False, 1)
    store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="full"):
        run([case(fc) for fc in range(20)], store, Steps(real, lambda *_: steady(1.0)), rounds=20)


# --- sentinels


def test_readings_of_the_sentinels_are_stored(store, real):
    run(CASES, store, real, rounds=1)
    readings = store.sentinels()
    assert {r.name for r in readings} == set(SENTINELS)
    assert len(readings) >= 2 * len(SENTINELS)  # at the beginning and at the end
    assert all(r.latency_ms > 0 for r in readings)
    assert len({r.session for r in readings}) == 1
    assert not any(is_sentinel(m.case) for m in store.measurements())


MANY = [case(fc) for fc in range(40)]


class Shaky(Steps):
    """A machine in a test's hands: every network takes 1 ms times what ``at(self)`` says. Its clock goes 1 s with
    each round, and on where the session waits."""

    def __init__(self, at):
        super().__init__(None)
        self.at = at
        self.now = 0.0
        self.rounds = 0
        self.slept = []

    def facts(self):
        return {}

    def measure(self, case, number, stop, tiles):
        assert (number == 0) == (stop == READING) == is_sentinel(case)
        slow = self.at(self)
        if number:
            self.asked.append((case, number, slow))
            self.rounds += 1
            self.now += 1
        return replace(steady(slow), number=number)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def sweep(self, store, cases=MANY, **more):
        return run(cases, store, self, clock=lambda: self.now, sleep=self.sleep, sentinel_s=5, **more)


def current(store):
    """Slowness and warnings of every current round."""
    return [(m.latency_ms, "drift" in m.warnings) for m in store.measurements()]


def test_a_quiet_machine_is_left_alone(store, path):
    machine = Shaky(lambda m: 1 + 0.005 * (m.rounds % 3))
    result = machine.sweep(store, rounds=3)
    assert (machine.restarts, machine.slept) == (0, [])
    assert len(rounds_in(path)) == 120
    assert "drift" not in "".join(result.warnings)


def test_what_was_measured_while_the_worker_was_slow_is_measured_again(store, path):
    machine = Shaky(lambda m: 1.1 if m.rounds >= 13 and not m.restarts else 1.0)
    result = machine.sweep(store, rounds=1)
    rows = rounds_in(path)
    slow = {c.key() for c, _, slowness in machine.asked if slowness > 1}
    again = {key for key, *_, superseded in rows if superseded}
    assert slow
    assert slow <= again  # and what was measured with them since the last good look
    assert len(again) <= 5
    assert len(rows) == 40 + len(again)
    assert (machine.restarts, machine.slept) == (1, [])
    assert current(store) == [(1.0, False)] * 40
    assert result.warnings.count("drift-mended") == len(again)
    assert "drift" not in result.warnings
    with contextlib.closing(
        sqlite3.connect(path)
    ) as db:  # the old rows are there, and say what was wrong with them
        old = db.execute("SELECT data FROM rounds WHERE superseded = 1").fetchall()
    assert all(b"drift" in zlib.decompress(data) for (data,) in old)


def test_what_passes_is_waited_for(store):
    machine = Shaky(lambda m: 1.1 if 13 <= m.now < 20 else 1.0)
    machine.sweep(store, rounds=1)
    assert machine.restarts == 1
    assert 0 < sum(machine.slept) <= 8
    assert current(store) == [(1.0, False)] * 40


def test_what_lasts_longer_than_the_wait_is_measured_again_when_it_has_passed(store, path):
    machine = Shaky(lambda m: 1.1 if 13 <= m.now < 45 else 1.0)
    result = machine.sweep(store, rounds=1)
    assert machine.restarts == 1
    assert 10 < sum(machine.slept) <= 14
    assert current(store) == [(1.0, False)] * 40
    assert result.warnings.count("drift-mended") == len(rounds_in(path)) - 40 > 5


def test_what_stays_slow_is_flagged_and_the_wait_is_bounded(store, path):
    machine = Shaky(lambda m: 1.1 if m.rounds >= 13 else 1.0)
    result = machine.sweep(store, rounds=2)
    found = current(store)
    assert all(flagged for latency, flagged in found if latency > 1.0)
    assert sum(flagged for _, flagged in found) >= 25
    assert result.warnings.count("drift") == sum(flagged for _, flagged in found)
    assert sum(machine.slept) <= WAIT_S
    assert machine.restarts == 1
    assert len(rounds_in(path)) == 80  # again would be as slow


def test_a_machine_that_comes_and_goes_does_not_keep_a_sweep_for_ever(store, path):
    machine = Shaky(lambda m: 1.1 if m.now // 7 % 2 else 1.0)
    machine.sweep(store, rounds=2)
    rows = rounds_in(path)
    assert len(rows) <= 80 * (1 + AGAIN)
    assert sum(not row[4] for row in rows) == 80
    assert sum(machine.slept) <= WAIT_S


def test_a_sweep_that_began_on_a_slow_machine_learns_it_later(store):
    machine = Shaky(lambda m: 1.2 if m.now < 12 else 1.0)
    result = machine.sweep(store, rounds=1)
    assert current(store) == [(1.0, False)] * 40
    assert result.warnings.count("drift-mended") >= 12


def test_where_restarts_mend_they_come_before_drift_does(store, path):
    restarted = [0]

    def leaking(machine):
        restarted.extend([machine.rounds] * (machine.restarts + 1 - len(restarted)))
        return 1 + 0.008 * (machine.rounds - restarted[-1])

    machine = Shaky(leaking)
    result = machine.sweep(store, rounds=3)
    assert result.warnings.count("drift") == 0
    assert 5 <= len(rounds_in(path)) - 120 <= 20
    late = [slow for *_, slow in machine.asked[30:]]
    assert max(late) < 1.01


def test_the_last_look_is_not_forgotten_where_the_last_case_fails(store, real):
    def at(case, number, turn):
        if case == CASES[2]:
            raise WorkerError("bad luck", "so")
        return steady(1.2 if is_sentinel(case) and turn > FIRST * len(SENTINELS) else 1.0)

    for seed in range(4):
        result = run(CASES, store, Steps(real, at), rounds=2, seed=seed, fresh=True)
        assert result.warnings.count("drift") == 2  # cases


def test_no_wait_goes_beyond_the_budget(store):
    machine = Shaky(lambda m: 1.1 if m.rounds >= 13 else 1.0)
    result = machine.sweep(store, rounds=1, budget_s=17)
    assert result.stopped == "budget"
    assert machine.now <= 18
    assert all(flagged for latency, flagged in current(store) if latency > 1.0)


def test_a_sweep_that_is_cut_off_flags_what_was_slow(store):
    machine = Shaky(lambda m: 1.1 if m.rounds >= 3 else 1.0)
    machine.sweep(store, rounds=1, budget_s=5)
    assert any(latency > 1.0 for latency, _ in current(store))
    assert all(flagged for latency, flagged in current(store) if latency > 1.0)


def test_cases_of_other_threads_have_a_sentinel_of_their_own(store, real, path):
    def at(case, number, turn):
        return steady(1.0 / case.threads)

    cases = [case(fc, threads=threads) for fc in (1, 2, 3) for threads in (1, 2)]
    times = iter(range(0, 10**9, int(SENTINEL_EVERY_S)))
    result = run(cases, store, Steps(real, at), rounds=2, clock=lambda: float(next(times)))
    assert not drifts(result)
    assert len(rounds_in(path)) == 12


def test_a_sentinel_that_crashes_counts_as_drift(store, real):
    crashed = []

    def at(case, number, turn):
        if is_sentinel(case) and turn > 20 and not crashed:
            crashed.append(turn)
            raise WorkerError("gone", "so")

    times = iter(range(0, 10**9, int(SENTINEL_EVERY_S)))
    backend = Steps(real, at)
    result = run(CASES, store, backend, rounds=3, clock=lambda: float(next(times)))
    assert crashed
    assert backend.restarts == 1
    assert "drift-mended" in result.warnings
    assert {m.status for m in store.measurements()} == {"ok"}


def test_sentinels_that_never_work_are_given_up(store, real):
    def at(case, number, turn):
        if is_sentinel(case):
            raise WorkerError("gone", "so")

    backend = Steps(real, at)
    result = run(CASES, store, backend, rounds=1)
    assert backend.restarts == 1
    assert "drift" not in "".join(result.warnings)
    assert result.measured == 3


# --- the reference study's drift, on purpose

STUDY = "simulated:gtx960-theano,noise=1%"


def study(folder, fault="", watched=True):
    """Groups 3 and 4 of the study in a simulated sweep: (law, measurements, rows, result)."""
    with open_target("auto", f"{STUDY},fault={fault}" if fault else STUDY) as target:
        if not watched:
            target.backend.facts = dict
        path = folder / f"{fault.replace(':', '-')}-{watched}.db"
        result = run_sweep([read_sweep("group3"), read_sweep("group4")], path, target, seed=3)
    with Store(path) as store:
        found = store.measurements()
        readings = store.sentinels()
    law = fit_law(found, read_form("eq13"), cross_validate=False).law
    return law, found, rounds_in(path), result, readings


def terms(law):
    return [t for group in law.groups for t in group.terms] + list(law.overhead)


def errors_off(law, truth):
    """How many standard errors the coefficients of one law are from another's, at most."""
    pairs = zip(terms(law), terms(truth), strict=True)
    return max(abs(a.coefficient - b.coefficient) / b.standard_error for a, b in pairs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return study(tmp_path_factory.mktemp("undisturbed"))


def test_without_a_fault_a_simulated_sweep_has_no_sentinels(undisturbed):
    _, found, rows, result, readings = undisturbed
    assert (len(found), len(rows), readings, result.warnings) == (49, 147, [], ())


@pytest.mark.parametrize("fault", ["leak", "worker", "clock", "worker:5%@60"])
def test_the_law_of_a_disturbed_sweep_is_that_of_an_undisturbed_one(tmp_path, undisturbed, fault):
    truth = undisturbed[0]
    law, found, rows, result, readings = study(tmp_path, fault)
    assert {r.name for r in readings} == set(SENTINELS)
    old = [row for row in rows if row[4]]
    assert len(old) >= 5
    assert len(rows) == 147 + len(old)
    assert {key for key, *_ in old} <= {m.case.key() for m in found}
    assert "drift-mended" in result.warnings
    assert not any("drift" in m.warnings for m in found)
    assert errors_off(law, truth) < 1  # within its standard error
    assert errors_off(study(tmp_path, fault, watched=False)[0], truth) > 10


def test_a_clock_that_stays_low_is_flagged(tmp_path):
    _, found, rows, result, _ = study(tmp_path, "clock:20%@60")
    assert result.warnings.count("drift") == sum("drift" in m.warnings for m in found) >= 30
    assert len(rows) <= 147 * (1 + AGAIN)
    assert all("drift" in m.warnings for m in found if max(m.rounds_ms) > 1.1 * min(m.rounds_ms))


# --- a neighbour that is really there

LOAD = "import os, sys\nprint(flush=True)\nwhile os.getppid() == int(sys.argv[1]): sum(range(10000))"


@pytest.fixture
def one_core():
    """This process and what it starts, on one core that it does not share with several others already."""
    if load_1m() > 1.5 * (os.cpu_count() or 1):
        pytest.skip("others keep this machine busy: one neighbour more makes no difference that can be told")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield max(before)
    os.sched_setaffinity(0, before)


def test_a_busy_neighbour_is_found_and_what_it_disturbed_is_measured_again(store, path, one_core):
    cases = [case(fc, net=net_spec(conv=1, depth=8 + fc, fc=1, neurons=64), batch=8) for fc in range(6)]
    load, during = [], set()

    def watch(progress):
        if progress.done == 3 and not load:
            load.append(
                subprocess.Popen([sys.executable, "-c", LOAD, str(os.getpid())], stdout=subprocess.PIPE)
            )
            load[0].stdout.readline()
        if load and load[0].poll() is None and progress.done < len(cases):
            during.add(progress.label)

    def until_it_ends(seconds):
        load[0].kill()
        load[0].wait()
        time.sleep(min(seconds, 1))

    backend = open_backend("ort-cpu")
    try:
        result = run(
            cases,
            store,
            backend,
            rounds=1,
            stop=Stop(target_ci=1.0, min_runs=10, min_s=0.02, max_s=0.1),
            watch=watch,
            sleep=until_it_ends,
            sentinel_s=0.3,
        )
    finally:
        for process in load:
            process.kill()
            process.communicate()
        backend.close()
    again = {key for key, *_, superseded in rounds_in(path) if superseded}
    assert during
    assert {c.key() for c in cases if c.label() in during} <= again
    assert "drift-mended" in result.warnings
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
from edgeprof.timing.place import device_lock
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
    first.communicate("" if end == "killed" else "done\n", timeout=60)
    assert second.stdout.readline() == "mine\n"
    second.communicate("done\n", timeout=60)
    assert second.returncode == 0


def test_other_devices_do_not_wait():
    with device_lock(f"test-{os.getpid()}-a", pytest.fail), device_lock(f"test-{os.getpid()}-b", pytest.fail):
        pass


class Board:
    """What a board's counters say: events come with the turns named, and it warms up and cools as it is told."""

    def __init__(self, events=lambda look: 0, headroom=lambda slept: None):
        self._events, self._headroom = events, headroom
        self.looks = self.counted = 0
        self.slept = 0.0

    def __call__(self):
        self.looks += 1
        self.counted += self._events(self.looks)
        return HostReading(time.monotonic(), throttled=self.counted, headroom_c=self._headroom(self.slept))

    def sleep(self, seconds):
        self.slept += seconds


def on_board(calm, path, board, rounds=1):
    with Store(path, create=True) as store:
        return run_session(
            CASES, store, calm, "median", rounds=rounds, stop=QUICK, seed=1, sleep=board.sleep, sense=board
        )


def asked(calm):
    return [key for key in calm.asked if not is_sentinel(key[0])]


def test_a_throttled_round_is_measured_again(calm, path):
    board = Board(lambda look: int(len(asked(calm)) == 2 and not board.counted))  # after the second round
    found = on_board(calm, path, board)
    assert sorted(Counter(asked(calm)).values()) == [1, 1, 2]
    assert "throttled" not in found.warnings
    assert [superseded for *_, superseded in rounds_in(path)] == [0, 1, 0, 0]


def test_what_a_gpu_told_of_cut_clocks_stands_beside_the_hosts_counter(real, path):
    cut = replace(steady(1.0), telemetry={"throttled": True, "gpu_mhz": 900}, warnings=("throttled",))
    backend = Steps(real, lambda case, number, turn: None if is_sentinel(case) else cut)
    found = on_board(backend, path, Board())  # the processor's own counter stays where it is
    assert len(asked(backend)) > len(CASES)
    assert {case for case, code in found.warned if code == "throttled"} == set(CASES)
    with Store(path) as store:
        assert {m.telemetry["throttled"] for m in store.measurements()} == {True}


def test_a_board_that_always_throttles_is_flagged_and_not_measured_for_ever(calm, path):
    found = on_board(calm, path, Board(lambda look: 1), rounds=2)
    assert found.measured == 3
    assert 6 < len(asked(calm)) <= 6 + VAIN + AGAIN
    assert {case for case, code in found.warned if code == "throttled"} == set(CASES)


def test_a_hot_board_is_waited_for_in_bounds(calm, path):
    board = Board(headroom=lambda slept: 2 + slept / 2)
    on_board(calm, path, board)
    assert board.slept == pytest.approx(2 * (COOL_C - 2), abs=2)
    for_ever = Board(headroom=lambda slept: 1.0)
    on_board(calm, path.with_name("b.db"), for_ever, rounds=3)
    assert COOLING_S - COOL_S <= for_ever.slept <= COOLING_S


# --- settings of the board


def moded(mode, fc=1):
    return case(fc, power_mode=mode)


def test_cases_of_a_power_mode_stand_together_and_rounds_begin_where_the_last_one_ended(store, real):
    cases = [moded(mode, fc) for fc in range(4) for mode in ("fast", "slow")]
    entered = []
    backend = Steps(real, lambda c, number, turn: steady(2.0 if c.power_mode == "slow" else 1.0))
    result = run(cases, store, backend, rounds=3, enter=lambda c: entered.append(c.power_mode))
    assert result.measured == 8
    assert not drifts(result)  # twice as long in another mode is no drift
    assert entered == ["fast", "slow", "fast", "slow"]
    measured = [(n, c.power_mode) for c, n in backend.asked if not is_sentinel(c)]
    assert list(dict.fromkeys(measured)) == [
        (1, "fast"),
        (1, "slow"),
        (2, "slow"),
        (2, "fast"),
        (3, "fast"),
        (3, "slow"),
    ]
    assert measured == sorted(measured, key=list(dict.fromkeys(measured)).index)


def test_sentinels_are_looked_at_in_each_mode_as_it_is_entered_and_before_it_is_left(store, real):
    backend = Steps(real, lambda c, number, turn: steady(1.0))
    run([moded("a"), moded("b")], store, backend, rounds=1)
    told = [("look" if is_sentinel(c) else "case", c.power_mode) for c, _ in backend.asked]
    assert [one for i, one in enumerate(told) if i == 0 or told[i - 1] != one] == [
        ("look", "a"),
        ("case", "a"),
        ("look", "a"),
        ("look", "b"),
        ("case", "b"),
        ("look", "b"),
    ]


def test_what_drifted_in_a_mode_is_measured_again_in_that_mode(store, real):
    slow = []  # the look before mode a is left: until a restart

    def at(c, number, turn):
        if not is_sentinel(c):
            slow[:] = [True] if c.power_mode == "a" and backend.restarts == 0 else []
            return steady(1.0)
        return steady(1.5 if slow and backend.restarts == 0 else 1.0)

    backend = Steps(real, at)
    entered = []
    result = run(
        [moded("a"), moded("b")], store, backend, rounds=1, enter=lambda c: entered.append(c.power_mode)
    )
    measured = [c.power_mode for c, _ in backend.asked if not is_sentinel(c)]
    assert measured == ["a", "a", "b"]
    assert entered == ["a", "b"]
    assert drifts(result) == ["drift-mended"]


def test_a_mode_that_cannot_be_set_ends_the_session_and_another_one_goes_on(store, real):
    backend = Steps(real, lambda c, number, turn: steady(1.0))

    def enter(c):
        if c.power_mode == "b":
            raise BoardError("it was not set", "by hand")

    with pytest.raises(BoardError):
        run([moded("a"), moded("b")], store, backend, rounds=2, enter=enter)
    result = run([moded("a"), moded("b")], store, backend, rounds=2)
    assert (result.measured, len(store.measurements())) == (2, 2)
