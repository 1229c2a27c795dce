"""Gate: whether one side of a comparison is slower than the other by more than is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import Literal

from edgeprof.compare.comparison import Comparison, Pair
from edgeprof.compare.side import Timed
from edgeprof.timing.ratio import Ratio

Judgement = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Gate:
    """Whether B is slower than A by more than ``limit``: ``slower`` are the cases that are, ``unsure`` those that may
    be, ``broken`` those that ran in A and failed in B; ``mean`` tells whether the geometric mean is slower."""

    limit: float
    judgement: Judgement
    mean: bool
    slower: tuple[Pair, ...]
    unsure: tuple[Pair, ...]
    broken: tuple[Timed, ...]


def judged(found: Comparison, limit: float) -> Gate:
    """Whether B is slower than A by more than ``limit`` (a fraction of A's time), on any network or in the mean.

    It fails where that is sure: the cases share the level among them (Bonferroni), so that many cases make a failure by
    chance no likelier. It passes where every case is surely within the limit. A case that ran in A and failed in B
    counts as slower.
    """
    worst = 1 / (1 + limit)
    strict = 1 - (1 - found.level) / len(found.pairs)
    mean = _below(found.speedup, found.level, worst)
    slower = [_below(pair.ratio, strict, worst) for pair in found.pairs]
    within = [_above(pair.ratio, found.level, worst) for pair in found.pairs]
    unsure = [not (sure or fine) for sure, fine in zip(slower, within, strict=True)]
    ran = {found.key(t) for t in found.a.cases if t.latency}
    broken = tuple(t for side, t in found.failed if side == "B" and found.key(t) in ran)
    judgement: Judgement = "inconclusive" if any(unsure) else "pass"
    if mean or any(slower) or broken:
        judgement = "fail"
    return Gate(
        limit,
        judgement,
        mean,
        tuple(compress(found.pairs, slower)),
        tuple(compress(found.pairs, unsure)),
        broken,
    )


def _below(ratio: Ratio, level: float, bound: float) -> bool:
    interval = ratio.interval(level)
    return interval is not None and interval[1] < bound


def _above(ratio: Ratio, level: float, bound: float) -> bool:
    interval = ratio.interval(level)
    return interval is not None and interval[0] >= bound
