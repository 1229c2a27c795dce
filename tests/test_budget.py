"""A sweep with a budget, on a simulated board."""

from functools import partial
from itertools import count

import pytest

from edgeprof.budget import spend
from edgeprof.fit.fitting import fit_law, sketch_law
from edgeprof.fit.forms import read_form
from edgeprof.store import Store
from edgeprof.sweep import run_sweep, session_on
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import gauges_of, open_target

SAMPLE = {
    "nets": 20,
    "seed": 3,
    "conv": "1..5",
    "fc": "1..5",
    "depth": "5..80 log",
    "neurons": "128..2048 log",
}


@pytest.fixture
def spent(tmp_path, monkeypatch):
    """A sweep on a simulated board that had a budget, and time for four looks at what to measure next."""
    spec = parse_sweep({"name": "mine", "sample": SAMPLE}, "test")
    with (
        open_target(backend="simulated:gtx960-theano,noise=3%") as target,
        monkeypatch.context() as patched,
    ):
        patched.setattr("edgeprof.budget.spend", partial(spend, clock=count(step=60).__next__))
        result = run_sweep([spec], tmp_path / "a.db", target, budget_s=1500, seed=1)
    with Store(tmp_path / "a.db") as store:
        yield spec, result, store.measurements(), tmp_path


def test_a_third_is_random_and_the_rest_designed(spent):
    spec, result, measured, _ = spent
    random = [m for m in measured if not m.designed]
    assert result.stopped == "budget"
    assert result.cases == len(measured) == 24
    assert len(random) >= len(measured) / 3 - 1
    assert len(random) < len(measured)
    first = [work.net for work in expand(spec)][:6]
    assert {m.case.net for m in random} >= set(
        first
    )  # the pool's own order, so what is random is known beforehand


def test_only_random_networks_are_evidence(spent):
    _, _, measured, _ = spent
    fit = fit_law(measured, read_form("eq13"))
    labels = {m.case.net.label() for m in measured if not m.designed}
    assert {row.net for row in fit.cv.rows} <= labels
    assert len(fit.law.conformal) == fit.cv.nets == len(labels)
    assert sketch_law(measured, read_form("eq13")).overhead[0].coefficient == pytest.approx(9.8e-3, rel=0.1)


def test_the_same_command_goes_on(spent):
    spec, result, measured, folder = spent
    with open_target(backend="simulated:gtx960-theano,noise=3%") as target:
        again = run_sweep([spec], folder / "a.db", target, budget_s=1.5, seed=1)
    with Store(folder / "a.db") as store:
        known = {m.case.key(): m for m in store.measurements()}
    assert again.cases >= result.cases
    for m in measured:
        assert known[m.case.key()].designed == m.designed
        assert known[m.case.key()].rounds_ms[: len(m.rounds_ms)] == m.rounds_ms


def test_all_power_modes_share_one_design(tmp_path):
    spec = parse_sweep({"name": "mine", "sample": SAMPLE}, "test")
    with (
        open_target(backend="simulated:gtx960-theano,noise=3%") as target,
        Store(tmp_path / "m.db", create=True) as store,
        gauges_of(target, pytest.fail) as gauges,
    ):
        plain = [target.case(work) for work in expand(spec.resampled(60, None))]
        modes = ("15W", "7W", "25W")
        pool = [case.model_copy(update={"power_mode": name}) for name in modes for case in plain]
        measure = session_on(target, gauges, store, seed=1)
        ask = partial(spend, pool, store, target.backend, measure, rounds=2)
        here = {("15W", None), ("7W", None)}
        for looks in (12, 24):  # begun again, as after Ctrl-C, before the mode behind the reboot had its turn
            clock = count(step=100).__next__  # time for two looks at what to measure next
            near = ask(budget_s=2000, now=here, clock=clock)
            first = in_modes(store)
            assert first["15W"] == first["7W"]
            assert len(first["15W"]) == looks
        assert {designed for _, designed in first["7W"]} == {True, False}
        assert [near.cases, near.measured, near.reused] == [48, 24, 24]
        far = ask(budget_s=2000, now={("25W", None)})  # as after a reboot: nothing is added
        found = in_modes(store)
        assert found["25W"] == found["15W"] == first["15W"]
        assert [far.cases, far.measured, far.reused] == [len(found["25W"]), len(found["25W"]), 0]
        again = ask(budget_s=0.0, now={("25W", None)})
        assert [again.measured, again.reused] == [0, len(found["25W"])]


def in_modes(store):
    """Networks that were measured in each mode, and whether they were chosen by design."""
    found = {}
    for m in store.measurements():
        found.setdefault(m.case.power_mode, set()).add((m.case.net, m.designed))
    return found
