"""Statistics of samples: the board's estimator within a round and over rounds, and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.boards.spec import Estimator
from edgeprof.timing.breakdown import band_mean

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How an estimator reads a round and joins rounds: the quantile of the samples that is a round's latency, the band
    of the profiled runs whose mean is a kernel's time, and whether the least of the rounds counts or their median."""

    quantile: float
    band: tuple[float, float]
    least: bool


RECIPES: Mapping[Estimator, Recipe] = {
    "low-decile": Recipe(0.1, (0.1, 0.4), True),
    "minimum": Recipe(0.5, (0.25, 0.75), True),
    "median": Recipe(0.5, (0.25, 0.75), False),
}


def samples_ms(runs_ns: NDArray[np.int64], repeats: int) -> Samples:
    """Mean run time (ms) of each sample of ``repeats`` consecutive single runs."""
    whole = len(runs_ns) // repeats * repeats
    return np.asarray(runs_ns[:whole].reshape(-1, repeats).mean(axis=1) / 1e6, dtype=np.float64)


def round_ms(samples: Samples, estimator: Estimator) -> float:
    """The latency (ms) that one round's samples amount to."""
    return float(np.quantile(samples, RECIPES[estimator].quantile))


def kernel_us(times: Sequence[float], estimator: Estimator) -> float:
    """The time (µs) that one round's profiled runs of a kernel amount to."""
    return band_mean(times, *RECIPES[estimator].band)


def interval_ms(samples: Samples, estimator: Estimator) -> tuple[float, float]:
    """95 % interval of :func:`round_ms`: order statistics, no distribution assumed (Conover, Practical Nonparametric
    Statistics, 3.2)."""
    ordered = np.sort(samples)
    low, high = quantile_ranks(len(samples), RECIPES[estimator].quantile)
    return float(ordered[max(low, 0)]), float(ordered[min(high, len(samples) - 1)])


def quantile_ranks(n: int, q: float) -> tuple[int, int]:
    """Ranks, from 0, of the order statistics of ``n`` samples that bound the quantile ``q`` with 95 % confidence; -1
    and ``n`` where no sample does."""
    return _successes(0.025, n, q) - 1, _successes(0.975, n, q)


def quantile_interval(samples: NDArray[Any], q: float) -> tuple[float | None, float | None]:
    """95 % interval of the quantile ``q``; None at an end that so few samples do not bound."""
    ordered = np.sort(samples)
    low, high = quantile_ranks(len(ordered), q)
    return (
        float(ordered[low]) if low >= 0 else None,
        float(ordered[high]) if high < len(ordered) else None,
    )


def runs_to_bound(q: float) -> int:
    """How many samples it takes before the largest bounds the quantile ``q`` with 95 % confidence."""
    return math.ceil(math.log(0.025) / math.log(q))


def estimate(rounds: Sequence[float], estimator: Estimator) -> int:
    """Index of the round whose value is the estimate: the smallest, or the (lower) middle one."""
    order = sorted(range(len(rounds)), key=rounds.__getitem__)
    return order[0] if RECIPES[estimator].least else order[(len(order) - 1) // 2]


def combine(values: Sequence[float], estimator: Estimator) -> float:
    """The estimate over rounds of one value a round."""
    return float(min(values) if RECIPES[estimator].least else np.median(values))


def _successes(probability: float, n: int, q: float) -> int:
    """The least number of successes in ``n`` trials, each with chance ``q``, that is not exceeded with ``probability``.
    As ``scipy.stats.binom.ppf``, which takes half a second to import."""
    from scipy.special import bdtr, bdtrik  # a sweep reads no interval: SciPy is not for its process

    at = math.ceil(bdtrik(probability, n, q))
    return at - 1 if at > 0 and bdtr(at - 1, n, q) >= probability else at
