"""Long runs: a network on and on until the board is warm, at a fixed rate with idle gaps between, for its energy, or
several times at once."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from edgeprof.backends.base import Backend, Bins, Sustained
from edgeprof.boards.sensors.gauges import Gauges, Seen, mean
from edgeprof.boards.sensors.host import hottest_c
from edgeprof.errors import BackendError, WorkerError
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing import energy as steady
from edgeprof.timing import inflight
from edgeprof.timing.load import Total, described, known
from edgeprof.timing.measurement import Round
from edgeprof.timing.result import Progress

NUMBER = 0  # of the round that keeps it: rounds that are timed begin at 1
RESPONSES = 1000  # at a rate: the 99th percentile has ten above it
LONGEST_S = 60.0
LOOK_S = 1.0  # between two looks
SHORT_S = 10.0  # a run that is looked at more often
POINTS = 60  # of a curve, at most
STEADY = 0.03  # of the throughput: the points from then on lie this close to the last quarter
HALF_S, BLIND_S = 60.0, 180.0  # least half of a run that may end early, and without a temperature
TENTHS = 10
WARM_C = 1.0
TOLD = (
    *(
        "power_mw",
        "gpu_mhz",
        "gpu_memory_mhz",
        "gpu_load_pct",
        "cpu_mhz",
        "temperature_c",
        "used_mib",
        "fan_pct",
    ),
    *("throttle_reasons", "sources"),
)

Look = tuple[float, Seen]  # seconds since the run began


@dataclass(frozen=True)
class LongRun:
    """What is asked for: seconds on and on (``sustained_s``) at most, or the ``whole`` of them even where it is steady
    before; runs a second (``rate_hz``), seconds of a steady loop for the energy (``energy_s``), and depths: numbers of
    runs at the same time (``in_flight``)."""

    sustained_s: float | None = None
    rate_hz: float | None = None
    energy_s: float | None = None
    in_flight: tuple[int, ...] | None = None
    whole: bool = False

    def asked(self) -> dict[str, dict[str, Any]]:
        """By the name of its result, what each part of it was asked to be."""
        parts: dict[str, dict[str, Any]] = {
            "sustained": {"asked_s": self.sustained_s},
            "at_rate": {"rate_hz": self.rate_hz},
            "energy": {"asked_s": self.energy_s},
            "in_flight": {"depths": self.in_flight and list(self.in_flight)},
        }
        return {name: part for name, part in parts.items() if None not in part.values()}

    def had(self, kept: Mapping[str, Any]) -> bool:
        """Whether the telemetry of an earlier one has all that is asked for."""
        whole = not (self.whole and kept.get("sustained", {}).get("ended") == "steady")
        parts = self.asked().items()
        return whole and all(kept.get(name, {}).get(k) == v for name, part in parts for k, v in part.items())


def long_s(wanted: LongRun | None) -> float:
    """How long it lasts for each case (s)."""
    if wanted is None:
        return 0.0
    paced = min(RESPONSES / wanted.rate_hz, LONGEST_S) if wanted.rate_hz else 0.0
    looped = steady.energy_s(wanted.energy_s) if wanted.energy_s else 0.0
    return (wanted.sustained_s or 0.0) + paced + looped + inflight.in_flight_s(wanted.in_flight or ())


def long_telemetry(
    case: Case,
    backend: Backend,
    gauges: Gauges,
    total_mw: Total,
    wanted: LongRun,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Telemetry of a long run: ``sustained``, ``at_rate``, ``energy``, ``in_flight``; what is not known is absent.

    :raises WorkerError: it crashed. :raises BackendError: nothing really runs, or not at the same time.
    """
    found: dict[str, Any] = {}
    if wanted.sustained_s:
        ran, looks = _run(
            case, backend, gauges, wanted.sustained_s, 0.0, clock, until_steady=not wanted.whole
        )
        found["sustained"] = {
            **wanted.asked()["sustained"],
            **sustained(case.batch, ran, looks, total_mw, wanted.sustained_s),
        }
    if wanted.rate_hz:
        seconds = min(RESPONSES / wanted.rate_hz, LONGEST_S)
        ran, looks = _run(case, backend, gauges, seconds, wanted.rate_hz, clock)
        found["at_rate"] = {**wanted.asked()["at_rate"], **at_rate(case.batch, ran, looks, total_mw)}
    if wanted.energy_s:
        measured = steady.energy(case, backend, gauges, total_mw, wanted.energy_s, clock=clock)
        found["energy"] = {**wanted.asked()["energy"], **measured}
    if wanted.in_flight:
        depths = backend.overlap(case, wanted.in_flight, inflight.TURNS, inflight.TURN_S)
        found["in_flight"] = {**wanted.asked()["in_flight"], **inflight.in_flight(case.batch, depths)}
    return found


