"""Roofline: what kernels achieve against what they ask of memory (Williams et al., CACM 52, 2009)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeprof.nets.network import net_operators, rebuildable
from edgeprof.report.figure import Figure, Series, log_axis
from edgeprof.report.settings import Setting
from edgeprof.roofline import Roofline
from edgeprof.timing.measurement import KernelMeasurement, Measurement
from edgeprof.work import work_of

MOST_POINTS = 300  # of a kind, evenly over the intensities
MOST_KINDS = 6
Point = tuple[float, float, str]


def roofline(setting: Setting, peaks: Roofline | None = None) -> Figure | None:
    """GFLOP/s of every kernel that multiplies against its FLOPs per byte of weights, inputs and results, a
    multiply-accumulate being two FLOPs; with the roof of ``peaks`` (32-bit floats) where it is known."""
    found: dict[str, list[Point]] = {}
    for m in setting.measurements:
        for kernel, point in _points(m):
            found.setdefault(kernel.kind, []).append(point)
    if not found:
        return None
    kinds = sorted(found, key=lambda kind: -len(found[kind]))[:MOST_KINDS]
    series = [_series(kind, sorted(found[kind])) for kind in kinds]
    across = [x for s in series for x in s.x]
    roof = _roof(peaks, min(across), max(across)) if peaks else None
    total = sum(len(found[kind]) for kind in kinds)
    drawn = sum(len(s.x) for s in series)
    some = f" {drawn:,} of {total:,} kernels are drawn." if drawn < total else ""
    known = f"The roof: {peaks.source}." if peaks else "The board's peaks are not known, so no roof is drawn."
    shown = (*series, *([roof] if roof else []))
    return Figure(
        key="roofline-of-kernels",
        title="Roofline: what kernels achieve",
        caption=f"Kernels to the left are bound by memory, those to the right by arithmetic. {known}{some}",
        x=log_axis("FLOPs per byte", [x for s in shown for x in s.x]),
        y=log_axis("GFLOP/s", [y for s in shown for y in s.y]),
        series=shown,
        legend="kind of kernel",
    )


def _points(m: Measurement) -> Iterator[tuple[KernelMeasurement, Point]]:
    if not rebuildable(m.case.net) or not any(k.operators for k in m.kernels):
        return
    kernels = [(k.kind, k.operators, k.glue) for k in m.kernels]
    works = work_of(kernels, net_operators(m.case.net, m.case.batch))
    for kernel, work in zip(m.kernels, works, strict=True):
        if work.macs and work.bytes and kernel.ms > 0:
            flops = 2 * work.macs
            yield kernel, (flops / work.bytes, flops / kernel.ms / 1e6, f"{kernel.name} of {m.case.label()}")


def _series(kind: str, points: Sequence[Point]) -> Series:
    if len(points) > MOST_POINTS:
        points = [points[i * (len(points) - 1) // (MOST_POINTS - 1)] for i in range(MOST_POINTS)]
    x, y, notes = zip(*points, strict=True)
    return Series(name=kind, x=tuple(x), y=tuple(y), notes=tuple(notes))


def _roof(peaks: Roofline, low: float, high: float) -> Series:
    """The roof over the intensities ``low`` to ``high``."""
    ridge = peaks.gflops / peaks.gbps
    x = tuple(sorted({min(low, ridge), ridge, max(high, ridge)}))
    return Series(name="roof", x=x, y=tuple(min(peaks.gflops, peaks.gbps * i) for i in x), mark="curve")
