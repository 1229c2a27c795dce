"""Comparison: speed-ups of one side over another, by pair of cases and by kind of kernel, and what they amount to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgeprof.compare.side import Side, Timed
from edgeprof.sweeps.case import Case
from edgeprof.timing.ratio import Ratio, Reading

Verdict = Literal["faster", "slower", "no difference", "unclear"]

NETWORK = ("net", "batch")  # what is run; everything else is how and where
NEGLIGIBLE = 1.01  # a difference within this counts as none, however sure it is: sessions repeat no better
TELLING = 1.05  # where an interval around 1 reaches beyond this, nothing can be told


@dataclass(frozen=True)
class Part:
    """A kind of kernel in one pair: its time on each side, None where a side has none of it."""

    kind: str
    a: Reading | None = None
    b: Reading | None = None
    ratio: Ratio | None = None

    @property
    def a_ms(self) -> float | None:
        """Its time in a run on side A."""
        return self.a.ms if self.a else None

    @property
    def b_ms(self) -> float | None:
        """Its time in a run on side B."""
        return self.b.ms if self.b else None


@dataclass(frozen=True)
class Pair:
    """A case of A and its partner in B, with the speed-up of B over A; ``same`` where they are one measurement."""

    a: Timed
    b: Timed
    ratio: Ratio
    parts: tuple[Part, ...]
    same: bool

    @property
    def latency_ms(self) -> tuple[float, float]:
        """Both times of a run."""
        assert self.a.latency and self.b.latency
        return self.a.latency.ms, self.b.latency.ms

    @property
    def label(self) -> str:
        """A line for people."""
        return self.a.case.label()


@dataclass(frozen=True)
class KindRatio:
    """A kind of kernel over all pairs, or all kinds of an operator (``Conv.*``): the mean of its share of each side's
    latency, and the speed-up where both sides have it, in ``cases`` of ``networks``."""

    kind: str
    a_share: float
    b_share: float
    ratio: Ratio | None
    cases: int
    networks: int


@dataclass(frozen=True)
class Comparison:
    """Two sides compared. ``differ`` has what tells them apart, with both values; ``matched`` what partners have in
    common; ``only_a`` and ``only_b`` the cases without a partner, failed ones apart: ``failed`` has each with its side.
    Pairs of the largest difference come first. ``notes`` say what to bear in mind."""

    a: Side
    b: Side
    level: float
    differ: Mapping[str, tuple[str, str]]
    matched: tuple[str, ...]
    pairs: tuple[Pair, ...]
    speedup: Ratio
    kinds: tuple[KindRatio, ...]
    only_a: tuple[Case, ...]
    only_b: tuple[Case, ...]
    failed: tuple[tuple[Literal["A", "B"], Timed], ...]
    notes: tuple[str, ...]

    @property
    def networks(self) -> int:
        """Different networks among the pairs."""
        return len({pair.a.case.net for pair in self.pairs})

    @property
    def alike(self) -> dict[str, str]:
        """What all pairs have in common, the networks apart."""
        found = {}
        for name in self.matched:
            values = {str(value) for pair in self.pairs if (value := getattr(pair.a.case, name))}
            if len(values) == 1 and name not in NETWORK:
                found[name] = values.pop()
        return found

    def verdict(self, ratio: Ratio) -> Verdict:
        """What a speed-up of this comparison amounts to."""
        return verdict(ratio.interval(self.level))

    def key(self, timed: Timed) -> tuple[Any, ...]:
        """What a case has in common with its partner."""
        return key_of(timed, self.matched)

    def counted(self) -> dict[Verdict, int]:
        """How many pairs have each verdict."""
        found = [self.verdict(pair.ratio) for pair in self.pairs]
        return {v: found.count(v) for v in ("faster", "slower", "no difference", "unclear")}


def key_of(timed: Timed, by: Sequence[str]) -> tuple[Any, ...]:
    """What a case and its partner must have in common."""
    return tuple(getattr(timed.case, name) for name in by)


def verdict(interval: tuple[float, float] | None) -> Verdict:
    """What an interval of a speed-up amounts to: a difference within 1 % is none; an interval around 1 that reaches
    beyond 5 % tells nothing."""
    if interval is None:
        return "unclear"
    low, high = interval
    if low >= 1 / NEGLIGIBLE and high <= NEGLIGIBLE:
        return "no difference"
    if low > 1:
        return "faster"
    if high < 1:
        return "slower"
    return "no difference" if low >= 1 / TELLING and high <= TELLING else "unclear"