def run_long(
    cases: Sequence[Case],
    store: Store,
    backend: Backend,
    gauges: Gauges,
    total_mw: Total,
    wanted: LongRun,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
    enter: Callable[[Case], None] = lambda case: None,
) -> tuple[float, list[tuple[Case, str]]]:
    """Run each case that could be measured for long, unless the store has that: seconds spent, and what failed.
    ``enter`` brings the board into the setting of a case."""
    kept, done = store.rounds(), store.done()
    left = []
    for case in (case for case in cases if (case.key(), 1) in done):
        rounds = kept.get(case.key(), ())
        had = next((r.telemetry for r in rounds if r.number == NUMBER and r.status == "ok"), {})
        if not wanted.had(had):
            left.append((case, had))
    uid, failed, spent_s = uuid.uuid4().hex, [], 0.0
    if left:
        store.add_session(uid, backend.facts())
    for number, (case, had) in enumerate(left):
        watch(Progress(number, len(left), 1, 1, case.label()))
        enter(case)
        try:
            found = long_telemetry(case, backend, gauges, total_mw, wanted)
        except (WorkerError, BackendError) as error:
            failed.append((case, f"long run: {error.message}"))
            continue
        telemetry = {**had, **found, **steady.top(found.get("energy", {}))}
        store.add_round(case, Round(number=NUMBER, status="ok", telemetry=telemetry), uid)
        spent_s += sum(part["spent_s"] for part in found.values())
        say(f"{case.label()}: {told(found)}")
    return spent_s, failed


