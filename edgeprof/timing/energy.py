"""Energy: what a tile costs while a network runs steadily, by a GPU's counter or by sampled power, and less idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeprof.backends.base import Backend
from edgeprof.boards.sensors.gauges import Gauges, Seen, mean
from edgeprof.boards.sensors.reading import Counter
from edgeprof.sweeps.case import Case
from edgeprof.timing.load import EVERY_S, SETTLE_S, Total, described, known

STEADY_S = 5.0  # a counter is a few times 10 ms old: below 2 % of it
IDLE_S = 1.0
COUNTER = "counter"
TOP = ("power_mw", "idle_power_mw", "energy_mj_per_tile", "energy_net_mj_per_tile", "energy_source")
KEPT = (
    *("gpu_mhz", "gpu_memory_mhz", "gpu_load_pct", "temperature_c", "fan_pct"),
    "throttle_reasons",
    "sources",
)


def energy_s(steady_s: float = STEADY_S) -> float:
    """About how long it takes for each case (s) with a source that speaks once a second, the network's load apart."""
    return 2 * (SETTLE_S + 1.0 + EVERY_S) + IDLE_S + steady_s


def energy(
    case: Case,
    backend: Backend,
    gauges: Gauges,
    total_mw: Total,
    steady_s: float = STEADY_S,
    idle_s: float = IDLE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Power (mW) and energy per tile (mJ) of ``case``, from ``steady_s`` of it on and on; what is not known is absent.

    Power is what the counter gained over the time between its first and last reading (``energy_source`` "counter"), or
    else the mean of the sampled power, and how that is sampled. A tile takes power × the run's time / tiles that ran in
    it. Idle is the same over ``idle_s`` just before, with the runtime loaded and no network running;
    ``energy_net_mj_per_tile`` is less that.

    :raises WorkerError: it crashed. :raises BackendError: nothing really runs.
    """
    settle_s = SETTLE_S + gauges.interval_s
    every_s = min(gauges.interval_s, EVERY_S)
    begin: list[float] = []
    looks: list[Seen] = []
    idle: list[Seen] = []
    with gauges.awake() as read:

        def look() -> None:
            begin.append(clock())
            if begin[-1] - begin[0] + every_s >= settle_s:
                looks.append(read())

        sleep(settle_s)  # until the mean over the past second is of idling alone
        until = clock() + idle_s
        while not idle or clock() < until:
            idle.append(read())
            sleep(every_s)
        idle.append(read())
        ran = backend.sustain(case, settle_s + steady_s + 2 * every_s, 0.0, look, every_s)
    power, source = power_mw(looks, total_mw)
    rest, _ = power_mw(idle, total_mw)
    per_tile = ran.spent_s / (ran.runs * case.batch)
    net = None if power is None or rest is None else (power - rest) * per_tile
    seen = described(mean(looks), total_mw)
    return known(
        {
            **{name: seen.get(name) for name in KEPT},
            "power_mw": power,
            "idle_power_mw": rest,
            "energy_mj_per_tile": None if power is None else power * per_tile,
            "energy_net_mj_per_tile": net,
            "energy_source": source,
            "spent_s": ran.spent_s,
            "runs": ran.runs,
            "looks": len(looks),
        }
    )


def power_mw(looks: Sequence[Seen], total_mw: Total) -> tuple[float | None, str | None]:
    """Mean power (mW) over readings, and where it is from: "counter", or how it was sampled; None, None if unknown."""
    counted = counted_mw([s.reading.counter for s in looks if s.reading.counter])
    if counted is not None:
        return counted, COUNTER
    sampled = total_mw(mean(looks).reading.rails_mw)
    if sampled is None:
        return None, None
    how = next((s.reading.power_source for s in looks if s.reading.power_source), None)
    return sampled, f"power {how}" if how else "power"


def counted_mw(counters: Sequence[Counter]) -> float | None:
    """Mean power (mW) between the first and the last reading of a counter; None where it did not count."""
    if len(counters) < 2:
        return None
    first, last = counters[0], counters[-1]
    if last.at_s <= first.at_s or last.mj <= first.mj:
        return None
    return (last.mj - first.mj) / (last.at_s - first.at_s)


def top(found: Mapping[str, Any]) -> dict[str, Any]:
    """What of it stands in a case's telemetry itself, where a board with sensors in every round has it too."""
    return {name: found[name] for name in TOP if name in found}


def told(found: Mapping[str, Any]) -> str:
    """A line for people."""
    if "energy_mj_per_tile" not in found:
        return "no sensor tells its power"
    net = found.get("energy_net_mj_per_tile")
    less = "" if net is None else f" ({net:.4g} less idle)"
    return f"{found['energy_mj_per_tile']:.4g} mJ/tile{less}, by {found['energy_source']}"
