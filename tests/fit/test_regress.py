"""Regression: known coefficients come back from noise and outliers, and what no data tell apart is reported."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeprof.fit.regress import alike, fit_linear, fit_log, resample

TRUE = np.array([3e-8, 2e-6, 0.01])


def table(rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Columns of very different sizes, as operations, elements and a constant have."""
    rng = np.random.default_rng(seed)
    return np.column_stack([10 ** rng.uniform(4, 8, rows), 10 ** rng.uniform(2, 5, rows), np.ones(rows)])


def test_exact_data_give_exact_coefficients() -> None:
    x = table(30)
    assert fit_log(x, x @ TRUE) == pytest.approx(TRUE, rel=1e-6)


def test_noise_of_two_percent_leaves_coefficients_within_a_few_percent() -> None:
    x = table(300)
    noise = np.exp(0.02 * np.random.default_rng(1).standard_normal(300))
    assert fit_log(x, x @ TRUE * noise) == pytest.approx(TRUE, rel=0.03)


def test_one_row_in_ten_three_times_too_slow_moves_coefficients_little() -> None:
    x = table(300)
    rng = np.random.default_rng(2)
    y = x @ TRUE * np.exp(0.01 * rng.standard_normal(300))
    y[rng.choice(300, 30, replace=False)] *= 3
    found = fit_log(x, y)
    assert found == pytest.approx(TRUE, rel=0.05)
    plain = np.linalg.lstsq(x / y[:, None], np.ones(300), rcond=None)[0]
    assert np.abs(plain / TRUE - 1).max() > 2 * np.abs(found / TRUE - 1).max()


def test_errors_are_those_of_the_logarithm_so_predictions_are_not_too_low() -> None:
    x = np.ones((4001, 1))
    y = np.exp(0.5 * np.random.default_rng(3).standard_normal(4001))
    squared = 1 / np.mean(1 / y**2) * np.mean(1 / y)  # what squared relative errors would give
    assert fit_log(x, y)[0] == pytest.approx(1, abs=0.05)
    assert squared < 0.8


def test_coefficients_are_never_negative() -> None:
    x = np.column_stack([np.arange(1.0, 41), np.ones(40)])
    y = 10 - 0.1 * np.arange(1.0, 41)  # falls with the first column
    found = fit_log(x, y)
    assert found[0] == 0
    assert found[1] > 0


def test_weights_say_which_rows_matter() -> None:
    x = np.ones((20, 1))
    y = np.array([1.0] * 10 + [2.0] * 10)
    assert fit_log(x, y, np.array([1.0] * 10 + [1e-6] * 10))[0] == pytest.approx(1, rel=1e-3)
    assert fit_log(x, y, np.array([1e-6] * 10 + [1.0] * 10))[0] == pytest.approx(2, rel=1e-3)


def test_rows_that_tell_nothing_are_left_out() -> None:
    x = np.vstack([table(30), np.zeros((3, 3)), table(2)])
    y = x @ TRUE
    y[30:33] = 5.0  # no column says why
    y[33:] = 0.0  # no time at all
    assert fit_log(x, y) == pytest.approx(TRUE, rel=1e-6)
    assert fit_log(np.zeros((4, 2)), np.ones(4)).tolist() == [0, 0]
    assert fit_log(np.zeros((0, 2)), np.zeros(0)).tolist() == [0, 0]


def test_a_column_of_zeros_gets_nothing() -> None:
    x = table(30)
    found = fit_log(np.column_stack([x, np.zeros(30)]), x @ TRUE)
    assert found == pytest.approx([*TRUE, 0], rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 100), min_size=2, max_size=4),
    st.floats(1e-9, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_the_unit_of_time_changes_coefficients_in_proportion(
    true: list[float], unit: float, seed: int
) -> None:
    x = 10 ** np.random.default_rng(seed).uniform(-1, 1, (25, len(true)))
    y = x @ np.array(true)
    found = fit_log(x, y)
    assert (found >= 0).all()
    assert x @ found == pytest.approx(y, rel=1e-4)
    assert x @ fit_log(x, y * unit) == pytest.approx(y * unit, rel=1e-4)


def test_fit_linear_takes_targets_of_both_signs() -> None:
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(400), rng.uniform(0, 10, 400)])
    y = x @ [0.02, 0.003] + 0.01 * rng.standard_normal(400)
    assert (y < 0).any()
    y[:20] += 5  # outliers
    assert fit_linear(x, y, np.ones(400)) == pytest.approx([0.02, 0.003], rel=0.15)
    assert fit_linear(x, -np.ones(400), np.ones(400)).tolist() == [0, 0]


def test_resampled_errors_are_about_right() -> None:
    def draw(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = table(120, seed)
        return x, x @ TRUE * np.exp(0.05 * np.random.default_rng(seed + 1000).standard_normal(120))

    truth = np.std([fit_log(*draw(seed)) for seed in range(40)], axis=0, ddof=1)
    x, y = draw(0)
    found = resample(x, y, None, np.arange(120), 60, seed=0).std(axis=0, ddof=1)
    assert (found > truth / 2).all()
    assert (found < truth * 2).all()


def test_rows_of_one_network_are_drawn_together() -> None:
    """Two networks, each measured ten times alike: an honest error is larger than that of twenty rows."""
    x, owners = np.ones((20, 1)), np.repeat([0, 1], 10)
    y = np.repeat([1.0, 1.2], 10)
    together = resample(x, y, None, owners, 200, seed=0).std()
    apart = resample(x, y, None, np.arange(20), 200, seed=0).std()
    assert together > 1.2 * apart
    assert set(np.round(resample(x, y, np.ones(20), owners, 50, seed=0)[:, 0], 3)) == {1.0, 1.095, 1.2}


def test_the_same_seed_gives_the_same_errors() -> None:
    x = table(20)
    y = x @ TRUE
    first, second = (resample(x, y, None, np.arange(20), 5, seed=3) for _ in range(2))
    assert (first == second).all()


def test_proportional_columns_are_named() -> None:
    x = table(20)
    doubled = np.column_stack([x, 2 * x[:, 1], x[:, 0] * x[:, 1]])
    assert alike(doubled, np.ones(20)) == [(1, 3)]
    assert alike(x, x @ TRUE) == []


def test_alike_takes_rows_without_time_and_columns_without_values() -> None:
    x = np.column_stack([table(20), np.zeros(20), np.zeros(20)])
    y = x[:, :3] @ TRUE
    y[:5] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert alike(x, y) == []
