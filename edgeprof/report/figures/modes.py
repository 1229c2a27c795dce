"""Power modes: ms and mJ a tile by mode, and the Pareto front of speed against energy over networks and modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from edgeprof.report.figure import Axis, Figure, Series, Table, amounts_axis, counted, log_axis, shown
from edgeprof.report.settings import item_of
from edgeprof.timing.measurement import Measurement
from edgeprof.tradeoff import ModeSummary, Point, dominated, rivals, summaries

FEW = 8  # networks that have a line each


def mode_figures(measurements: Sequence[Measurement]) -> tuple[Figure, ...]:
    """All of them, of the networks that were measured in several power modes."""
    groups, item = rivals(measurements), item_of(measurements)
    if not groups:
        return ()
    found = (
        _by_mode(groups, lambda p: p.ms_per_tile, "latency", f"ms/{item}"),
        _by_mode(groups, lambda p: p.mj_per_tile, "energy", f"mJ/{item}"),
        front(groups, item),
    )
    return tuple(figure for figure in found if figure)


def front(groups: Sequence[Sequence[Point]], item: str = "tile") -> Figure | None:
    """Energy against speed of every network in every mode: the front, and what is dominated in grey."""
    known = [p for group in groups for p in group if p.mj_per_tile is not None]
    best = pareto(known)
    if not known:
        return None
    rest = [p for p in known if p not in best]
    series = [_points(mode, [p for p in best if p.mode == mode]) for mode in _modes(groups)]
    series.append(
        Series(
            "front",
            tuple(p.tiles_per_ms for p in best),
            tuple(p.mj_per_tile or 0.0 for p in best),
            mark="dashed",
            muted=True,
        )
    )
    series.append(_points("dominated", rest, muted=True))
    drawn = tuple(s for s in series if s.x)
    return Figure(
        key="mode-front",
        title=f"Energy of each {item} against speed, by network and power mode",
        caption="A point is a network in a power mode. On the front no other is both faster and takes less energy; "
        "the others are grey.",
        x=log_axis(f"{item}s/ms", [v for s in drawn for v in s.x]),
        y=amounts_axis(f"energy (mJ/{item})", [v for s in drawn for v in s.y]),
        series=drawn,
        legend="power mode",
    )


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points of which none is both faster and takes less energy, slowest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ms_per_tile, p.mj_per_tile or 0.0)):
        if not found or (point.mj_per_tile or 0.0) < (found[-1].mj_per_tile or 0.0):
            found.append(point)
    return found[::-1]


def mode_table(measurements: Sequence[Measurement]) -> Table | None:
    """What each mode gives and takes, over the networks that were measured in all of them."""
    found, item = summaries(measurements), item_of(measurements)
    if not found:
        return None
    networks = counted(found[0].networks, "network")
    return Table(
        f"Power modes on {networks}: medians, and on how many a mode is the best",
        ("power mode", f"ms/{item}", f"mJ/{item}", "fastest on", "least energy on", "dominated on"),
        tuple(_row(one) for one in found),
        (False, True, True, True, True, True),
    )


def always_dominated(groups: Sequence[Sequence[Point]]) -> tuple[str, ...]:
    """Lines on modes that are dominated on every network: nothing is gained by them."""
    own: dict[str, list[bool]] = {}
    for group in groups:
        for point in group:
            own.setdefault(point.mode, []).append(dominated(point, group))
    return tuple(
        f"{mode} is dominated on every network: another mode is faster and takes less energy."
        for mode, cases in own.items()
        if all(cases)
    )


def _row(one: ModeSummary) -> tuple[str, ...]:
    counts = (one.fastest, one.least_energy, one.dominated)
    return (
        one.mode,
        shown(one.ms_per_tile),
        "–" if one.mj_per_tile is None else shown(one.mj_per_tile),
        *("–" if count is None else str(count) for count in counts),
    )


def _by_mode(
    groups: Sequence[Sequence[Point]], value: Callable[[Point], float | None], key: str, unit: str
) -> Figure | None:
    modes = _modes(groups)
    place = {mode: float(i) for i, mode in enumerate(modes)}
    lines = [[(place[p.mode], v, p) for p in group if (v := value(p)) is not None] for group in groups]
    lines = [sorted(line, key=lambda one: one[0]) for line in lines if len(line) > 1]
    if not lines:
        return None
    if len(lines) <= FEW:
        series = [
            Series(line[0][2].network, tuple(x for x, *_ in line), tuple(y for _, y, _ in line), mark="line")
            for line in lines
        ]
    else:
        every = [one for line in lines for one in line]
        middles = {x: median(v for at, v, _ in every if at == x) for x in sorted({x for x, *_ in every})}
        series = [
            Series("median", tuple(middles), tuple(middles.values()), mark="line"),
            Series(
                "networks",
                tuple(x for x, *_ in every),
                tuple(v for _, v, _ in every),
                notes=tuple(p.network for *_, p in every),
                muted=True,
            ),
        ]
    return Figure(
        key=f"mode-{key}",
        title=f"{unit} by power mode",
        caption="Of the networks that were measured in several power modes, all else alike.",
        x=Axis("power mode", categories=modes),
        y=amounts_axis(unit, [v for s in series for v in s.y]),
        series=tuple(series),
        legend="network" if len(lines) <= FEW else "",
    )


def _modes(groups: Sequence[Sequence[Point]]) -> tuple[str, ...]:
    """By the median of ms per tile, fastest first."""
    found: dict[str, list[float]] = {}
    for group in groups:
        for point in group:
            found.setdefault(point.mode, []).append(point.ms_per_tile)
    return tuple(sorted(found, key=lambda mode: median(found[mode])))


def _points(name: str, points: Sequence[Point], muted: bool = False) -> Series:
    return Series(
        name,
        tuple(p.tiles_per_ms for p in points),
        tuple(p.mj_per_tile or 0.0 for p in points),
        notes=tuple(f"{p.network} · {p.mode}" for p in points),
        muted=muted,
    )
