"""Speed against energy: what each power mode of a board gives and takes, network by network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Measurement

SAME = 0.01  # less is no difference


@dataclass(frozen=True)
class Point:
    """A network in a power mode: ms and mJ a tile; no energy where no sensor gave it."""

    network: str
    mode: str
    ms_per_tile: float
    mj_per_tile: float | None

    @property
    def tiles_per_ms(self) -> float:
        """Throughput."""
        return 1 / self.ms_per_tile


@dataclass(frozen=True)
class ModeSummary:
    """A power mode over the networks that were measured in every mode: medians of ms and mJ a tile, and on how many of
    the ``networks`` it is as good as the fastest or the least in energy, or is dominated; unknown is None."""

    mode: str
    networks: int
    ms_per_tile: float
    mj_per_tile: float | None
    fastest: int
    least_energy: int | None
    dominated: int | None


def mode_name(case: Case) -> str:
    """What a case's setting of the board is called."""
    name = case.power_mode or "no mode"
    return f"{name}, clocks {case.clocks}" if case.clocks else name


def rivals(measurements: Iterable[Measurement]) -> list[list[Point]]:
    """For each case that was measured in several power modes, all else alike: its points."""
    found: dict[Case, list[Measurement]] = {}
    for m in measurements:
        if m.ms_per_tile is not None:
            found.setdefault(m.case.model_copy(update={"power_mode": None, "clocks": None}), []).append(m)
    return [[_point(m) for m in own] for own in found.values() if len(own) > 1]


def dominated(point: Point, others: Iterable[Point]) -> bool:
    """Whether one of ``others`` is as fast and takes as little energy, and better by over ``SAME`` in one of the
    two. Nothing is where its energy is not known."""
    return any(_dominates(other, point) for other in others if other != point)


def summaries(measurements: Iterable[Measurement]) -> tuple[ModeSummary, ...]:
    """The power modes of ``measurements``, fastest first; none where no network was measured in all of several."""
    groups = rivals(measurements)
    modes = dict.fromkeys(point.mode for group in groups for point in group)
    whole = [group for group in groups if len(group) == len(modes)]
    if not whole:
        return ()
    return tuple(sorted((_summary(mode, whole) for mode in modes), key=lambda s: s.ms_per_tile))


def _point(m: Measurement) -> Point:
    energy = m.telemetry.get("energy_mj_per_tile")
    known = isinstance(energy, int | float) and energy > 0
    assert m.ms_per_tile is not None
    return Point(m.case.label(), mode_name(m.case), m.ms_per_tile, float(energy) if known else None)  # type: ignore[arg-type]


def _summary(mode: str, groups: Sequence[Sequence[Point]]) -> ModeSummary:
    own = [next(point for point in group if point.mode == mode) for group in groups]
    energies = [point.mj_per_tile for point in own if point.mj_per_tile is not None]
    sensed = all(point.mj_per_tile is not None for group in groups for point in group)
    return ModeSummary(
        mode=mode,
        networks=len(groups),
        ms_per_tile=median(point.ms_per_tile for point in own),
        mj_per_tile=median(energies) if len(energies) == len(own) else None,
        fastest=_least(own, groups, lambda p: p.ms_per_tile),
        least_energy=_least(own, groups, lambda p: p.mj_per_tile or 0.0) if sensed else None,
        dominated=sum(dominated(p, g) for p, g in zip(own, groups, strict=True)) if sensed else None,
    )


def _least(own: Sequence[Point], groups: Sequence[Sequence[Point]], value: Callable[[Point], float]) -> int:
    """In how many groups the own point has the least value, or as good as that."""
    return sum(
        value(point) <= (1 + SAME) * min(map(value, group)) for point, group in zip(own, groups, strict=True)
    )


def _dominates(a: Point, b: Point) -> bool:
    if a.mj_per_tile is None or b.mj_per_tile is None:
        return False
    slower, dearer = b.ms_per_tile / a.ms_per_tile, b.mj_per_tile / a.mj_per_tile
    return min(slower, dearer) >= 1 and max(slower, dearer) > 1 + SAME
