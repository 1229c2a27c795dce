"""Ratios of rounds: intervals that hold as often as they say, whatever the noise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import polygamma

from edgeprof.timing.ratio import (
    Ratio,
    Reading,
    _common,
    _inverse_trigamma,
    _variance_of_order,
    mean_ratio,
    ratios,
)

SPEEDUP = 1.25
ROUNDS = Path(__file__).resolve().parents[1] / "data" / "rounds" / "busy.csv"


def reading(rounds, least=True):
    return Reading(float(min(rounds) if least else np.median(rounds)), tuple(map(float, rounds)), least)


def repeats(noise, *, networks=30, rounds=3, times=60, least=True, common=0.0, seed=3):
    """Shares of the intervals that hold the true speed-up: of networks, and of their means. ``common`` is the part of a
    round's noise that all networks share."""
    rng = np.random.default_rng(seed)
    held, mean_held = [], []
    for _ in range(times):
        scale = np.exp(rng.normal(math.log(0.01), 0.7, networks))[:, None]
        size = np.exp(rng.normal(0, 2, networks))[:, None]
        times_ms = [
            size * of * np.exp(scale * noise(rng, (networks, rounds)) + common * noise(rng, (1, rounds)))
            for of in (SPEEDUP, 1.0)
        ]
        sides = [[reading(own, least) for own in side] for side in times_ms]
        found = ratios(*sides)
        intervals = [r.interval(0.95) for r in found]
        held += [low <= SPEEDUP <= high for low, high in intervals]
        low, high = mean_ratio(found, range(networks), *sides).interval(0.95)
        mean_held.append(low <= SPEEDUP <= high)
    return float(np.mean(held)), float(np.mean(mean_held))


def normal(rng, size):
    return rng.normal(size=size)


def one_sided(rng, size):
    return rng.exponential(size=size)


def spikes(rng, size):
    return rng.normal(size=size) + (rng.random(size) < 0.1) * rng.exponential(10.0, size)


@pytest.mark.parametrize(
    ("noise", "rounds", "least", "low", "high"),
    [
        (normal, 3, True, 0.93, 0.975),
        (normal, 3, False, 0.925, 0.97),
        (normal, 2, True, 0.915, 0.97),
        (normal, 6, True, 0.93, 0.98),
        (one_sided, 3, True, 0.95, 1.0),
        (spikes, 3, True, 0.94, 1.0),
    ],
)
def test_intervals_hold_as_often_as_they_say(noise, rounds, least, low, high):
    held, mean_held = repeats(noise, rounds=rounds, least=least)
    assert low <= held <= high
    assert mean_held >= 0.87  # 60 means: 52 of them or more, with a chance of 99 %


@pytest.mark.parametrize("common", [0.003, 0.03])
def test_a_machine_that_is_slower_for_all_networks_at_once_is_no_difference(common):
    """Noise that a round's networks share does not average out over networks, and the mean's interval knows it."""
    held, mean_held = repeats(normal, times=150, common=common)
    assert held >= 0.92
    assert mean_held >= 0.9


@pytest.mark.parametrize("least", [True, False])
def test_rounds_of_a_busy_machine(least):
    """Three recorded rounds of 20 networks against three others: the true speed-up is 1."""
    times = np.loadtxt(ROUNDS, delimiter=",", skiprows=1)
    rng = np.random.default_rng(4)
    held, mean_held = [], []
    for _ in range(100):
        order = rng.permutation(times.shape[1])
        sides = [[reading(own[some], least) for own in times] for some in (order[:3], order[3:6])]
        found = ratios(*sides)
        held += [low < 1 < high for low, high in (r.interval(0.95) for r in found)]
        low, high = mean_ratio(found, range(len(found)), *sides).interval(0.95)
        mean_held.append(low < 1 < high)
    assert 0.92 < np.mean(held) < 0.98
    assert np.mean(mean_held) > 0.85


def test_networks_lend_each_other_what_they_know_of_noise():
    """Alone a network has four degrees of freedom, and an interval half as wide again."""
    rng = np.random.default_rng(1)
    a, b = ([reading(1 + 0.01 * rng.normal(size=3)) for _ in range(200)] for _ in "ab")
    together = np.mean([math.log(h / low) for low, h in (r.interval(0.95) for r in ratios(a, b))])
    singly = [ratios([x], [y])[0].interval(0.95) for x, y in zip(a, b, strict=True)]
    alone = np.mean([math.log(h / low) for low, h in singly])
    assert alone > 1.3 * together


def test_a_network_that_is_noisy_keeps_a_wide_interval():
    rng = np.random.default_rng(1)
    a, b = ([reading(1 + s * rng.normal(size=3)) for s in [0.001] * 30 + [0.1]] for _ in "ab")
    found = ratios(a, b)
    widths = [math.log(high / low) for low, high in (r.interval(0.95) for r in found)]
    assert widths[-1] > 5 * np.median(widths)


def test_what_is_not_known_has_no_interval():
    (one,) = ratios([Reading(2.0, (2.0,))], [Reading(1.0, (1.0, 1.1, 1.2))])
    assert one.speedup == 2.0
    assert one.interval(0.95) is None
    (one,) = ratios([Reading(2.0)], [Reading(1.0, (1.0, 1.1, 1.2))])
    assert one.interval(0.95) is None


