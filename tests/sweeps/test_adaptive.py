"""Choosing what to measure next: on laws of known shape, and in a real sweep with a budget."""

import numpy as np
import pytest

from edgeprof.fit.fitting import fit_law, sketch_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import read_law
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweep import open_target, run_sweep
from edgeprof.sweeps.adaptive import PRIOR, _rows, choose_next
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep

LAW = read_law("gtx960-theano")
SAMPLE = {
    "nets": 20,
    "seed": 3,
    "conv": "1..5",
    "fc": "1..5",
    "depth": "5..80 log",
    "neurons": "128..2048 log",
}


def nets(count, seed=3, **knobs):
    spec = parse_sweep({"sample": {**SAMPLE, "nets": count, "seed": seed, **knobs}}, "test")
    return [(work.net, 1024) for work in expand(spec)]


def test_what_was_never_run_comes_first():
    """Networks of one conv layer say nothing of the terms that begin with the second."""
    shallow = nets(12, conv=[1])
    candidates = [*shallow[6:], (net_spec(conv=4, depth=30, fc=1, neurons=256), 1024)]
    (first,) = choose_next(LAW, shallow[:6], candidates, nets(40), 1)
    assert first == len(candidates) - 1


def test_as_many_as_asked_for_and_each_once():
    candidates = nets(15)
    chosen = choose_next(LAW, [], candidates, candidates, 6)
    assert len(set(chosen)) == 6
    assert len(choose_next(LAW, [], candidates[:4], candidates, 6)) == 4
    assert choose_next(LAW, [], candidates, candidates, 6) == chosen


def test_the_prediction_variance_is_lower_than_of_random_choices():
    family, candidates = nets(60, seed=8), nets(40, seed=9)
    rows = _rows(LAW, [*family, *candidates])
    names = {name for net in rows for name in net}

    def variance(indices):
        """Mean over the family of share² zᵀA⁻¹z, kernel by kernel."""
        total = 0.0
        for name in names:
            some = [rows[len(family) + i][name] for i in indices if name in rows[len(family) + i]]
            size = next(net[name].z.shape[1] for net in rows if name in net)
            a = PRIOR * np.eye(size) + sum((r.z.T * r.share) @ r.z for r in some)
            for net in rows[: len(family)]:
                for z, share in zip(net[name].z, net[name].share, strict=True) if name in net else ():
                    total += share**2 * z @ np.linalg.solve(a, z)
        return total / len(family)

    chosen = variance(choose_next(LAW, [], candidates, family, 8))
    rng = np.random.default_rng(0)
    assert chosen < min(variance(rng.choice(40, 8, replace=False)) for _ in range(50))


@pytest.fixture
def spent(tmp_path):
    """A sweep on a simulated board that had a budget."""
    spec = parse_sweep({"name": "mine", "sample": SAMPLE}, "test")
    with open_target(backend="simulated:gtx960-theano,noise=3%") as target:
        result = run_sweep([spec], tmp_path / "a.db", target, budget_s=1.5, seed=1)
    with Store(tmp_path / "a.db") as store:
        yield spec, result, store.measurements(), tmp_path


def test_a_third_is_random_and_the_rest_designed(spent):
    spec, result, measured, _ = spent
    random = [m for m in measured if not m.designed]
    assert result.stopped == "budget"
    assert result.cases == len(measured) > 6
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
