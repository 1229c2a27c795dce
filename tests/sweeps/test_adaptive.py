"""Choosing what to measure next, on laws of known shape."""

import numpy as np

from edgeprof.fit.law_file import read_law
from edgeprof.nets.spec import net_spec
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