def test_one_round_borrows_the_spread_of_others():
    rng = np.random.default_rng(1)
    many = [reading(np.exp(0.01 * rng.normal(size=3))) for _ in range(40)]
    single = ratios([*many, Reading(2.0, (2.0,))], [*many, reading([1.0, 1.01, 1.02])])[-1]
    low, high = single.interval(0.95)
    assert 1.9 < low < 2 < high < 2.1


def test_a_prediction_brings_its_own_interval():
    exact = [reading([1.0, 1.0, 1.0])] * 5
    told = [Reading(2.0, half_width=math.log(1.1), level=0.9)] * 5
    low, high = ratios(told, exact)[0].interval(0.9)
    assert (low, high) == (pytest.approx(2 / 1.1, rel=1e-4), pytest.approx(2 * 1.1, rel=1e-4))
    wide = ratios(told, told)[0].interval(0.9)
    assert math.log(wide[1]) == pytest.approx(math.sqrt(2) * math.log(1.1), rel=1e-4)


def test_the_mean_is_over_networks_each_with_its_batches():
    logs, exact = [0.1, 0.3, 0.6], [reading([1.0, 1.0, 1.0])] * 3
    found = mean_ratio([Ratio(v, 1e-4, 9.0) for v in logs], ["x", "x", "y"], exact, exact)
    assert found.log == pytest.approx((0.2 + 0.6) / 2)
    assert found.freedom == 1
    assert found.variance == pytest.approx(np.var([0.2, 0.6], ddof=1) / 2)


def test_the_mean_of_one_network_has_the_noise_of_its_cases():
    exact = [reading([1.0, 1.0, 1.0])] * 2
    found = mean_ratio([Ratio(0.1, 4e-4, 9.0), Ratio(0.3, 4e-4, 9.0)], ["x", "x"], exact, exact)
    assert found.log == pytest.approx(0.2)
    assert found.variance == pytest.approx(2e-4)
    assert found.freedom == pytest.approx(18)
    one = Ratio(0.1, math.nan, 9.0)
    assert mean_ratio([one], ["x"], exact[:1], exact[:1]) is one


def test_what_a_round_has_in_common_is_part_of_the_mean():
    """Rounds of all networks 2 % apart on one side: the variance of the least of three of such rounds."""
    rounds = [1.0, 1.02, 1.04]
    a, b = [reading(rounds)] * 4, [reading([1.0, 1.0, 1.0])] * 4
    found = mean_ratio([Ratio(0.1, 0.0, 9.0)] * 4, "wxyz", a, b)
    assert found.variance == pytest.approx(_variance_of_order(3, True) * np.var(np.log(rounds), ddof=1))
    assert found.freedom == pytest.approx(2)
    half = mean_ratio([Ratio(0.1, 0.0, 9.0)] * 4, "wxyz", a[:2], b[:2])
    assert half.variance == pytest.approx(found.variance / 4)


def test_one_round_does_not_tell_what_networks_have_in_common():
    single, many = [Reading(1.0, (1.0,))] * 3, [reading([1.0, 1.01, 1.02])] * 3
    found = [Ratio(0.1, math.nan, 9.0), Ratio(0.2, math.nan, 9.0), Ratio(0.3, math.nan, 9.0)]
    assert mean_ratio(found, "xyz", single, many).interval(0.95) is None
    told = [Reading(1.0, half_width=0.1)] * 3
    assert mean_ratio(found, "xyz", told, many).interval(0.95) is not None


def test_equal_rounds_have_an_interval_of_no_width():
    flat = [reading([1.0, 1.0, 1.0])] * 6
    low, high = ratios(flat, flat)[0].interval(0.95)
    assert low == pytest.approx(1, abs=1e-4)
    assert high == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("count", "expected"), [(1, 1.0), (2, 0.6816901), (3, 0.5594672), (5, 0.4475341)])
def test_variance_of_the_least_normal_number(count, expected):
    """As tabulated by Teichroew, Annals of Mathematical Statistics 27 (1956)."""
    assert _variance_of_order(count, True) == pytest.approx(expected, abs=1e-6)


def test_variance_of_the_median():
    assert _variance_of_order(3, False) == pytest.approx(0.4486711, abs=1e-6)


@pytest.mark.parametrize("x", [0.05, 0.5, 2.0, 40.0])
def test_the_inverse_of_trigamma(x):
    assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)


def test_what_variances_have_in_common_is_found():
    """Variances drawn as the model says: s² = s₀²·d₀/χ²(d₀) · χ²(d)/d."""
    rng = np.random.default_rng(2)
    d0, s0, d = 6.0, 4e-4, 2.0
    variances = s0 * d0 / rng.chisquare(d0, 20_000) * rng.chisquare(d, 20_000) / d
    common, weight = _common(variances, np.full(20_000, d))
    assert common == pytest.approx(s0, rel=0.05)
    assert weight == pytest.approx(d0, rel=0.1)
    same = s0 * rng.chisquare(d, 20_000) / d
    common, weight = _common(same, np.full(20_000, d))
    assert common == pytest.approx(s0, rel=0.05)
    assert weight > 50
    assert _common(variances[:2], np.full(2, d)) == (0.0, 0.0)
