"""Load: what a board's own sensors say while a network runs on and on, outside everything that is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from edgeprof.backends.base import Backend
from edgeprof.boards.sensors.gauges import Gauges, Seen, mean
from edgeprof.boards.sensors.host import hottest_c
from edgeprof.errors import BackendError, WorkerError
from edgeprof.sweeps.case import Case

SETTLE_S = 0.3  # until the monitors of power, which average over tens of milliseconds, follow
LOOK_S = 1.0
EVERY_S = 0.25
LOOKS = 1.5  # of a slow source: intervals looked at, so that one reading at least began under load

Total = Callable[[Mapping[str, float]], float | None]


def loaded_s(gauges: Gauges, look_s: float = LOOK_S) -> float:
    """How long a network runs for its telemetry (s); 0 without any source."""
    slow = gauges.interval_s
    return SETTLE_S + slow + max(look_s, LOOKS * slow) if gauges.sources else 0.0


def telemetry(
    case: Case,
    backend: Backend,
    gauges: Gauges,
    total_mw: Total,
    look_s: float = LOOK_S,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """What the sensors say of one case: just before (``idle_power_mw``), and while it runs. Empty where there are no
    sensors; where it did not run, why not (``unobserved``).

    Energy is the mean power times the time of the window, over the tiles that ran in it: a run in it may last longer
    than the latency, which is of undisturbed runs.
    """
    if not gauges.sources:
        return {}
    every_s = min(gauges.interval_s, EVERY_S)
    begin: list[float] = []
    looks: list[Seen] = []

    def look() -> None:
        now = clock()
        begin.append(now - every_s)
        if now - begin[0] >= SETTLE_S + gauges.interval_s:
            looks.append(read())

    try:
        with gauges.awake() as read:
            before = read()
            ran = backend.sustain(case, loaded_s(gauges, look_s), 0.0, look, every_s)
            after = read()
    except (WorkerError, BackendError) as error:
        return {"unobserved": error.message}
    seen = mean(looks)
    power = total_mw(seen.reading.rails_mw)
    events = [s.reading.throttle_events for s in (before, after) if s.reading.throttle_events is not None]
    return known(
        described(seen, total_mw)
        | {
            "energy_mj_per_tile": None if power is None else power * ran.spent_s / (ran.runs * case.batch),
            "idle_power_mw": total_mw(before.reading.rails_mw),
            "throttle_events": events[-1] - events[0] if len(events) == 2 else None,
            "loaded_runs": ran.runs,
            "loaded_s": ran.spent_s,
            "looks": len(looks),
        }
    )


def described(seen: Seen, total_mw: Total) -> dict[str, Any]:
    """A reading as telemetry; what is not known is None or empty."""
    reading = seen.reading
    return {
        "power_mw": total_mw(reading.rails_mw),
        "rails_mw": dict(reading.rails_mw),
        "gpu_mhz": reading.gpu_mhz,
        "gpu_load_pct": reading.gpu_load_pct,
        "cpu_mhz": reading.cpu_mhz,
        "memory_mhz": reading.memory_mhz,
        "temperature_c": hottest_c(reading.temperature_c),
        "temperatures_c": dict(reading.temperature_c),
        "used_mib": reading.used_mib,
        "swap_mib": reading.swap_mib,
        "fan_pct": reading.fan_pct,
        "gpu_memory_mhz": reading.gpu_memory_mhz,
        "throttle_reasons": None if reading.cuts is None else list(reading.cuts),
        "sources": dict(seen.sources),
    }


def known(telemetry: Mapping[str, Any]) -> dict[str, Any]:
    """Telemetry without what no sensor gives."""
    return {name: value for name, value in telemetry.items() if value is not None and value != {}}
