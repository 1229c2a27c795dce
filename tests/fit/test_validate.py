"""Scores: known values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.fit.validate import Row, Share, score, wilson


def row(measured: float, predicted: float, **more: float | None) -> Row:
    return Row(
        **{
            "net": "n",
            "batch": 1,
            "measured_ms": measured,
            "predicted_ms": predicted,
            "low_ms": None,
            "high_ms": None,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (81, 263, 25.53, 36.62),  # Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3
        (15, 148, 6.24, 16.05),
        (0, 20, 0.0, 16.11),
        (1, 29, 0.61, 17.18),
        (20, 20, 83.89, 100.0),
        (5, 10, 23.66, 76.34),
    ],
)
def test_wilson(hits: int, total: int, low: float, high: float) -> None:
    found = wilson(hits, total)
    assert found.pct == pytest.approx(100 * hits / total)
    assert (found.low_pct, found.high_pct) == pytest.approx((low, high), abs=6e-3)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share_within_0_and_100(case: tuple[int, int]) -> None:
    found = wilson(*case)
    assert 0 <= found.low_pct <= found.pct + 1e-9
    assert found.pct - 1e-9 <= found.high_pct <= 100


def test_scores() -> None:
    rows = [
        row(10, 10.4, low_ms=9, high_ms=11, noise_pct=1.0, floor_ms=9.5, known_ms=10.2),
        row(20, 19.2, low_ms=15, high_ms=19.5, noise_pct=3.0, floor_ms=20),
        row(5, 5.45, low_ms=5, high_ms=6, noise_pct=8.0),
        row(8, 10),
    ]
    found = score(rows, 0.9)
    assert found.nets == 4
    assert found.mape_pct == pytest.approx((4 + 4 + 9 + 25) / 4)
    assert found.mdape_pct == pytest.approx(6.5)
    assert found.p95_ape_pct == pytest.approx(9 + 0.85 * 16)
    assert found.bias_pct == pytest.approx((4 - 4 + 9 + 25) / 4)
    assert (found.within_5_pct.pct, found.within_10_pct.pct) == (50, 75)
    assert found.covered_pct == pytest.approx(200 / 3)
    assert (found.level, found.noise_pct) == (0.9, 3)
    assert found.floor_mape_pct == pytest.approx(2.5)
    assert found.wrong_guess_pct == pytest.approx(2)
    assert found.rows == tuple(rows)


def test_what_is_not_known_is_none() -> None:
    found = score([row(1, 1)], 0.9)
    assert (found.covered_pct, found.noise_pct, found.floor_mape_pct) == (None, None, None)
    assert found.within_5_pct == Share(100, pytest.approx(20.6549, abs=1e-3), 100)


@given(st.lists(st.tuples(st.floats(1e-3, 1e4), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_scores_keep_their_order(pairs: list[tuple[float, float]]) -> None:
    found = score([row(m, m * f) for m, f in pairs], 0.9)
    assert found.mdape_pct <= found.p95_ape_pct + 1e-9
    assert abs(found.bias_pct) <= found.mape_pct + 1e-9
    assert found.within_5_pct.pct <= found.within_10_pct.pct
    assert math.isfinite(found.mape_pct)
