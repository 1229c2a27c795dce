"""Ratio: how many times as fast one set of rounds is as another, with an interval.

Times are compared as logarithms, so that twice and half as fast are equally far from 1. Three rounds tell little about
their own spread, but many networks measured alike tell much about each other's: the variance of a network's rounds is
drawn towards what its side has in common, as strongly as the data say that there is something (Smyth, Linear models and
empirical Bayes methods, Statistical Applications in Genetics and Molecular Biology 3(1), 2004). The interval is that of
Student's t with the degrees of freedom of both sides (Welch, Biometrika 34, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, ndtr, ndtri, polygamma, stdtrit

Vector = NDArray[np.float64]

MANY = 1e6  # degrees of freedom that are as good as any number of them
FEWEST = 3  # networks from which on they tell what they have in common
TINY = 1e-12  # variance of a logarithm, a millionth of the time: no clock repeats better


@dataclass(frozen=True)
class Reading:
    """A time (ms) and how well it is known: one value of each round (the time is the least of them, or their median),
    or of a prediction the half-width of its logarithm at ``level``. Without either that is not known."""

    ms: float
    rounds_ms: tuple[float, ...] = ()
    least: bool = True
    half_width: float | None = None
    level: float = 0.9


@dataclass(frozen=True)
class Ratio:
    """The logarithm of a speed-up; its variance, with degrees of freedom. A variance that is not known is NaN."""

    log: float
    variance: float
    freedom: float

    @property
    def speedup(self) -> float:
        """How many times as fast."""
        return math.exp(self.log)

    def interval(self, level: float) -> tuple[float, float] | None:
        """Where the speed-up lies with this confidence; None where that is not known."""
        if math.isnan(self.variance):
            return None
        half = float(stdtrit(min(self.freedom, MANY), (1 + level) / 2)) * math.sqrt(self.variance)
        return math.exp(self.log - half), math.exp(self.log + half)


def ratios(a: Sequence[Reading], b: Sequence[Reading]) -> list[Ratio]:
    """The speed-up of each of ``b`` over its partner in ``a``. Those of one side are measured alike."""
    found = []
    for one, other, (va, fa), (vb, fb) in zip(a, b, _spreads(a), _spreads(b), strict=True):
        variance = va + vb
        parts = va**2 / fa + vb**2 / fb
        found.append(Ratio(math.log(one.ms / other.ms), variance, variance**2 / parts if parts else MANY))
    return found


def mean_ratio(
    found: Sequence[Ratio], networks: Sequence[Hashable], a: Sequence[Reading], b: Sequence[Reading]
) -> Ratio:
    """The geometric mean over networks, each of them with the mean of its own (its batches); the interval takes the
    networks for a sample of their kind (Mashey, War of the benchmark means, Computer Architecture News 32(4), 2004). Of
    one network there is no such sample: the interval is then that of the noise. A machine is slower for many networks
    at once, so what a side's rounds have in common is added.

    :param networks: which network each ratio is of. :param a: what the ratios are of, without those that are 1 because
        both sides are one measurement. :param b: the same of the other side.
    """
    if len(found) == 1:
        return found[0]
    own: dict[Hashable, list[float]] = {}
    for ratio, network in zip(found, networks, strict=True):
        own.setdefault(network, []).append(ratio.log)
    means = np.array([np.mean(logs) for logs in own.values()])
    if len(means) > 1:
        parts = [(float(means.var(ddof=1)) / len(means), len(means) - 1.0)]
    else:
        parts = [(r.variance / len(found) ** 2, r.freedom) for r in found]
    for side in (a, b) if a else ():
        variance, freedom = _common_to_round(side)
        parts.append((variance * (len(side) / len(found)) ** 2, freedom))
    total = sum(variance for variance, _ in parts)
    doubt = sum(variance**2 / freedom for variance, freedom in parts)
    return Ratio(float(means.mean()), total, total**2 / doubt if doubt else MANY)


def _common_to_round(side: Sequence[Reading]) -> tuple[float, float]:
    """The variance of what a round has in common on one side, the median of how far its networks are from their means,
    as it is of their estimates, and the degrees of freedom behind it."""
    if all(reading.half_width is not None for reading in side):
        return 0.0, MANY
    count = max((len(reading.rounds_ms) for reading in side), default=0)
    if count < 2:
        return math.nan, MANY
    rounds = np.log([reading.rounds_ms for reading in side if len(reading.rounds_ms) == count])
    common = np.median(rounds - rounds.mean(axis=1, keepdims=True), axis=0)
    return _variance_of_order(count, side[0].least) * float(common.var(ddof=1)), count - 1.0


def _spreads(side: Sequence[Reading]) -> list[tuple[float, float]]:
    """Of each reading of one side the variance of its logarithm, and the degrees of freedom behind it."""
    many = [i for i, r in enumerate(side) if len(r.rounds_ms) > 1]
    own = np.array([np.log(side[i].rounds_ms).var(ddof=1) for i in many])
    freedom = np.array([len(side[i].rounds_ms) - 1.0 for i in many])
    common, weight = _common(own, freedom)
    moderated = dict(zip(many, zip(own, freedom, strict=True), strict=True))
    found = []
    for i, reading in enumerate(side):
        variance, d = moderated.get(i, (0.0, 0.0))
        if reading.half_width is not None:
            z = float(ndtri((1 + reading.level) / 2))
            found.append(((reading.half_width / z) ** 2, MANY))
        elif not reading.rounds_ms or not d + weight:
            found.append((math.nan, MANY))
        else:
            part = weight / (d + weight) if math.isfinite(weight) else 1.0
            of_round = max(part * common + (1 - part) * variance, TINY)
            share = _variance_of_order(len(reading.rounds_ms), reading.least)
            found.append((share * of_round, min(d + weight, MANY)))
    return found


def _common(variances: Vector, freedom: Vector) -> tuple[float, float]:
    """What the variances of one side have in common, and how many degrees of freedom that is worth (Smyth's equations
    for s₀² and d₀): none where they differ more than chance explains or are too few, any number where not at all."""
    if len(variances) < FEWEST:
        return 0.0, 0.0
    half = freedom / 2
    logs = np.log(np.maximum(variances, TINY)) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    if excess <= 0:
        return float(np.exp(logs.mean())), math.inf
    d = _inverse_trigamma(excess)
    return float(np.exp(logs.mean() + digamma(d) - math.log(d))), 2 * d


def _inverse_trigamma(value: float) -> float:
    """x with ψ′(x) = ``value``, by Newton's method as in Smyth's appendix."""
    x = 0.5 + 1 / value
    for _ in range(50):
        own = float(polygamma(1, x))
        step = own * (1 - own / value) / float(polygamma(2, x))
        x += step
        if -step < 1e-9 * x:
            break
    return x


@cache
def _variance_of_order(count: int, least: bool) -> float:
    """The variance of the least, or of the (lower) middle one, of ``count`` normal numbers of variance 1."""
    rank = 1 if least else (count + 1) // 2
    x = np.linspace(-9, 9, 3601)
    below = ndtr(x)
    ways = math.exp(math.lgamma(count + 1) - math.lgamma(rank) - math.lgamma(count - rank + 1))
    weight = ways * below ** (rank - 1) * (1 - below) ** (count - rank) * np.exp(-(x**2) / 2)
    weight /= weight.sum()
    mean = float(weight @ x)
    return float(weight @ (x - mean) ** 2)
