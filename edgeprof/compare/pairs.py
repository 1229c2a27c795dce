"""Pairs: how many times as fast one side is as another, network by network and kernel kind by kernel kind.

Cases are partners when everything about them is equal but what differs between the sides as a whole: the board, say, or
the number of threads. A speed-up is the time of A over the time of B: above 1, B is faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from edgeprof.compare.comparison import NETWORK, Comparison, KindRatio, Pair, Part, key_of
from edgeprof.compare.side import Side, Timed, predicted, read_side
from edgeprof.errors import CompareError
from edgeprof.fit.intervals import FAR_OUTSIDE
from edgeprof.fit.law import Law
from edgeprof.sweeps.case import Case
from edgeprof.timing.ratio import Ratio, Reading, mean_ratio, ratios

LEVEL = 0.95
REST = "unattributed"


def compare_sides(a: Side | str, b: Side | str, level: float = LEVEL) -> Comparison:
    """Compare two sides: databases, selections such as ``edgeprof.db:threads=2``, or one law, by name or as read.

    :raises CompareError: they have no case in common, or more than one thing in each could be meant.
    :raises EdgeprofError: a side that cannot be read.
    """
    a = read_side(a) if isinstance(a, str) else a
    b = read_side(b) if isinstance(b, str) else b
    if a.law and b.law:
        raise CompareError(
            "two laws name no networks to compare",
            f"edgeprof query --law {a.source} --law {b.source} compares them over a space of networks",
        )
    for side in (a, b):
        if not side.law and not any(t.latency for t in side.cases):
            raise CompareError(f"{side.source} has no measurement", "measure some networks: edgeprof sweep")
    a = predicted(a, [t.case for t in b.cases], level) if a.law else a
    b = predicted(b, [t.case for t in a.cases], level) if b.law else b
    differ, by = _differences(a, b)
    partners = _partners(a, b, by)
    both = [(x, y) for x, y in partners if x and y and x.latency and y.latency]
    if not both:
        raise CompareError(
            f"{a.source} and {b.source} have no case in common",
            f"a case has a partner with the same {', '.join(by)}",
        )
    pairs = _pairs(both)
    alone = [(x, y) for x, y in partners if not (x and y)]
    overall = _mean(pairs, [(p.ratio, p.a.latency, p.b.latency) for p in pairs])
    assert overall
    return Comparison(
        a=a,
        b=b,
        level=level,
        differ=differ,
        matched=by,
        pairs=tuple(sorted(pairs, key=lambda p: _sureness(p, level), reverse=True)),
        speedup=_with_error(overall, a.law or b.law),
        kinds=_over_pairs(pairs, told=bool(a.law or b.law)),
        only_a=tuple(x.case for x, _ in alone if x and x.latency),
        only_b=tuple(y.case for _, y in alone if y and y.latency),
        failed=(
            *(("A", t) for t in a.cases if not t.latency),
            *(("B", t) for t in b.cases if not t.latency),
        ),
        notes=_notes(a, b, pairs),
    )


# --- partners


def _differences(a: Side, b: Side) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """What tells the sides apart (one value each), and what partners must have in common."""
    differ: dict[str, tuple[str, str]] = {}
    by = []
    for name in Case.model_fields:
        ours, theirs = _values(a, name), _values(b, name)
        if name in NETWORK or set(ours) & set(theirs):
            by.append(name)
            continue
        for side, values in ((a, ours), (b, theirs)):
            if len(values) > 1:
                shown = ", ".join(str(v) for v in values[:4])
                raise CompareError(
                    f"{side.source} has several values of {name}, and none of the other side's: {shown}",
                    f"choose one: {side.source}{',' if '=' in side.source else ':'}{name}={values[0]}",
                )
        differ[name] = (str(ours[0]), str(theirs[0]))
    return differ, tuple(by)


def _values(side: Side, name: str) -> list[Any]:
    return list(dict.fromkeys(getattr(t.case, name) for t in side.cases if t.latency))


def _partners(a: Side, b: Side, by: Sequence[str]) -> list[tuple[Timed | None, Timed | None]]:
    ours, theirs = ({key_of(t, by): t for t in side.cases} for side in (a, b))
    return [(ours.get(key), theirs.get(key)) for key in dict.fromkeys([*ours, *theirs])]


# --- ratios


def _pairs(both: Sequence[tuple[Timed, Timed]]) -> list[Pair]:
    found = _ratios([(x.latency, y.latency) for x, y in both])
    parts: list[list[Part]] = [[] for _ in both]
    for kind in _kinds_of(both):
        readings = [(_reading(x, kind), _reading(y, kind)) for x, y in both]
        for own, (one, other), ratio in zip(parts, readings, _ratios(readings), strict=True):
            if one or other:
                own.append(Part(kind, one, other, ratio))
    pairs = []
    for (x, y), ratio, own in zip(both, found, parts, strict=True):
        assert ratio
        same = x == y
        pairs.append(Pair(x, y, Ratio(0.0, 0.0, 1.0) if same else ratio, tuple(own), same))
    return pairs


def _kinds_of(both: Sequence[tuple[Timed, Timed]]) -> tuple[str, ...]:
    """Every kind that ran, and ``Conv.*`` for an operator of which several did."""
    kinds = dict.fromkeys(kind for pair in both for timed in pair for kind in timed.kinds)
    operators = [kind.partition(".")[0] for kind in kinds]
    return (*kinds, *dict.fromkeys(f"{name}.*" for name in operators if operators.count(name) > 1))


def _reading(timed: Timed, kind: str) -> Reading | None:
    if not kind.endswith(".*"):
        return timed.kinds.get(kind)
    own = [reading for name, reading in timed.kinds.items() if name.partition(".")[0] == kind[:-2]]
    if not own:
        return None
    rounds = [reading.rounds_ms for reading in own]
    alike = len({len(of) for of in rounds}) == 1
    return Reading(
        ms=sum(reading.ms for reading in own),
        rounds_ms=tuple(sum(times) for times in zip(*rounds, strict=True)) if alike else (),
        least=own[0].least,
    )


def _ratios(readings: Sequence[tuple[Reading | None, Reading | None]]) -> list[Ratio | None]:
    """The ratio of each two readings where both are there and above nothing."""
    there = {i: (a, b) for i, (a, b) in enumerate(readings) if a and b and a.ms > 0 and b.ms > 0}
    found = dict(
        zip(there, ratios([a for a, _ in there.values()], [b for _, b in there.values()]), strict=True)
    )
    return [found.get(i) for i in range(len(readings))]


def _mean(
    pairs: Sequence[Pair], of: Sequence[tuple[Ratio | None, Reading | None, Reading | None]]
) -> Ratio | None:
    """The mean of those of the pairs' ratios that there are, each with what it is the ratio of."""
    known = [(p, ratio, a, b) for p, (ratio, a, b) in zip(pairs, of, strict=True) if ratio and a and b]
    if not known:
        return None
    unlike = [(a, b) for p, _, a, b in known if not p.same]
    return mean_ratio(
        [ratio for _, ratio, _, _ in known],
        [p.a.case.net for p, *_ in known],
        [a for a, _ in unlike],
        [b for _, b in unlike],
    )


