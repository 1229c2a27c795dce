"""Samples, intervals and estimators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.timing.stats import RECIPES, combine, estimate, interval_ms, kernel_us, round_ms, samples_ms

times = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50)


def test_samples_are_means_of_their_runs_in_ms():
    runs = np.array([1, 3, 5, 7, 9, 11], np.int64) * 1_000_000
    assert samples_ms(runs, 2).tolist() == [2.0, 6.0, 10.0]
    assert samples_ms(runs, 1).tolist() == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]


def test_runs_beyond_the_last_whole_sample_are_left_out():
    assert samples_ms(np.arange(7, dtype=np.int64) * 1_000_000, 3).tolist() == [1.0, 4.0]


def test_intervals_of_a_hundred():
    samples = np.arange(100.0)[::-1]
    assert interval_ms(samples, "minimum") == interval_ms(samples, "median") == (39.0, 60.0)
    assert interval_ms(samples, "low-decile") == (4.0, 16.0)  # binomial, 100 draws of 0.1: 5 to 16


@given(times, st.sampled_from(sorted(RECIPES)))
def test_an_interval_holds_its_estimate(values, estimator):
    low, high = interval_ms(np.array(values), estimator)
    assert low <= round_ms(np.array(values), estimator) <= high


def test_an_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    true = -np.log(0.9)  # the 10th percentile of the exponential distribution
    hits = 0
    for _ in range(2000):
        low, high = interval_ms(rng.exponential(size=80), "low-decile")
        hits += low <= true <= high
    assert 0.94 <= hits / 2000 <= 0.99


def test_what_a_round_amounts_to():
    samples = np.arange(101.0)
    assert [round_ms(samples, name) for name in ("low-decile", "minimum", "median")] == [10.0, 50.0, 50.0]
    times = list(range(1, 21))
    assert kernel_us(times, "minimum") == np.mean(times[5:15])
    assert kernel_us(times, "low-decile") == np.mean(times[2:8])


@pytest.mark.parametrize(
    ("rounds", "estimator", "index", "value"),
    [
        ([3.0, 1.0, 2.0], "minimum", 1, 1.0),
        ([3.0, 1.0, 2.0], "median", 2, 2.0),
        ([4.0, 1.0, 2.0, 3.0], "median", 2, 2.5),  # the lower middle one stands for both
        ([5.0], "median", 0, 5.0),
        ([5.0], "minimum", 0, 5.0),
        ([3.0, 1.0, 2.0], "low-decile", 1, 1.0),
    ],
)
def test_estimators(rounds, estimator, index, value):
    assert estimate(rounds, estimator) == index
    assert combine(rounds, estimator) == value


@given(times, st.sampled_from(sorted(RECIPES)))
def test_the_chosen_round_is_never_above_the_estimate(rounds, estimator):
    assert rounds[estimate(rounds, estimator)] <= combine(rounds, estimator) <= max(rounds)
