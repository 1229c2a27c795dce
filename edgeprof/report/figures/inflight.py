"""Runs in flight: what several runs of a network at the same time gain, by their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from edgeprof.report.figure import Figure, Guide, Series, Table, amounts_axis, counted, shown, steps_axis
from edgeprof.report.settings import item_of
from edgeprof.timing.inflight import told
from edgeprof.timing.measurement import Measurement

FEW = 8  # cases that have a line each
LOCKED = "Python's lock limits it"


def in_flight_gain(measurements: Sequence[Measurement]) -> Figure | None:
    """The throughput with so many runs at the same time over that with one at a time."""
    cases = [(m, run) for m in measurements if (run := _run(m)) is not None]
    if not cases:
        return None
    lines = [_line(m, run) for m, run in cases]
    locked = sum(line.muted for line in lines)
    note = f" Grey: {counted(locked, 'case')} so short that Python's lock limits them." if locked else ""
    return Figure(
        key="in-flight-gain",
        title="What several runs at the same time gain",
        caption="Throughput over that of one run at a time. Bars are 95 % intervals, from turns taken in pairs."
        + note,
        x=steps_axis("runs at the same time", [x for line in lines for x in line.x]),
        y=amounts_axis("times as fast", [v for line in lines for v in line.y]),
        series=tuple(lines) if len(lines) <= FEW else _summed(lines),
        legend="network" if len(lines) <= FEW else "",
        guides=(Guide("one at a time", level=1.0),),
    )


def in_flight_table(measurements: Sequence[Measurement]) -> Table | None:
    """By case: the throughput one at a time, how many are enough, what they gain, and what a run then takes."""
    cases = [(m, run) for m in measurements if (run := _run(m)) is not None]
    unit = f"{item_of(measurements)}s/ms"
    columns = (
        "network",
        f"{unit}, one at a time",
        "p99, one at a time (ms)",
        "p99, most at once (ms)",
        "what several gain",
    )
    rows = tuple(
        (
            m.case.label(),
            shown(run["at_depth"][0]["tiles_per_ms"]),
            shown(run["at_depth"][0]["p99_ms"]),
            shown(run["at_depth"][-1]["p99_ms"]),
            told(run, lambda tiles_per_ms: f"{tiles_per_ms:.4g} {unit}"),
        )
        for m, run in cases
    )
    return (
        Table("How many at once are enough", columns, rows, (False, True, True, True, False))
        if rows
        else None
    )


def _run(m: Measurement) -> Mapping[str, Any] | None:
    """What was measured of several runs at the same time; None where only one was."""
    run = m.telemetry.get("in_flight")
    return run if isinstance(run, Mapping) and len(run.get("at_depth", ())) > 1 else None


def _line(m: Measurement, run: Mapping[str, Any]) -> Series:
    rows = run["at_depth"]
    note = f" ({LOCKED})" if run["python_lock"] else ""
    return Series(
        name=m.case.label(),
        x=tuple(float(row["depth"]) for row in rows),
        y=tuple(row["speedup"] for row in rows),
        low=tuple(row["speedup_interval"][0] for row in rows),
        high=tuple(row["speedup_interval"][1] for row in rows),
        notes=tuple(f"{m.case.label()}{note}" for _ in rows),
        mark="line",
        muted=bool(run["python_lock"]),
    )


def _summed(lines: Sequence[Series]) -> tuple[Series, ...]:
    """The median over all, and every case in grey."""
    every = [point for line in lines for point in zip(line.x, line.y, line.notes, strict=True)]
    middles = {x: median(y for at, y, _ in every if at == x) for x in sorted({x for x, *_ in every})}
    return (
        Series("median", tuple(middles), tuple(middles.values()), mark="line"),
        Series(
            "networks",
            tuple(x for x, *_ in every),
            tuple(y for _, y, _ in every),
            notes=tuple(note for *_, note in every),
            muted=True,
        ),
    )