def _with_error(mean: Ratio, law: Law | None) -> Ratio:
    """A mean with what a law's predictions have in common, which no number of them averages out: its mean error on
    networks held out."""
    if law is None or not law.conformal:
        return mean
    bias = fmean(error for _, error in law.conformal)
    return replace(mean, variance=mean.variance + bias**2)


def _sureness(pair: Pair, level: float) -> tuple[float, float]:
    """How large a difference surely is, then how large it seems."""
    low, high = pair.ratio.interval(level) or (0.0, float("inf"))
    return max(low, 1 / high, 1.0), abs(pair.ratio.log)


def _over_pairs(pairs: Sequence[Pair], told: bool) -> tuple[KindRatio, ...]:
    """Every kind by its share of the time, and last what kernels leave of the latency. Where a law has ``told`` the
    times of a side, how far it is off for a kind is not known."""
    found = []
    by_kind = [{part.kind: part for part in pair.parts} for pair in pairs]
    for kind in dict.fromkeys(kind for parts in by_kind for kind in parts):
        parts = [of.get(kind, Part(kind)) for of in by_kind]
        networks = [p.a.case.net for p, part in zip(pairs, parts, strict=True) if part.ratio]
        ratio = _mean(pairs, [(part.ratio, part.a, part.b) for part in parts])
        found.append(
            KindRatio(
                kind=kind,
                a_share=_share([(p.a, part.a_ms) for p, part in zip(pairs, parts, strict=True)]),
                b_share=_share([(p.b, part.b_ms) for p, part in zip(pairs, parts, strict=True)]),
                ratio=replace(ratio, variance=math.nan) if ratio and told else ratio,
                cases=len(networks),
                networks=len(set(networks)),
            )
        )
    found.sort(key=lambda k: -max(k.a_share, k.b_share))
    if found:
        of_a, of_b = _share([(p.a, p.a.rest_ms) for p in pairs]), _share([(p.b, p.b.rest_ms) for p in pairs])
        found.append(KindRatio(REST, of_a, of_b, None, 0, 0))
    return tuple(found)


