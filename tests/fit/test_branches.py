"""Branches: laws of several parts are found again, and one part is left whole."""

from __future__ import annotations

import numpy as np

from edgeprof.fit.branches import branch


def kernels(seed: int, noise: float) -> tuple[np.ndarray, dict[str, np.ndarray], np.random.Generator]:
    rng = np.random.default_rng(seed)
    work = rng.integers(1, 10_000, 800).astype(float)
    x = np.column_stack([np.ones(800), work])
    return x, {"C": rng.integers(1, 512, 800).astype(float), "M": work}, rng


def test_one_law_stays_whole() -> None:
    x, facts, rng = kernels(1, 0.05)
    found = branch(x, (x @ [0.1, 1e-3]) * rng.lognormal(0, 0.05, 800), facts, "Conv")
    assert (found.rule.kind, found.rule.ask) == ("Conv", None)
    np.testing.assert_allclose(found.coefficients["Conv"], [0.1, 1e-3], rtol=0.1)


def test_two_laws_are_told_apart() -> None:
    x, facts, rng = kernels(2, 0.05)
    small = facts["C"] < 64
    y = np.where(small, x @ [0.1, 1e-3], x @ [0.3, 3e-4]) * rng.lognormal(0, 0.05, 800)
    found = branch(x, y, facts, "Conv")
    assert found.rule.ask is not None
    name, test, threshold = found.rule.ask
    assert (name, test) == ("C", "<")
    assert 40 <= threshold <= 96  # questions are tried at a few places only
    assert {leaf.kind for leaf, _ in found.rule.paths()} == set(found.coefficients)
    far = found.rule.decide({"C": 500, "M": 5000})
    np.testing.assert_allclose(found.coefficients[far.kind], [0.3, 3e-4], rtol=0.1)


def test_outliers_do_not_make_branches() -> None:
    x, facts, rng = kernels(3, 0.05)
    y = (x @ [0.1, 1e-3]) * rng.lognormal(0, 0.05, 800)
    y[rng.choice(800, 40, replace=False)] *= 10
    found = branch(x, y, facts, "Conv")
    for leaf, _ in found.rule.paths():
        np.testing.assert_allclose(found.coefficients[leaf.kind][1], 1e-3, rtol=0.15)
