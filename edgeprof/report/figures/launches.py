"""Launches: whether a network takes as long with other launch modes as with blocking launches, by its size.

The reference study measured with blocking launches and took them to be as fast as others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from edgeprof.compare.comparison import verdict
from edgeprof.report.figure import Figure, Guide, Series, Table, amounts_axis, log_axis, shown
from edgeprof.report.figures.ratios import BARS, LEVEL, Pair, readings, speed_ups
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Measurement
from edgeprof.timing.ratio import mean_ratio

FIRST = "blocking"
SIZES = {"under 0.1 ms": (0.0, 0.1), "0.1 to 1 ms": (0.1, 1.0), "1 ms and more": (1.0, float("inf"))}
APART = ("launch", "provider_options")  # of a captured graph an option tells too
WORDS = {  # by the verdict on the mode's speed-up
    "faster": "blocking is slower",
    "slower": "blocking is faster",
    "no difference": "as long",
    "unclear": "unclear",
}


@dataclass(frozen=True)
class Mode:
    """A launch mode on one setting: pairs of the same case with blocking launches and with it."""

    name: str
    pairs: tuple[Pair, ...]


def modes_of(measurements: Sequence[Measurement]) -> tuple[Mode, ...]:
    """Every launch mode beside blocking ones, with the cases that were measured with both; named by its machine and
    backend too where there are several."""
    parts = [name for name in Case.model_fields if name not in APART]
    known: dict[tuple[object, ...], dict[str, Measurement]] = {}
    for m in measurements:
        if m.latency_ms is not None:
            known.setdefault(tuple(getattr(m.case, name) for name in parts), {})[m.case.launch] = m
    found: dict[tuple[str, ...], list[Pair]] = {}
    for by_mode in known.values():
        for launch, m in by_mode.items():
            if launch != FIRST and FIRST in by_mode:
                key = (launch, m.case.precision, m.case.machine, m.case.backend)
                found.setdefault(key, []).append((by_mode[FIRST], m))
    telling = [i for i in range(4) if i == 0 or len({key[i] for key in found}) > 1]
    return tuple(
        Mode(
            " · ".join(key[i] for i in telling),
            tuple(sorted(pairs, key=lambda pair: pair[0].latency_ms or 0.0)),
        )
        for key, pairs in found.items()
    )


def launch_modes(measurements: Sequence[Measurement]) -> Figure | None:
    """The latency with each launch mode over that with blocking launches, against the latter."""
    series = []
    for mode in modes_of(measurements):
        ups = speed_ups(mode.pairs)
        ends = [one.interval(LEVEL) or (one.speedup, one.speedup) for one in ups]
        series.append(
            Series(
                name=mode.name,
                x=tuple(a.latency_ms or 0.0 for a, _ in mode.pairs),
                y=tuple(1 / one.speedup for one in ups),
                low=tuple(1 / high for _, high in ends),
                high=tuple(1 / low for low, _ in ends),
                notes=tuple(b.case.label() for _, b in mode.pairs),
            )
        )
    if not series:
        return None
    return Figure(
        key="launch-modes",
        title="Do launch modes take as long as blocking launches?",
        caption="Latency over that of the same network with blocking launches. At 1 the launch mode makes no "
        f"difference. {BARS}",
        x=log_axis("latency with blocking launches (ms)", [v for s in series for v in s.x]),
        y=amounts_axis("latency over that with blocking launches", [v for s in series for v in s.y]),
        series=tuple(series),
        legend="launch mode",
        guides=(Guide("as long", level=1.0),),
    )


def launch_table(measurements: Sequence[Measurement]) -> Table | None:
    """By launch mode and size: the mean ratio to blocking launches with its interval and what it amounts to, and how
    much of the latency the GPU worked (between its events) and its kernels took."""
    rows = []
    for mode in modes_of(measurements):
        for size, pairs in _by_size(mode.pairs):
            mean = mean_ratio(speed_ups(pairs), [a.case.net for a, _ in pairs], *readings(pairs))
            ends = mean.interval(LEVEL)
            rows.append(
                (
                    mode.name,
                    size,
                    str(len(pairs)),
                    shown(1 / mean.speedup),
                    f"{shown(1 / ends[1])} – {shown(1 / ends[0])}" if ends else "–",
                    WORDS[verdict(ends)],
                    _part(pairs, lambda m: m.telemetry.get("device_ms")),
                    _part(pairs, lambda m: m.telemetry.get("gpu_kernels_ms")),
                )
            )
    columns = (
        "launch mode",
        "latency with blocking launches",
        "cases",
        "over blocking",
        "95 % interval",
        "what it amounts to",
        "GPU at work (% of latency)",
        "kernels (% of latency)",
    )
    numeric = (False, False, True, True, True, False, True, True)
    return Table("Launch modes by the size of the network", columns, tuple(rows), numeric) if rows else None


def _by_size(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[Pair]]]:
    for size, (low, high) in SIZES.items():
        inside = [pair for pair in pairs if low <= (pair[0].latency_ms or 0.0) < high]
        if inside:
            yield size, inside


def _part(pairs: Sequence[Pair], of: Callable[[Measurement], object]) -> str:
    """The median part (%) of the latency with the mode that a reading is, of the cases that have it."""
    parts = [
        100 * value / m.latency_ms
        for _, m in pairs
        if m.latency_ms and isinstance(value := of(m), int | float)
    ]
    return shown(median(parts)) if parts else "–"
