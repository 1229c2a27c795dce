"""Energy: what a tile costs, and the power drawn, where a board has sensors for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeprof.report.figure import Figure, amounts_axis, log_axis
from edgeprof.report.figures.speed import macs_per_tile
from edgeprof.report.settings import Setting, item_in
from edgeprof.timing.measurement import Measurement


def energy(settings: Sequence[Setting]) -> Figure | None:
    """Energy per tile (mJ) against the multiply-accumulates of a tile."""
    item = item_in(settings)
    return _sensed(
        settings,
        "energy_mj_per_tile",
        macs_per_tile,
        key="energy-per-tile",
        title=f"Energy of each {item} against its work",
        across=f"multiply-accumulates per {item}",
        up=f"energy (mJ/{item})",
    )


def power(settings: Sequence[Setting]) -> Figure | None:
    """Power (mW) against the speed in tiles per ms."""
    return _sensed(
        settings,
        "power_mw",
        lambda m: m.tiles_per_ms or 0.0,
        key="power",
        title="Power against speed",
        across=f"{item_in(settings)}s/ms",
        up="power (mW)",
    )


def _sensed(
    settings: Sequence[Setting],
    name: str,
    across_of: Callable[[Measurement], float],
    *,
    key: str,
    title: str,
    across: str,
    up: str,
) -> Figure | None:
    series = []
    for setting in settings:
        rows = [
            (across_of(m), float(value), m)
            for m in setting.measurements
            if isinstance(value := m.telemetry.get(name), int | float) and value > 0
        ]
        rows = sorted((row for row in rows if row[0] > 0), key=lambda row: row[0])
        if rows:
            series.append(setting.points(rows))
    if not series:
        return None
    return Figure(
        key=key,
        title=title,
        caption="As the board's own sensors tell, of the round that the latency is from.",
        x=log_axis(across, [v for s in series for v in s.x]),
        y=amounts_axis(up, [v for s in series for v in s.y]),
        series=tuple(series),
        legend="setting" if len(series) > 1 else "",
    )
