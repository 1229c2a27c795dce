"""Intervals: how far a prediction may be off, from the errors on networks that were held out (conformal prediction).

The score of a held-out network is its absolute log error, so intervals are ratios: [latency / q, latency · q]. Scores
of small and large networks are kept apart where they differ (Mondrian conformal prediction: Vovk, Gammerman and
Shafer, Algorithmic Learning in a Random World, 2005, 4.5), since what bounds them differs: launches, or arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Strata = tuple[tuple[float, tuple[float, ...]], ...]  # least latency in ms, sorted scores

TAIL = 0.2  # of the scores: the part whose mean excess tells how far beyond the largest a rarer error may lie
LARGEST = 50.0  # a log error that no latency is off by
FAR = 5.0  # times as wide as in the domain (16 times beyond one limit): beyond it nothing is known
WIDE = math.log(10)  # of a log latency, to either side: nor where it is wider than this
NO_ERRORS = "no errors in the law"
FAR_OUTSIDE = "far outside what the law has seen"
STRATUM = 25  # scores at least on each side of a boundary
UNLIKE = 1.5  # ratio of the two sides' scores from which they are kept apart


def quantile(scores: Sequence[float], level: float) -> float:
    """The conformal quantile at ``level`` of ``scores`` (sorted, at least one): the ⌈(n + 1)·level⌉-th. Where the level
    asks for more scores than there are, the largest plus what an exponential tail adds; that is an extrapolation."""
    n = len(scores)
    rank = math.ceil((n + 1) * level - 1e-9)
    if rank <= n:
        return float(scores[max(rank, 1) - 1])
    beyond = math.log(1 / ((n + 1) * (1 - level))) if level < 1 else LARGEST
    return min(scores[-1] + excess(scores) * beyond, LARGEST)


def excess(scores: Sequence[float]) -> float:
    """Mean excess of the tail of ``scores`` (sorted)."""
    tail = scores[-max(math.ceil(TAIL * len(scores)), 2) :]
    return max(fmean(tail) - tail[0], 1e-9)


def parted(held_out: Sequence[tuple[float, float]]) -> float | None:
    """The latency (ms) that parts small networks from large ones, where their scores differ; else None.

    Only the quartiles and the median are tried, so that chance has little to choose from.

    :param held_out: (predicted ms, log error) of each network.
    """
    if len(held_out) < 2 * STRATUM:
        return None
    latency_ms, scores = np.abs(np.array(held_out)).T
    found, most = None, UNLIKE
    for at in np.percentile(latency_ms, [25, 50, 75]):
        small = latency_ms < at
        if min(small.sum(), (~small).sum()) < STRATUM:
            continue
        a, b = (float(np.median(scores[side])) for side in (small, ~small))
        unlike = max(a, b) / max(min(a, b), 1e-9)
        if unlike > most:
            found, most = float(at), unlike
    return found


def strata(held_out: Sequence[tuple[float, float]], parted_ms: float | None) -> Strata:
    """(least latency in ms, sorted scores) of each stratum, the small networks first.

    :param held_out: (predicted ms, log error) of each network. :param parted_ms: the boundary, or None.
    """
    if parted_ms is None:
        return ((0.0, tuple(sorted(abs(error) for _, error in held_out))),)
    small, large = (
        tuple(sorted(abs(error) for ms, error in held_out if (ms < parted_ms) is side))
        for side in (True, False)
    )
    return (0.0, small), (parted_ms, large)


def half_widths(parts: Strata, latency_ms: Vector, level: float) -> Vector:
    """Half-widths of log latency at ``level``, for an array of predictions in ms."""
    found = np.zeros(np.shape(latency_ms))
    for least, scores in parts:
        found[latency_ms >= least] = quantile(scores, level)
    return found


def probabilities(
    parts: Strata,
    latency_ms: Vector,
    at_most_ms: Vector | float,
    widening: Vector | float = 1.0,
) -> Vector:
    """The probability that the latency is at most ``at_most_ms``: the share of scores (their tail extrapolated, either
    sign as likely) with which the prediction would still meet it.

    :param widening: of the interval, outside the domain; where it is infinite, the probability is nan.
    """
    margin = np.log(np.asarray(at_most_ms, np.float64) / latency_ms) / widening
    found = np.empty(np.shape(latency_ms))
    for least, scores in parts:
        side = latency_ms >= least
        size = np.abs(margin[side])
        n = len(scores)
        below = np.searchsorted(scores, size, side="right") / (n + 1)
        beyond = 1 - np.exp(-np.maximum(size - scores[-1], 0) / excess(scores)) / (n + 1)
        inside = np.where(size > scores[-1], beyond, below)
        found[side] = 0.5 * (1 + np.sign(margin[side]) * inside)
    return np.where(np.isinf(widening), np.nan, found)


def unknown(scores: Sequence[Any], widening: float) -> str:
    """Why no interval is known from ``scores`` where it would be so much wider; empty where one is."""
    if not scores:
        return NO_ERRORS
    return FAR_OUTSIDE if math.isinf(widening) else ""


def bounded(widening: Any, half_width: Any) -> Any:
    """How much wider intervals are outside a domain (numbers or arrays), and infinite where nothing is known: beyond
    :data:`FAR`, or where half the width of a 90 % interval (``half_width`` in the domain) goes beyond :data:`WIDE`."""
    wide = np.asarray(widening, np.float64)
    far = (wide > FAR) | ((wide > 1) & (wide * half_width > WIDE))
    return np.where(far, np.inf, wide)[()]


def widening(outside: Sequence[Mapping[str, Any]]) -> float:
    """How much wider an interval is outside the domain: for each knob, once more for every doubling beyond its limit;
    twice for a choice that was never seen."""
    return math.prod(1 + _doublings(item["value"], item["seen"]) for item in outside)


def _doublings(value: Any, seen: Sequence[Any]) -> float:
    if isinstance(value, str) or isinstance(seen[0], str):
        return 1.0
    limit = seen[0] if value < seen[0] else seen[-1]
    return abs(math.log2((max(value, 0) + 1) / (max(limit, 0) + 1)))
