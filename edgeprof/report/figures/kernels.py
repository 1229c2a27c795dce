"""Kernels: what each kind costs per tile over a grid, and what share of all time it has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from edgeprof.report.figure import Axis, Figure, Series, amounts_axis, key_of, shown, steps_axis
from edgeprof.report.figures.speed import SAME
from edgeprof.report.grids import WORDS, Grid, plain
from edgeprof.report.settings import Setting
from edgeprof.timing.measurement import Measurement

REST = "outside kernels"
LEAST_SHARE = 0.02  # of the time of a grid's networks
MOST_KINDS = 6
MOST_SHARES = 12


def kind_ms(m: Measurement, kind: str) -> float:
    """Time (ms per run) of all kernels of ``kind`` in a measurement; :data:`REST` is what kernels leave."""
    if kind == REST:
        return m.unattributed_ms or 0.0
    return math.fsum(k.ms for k in m.kernels if k.kind == kind)


def kind_shares(measurements: Iterable[Measurement]) -> dict[str, float]:
    """Each kind's share of the time of all ``measurements`` whose kernels are known, the largest first."""
    total, found = 0.0, dict.fromkeys([REST], 0.0)
    for m in measurements:
        if m.kernels and m.latency_ms:
            total += m.latency_ms
            found[REST] += m.unattributed_ms or 0.0
            for kernel in m.kernels:
                found[kernel.kind] = found.get(kernel.kind, 0.0) + kernel.ms
    if not total:
        return {}
    return dict(sorted(((k, v / total) for k, v in found.items()), key=lambda one: -one[1]))


def main_kinds(grid: Grid) -> list[str]:
    """The kinds that a figure is worth."""
    found = kind_shares(grid.cells.values())
    return [kind for kind, share in found.items() if share >= LEAST_SHARE][:MOST_KINDS]


def kernel_speed(grid: Grid, kind: str, setting: str = "") -> Figure:
    """Time per tile (ms) of one kind of kernel against the variables of a grid."""
    series = []
    for line, points in grid.lines():
        known = [(x, m) for x, m in points if m.kernels]
        series.append(
            Series(
                name=shown(line) if grid.along else "measured",
                x=tuple(x for x, _ in known),
                y=tuple(kind_ms(m, kind) / m.case.batch for _, m in known),
                notes=tuple(m.case.label() for _, m in known),
                mark="line",
            )
        )
    same, where = grid.same(SAME), f" on {setting}" if setting else ""
    return Figure(
        key=key_of("kernel", kind, grid.across, grid.along, same, setting),
        title=f"{kind[:1].upper()}{kind[1:]}: ms per tile against {grid.title}{where}",
        caption=f"The same in all: {same}.",
        x=steps_axis(WORDS[grid.across], [x for s in series for x in s.x]),
        y=amounts_axis("ms/tile", [v for s in series for v in s.y]),
        series=tuple(series),
        legend=plain(grid.along) if grid.along else "",
    )


def kernel_shares(settings: Sequence[Setting]) -> Figure | None:
    """Each kind's share (%) of the time of all networks, as bars."""
    shares = {s.label: kind_shares(s.measurements) for s in settings}
    shares = {label: own for label, own in shares.items() if own}
    if not shares:
        return None
    most = {
        kind: max(own.get(kind, 0.0) for own in shares.values()) for own in shares.values() for kind in own
    }
    kinds = sorted(most, key=lambda kind: most[kind])[-MOST_SHARES:]
    series = tuple(
        Series(
            name=label,
            x=tuple(100 * own.get(kind, 0.0) for kind in kinds),
            y=tuple(float(i) for i in range(len(kinds))),
            mark="bars",
        )
        for label, own in shares.items()
    )
    left = len(most) - len(kinds)
    more = f" {left} kinds with less are left out." if left else ""
    return Figure(
        key="kernel-shares",
        title="Where the time goes: share of each kind of kernel",
        caption=f"Of the latency of all networks together; '{REST}' is what kernels leave of it.{more}",
        x=Axis("share of the time (%)", zero=True),
        y=Axis("kind of kernel", categories=tuple(kinds)),
        series=series,
        legend="setting" if len(series) > 1 else "",
    )
