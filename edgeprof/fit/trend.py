"""Trend: what every row of a table gained while the table was measured.

A harness that leaks makes each measurement a little longer than the one before. Where the rows of a table stand in the
order of measurement, that can be told from the place of a row, and kept out of the law's coefficients. A prediction
knows no place: it is for the middle of the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import spearmanr

Vector = NDArray[np.float64]

SCALE = 0.1  # residuals of the logarithm beyond this are weighed down
GAIN = 0.1  # a trend must take away this part of the error
SORTED = 0.5  # rank correlation of latency and place from which a table counts as sorted by size
LEAST = 0.3  # of a latency is left when the trend is taken away


def places(lines: Sequence[int]) -> Vector:
    """Where rows stand in their table: 0 the first, 1 the last."""
    ordered = np.unique(lines)
    found: Vector = np.searchsorted(ordered, lines) / max(len(ordered) - 1, 1)
    return found


def trend_ms(latency_ms: Vector, law_ms: Vector, place: Vector) -> float:
    """What the last row took longer than the first, beside what a law says of them; 0 where it does not explain a
    good part of the error, or where rows are sorted by latency, so that place and size cannot be told apart."""
    if len(place) < 3 or abs(float(spearmanr(latency_ms, place)[0])) > SORTED:
        return 0.0

    def residual(c: Vector) -> Vector:
        made = np.maximum(c[0] * law_ms + c[1] * (place - 0.5), 1e-3 * latency_ms)
        error: Vector = np.log(made / latency_ms)
        return error

    starts = (0.0, float(np.median(np.abs(latency_ms - law_ms))))
    fits = [least_squares(residual, [1.0, s], loss="soft_l1", f_scale=SCALE) for s in starts]
    best = min(fits, key=lambda fit: float(fit.cost))
    own = residual(np.array([1.0, 0.0]))
    before = SCALE**2 * float(np.sum(np.sqrt(1 + ((own - np.median(own)) / SCALE) ** 2) - 1))
    return float(best.x[1]) if float(best.cost) < (1 - GAIN) * before else 0.0


def without(latency_ms: Vector, place: Vector, trend: float) -> Vector:
    """Latencies as they would have been in the middle of the table."""
    found: Vector = np.maximum(latency_ms - trend * (place - 0.5), LEAST * latency_ms)
    return found
