"""Disturbance: how well rounds repeat, how long the tails are, and whether kernels add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeprof import advice
from edgeprof.report.figure import Axis, Figure, Guide, Table, amounts_axis, log_axis, shown
from edgeprof.report.settings import Setting
from edgeprof.timing.measurement import Measurement

WORDS = {
    "steal_pct": "taken by the hypervisor (% of processor time)",
    "waited_pct": "some task waited for a processor (% of time)",
    "runnable": "tasks that run or could",
    "load_1m": "mean of that over a minute",
    "switches_per_s": "involuntary context switches a second",
    "faults_per_s": "page faults a second",
    "disk_faults": "page faults that read a disk",
    "growth_mib": "growth of the worker's memory (MiB)",
    "mhz": "clock (MHz)",
    "clock_moved_pct": "movement of the clock (%)",
    "temperature_c": "highest temperature (°C)",
    "throttle_events": "throttle events",
}


def round_spread(settings: Sequence[Setting]) -> Figure | None:
    """How far a network's slowest round is above its fastest (%), against its latency."""
    return _against_latency(
        settings,
        lambda m: m.spread_pct,
        key="round-spread",
        title="How well rounds repeat",
        caption="The slowest round of each network above its fastest. The latency is taken from all rounds, so this is "
        "more than its error.",
        up="slowest above fastest round (%)",
    )


def tails(settings: Sequence[Setting]) -> Figure | None:
    """The 99th percentile of single runs over their median, against the latency."""

    def tail(m: Measurement) -> float | None:
        p50, p99 = (m.percentiles_ms.get(name) for name in ("p50", "p99"))
        return p99 / p50 if p50 and p99 else None

    return _against_latency(
        settings,
        tail,
        key="tails",
        title="Tails: the slowest hundredth of the runs",
        caption="99th percentile of single runs over their median. A mean or a median hides what a deadline meets.",
        up="99th percentile over median",
        guides=(Guide("no tail", level=1.0),),
    )


def coverage(settings: Sequence[Setting]) -> Figure | None:
    """The raw sum of kernels over the plain latency (%), against the latency."""
    return _against_latency(
        settings,
        lambda m: None if m.coverage is None else 100 * m.coverage,
        key="coverage",
        title="Do kernels add up to the latency?",
        caption="Sum of the profiled kernels over the latency of runs without a profiler, before any correction. A "
        "profiler costs small networks most.",
        up="sum of kernels over latency (%)",
        guides=(Guide("100 %", level=100.0),),
    )


def warning_table(measurements: Sequence[Measurement]) -> Table | None:
    """Each warning with the number of cases it touches and its remedy, the most frequent first."""
    counted: dict[str, int] = {}
    for m in measurements:
        for code in dict.fromkeys(m.warnings):
            counted[code] = counted.get(code, 0) + 1
    rows = []
    for code, cases in sorted(counted.items(), key=lambda one: -one[1]):
        known = advice.ADVICE.get(code)
        text, remedy = (known.text, known.remedy) if known else (code, "")
        rows.append((text, str(cases), f"{100 * cases / len(measurements):.0f}", remedy))
    if not rows:
        return None
    return Table(
        "What disturbed the measurements",
        ("what", "cases", "of all (%)", "remedy"),
        tuple(rows),
        (False, True, True, False),
    )


def reading_table(measurements: Sequence[Measurement]) -> Table | None:
    """Median and greatest of what the machine told while it was measured."""
    rows = []
    for name, words in WORDS.items():
        values = sorted(v for m in measurements if (v := _reading(m, name)) is not None)
        if values:
            rows.append((words, str(len(values)), shown(values[len(values) // 2]), shown(values[-1])))
    if not rows:
        return None
    columns = ("reading", "cases", "median", "greatest")
    return Table("Readings of the machine", columns, tuple(rows), (False, True, True, True))


def failure_table(measurements: Sequence[Measurement]) -> Table | None:
    """Cases that failed or lack rounds, each with its reason."""
    rows = tuple((m.case.label(), m.status, m.reason) for m in measurements if m.status != "ok")
    return Table("Cases that failed or lack rounds", ("case", "status", "reason"), rows) if rows else None


def _reading(m: Measurement, name: str) -> float | None:
    known = m.telemetry.get("disturbance")
    value = known.get(name) if isinstance(known, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _against_latency(
    settings: Sequence[Setting],
    value: Callable[[Measurement], float | None],
    *,
    key: str,
    title: str,
    caption: str,
    up: str,
    guides: tuple[Guide, ...] = (),
) -> Figure | None:
    """A value of every measurement that has it, against its latency."""
    series = []
    for setting in settings:
        rows = [(m.latency_ms or 0.0, v, m) for m in setting.measurements if (v := value(m)) is not None]
        if rows:
            series.append(setting.points(rows))
    if not series:
        return None
    values = [v for s in series for v in s.y]
    return Figure(
        key=key,
        title=title,
        caption=caption,
        x=log_axis("latency (ms)", [v for s in series for v in s.x]),
        y=Axis(up) if guides else amounts_axis(up, values),
        series=tuple(series),
        legend="setting" if len(series) > 1 else "",
        guides=guides,
    )
