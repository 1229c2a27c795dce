"""Drift: sentinel networks, measured again and again while a sweep ran."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from edgeprof.report.figure import Axis, Figure, Guide, Series, Table, shown
from edgeprof.store import Sentinel
from edgeprof.timing.drift import DRIFT
from edgeprof.timing.measurement import Measurement

MOST_SESSIONS = 3


def readings(sentinels: Sequence[Sentinel]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By session and name of the sentinel: minutes since the session's first reading, and latency (ms)."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    begins: dict[str, float] = {}
    for s in sentinels:
        at = datetime.fromisoformat(s.at).timestamp()
        begin = begins.setdefault(s.session, at)
        own = found.setdefault(s.session, {}).setdefault(s.name, [])
        own.append(((at - begin) / 60, s.latency_ms))
    return found


def drift(sentinels: Sequence[Sentinel]) -> tuple[Figure, ...]:
    """How far above its best each sentinel was (%) over the time of a session; the sessions with most readings."""
    sessions = list(readings(sentinels).items())
    largest = sorted(sessions, key=lambda one: -sum(map(len, one[1].values())))[:MOST_SESSIONS]
    figures = []
    for number, (session, names) in enumerate(sessions, 1):
        if not any(session == kept for kept, _ in largest):
            continue
        series = tuple(
            Series(
                name=name,
                x=tuple(minutes for minutes, _ in own),
                y=tuple(100 * (ms / min(v for _, v in own) - 1) for _, ms in own),
                notes=tuple(f"{shown(ms)} ms" for _, ms in own),
                mark="line",
            )
            for name, own in names.items()
        )
        which = f", session {number} of {len(sessions)}" if len(sessions) > 1 else ""
        figures.append(
            Figure(
                key=f"drift-{number}",
                title=f"Sentinels over the time of the sweep{which}",
                caption="Each sentinel's readings above its own best. Several in a row are readings taken at once, of "
                f"which the fastest counts. Above {100 * DRIFT:.0f} % a look is slow where noise does not explain it.",
                x=Axis("minutes since the first reading"),
                y=Axis("above its best (%)", zero=True),
                series=series,
                legend="sentinel",
                guides=(Guide(f"{100 * DRIFT:.0f} %", level=100 * DRIFT),),
            )
        )
    return tuple(figures)


def sentinel_table(sentinels: Sequence[Sentinel]) -> Table | None:
    """First, best, last and slowest reading of each sentinel in each session."""
    rows = []
    for number, names in enumerate(readings(sentinels).values(), 1):
        for name, own in names.items():
            ms = [value for _, value in own]
            changes = (100 * (value / ms[0] - 1) for value in (ms[-1], max(ms)))
            rows.append(
                (str(number), name, str(len(ms)), shown(ms[0]), shown(min(ms)), shown(ms[-1]))
                + tuple(f"{change:+.1f}" for change in changes)
            )
    if not rows:
        return None
    columns = ("session", "sentinel", "readings", "first ms", "best ms", "last ms")
    return Table(
        "Sentinels: first, best and last reading",
        (*columns, "last against first (%)", "slowest against first (%)"),
        tuple(rows),
        (True, False, *[True] * 6),
    )


def round_table(measurements: Sequence[Measurement]) -> Table | None:
    """How much slower each round was than the first, over the networks that have all rounds."""
    whole = [m.rounds_ms for m in measurements if len(m.rounds_ms) > 1]
    if not whole:
        return None
    most = max(map(len, whole))
    times = np.array([rounds for rounds in whole if len(rounds) == most])
    change = 100 * (times / times[:, :1] - 1)
    rows = [
        (str(i + 1), str(len(times)), *(f"{v:+.2f}" for v in np.percentile(change[:, i], [50, 5, 95])))
        for i in range(most)
    ]
    columns = ("round", "networks", "median (%)", "5th percentile (%)", "95th percentile (%)")
    return Table("Rounds: latency against the first round", columns, tuple(rows), (True,) * 5)
