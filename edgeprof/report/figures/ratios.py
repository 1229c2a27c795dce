"""Ratios: how many times faster one setting is than another, by network, over a grid, and by kind of kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeprof.report.figure import (
    Axis,
    Figure,
    Guide,
    Mark,
    Series,
    amounts_axis,
    counted,
    key_of,
    log_axis,
    shown,
    steps_axis,
)
from edgeprof.report.figures.kernels import LEAST_SHARE, kind_ms, kind_shares
from edgeprof.report.figures.speed import SAME, speed
from edgeprof.report.grids import WORDS, Grid, plain
from edgeprof.report.settings import Setting
from edgeprof.timing.measurement import Measurement
from edgeprof.timing.ratio import Ratio, Reading, mean_ratio, ratios
from edgeprof.timing.stats import RECIPES

Pair = tuple[Measurement, Measurement]
SAME_SPEED = Guide("as fast", level=1.0)
LEVEL = 0.95
BARS = "Bars are 95 % intervals, from how far rounds lie apart."


def in_both(first: Setting, second: Setting) -> list[Pair]:
    """Measurements of the same network and batch in both settings."""
    known = {(m.case.net, m.case.batch): m for m in first.measurements}
    pairs = [(known.get((m.case.net, m.case.batch)), m) for m in second.measurements]
    return [(a, b) for a, b in pairs if a is not None]


def slower_first(first: Setting, second: Setting) -> tuple[Setting, Setting]:
    """Two settings, the one that is slower in the geometric mean over what both measured first."""
    logs = [math.log(speed(b) / speed(a)) for a, b in in_both(first, second)]
    return (second, first) if sum(logs) < 0 else (first, second)


def speed_ups(pairs: Sequence[Pair]) -> list[Ratio]:
    """How many times as fast the second of each pair is, by its rounds and what those of all have in common."""
    return ratios(*readings(pairs))


def readings(pairs: Sequence[Pair]) -> tuple[list[Reading], list[Reading]]:
    """Times of both sides with their rounds."""
    return [_reading(a) for a, _ in pairs], [_reading(b) for _, b in pairs]


def _reading(m: Measurement) -> Reading:
    assert m.latency_ms is not None
    return Reading(m.latency_ms, m.rounds_ms, RECIPES[m.estimator].least)


def _with_intervals(
    name: str, x: Sequence[float], pairs: Sequence[Pair], found: Sequence[Ratio], mark: Mark
) -> Series:
    ends = [one.interval(LEVEL) or (one.speedup, one.speedup) for one in found]
    return Series(
        name=name,
        x=tuple(x),
        y=tuple(one.speedup for one in found),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
        notes=tuple(b.case.label() for _, b in pairs),
        mark=mark,
    )


def network_ratios(first: Setting, second: Setting) -> Figure | None:
    """The speed-up of every network that both settings measured, against its latency in the first."""
    pairs = sorted(in_both(first, second), key=lambda pair: pair[0].latency_ms or 0.0)
    if not pairs:
        return None
    found = speed_ups(pairs)
    mean = mean_ratio(found, [a.case.net for a, _ in pairs], *readings(pairs))
    ends = mean.interval(LEVEL)
    between = f", between {shown(ends[0])} and {shown(ends[1])} with 95 % confidence" if ends else ""
    series = _with_intervals("network", [a.latency_ms or 0.0 for a, _ in pairs], pairs, found, "points")
    return Figure(
        key=key_of("speed-up", "networks", first.label, second.label),
        title=f"Speed-up of every network: {second.label} over {first.label}",
        caption=f"{counted(len(pairs), 'case')} in both; the mean is {shown(mean.speedup)}{between}. {BARS}",
        x=log_axis(f"latency (ms), {first.label}", series.x),
        y=amounts_axis("times as fast", series.y),
        series=(series,),
        guides=(SAME_SPEED,),
    )


def grid_ratio(first: Grid, second: Grid, labels: tuple[str, str]) -> Figure | None:
    """The speed-up of whole networks over a grid that both settings measured."""
    rows = [
        (line, x, (first.cells[x, line], m))
        for line, points in second.lines()
        for x, m in points
        if (x, line) in first.cells
    ]
    found = list(zip(rows, speed_ups([pair for *_, pair in rows]), strict=True))
    series = []
    for line in dict.fromkeys(line for line, *_ in rows):
        own = [(x, pair, one) for (other, x, pair), one in found if other == line]
        across, pairs, ups = (list(part) for part in zip(*own, strict=True))
        series.append(
            _with_intervals(shown(line) if second.along else "measured", across, pairs, ups, "line")
        )
    return _over_grid(second, series, "whole networks", labels, BARS)


def kernel_ratio(first: Grid, second: Grid, kind: str, labels: tuple[str, str]) -> Figure | None:
    """The speed-up of one kind of kernel over a grid that both settings measured."""
    series = []
    for line, points in second.lines():
        rows = [
            (x, kind_ms(first.cells[x, line], kind), kind_ms(m, kind), m.case.label())
            for x, m in points
            if (x, line) in first.cells
        ]
        rows = [row for row in rows if row[1] > 0 and row[2] > 0]
        series.append(
            Series(
                name=shown(line) if second.along else "measured",
                x=tuple(x for x, *_ in rows),
                y=tuple(a / b for _, a, b, _ in rows),
                notes=tuple(note for *_, note in rows),
                mark="line",
            )
        )
    return _over_grid(second, series, kind, labels, "")


def kernel_ratios(first: Setting, second: Setting) -> Figure | None:
    """The speed-up of each kind of kernel over all networks that both settings measured, as bars."""
    pairs = [(a, b) for a, b in in_both(first, second) if a.kernels and b.kernels]
    shares = [kind_shares(side) for side in zip(*pairs, strict=True)]
    if not shares:
        return None
    found: list[tuple[str, tuple[float, ...]]] = []
    for kind in shares[0]:
        if min(own.get(kind, 0.0) for own in shares) >= LEAST_SHARE / 10:
            rows = [(kind_ms(a, kind), kind_ms(b, kind)) for a, b in pairs]
            logs = [math.log(a / b) for a, b in rows if a > 0 and b > 0]
            quantiles = np.percentile(logs, [50, 10, 90]) if logs else ()
            found.append((kind, tuple(math.exp(float(q)) for q in quantiles)))
    found = sorted((row for row in found if row[1]), key=lambda row: row[1][0])
    if not found:
        return None
    series = Series(
        name="median",
        x=tuple(middle for _, (middle, *_) in found),
        y=tuple(float(i) for i in range(len(found))),
        notes=tuple(f"10th to 90th percentile {shown(low)} to {shown(high)}" for _, (_, low, high) in found),
        mark="bars",
    )
    return Figure(
        key=key_of("speed-up", "kernels", first.label, second.label),
        title=f"Speed-up of each kind of kernel: {second.label} over {first.label}",
        caption=f"The median over {counted(len(pairs), 'case')} that both measured.",
        x=Axis("times as fast", zero=True),
        y=Axis("kind of kernel", categories=tuple(kind for kind, _ in found)),
        series=(series,),
    )


def _over_grid(
    grid: Grid, series: Sequence[Series], what: str, labels: tuple[str, str], bars: str
) -> Figure | None:
    values = [v for s in series for v in s.y]
    if not values:
        return None
    same = grid.same(SAME)
    return Figure(
        key=key_of("speed-up", what, grid.across, grid.along, same, *labels),
        title=f"Speed-up of {what} against {grid.title}: {labels[1]} over {labels[0]}",
        caption=f"The same in all: {same}. {bars}".strip(),
        x=steps_axis(WORDS[grid.across], [x for s in series for x in s.x]),
        y=amounts_axis("times as fast", values),
        series=tuple(s for s in series if s.x),
        legend=plain(grid.along) if grid.along else "",
        guides=(SAME_SPEED,),
    )
