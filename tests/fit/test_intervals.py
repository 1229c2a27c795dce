"""Intervals: ranks, tails, strata, widening; and coverage on errors of known shape."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeprof.fit.intervals import (
    FAR,
    FAR_OUTSIDE,
    NO_ERRORS,
    bounded,
    half_widths,
    parted,
    probabilities,
    quantile,
    strata,
    unknown,
    widening,
)


def test_the_quantile_is_the_conformal_rank() -> None:
    scores = [i / 100 for i in range(1, 20)]
    assert quantile(scores, 0.9) == 0.18  # ⌈20 · 0.9⌉ = 18th
    assert quantile(scores, 0.5) == 0.10
    assert quantile(scores, 1e-9) == 0.01


def test_rarer_levels_than_the_scores_hold_follow_an_exponential_tail() -> None:
    scores = [i / 100 for i in range(1, 20)]
    excess = 0.015  # of the last four: 0.16 … 0.19, over the least of them
    assert quantile(scores, 0.99) == pytest.approx(0.19 + excess * math.log(1 / (20 * 0.01)))
    assert quantile(scores, 0.99) < quantile(scores, 0.999) < quantile(scores, 1.0) <= 50
    assert quantile([0.1], 0.9) >= 0.1


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_coverage_on_errors_of_one_shape(level: float) -> None:
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(400):
        errors = np.abs(rng.laplace(0, 0.05, 61))
        covered.append(errors[-1] <= quantile(sorted(errors[:-1]), level))
    assert np.mean(covered) == pytest.approx(level, abs=0.05)


def held_out(small: float, large: float, count: int = 200) -> list[tuple[float, float]]:
    rng = np.random.default_rng(1)
    latency = np.exp(rng.uniform(-3, 3, count))
    spread = np.where(latency < 1, small, large)
    return list(zip(latency.tolist(), (rng.normal(size=count) * spread).tolist(), strict=True))


def test_small_networks_with_other_errors_have_their_own_interval() -> None:
    found = held_out(0.2, 0.02)
    at = parted(found)
    assert at is not None
    assert 0.5 < at < 2
    parts = strata(found, at)
    wide, narrow = half_widths(parts, np.array([0.1, 10.0]), 0.9)
    assert wide == pytest.approx(0.33, abs=0.08)
    assert narrow == pytest.approx(0.033, abs=0.01)
    assert sum(len(scores) for _, scores in parts) == 200


def test_errors_alike_stay_together() -> None:
    assert parted(held_out(0.05, 0.05)) is None
    assert parted(held_out(0.5, 0.05, 40)) is None  # too few on either side
    assert parted([]) is None
    assert len(strata(held_out(0.1, 0.1), None)) == 1


def test_the_probability_agrees_with_the_interval() -> None:
    parts = strata(held_out(0.05, 0.05), None)
    latency = np.array([2.0])
    for level in (0.5, 0.8, 0.9):
        upper = latency * np.exp(half_widths(parts, latency, level))
        assert probabilities(parts, latency, upper)[0] == pytest.approx((1 + level) / 2, abs=0.01)
        lower = latency * np.exp(-half_widths(parts, latency, level))
        assert probabilities(parts, latency, lower)[0] == pytest.approx((1 - level) / 2, abs=0.01)
    assert probabilities(parts, latency, 2.0)[0] == pytest.approx(0.5)
    ladder = probabilities(parts, np.full(50, 2.0), np.linspace(1, 4, 50))
    assert (np.diff(ladder) >= 0).all()
    assert ladder[0] < 0.01
    assert ladder[-1] > 0.99
    assert probabilities(parts, latency, 2.2, 3.0)[0] < probabilities(parts, latency, 2.2)[0]


def test_an_interval_widens_with_every_doubling_beyond_the_domain() -> None:
    assert widening([]) == 1
    assert widening([{"what": "depth", "value": 161, "seen": [5, 80]}]) == pytest.approx(2)
    assert widening([{"what": "depth", "value": 323, "seen": [5, 80]}]) == pytest.approx(3)
    assert widening([{"what": "fc", "value": 0, "seen": [1, 5]}]) == pytest.approx(2)
    assert widening([{"what": "padding", "value": "same", "seen": ["valid"]}]) == 2
    assert widening([{"what": "depth", "value": 1, "seen": [-5, -2]}]) == pytest.approx(
        2
    )  # no domain, but no crash


def test_far_outside_no_interval_and_no_probability_is_known() -> None:
    def depth(value: int) -> dict[str, object]:
        return {"what": "depth", "value": value, "seen": [80, 80]}

    assert widening([depth(16 * 81 - 1)]) == pytest.approx(FAR)  # sixteen times beyond one limit
    assert math.isinf(bounded(widening([depth(17 * 81)]), 0.1))
    assert math.isinf(bounded(widening([depth(4 * 81), depth(4 * 81)]), 0.1))  # 3 · 3
    assert bounded(np.array([1.0, FAR, FAR + 0.1]), 0.1).tolist() == [1.0, FAR, math.inf]
    assert bounded(np.array([1.0, 2.0, 2.0, 2.0]), np.array([3.0, 1.1, 1.2, 0.0])).tolist() == [
        1,
        2,
        math.inf,
        2,
    ]
    assert (unknown((), 1.0), unknown((0.1,), FAR), unknown((0.1,), math.inf)) == (NO_ERRORS, "", FAR_OUTSIDE)
    parts = strata(held_out(0.05, 0.05), None)
    near, far = probabilities(parts, np.full(2, 2.0), np.full(2, 3.0), np.array([FAR, math.inf]))
    assert 0.5 < near < 1
    assert math.isnan(far)
