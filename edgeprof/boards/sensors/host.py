"""What Linux itself knows of the machine's state: ``/proc/stat``, ``/proc/pressure``, clocks and thermal zones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeprof.boards.sensors.overcurrent import SUFFIX, read_overcurrent

IDLE_C = -256.0  # what a thermal zone without power says

# Below a root, what read_host reads: patterns, for those who copy it from elsewhere.
CPU = "sys/devices/system/cpu/cpu[0-9]*"
FILES = (
    "proc/stat",
    "proc/loadavg",
    "proc/pressure/cpu",
    f"{CPU}/cpufreq/cpuinfo_cur_freq",
    f"{CPU}/cpufreq/scaling_cur_freq",
    f"{CPU}/thermal_throttle/core_throttle_count",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/trip_point_*_type",
    "sys/class/thermal/thermal_zone*/trip_point_*_temp",
    f"sys/class/hwmon/hwmon*/oc*{SUFFIX}",
)


@dataclass(frozen=True)
class HostReading:
    """Counters at one moment. ``steal`` and ``total`` are ticks of all processors, ``waited_us`` microseconds in which
    some task waited for a processor (pressure stall information), ``runnable`` the tasks that run or could, the reading
    one among them, ``load_1m`` their mean over a minute, ``mhz`` the present clocks, temperatures by zone,
    ``headroom_c`` how far the hottest zone is below the temperature from which on the kernel cuts clocks (its passive
    trip point)."""

    at_s: float
    steal: int | None = None
    total: int | None = None
    waited_us: int | None = None
    runnable: int | None = None
    load_1m: float | None = None
    mhz: tuple[float, ...] = ()
    temperature_c: Mapping[str, float] = field(default_factory=dict)
    throttled: int | None = None
    headroom_c: float | None = None


def read_host(root: Path = Path("/"), now_s: float | None = None) -> HostReading:
    """The present counters of the machine whose ``/proc`` and ``/sys`` are under ``root``.

    Sources: proc(5); of the Linux kernel, Documentation/accounting/psi.rst and ABI/testing/sysfs-class-thermal.
    """
    ticks = [int(part) for part in _first(root / "proc/stat", "cpu ").split()[1:] if part.isdigit()]
    waited = next(
        (p for p in _first(root / "proc/pressure/cpu", "some").split() if p.startswith("total=")), ""
    )
    runnable = _first(root / "proc/stat", "procs_running ").removeprefix("procs_running ")
    load = (_text(root / "proc/loadavg") or "").partition(" ")[0]
    cpus = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"))
    clocks = [_clock_khz(cpu / "cpufreq") for cpu in cpus]
    throttles = [_number(cpu / "thermal_throttle/core_throttle_count") for cpu in cpus]
    counts = [*(int(t) for t in throttles if t is not None), *read_overcurrent(root).values()]
    return HostReading(
        at_s=time.monotonic() if now_s is None else now_s,
        steal=ticks[7] if len(ticks) > 7 else None,
        total=sum(ticks[:8]) if ticks else None,
        waited_us=int(waited[6:]) if waited[6:].isdigit() else None,
        runnable=int(runnable) if runnable.isdigit() else None,
        load_1m=_as_number(load),
        mhz=tuple(c / 1000 for c in clocks if c),
        temperature_c=_temperatures(root),
        throttled=sum(counts) if counts else None,
        headroom_c=_headroom_c(root),
    )


@dataclass(frozen=True)
class Disturbance:
    """What happened between two readings: processor time stolen by the hypervisor and time in which some task waited
    for a processor (both in percent), the larger number of runnable tasks, the load afterwards, mean clock, how far the
    highest clock of any processor moved (percent), highest temperature, throttle events; None where unknown."""

    steal_pct: float | None
    waited_pct: float | None
    runnable: int | None
    load_1m: float | None
    mhz: float | None
    clock_moved_pct: float | None
    temperature_c: float | None
    throttle_events: int | None


def between(before: HostReading, after: HostReading) -> Disturbance:
    """The disturbance from ``before`` to ``after``."""
    steal = _share(
        before.steal, after.steal, None if None in (before.total, after.total) else _gap(before, after)
    )
    wall_us = (after.at_s - before.at_s) * 1e6
    events = None
    if before.throttled is not None and after.throttled is not None:
        events = max(after.throttled - before.throttled, 0)
    clocks = (*before.mhz, *after.mhz)
    moved = 100 * abs(max(after.mhz) / max(before.mhz) - 1) if before.mhz and after.mhz else None
    return Disturbance(
        steal_pct=steal,
        waited_pct=_share(before.waited_us, after.waited_us, wall_us),
        runnable=max((n for n in (before.runnable, after.runnable) if n is not None), default=None),
        load_1m=after.load_1m,
        mhz=sum(clocks) / len(clocks) if clocks else None,
        clock_moved_pct=moved,
        temperature_c=max(
            (c for c in (hottest_c(before.temperature_c), hottest_c(after.temperature_c)) if c is not None),
            default=None,
        ),
        throttle_events=events,
    )


def _gap(before: HostReading, after: HostReading) -> float:
    return float((after.total or 0) - (before.total or 0))


def hottest_c(zones: Mapping[str, float]) -> float | None:
    """The highest temperature; None where there is none. A Tegra's power management chip (``PMIC-Die``) says 50 or
    100 °C whatever it is."""
    return max((value for name, value in zones.items() if not name.startswith("PMIC")), default=None)


def _share(before: int | None, after: int | None, whole: float | None) -> float | None:
    if before is None or after is None or whole is None or whole <= 0:
        return None
    return min(max(100.0 * (after - before) / whole, 0.0), 100.0)


def _clock_khz(cpufreq: Path) -> float | None:
    """The measured clock (for root alone, on boards that have it) rather than the one that was asked for."""
    measured = _number(cpufreq / "cpuinfo_cur_freq")
    return _number(cpufreq / "scaling_cur_freq") if measured is None else measured


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None and value / 1000 > IDLE_C + 1:
            found[(_text(zone / "type") or zone.name).strip()] = value / 1000
    return found


def _headroom_c(root: Path) -> float | None:
    found = []
    for path in (root / "sys/class/thermal").glob("thermal_zone*/trip_point_*_type"):
        if (_text(path) or "").strip() != "passive":
            continue
        trip = _number(path.with_name(path.name.replace("_type", "_temp")))
        now = _number(path.with_name("temp"))
        if trip is not None and now is not None and trip > 0 and now / 1000 > IDLE_C + 1:
            found.append((trip - now) / 1000)
    return min(found, default=None)


def _first(path: Path, start: str) -> str:
    return next((line for line in (_text(path) or "").splitlines() if line.startswith(start)), "")


def _number(path: Path) -> float | None:
    return _as_number((_text(path) or "").strip())


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
