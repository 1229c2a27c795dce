"""Sentinels: what they find, and what they do not mistake for drift."""

import numpy as np
import pytest

from edgeprof.nets.build import model_bytes
from edgeprof.nets.network import total_macs
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.drift import CONFIRM, FIRST, LOUD, SENTINELS, Sentinels, reading_ms
from edgeprof.timing.measurement import Round

LIKE = Case(
    net=net_spec(conv=1),
    batch=64,
    precision="fp32",
    threads=2,
    launch="blocking",
    board="cpu",
    machine="m",
    backend="ort-cpu",
    runtime="r",
    inputs="tiles:here",
)


class Machine:
    """Sentinels of 1 ms times a slowness, each of its own if there is one."""

    def __init__(self, noise=0.0):
        self.slow = 1.0
        self.kinds = {}
        self.asked = []
        self._noise, self._rng = noise, np.random.default_rng(0)

    def read(self, name, sentinel):
        self.asked.append((name, sentinel))
        slow = self.kinds.get(name, self.slow)
        return None if slow is None else slow * (1 + self._noise * self._rng.standard_normal())


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def sentinels(machine):
    return Sentinels(machine.read)


def test_sentinels_run_as_the_cases_do(machine, sentinels):
    sentinels.look(LIKE)
    found = dict(machine.asked)
    assert set(found) == set(SENTINELS)
    assert {(s.threads, s.launch, s.backend, s.inputs) for s in found.values()} == {
        (2, "blocking", "ort-cpu", "noise")
    }
    assert len(machine.asked) == FIRST * len(SENTINELS)


def test_they_are_bound_by_different_things():
    def per_byte(name):
        return total_macs(*SENTINELS[name]) / len(model_bytes(*SENTINELS[name]))

    assert per_byte("compute") > 10 * per_byte("memory")
    net, batch = SENTINELS["launch"]
    assert total_macs(net, batch) < 1e4 < 1e6 < total_macs(*SENTINELS["memory"])


@pytest.mark.parametrize(("slow", "drift"), [(1.0, False), (1.025, False), (1.035, True), (0.8, False)])
def test_three_percent_is_drift(machine, sentinels, slow, drift):
    sentinels.look(LIKE)
    machine.slow = slow
    assert (sentinels.look(LIKE) > 1) is drift
    assert sentinels.drifting() == ({1} if drift else {0} if slow < 1 else set())


@pytest.mark.parametrize("kind", SENTINELS)
def test_one_kind_is_enough(machine, sentinels, kind):
    sentinels.look(LIKE)
    machine.kinds[kind] = 1.05
    assert sentinels.look(LIKE) > 1


def test_a_slow_reading_is_taken_again_before_it_counts(machine, sentinels):
    sentinels.look(LIKE)
    machine.asked.clear()
    slow = iter([1.2, 1.2, 1.0])
    read = machine.read
    sentinels._read = lambda name, s: next(slow) if name == "memory" else read(name, s)
    assert sentinels.look(LIKE) == 0
    assert not list(slow)
    machine.slow = 1.2
    sentinels._read = machine.read
    machine.asked.clear()
    assert sentinels.look(LIKE) > 1
    assert len(machine.asked) == (1 + CONFIRM) * len(SENTINELS)


def test_what_crept_in_before_a_drift_was_part_of_it(machine, sentinels):
    for machine.slow in (1.0, 1.0, 1.004, 1.01, 1.0, 1.02, 1.029, 1.04, 1.05):
        sentinels.look(LIKE)
    assert sentinels.drifting() == {7, 8}  # where the level is not known yet
    machine.slow = 1.0
    sentinels.look(LIKE)
    assert sentinels.drifting() == {3, 4, 5, 6, 7, 8}


def test_what_came_at_once_did_not_creep(machine, sentinels):
    for machine.slow in (1.0, 1.02, 1.0, 1.0, 1.04, 1.0):
        sentinels.look(LIKE)
    assert sentinels.drifting() == {4}


def test_a_best_that_is_learnt_late_judges_earlier_looks_anew(machine, sentinels):
    machine.slow = 1.1
    assert sentinels.look(LIKE) == 0
    assert sentinels.drifting() == set()
    machine.slow = 1.0
    sentinels.look(LIKE)
    assert sentinels.drifting() == {0}


def test_other_threads_are_another_sentinel(machine, sentinels):
    sentinels.look(LIKE)
    machine.slow = 2.0
    assert sentinels.look(LIKE.model_copy(update={"threads": 1})) == 0


@pytest.mark.parametrize(("noise", "most"), [(0.002, 0), (0.005, 0), (0.01, 4), (0.02, 6)])
def test_noise_is_no_drift(noise, most):
    machine = Machine(noise)
    sentinels = Sentinels(machine.read)
    assert sum(sentinels.look(LIKE) > 1 for _ in range(200)) <= most
    assert len(sentinels.drifting()) <= 1 + 4 * most
    machine.slow = 1 + 2 * LOUD
    assert sentinels.look(LIKE) > 1


def test_a_sentinel_that_fails_is_drift_once_and_given_up_then(machine, sentinels):
    sentinels.look(LIKE)
    machine.kinds["memory"] = None
    assert sentinels.look(LIKE) == float("inf")
    assert sentinels.look(LIKE) == 0
    machine.asked.clear()
    sentinels.look(LIKE)
    assert {name for name, _ in machine.asked} == {"compute", "launch"}


def test_a_sentinel_that_fails_once_goes_on(machine, sentinels):
    sentinels.look(LIKE)
    for machine.kinds in ({"memory": None}, {}, {"memory": None}, {}):
        found = sentinels.look(LIKE)
        assert found == (float("inf") if machine.kinds else 0)
    assert sentinels.drifting() == {1, 3}


def test_a_reading_sees_a_load_that_the_median_does_not():
    quiet = np.full(1000, 100_000, np.int64)
    shared = quiet.copy()
    shared[::20] += 4_000_000  # every twentieth run waits for a neighbour
    passing = quiet.copy()
    passing[300:500] *= 3
    reading = [reading_ms(Round(number=0, status="ok", runs_ns=runs)) for runs in (quiet, shared, passing)]
    assert reading == pytest.approx([0.1, 0.3, 0.1])
