"""Trends: what a leaking harness adds is found, and what only looks like it is not."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.fit.trend import places, trend_ms, without

N = 600


@pytest.fixture
def law_ms() -> np.ndarray:
    return np.random.default_rng(5).lognormal(0, 1.2, N)


def noise(seed: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0, 0.05, N)


def test_places() -> None:
    assert places([10, 30, 20]).tolist() == [0, 1, 0.5]
    assert places([7]).tolist() == [0]
    assert places([2, 2, 3]).tolist() == [0, 0, 1]  # a row of several batches


@pytest.mark.parametrize("trend", [0.7, -0.1])
def test_a_trend_is_found(law_ms: np.ndarray, trend: float) -> None:
    place = np.linspace(0, 1, N)
    steady = (law_ms + 0.1) * noise()
    found = trend_ms(steady + trend * (place - 0.5) + 0.4, law_ms + 0.5, place)
    assert found == pytest.approx(trend, rel=0.15)


def test_outliers_are_no_trend(law_ms: np.ndarray) -> None:
    place = np.linspace(0, 1, N)
    latency = law_ms * noise()
    assert trend_ms(latency, law_ms, place) == 0
    latency[::20] *= 5
    assert trend_ms(latency, law_ms, place) == 0


def test_a_law_that_is_uniformly_off_is_no_trend(law_ms: np.ndarray) -> None:
    assert trend_ms(1.3 * law_ms * noise(), law_ms, np.linspace(0, 1, N)) == 0


def test_a_sorted_table_tells_no_trend(law_ms: np.ndarray) -> None:
    latency = np.sort(law_ms)
    assert trend_ms(latency, latency**0.8, np.linspace(0, 1, N)) == 0


def test_without() -> None:
    found = without(np.array([1.0, 1.0, 0.1]), np.array([0.0, 1.0, 1.0]), 0.4)
    assert found.tolist() == pytest.approx([1.2, 0.8, 0.03])
