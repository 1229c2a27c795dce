"""Speed: tiles per ms of a grid's networks, and of every network against its work."""

from __future__ import annotations

from collections.abc import Sequence

from edgeprof.nets.network import rebuildable, total_macs
from edgeprof.report.figure import Figure, Series, amounts_axis, key_of, log_axis, shown, steps_axis
from edgeprof.report.grids import WORDS, Grid, plain
from edgeprof.report.settings import Setting, item_in
from edgeprof.timing.measurement import Measurement

SAME = ("conv", "depth", "fc", "neurons", "batch")  # what a caption says of a grid's networks


def throughput(grid: Grid, setting: str = "") -> Figure:
    """Tiles per ms against the variables of a grid, with the median's 95 % interval."""
    series = tuple(
        Series(
            name=shown(line) if grid.along else "measured",
            x=tuple(x for x, _ in points),
            y=tuple(speed(m) for _, m in points),
            low=tuple(speeds(m)[0] for _, m in points),
            high=tuple(speeds(m)[1] for _, m in points),
            notes=tuple(m.case.label() for _, m in points),
            mark="line",
        )
        for line, points in grid.lines()
    )
    same, where = grid.same(SAME), f" on {setting}" if setting else ""
    return Figure(
        key=key_of("speed", grid.across, grid.along, same, setting),
        title=f"Tiles per ms against {grid.title}{where}",
        caption=f"The same in all: {same}. Bars are the 95 % interval of the latency in its round.",
        x=steps_axis(WORDS[grid.across], [x for s in series for x in s.x]),
        y=amounts_axis("tiles/ms", [v for s in series for v in s.y]),
        series=series,
        legend=plain(grid.along) if grid.along else "",
    )


def every_network(settings: Sequence[Setting]) -> Figure | None:
    """Tiles per ms of every network against its multiply-accumulates per tile."""
    series, item = [], item_in(settings)
    for setting in settings:
        rows = sorted(
            ((macs, m) for m in setting.measurements if (macs := macs_per_tile(m))), key=lambda row: row[0]
        )
        if not rows:
            continue
        series.append(
            Series(
                name=setting.label,
                x=tuple(macs for macs, _ in rows),
                y=tuple(speed(m) for _, m in rows),
                low=tuple(speeds(m)[0] for _, m in rows),
                high=tuple(speeds(m)[1] for _, m in rows),
                notes=tuple(m.case.label() for _, m in rows),
            )
        )
    if not series:
        return None
    return Figure(
        key="speed-of-every-network",
        title=f"{item.title()}s per ms of every network against its work",
        caption=f"A point is a network at a batch. More arithmetic per {item} makes a network slower; what spreads "
        "the points is how well it suits the kernels. Bars are the 95 % interval of the latency in its round.",
        x=log_axis(f"multiply-accumulates per {item}", [v for s in series for v in s.x]),
        y=log_axis(f"{item}s/ms", [v for s in series for v in (*s.y, *s.low, *s.high)]),
        series=tuple(series),
        legend="setting" if len(series) > 1 else "",
    )


def macs_per_tile(m: Measurement) -> float:
    """Multiply-accumulates of a tile; 0 where they are not known, as of a file that lies elsewhere."""
    return total_macs(m.case.net, m.case.batch) / m.case.batch if rebuildable(m.case.net) else 0.0


def speed(m: Measurement) -> float:
    """Tiles per ms of a measurement that has a latency."""
    assert m.tiles_per_ms is not None
    return m.tiles_per_ms


def speeds(m: Measurement) -> tuple[float, float]:
    """The interval of :func:`speed`; the speed itself where none is known."""
    if m.ci_ms is None or min(m.ci_ms) <= 0:
        return speed(m), speed(m)
    return m.case.batch / m.ci_ms[1], m.case.batch / m.ci_ms[0]
