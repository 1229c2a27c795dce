"""Transfer: near the prior with few data, away from it where the data say so."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.fit.transfer import fit_shrunk, resampled, shrink

PRIOR = np.array([1.0, 2.0, 0.5, 0.0])
TYPICAL = np.ones(4)


def data(true: np.ndarray, n: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    x = rng.uniform(0.5, 2, (n, len(true)))
    return x, x @ true * rng.lognormal(0, noise, n)


def test_one_scale() -> None:
    x, y = data(3 * PRIOR, 4)
    found = fit_shrunk(x, y, PRIOR, TYPICAL)
    assert found.coefficients == pytest.approx(3 * PRIOR, abs=1e-3)
    assert found.scale == pytest.approx(3, rel=1e-3)
    assert found.left_out < 1e-3


def test_many_data_overrule_the_prior_and_bring_new_terms() -> None:
    true = np.array([3.0, 1.0, 2.0, 1.5])
    x, y = data(true, 200, 0.01)
    assert fit_shrunk(x, y, PRIOR, TYPICAL).coefficients == pytest.approx(true, rel=0.05)


def test_few_noisy_data_are_nearer_with_the_prior() -> None:
    true = np.array([3.3, 5.7, 1.6, 0.05])
    x, y = data(true, 5, 0.03)
    test, exact = data(true, 500)
    with_prior = fit_shrunk(x, y, PRIOR, TYPICAL).coefficients
    alone, _ = shrink(x, y, np.zeros(4), 1e-9, TYPICAL)
    off = [np.abs(test @ c / exact - 1).mean() for c in (with_prior, alone)]
    assert off[0] < 0.03
    assert off[0] < off[1]


def test_strength_leads_from_the_data_to_the_prior() -> None:
    x, y = data(np.array([3.0, 1.0, 2.0, 1.5]), 30)
    parts = [shrink(x, y, PRIOR, s, TYPICAL)[0] for s in (1e-6, 1e4)]
    assert parts[0] == pytest.approx([3.0, 1.0, 2.0, 1.5], rel=0.02)
    assert parts[1] / parts[1][0] == pytest.approx(PRIOR, abs=0.05)


def test_a_term_that_the_data_lack_is_scaled() -> None:
    x = data(2 * PRIOR, 10)[0]
    x[:, 2] = 0
    found = fit_shrunk(x, x @ (2 * PRIOR), PRIOR, TYPICAL)
    assert found.coefficients[2] == pytest.approx(1.0, rel=0.01)


def test_resampling_tells_how_far_coefficients_may_be_off() -> None:
    true = np.array([3.0, 1.0, 2.0, 1.5])
    x, y = data(true, 60, 0.05)
    found = fit_shrunk(x, y, PRIOR, TYPICAL)
    drawn = resampled(x, y, PRIOR, found.strength, TYPICAL, np.arange(60), 30, 0)
    assert drawn.shape == (30, 4)
    error = drawn.std(axis=0, ddof=1)
    assert (np.abs(found.coefficients - true) < 4 * error).all()
    assert (error < 0.5 * true).all()
    exact = resampled(x, x @ (2 * PRIOR), PRIOR, 1.0, TYPICAL, np.arange(60), 5, 0)
    assert exact.std(axis=0) == pytest.approx(np.zeros(4), abs=1e-3)
