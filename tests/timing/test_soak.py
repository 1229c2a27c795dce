"""Warming a board up: a real network runs while an emulated board's temperature rises."""

from __future__ import annotations

from contextlib import closing

import pytest

from edgeprof.backends.open import open_backend
from edgeprof.boards.sensors.host import HostReading, read_host
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.soak import settle, soak

STEP_S = 0.2


@pytest.fixture(scope="module")
def backend():
    with closing(open_backend("ort-cpu")) as found:
        yield found


@pytest.fixture
def case(backend):
    facts = dict(board="b", machine="m", backend="ort-cpu", runtime=backend.runtime(), launch="blocking")
    return Case(net=net_spec(conv=0, neurons=8), batch=2, precision="fp32", threads=1, **facts)


def warming(*celsius):
    left = list(celsius)
    return lambda: HostReading(0.0, temperature_c={"gpu": left.pop(0) if len(left) > 1 else left[0]})


def test_until_it_rises_no_more(backend, case):
    found = soak(case, backend, warming(40.0, 45.0, 48.0, 48.4), 60.0, STEP_S)
    assert (found.start_c, found.end_c, found.steady) == (40, 48.4, True)
    assert 0.6 <= found.spent_s < 10
    assert "from 40 to 48 °C, steady" in found.told()


def test_no_longer_than_asked(backend, case):
    rising = iter(range(1000))
    found = soak(
        case, backend, lambda: HostReading(0.0, temperature_c={"gpu": 2.0 * next(rising)}), 0.5, STEP_S
    )
    assert not found.steady
    assert found.spent_s >= 0.5
    assert "not steady yet" in found.told()


def test_an_emulated_board_is_steady_at_once(backend, case, emulated):
    root = emulated("nano")
    assert soak(case, backend, lambda: read_host(root), 60.0, STEP_S).steady


def test_without_a_temperature_nothing_is_done(backend, case):
    assert soak(case, backend, lambda: HostReading(0.0), 60.0, STEP_S) is None


def test_it_settles_once_two_steps_are_as_fast_as_each_other(backend, case, monkeypatch):
    monkeypatch.setattr("edgeprof.timing.soak.STEADY_SPEED", 1000.0)
    assert settle(case, backend, 60.0, 0.05)


def test_it_settles_for_no_longer_than_it_may(backend, case, monkeypatch):
    monkeypatch.setattr("edgeprof.timing.soak.STEADY_SPEED", -1.0)
    clock = iter(range(100))
    assert not settle(case, backend, 3.0, 0.05, lambda: float(next(clock)))
    assert next(clock) == 4  # looked at as it begins, before each of two steps, and at the end
