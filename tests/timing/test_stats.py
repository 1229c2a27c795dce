"""Samples, intervals and estimators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.timing.stats import combine, estimate, median_interval, samples_ms

times = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50)


def test_samples_are_means_of_their_runs_in_ms():
    runs = np.array([1, 3, 5, 7, 9, 11], np.int64) * 1_000_000
    assert samples_ms(runs, 2).tolist() == [2.0, 6.0, 10.0]
    assert samples_ms(runs, 1).tolist() == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]


def test_runs_beyond_the_last_whole_sample_are_left_out():
    assert samples_ms(np.arange(7, dtype=np.int64) * 1_000_000, 3).tolist() == [1.0, 4.0]


def test_median_interval_of_a_hundred():
    assert median_interval(np.arange(100.0)[::-1]) == (39.0, 60.0)


@given(times)
def test_median_interval_holds_the_median(values):
    low, high = median_interval(np.array(values))
    assert low <= np.median(values) <= high


@pytest.mark.parametrize(
    ("rounds", "estimator", "index", "value"),
    [
        ([3.0, 1.0, 2.0], "minimum", 1, 1.0),
        ([3.0, 1.0, 2.0], "median", 2, 2.0),
        ([4.0, 1.0, 2.0, 3.0], "median", 2, 2.5),  # the lower middle one stands for both
        ([5.0], "median", 0, 5.0),
        ([5.0], "minimum", 0, 5.0),
    ],
)
def test_estimators(rounds, estimator, index, value):
    assert estimate(rounds, estimator) == index
    assert combine(rounds, estimator) == value


@given(times, st.sampled_from(["minimum", "median"]))
def test_the_chosen_round_is_never_above_the_estimate(rounds, estimator):
    assert rounds[estimate(rounds, estimator)] <= combine(rounds, estimator) <= max(rounds)
