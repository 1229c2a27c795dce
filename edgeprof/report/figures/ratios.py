"""Ratios: how many times faster one setting is than another, by network, over a grid, and by kind of kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeprof.report.figure import (
    Axis,
    Figure,
    Guide,
    Series,
    amounts_axis,
    key_of,
    log_axis,
    shown,
    steps_axis,
)
from edgeprof.report.figures.kernels import LEAST_SHARE, kind_ms, kind_shares
from edgeprof.report.figures.speed import SAME, speed, speeds
from edgeprof.report.grids import WORDS, Grid, plain
from edgeprof.report.settings import Setting
from edgeprof.timing.measurement import Measurement

Pair = tuple[Measurement, Measurement]
SAME_SPEED = Guide("as fast", level=1.0)


def in_both(first: Setting, second: Setting) -> list[Pair]:
    """Measurements of the same network and batch in both settings."""
    known = {(m.case.net, m.case.batch): m for m in first.measurements}
    pairs = [(known.get((m.case.net, m.case.batch)), m) for m in second.measurements]
    return [(a, b) for a, b in pairs if a is not None]


def slower_first(first: Setting, second: Setting) -> tuple[Setting, Setting]:
    """Two settings, the one that is slower in the geometric mean over what both measured first."""
    logs = [math.log(speed(b) / speed(a)) for a, b in in_both(first, second)]
    return (second, first) if sum(logs) < 0 else (first, second)


def ratio(pair: Pair) -> tuple[float, float, float]:
    """How many times faster the second is, with the least and greatest that both intervals allow."""
    (low_a, high_a), (low_b, high_b) = speeds(pair[0]), speeds(pair[1])
    return speed(pair[1]) / speed(pair[0]), low_b / high_a, high_b / low_a


def network_ratios(first: Setting, second: Setting) -> Figure | None:
    """The speed-up of every network that both settings measured, against its latency in the first."""
    pairs = sorted(in_both(first, second), key=lambda pair: pair[0].latency_ms or 0.0)
    if not pairs:
        return None
    found = [ratio(pair) for pair in pairs]
    middle = math.exp(float(np.mean([math.log(r) for r, _, _ in found])))
    series = Series(
        name="network",
        x=tuple(a.latency_ms or 0.0 for a, _ in pairs),
        y=tuple(r for r, _, _ in found),
        low=tuple(low for _, low, _ in found),
        high=tuple(high for *_, high in found),
        notes=tuple(a.case.label() for a, _ in pairs),
    )
    return Figure(
        key=key_of("speed-up", "networks", first.label, second.label),
        title=f"Speed-up of every network: {second.label} over {first.label}",
        caption=f"{len(pairs)} networks in both; their geometric mean is {shown(middle)}. Bars are what the 95 % "
        "intervals of both latencies allow.",
        x=log_axis(f"latency (ms), {first.label}", series.x),
        y=amounts_axis("times faster", series.y),
        series=(series,),
        guides=(SAME_SPEED,),
    )


def grid_ratio(first: Grid, second: Grid, labels: tuple[str, str]) -> Figure | None:
    """The speed-up of whole networks over a grid that both settings measured."""
    series = []
    for line, points in second.lines():
        pairs = [(x, (first.cells[x, line], m)) for x, m in points if (x, line) in first.cells]
        found = [ratio(pair) for _, pair in pairs]
        series.append(
            Series(
                name=shown(line) if second.along else "measured",
                x=tuple(x for x, _ in pairs),
                y=tuple(r for r, _, _ in found),
                low=tuple(low for _, low, _ in found),
                high=tuple(high for *_, high in found),
                notes=tuple(m.case.label() for _, (_, m) in pairs),
                mark="line",
            )
        )
    return _over_grid(second, series, "whole networks", labels)


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
    return _over_grid(second, series, kind, labels)


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
        caption=f"The median over the {len(pairs)} networks that both measured.",
        x=Axis("times faster", zero=True),
        y=Axis("kind of kernel", categories=tuple(kind for kind, _ in found)),
        series=(series,),
    )


def _over_grid(grid: Grid, series: Sequence[Series], what: str, labels: tuple[str, str]) -> Figure | None:
    values = [v for s in series for v in s.y]
    if not values:
        return None
    same = grid.same(SAME)
    return Figure(
        key=key_of("speed-up", what, grid.across, grid.along, same, *labels),
        title=f"Speed-up of {what} against {grid.title}: {labels[1]} over {labels[0]}",
        caption=f"The same in all: {same}.",
        x=steps_axis(WORDS[grid.across], [x for s in series for x in s.x]),
        y=amounts_axis("times faster", values),
        series=tuple(s for s in series if s.x),
        legend=plain(grid.along) if grid.along else "",
        guides=(SAME_SPEED,),
    )