def sustained(
    batch: int, ran: Sustained, looks: Sequence[Look], total_mw: Total, asked_s: float = 0.0
) -> dict[str, Any]:
    """Throughput (tiles/ms) over time, from when on it is steady, when clocks were first cut, tiles per joule, and
    whether it ended because it was steady or because the time that was asked for was over."""
    early = ran.spent_s < asked_s * (1 - 1e-6)
    points = _points(batch, ran, looks, total_mw)
    speeds = [point["tiles_per_ms"] for point in points]
    settled = float(np.median(speeds[-max(len(speeds) // 4, 1) :])) if speeds else None
    events = [(at, s.reading.throttle_events) for at, s in looks if s.reading.throttle_events is not None]
    cut = next((at for at, count in events if count > (events[0][1] or 0)), None)
    reasons = [(at, s.reading.cuts) for at, s in looks if s.reading.cuts is not None]
    if cut is None:
        cut = next((at for at, texts in reasons if texts), None)
    return known(
        {
            **_told(looks, total_mw),
            "spent_s": ran.spent_s,
            "runs": ran.runs,
            "tiles_per_ms": ran.runs * batch / (1e3 * ran.spent_s),
            "start_tiles_per_ms": speeds[0] if speeds else None,
            "steady_tiles_per_ms": settled,
            "steady_from_s": _steady_from(points, settled)
            if not early
            else _early_from(points, settled, ran),
            "ended": "steady" if early else "asked",
            "throttled": cut is not None if events or reasons else None,
            "throttled_after_s": cut,
            "tiles_per_joule": _per_joule(batch, ran, looks, total_mw),
            "curve": points,
        }
    )


def at_rate(batch: int, ran: Sustained, looks: Sequence[Look], total_mw: Total) -> dict[str, Any]:
    """Response times (ms) at a fixed rate, how many runs began late, and the share of the time in which any ran."""
    return known(
        {
            **_told(looks, total_mw),
            "spent_s": ran.spent_s,
            "runs": ran.runs,
            "late": ran.late,
            "busy_pct": 100 * ran.busy_s / ran.spent_s,
            **{f"{name}_ms": value for name, value in (ran.percentiles_ms or {}).items()},
            "tiles_per_joule": _per_joule(batch, ran, looks, total_mw),
        }
    )


def _run(
    case: Case,
    backend: Backend,
    gauges: Gauges,
    seconds: float,
    rate_hz: float,
    clock: Callable[[], float],
    until_steady: bool = False,
) -> tuple[Sustained, list[Look]]:
    looks: list[Look] = []
    begin: list[float] = []
    every_s = max(LOOK_S if seconds >= SHORT_S else LOOK_S / 4, gauges.interval_s)
    with gauges.awake() as read:

        def look() -> None:
            begin.append(clock())
            looks.append((begin[-1] - begin[0] + every_s, read()))

        enough = (lambda bins: is_steady(bins, looks)) if until_steady else None
        return backend.sustain(case, seconds, rate_hz, look, every_s, enough), looks


def is_steady(bins: Bins, looks: Sequence[Look]) -> bool:
    """Whether a run may end: in the last half of it the throughput of each tenth was within ``STEADY`` of their median,
    and the hottest sensor moved by ``WARM_C`` at most from the first quarter of that half to the last. The half is at
    least a minute long, and three where no temperature can be read: a heat sink takes its time."""
    ends = list(accumulate(spent for _, spent, _ in bins))
    begin = ends[-1] / 2 if ends else 0.0
    warmth = [hottest_c(seen.reading.temperature_c) for at, seen in looks if at > begin]
    known_c = [celsius for celsius in warmth if celsius is not None]
    if not bins or begin < (HALF_S if known_c else BLIND_S):
        return False
    late = np.array([(runs, spent) for (runs, spent, _), end in zip(bins, ends, strict=True) if end > begin])
    parts = [part.sum(0) for part in np.array_split(late, TENTHS) if len(part)]
    speeds = np.array([runs / spent for runs, spent in parts])
    if np.abs(speeds / np.median(speeds) - 1).max() > STEADY:
        return False
    quarters = np.array_split(np.array(known_c), 4)
    return len(known_c) < 4 or abs(float(quarters[-1].mean() - quarters[0].mean())) <= WARM_C


def _points(batch: int, ran: Sustained, looks: Sequence[Look], total_mw: Total) -> list[dict[str, Any]]:
    """The curve: seconds of the run in at most ``POINTS`` groups."""
    ends = list(accumulate(spent for _, spent, _ in ran.bins))
    size = max(math.ceil(len(ends) / POINTS), 1)
    points = []
    for first in range(0, len(ends) - size + 1, size):
        group = ran.bins[first : first + size]
        begin, end = ends[first] - group[0][1], ends[first + size - 1]
        told = _told([(at, seen) for at, seen in looks if begin < at <= end], total_mw)
        speed = sum(runs for runs, *_ in group) * batch / (1e3 * sum(spent for _, spent, _ in group))
        kept = ("power_mw", "gpu_mhz", "temperature_c")
        points.append({"at_s": end, "tiles_per_ms": speed, **{k: told[k] for k in kept if k in told}})
    return points


def _steady_from(points: Sequence[dict[str, Any]], settled: float | None) -> float | None:
    """The beginning (s) of the first point from which on all are close to where it settled; None where only the last
    quarter is."""
    if settled is None:
        return None
    begin = None
    for i, point in enumerate(points):
        close = abs(point["tiles_per_ms"] / settled - 1) <= STEADY
        begin = (i if begin is None else begin) if close else None
    if begin is None or (begin > 0 and begin > 3 * len(points) / 4):
        return None
    return float(points[begin - 1]["at_s"]) if begin else 0.0


def _early_from(points: Sequence[dict[str, Any]], settled: float | None, ran: Sustained) -> float:
    """The same of a run that ended because it was steady: in its last half at least, by :func:`is_steady`."""
    found = _steady_from(points, settled)
    return ran.spent_s / 2 if found is None else found


def _told(looks: Sequence[Look], total_mw: Total) -> dict[str, Any]:
    readings = [seen for _, seen in looks]
    telemetry = described(mean(readings), total_mw) | {"power_mw": steady.power_mw(readings, total_mw)[0]}
    return known({name: telemetry[name] for name in TOLD})


def _per_joule(batch: int, ran: Sustained, looks: Sequence[Look], total_mw: Total) -> float | None:
    power, _ = steady.power_mw([seen for _, seen in looks], total_mw)
    return ran.runs * batch / (power / 1e3 * ran.spent_s) if power else None


def told(found: Mapping[str, Any], speed: inflight.Speed = inflight.tiles) -> str:
    """A line for people, or several where several ran at once; ``speed`` writes a throughput (tiles/ms)."""
    parts = []
    if run := found.get("sustained"):
        parts.append(f"{speed(run.get('start_tiles_per_ms', run['tiles_per_ms']))} at first")
        if "steady_from_s" in run:
            steadily = speed(run["steady_tiles_per_ms"]).split()[0]
            parts.append(f"{steadily} steadily from {run['steady_from_s']:.0f} s on")
        else:
            parts.append(f"not steady within {run['spent_s']:.0f} s")
        if run.get("ended") == "steady":
            parts.append(f"ended after {run['spent_s']:.0f} s of {run['asked_s']:.0f}, since it was steady")
        if "throttled_after_s" in run:
            parts.append(f"clocks cut after {run['throttled_after_s']:.0f} s")
        if "tiles_per_joule" in run:
            parts.append(f"{run['tiles_per_joule']:.4g} tiles/J")
    if run := found.get("at_rate"):
        parts.append(f"{run['rate_hz']:g} runs/s: p50 {run['p50_ms']:.4g} ms, p99 {run['p99_ms']:.4g} ms")
        if run["late"]:
            parts.append(f"{run['late']} of {run['runs']} began late")
    if run := found.get("energy"):
        parts.append(steady.told(run))
    below = []
    if run := found.get("in_flight"):
        parts.append(inflight.told(run, speed))
        below = inflight.lines(run, speed)
    return "\n".join([", ".join(parts), *below])