def _share(parts: Sequence[tuple[Timed, float | None]]) -> float:
    """The mean share of the latency, of the cases whose kernels are known."""
    own = [(ms or 0.0) / t.latency.ms for t, ms in parts if t.latency and t.kinds]
    return sum(own) / len(own) if own else 0.0


def _notes(a: Side, b: Side, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """What to bear in mind when reading the comparison."""
    found = []
    if a.kind != b.kind:
        found.append(f"A is {a.kind}, B is {b.kind}")
    for side in (a, b):
        if side.law and side.simulated:
            found.append(f"law {side.law.name} is of simulated measurements")
        if side.law and not side.law.conformal:
            found.append(f"law {side.law.name} has no errors to judge by: no interval is known")
    if a.estimators and b.estimators and a.estimators != b.estimators:
        found.append(f"A is estimated by {', '.join(a.estimators)}, B by {', '.join(b.estimators)}")
    count = sum(p.same for p in pairs)
    if count:
        found.append(f"{count} of {len(pairs)} cases are the same measurement on both sides")
    count = sum(bool(p.a.outside or p.b.outside) for p in pairs)
    if count:
        found.append(f"{count} of {len(pairs)} cases are outside what the law has seen")
    count = sum(FAR_OUTSIDE in (p.a.interval_unknown, p.b.interval_unknown) for p in pairs)
    if count:
        found.append(f"{count} of {len(pairs)} cases are {FAR_OUTSIDE}: no interval is known")
    for name, of in (("A", [p.a for p in pairs]), ("B", [p.b for p in pairs])):
        rounds = [len(t.latency.rounds_ms) for t in of if t.latency and t.latency.rounds_ms]
        if count := rounds.count(1):
            found.append(f"{count} of {len(pairs)} cases of {name} have one round, which has no spread")
        if count := sum(t.status == "partial" for t in of):
            found.append(f"{count} of {len(pairs)} cases of {name} are partial: some rounds are missing")
    unlike = sum(
        bool(x and y and len(x.rounds_ms) != len(y.rounds_ms))
        for x, y in ((p.a.latency, p.b.latency) for p in pairs)
    )
    if unlike and a.estimators and b.estimators:
        found.append(f"{unlike} of {len(pairs)} cases have more rounds on one side: their least is lower")
    return tuple(found)
