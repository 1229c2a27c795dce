"""Grids: measurements that differ in one or two variables alone, such as a sweep's, found among all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from edgeprof.nets.spec import PER_CONV, PER_FC, NetSpec
from edgeprof.timing.measurement import Measurement

WORDS: Mapping[str, str] = {
    "conv": "conv layers",
    "depth": "depth (output channels)",
    "kernel": "kernel (pixels)",
    "stride": "stride (pixels)",
    "padding": "padding",
    "pool": "last pooling (pixels)",
    "pool_before": "earlier pooling (pixels)",
    "fc": "FC layers",
    "neurons": "neurons",
    "tile": "tile (pixels)",
    "channels": "input channels",
    "classes": "classes",
    "batch": "batch (tiles)",
}
COUNTS = ("conv", "fc")  # they tell lines apart, where the other variable has as many values
LEAST_CELLS = 6
LEAST_FULL = 0.5
LEAST_VALUES = 4  # of a single variable
MOST_SLICES = 2  # for each pair of variables, the largest


@dataclass(frozen=True)
class Grid:
    """Measurements by the values (across, along) of two variables, all others being as in ``fixed``; ``along`` is
    empty where one variable alone varies. ``others`` counts grids of the same variables that are not shown."""

    across: str
    along: str
    fixed: tuple[tuple[str, Any], ...]
    cells: Mapping[tuple[float, float], Measurement]
    others: int = 0

    def lines(self) -> list[tuple[float, list[tuple[float, Measurement]]]]:
        """For each value of ``along`` in order, the measurements in the order of ``across``."""
        found: dict[float, list[tuple[float, Measurement]]] = {}
        for (x, line), m in sorted(self.cells.items(), key=lambda cell: (cell[0][1], cell[0][0])):
            found.setdefault(line, []).append((x, m))
        return list(found.items())

    @property
    def title(self) -> str:
        """What varies, for people."""
        lines = f", by {plain(self.along)}" if self.along else ""
        return f"{plain(self.across)}{lines}"

    def same(self, names: Sequence[str]) -> str:
        """What is the same in all networks, of those of ``names`` that have a value."""
        known = dict(self.fixed)
        return ", ".join(f"{plain(n)} {known[n]}" for n in names if known.get(n) is not None)


def plain(knob: str) -> str:
    """A variable's name without its unit."""
    return WORDS[knob].partition(" (")[0]


def knobs(net: NetSpec, batch: int) -> dict[str, Any]:
    """The variables of a network of the family at a batch: one value for what all layers share, a tuple where they
    differ, None without layers."""
    found: dict[str, Any] = net.model_dump()
    for name in (*PER_CONV, *PER_FC):
        values = tuple(found[name])
        found[name] = (values[0] if len(set(values)) == 1 else values) if values else None
    return {**found, "batch": batch}


def grids_of(measurements: Sequence[Measurement]) -> tuple[Grid, ...]:
    """The grids among measurements of one setting, in the order measured: those of two variables, and those of
    one that lie in none of these. For each pair of variables the largest; a grid has :data:`LEAST_FULL` of its
    cells."""
    table = [
        (knobs(m.case.net, m.case.batch), m)
        for m in measurements
        if m.latency_ms is not None and isinstance(m.case.net, NetSpec)
    ]
    varied = [
        name
        for name in WORDS
        if len({row[name] for row, _ in table if isinstance(row[name], int) and row[name] is not None}) > 1
    ]
    found = [grid for pair in combinations(varied, 2) for grid in _slices(table, pair)]
    covered = {id(m) for grid in found for m in grid.cells.values()}
    left = [(row, m) for row, m in table if id(m) not in covered]
    found += [grid for name in varied for grid in _slices(left, (name,))]
    place = {id(m): i for i, (_, m) in enumerate(table)}
    return tuple(sorted(found, key=lambda g: sum(place[id(m)] for m in g.cells.values()) / len(g.cells)))


def _slices(table: Sequence[tuple[dict[str, Any], Measurement]], names: tuple[str, ...]) -> Iterator[Grid]:
    """The largest grids over the variables ``names``."""
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], Measurement]] = {}
    rest = [name for name in WORDS if name not in names]
    for row, m in table:
        if all(isinstance(row[name], int) for name in names):
            own = groups.setdefault(tuple(row[name] for name in rest), {})
            own.setdefault(tuple(row[name] for name in names), m)
    least = LEAST_VALUES if len(names) == 1 else LEAST_CELLS
    pruned = ((fixed, _pruned(cells)) for fixed, cells in groups.items() if len(cells) >= least)
    good = sorted(
        ((fixed, cells) for fixed, cells in pruned if _is_grid(cells)), key=lambda one: -len(one[1])
    )
    for fixed, cells in good[:MOST_SLICES]:
        across, along = _roles(names, cells)
        places = [names.index(name) for name in (across, along) if name]
        yield Grid(
            across=across,
            along=along,
            fixed=tuple(zip(rest, fixed, strict=True)),
            cells={
                (float(k[places[0]]), float(k[places[-1]]) if along else 0.0): m for k, m in cells.items()
            },
            others=max(len(good) - MOST_SLICES, 0),
        )


def _pruned(cells: dict[tuple[Any, ...], Measurement]) -> dict[tuple[Any, ...], Measurement]:
    """Without cells that are alone in their row or column: two lines that cross are no grid."""
    while True:
        counts = [Counter(column) for column in zip(*cells, strict=True)]
        kept = {
            k: m
            for k, m in cells.items()
            if len(k) == 1 or all(c[v] > 1 for c, v in zip(counts, k, strict=True))
        }
        if len(kept) == len(cells):
            return kept
        cells = kept


def _is_grid(cells: Iterable[tuple[Any, ...]]) -> bool:
    kept = list(cells)
    if not kept:
        return False
    values = [len(set(column)) for column in zip(*kept, strict=True)]
    if len(values) == 1:
        return values[0] >= LEAST_VALUES
    full = len(kept) / (values[0] * values[1])
    return min(values) > 1 and len(kept) >= LEAST_CELLS and full >= LEAST_FULL


def _roles(names: tuple[str, ...], cells: Iterable[tuple[Any, ...]]) -> tuple[str, str]:
    """Which variable goes across, and which tells lines apart: the one with more values, and no count of layers."""
    if len(names) == 1:
        return names[0], ""
    values = [len(set(column)) for column in zip(*cells, strict=True)]
    order = sorted(range(2), key=lambda i: (names[i] in COUNTS, -values[i]))
    if values[order[0]] * 3 < values[order[1]]:
        order.reverse()
    return names[order[0]], names[order[1]]
