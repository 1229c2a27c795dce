"""Statistics of samples: intervals of medians, percentiles, and the board's estimator over rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeprof.boards.spec import Estimator
from edgeprof.timing.loop import median_ranks

Samples = NDArray[np.float64]


def samples_ms(runs_ns: NDArray[np.int64], repeats: int) -> Samples:
    """Mean run time (ms) of each sample of ``repeats`` consecutive single runs."""
    whole = len(runs_ns) // repeats * repeats
    return np.asarray(runs_ns[:whole].reshape(-1, repeats).mean(axis=1) / 1e6, dtype=np.float64)


def median_interval(samples: Samples) -> tuple[float, float]:
    """95 % interval of the median, distribution-free (order statistics)."""
    ordered = np.sort(samples)
    low, high = median_ranks(len(ordered))
    return float(ordered[low]), float(ordered[high])


def estimate(rounds: Sequence[float], estimator: Estimator) -> int:
    """Index of the round whose value is the estimate: the smallest, or the (lower) middle one."""
    order = sorted(range(len(rounds)), key=rounds.__getitem__)
    return order[0] if estimator == "minimum" else order[(len(order) - 1) // 2]


def combine(values: Sequence[float], estimator: Estimator) -> float:
    """The estimate over rounds of one value a round."""
    return float(min(values) if estimator == "minimum" else np.median(values))
