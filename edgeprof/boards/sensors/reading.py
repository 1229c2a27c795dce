"""A reading of a board's own sensors at one moment, and how several sources make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

LABELS = {  # what people call the fields of a reading
    "rails_mw": "power",
    "gpu_mhz": "GPU clock",
    "gpu_load_pct": "GPU load",
    "cpu_mhz": "processor clock",
    "memory_mhz": "memory clock",
    "temperature_c": "temperatures",
    "used_mib": "memory",
    "swap_mib": "swap",
    "throttle_events": "throttle events",
    "fan_pct": "fan",
    "gpu_memory_mhz": "memory clock",
    "counter": "energy counter",
    "cuts": "cut clocks",
    "power_source": "how power is sampled",
}

# What NVIDIA's own monitors of a Jetson know, tegrastats and the service of jetson-stats
MONITORED = frozenset(
    (
        "rails_mw",
        "gpu_mhz",
        "gpu_load_pct",
        "cpu_mhz",
        "memory_mhz",
        "temperature_c",
        "used_mib",
        "swap_mib",
    )
)


@dataclass(frozen=True)
class Counter:
    """An energy counter (mJ), and when it was read (s, by a clock of the sensor's machine)."""

    mj: float
    at_s: float


@dataclass(frozen=True)
class Reading:
    """What sensors say. What they do not say is None or empty, never zero.

    ``rails_mw`` is power by rail; ``used_mib`` what of the board's memory is in use, by processor and GPU together;
    ``throttle_events`` counts since the start; ``fan_pct`` of its highest duty; temperatures by sensor. Of a discrete
    GPU: its memory's clock, its energy counter, why clocks are cut at the moment, and how its power is sampled.
    """

    rails_mw: Mapping[str, float] = field(default_factory=dict)
    gpu_mhz: float | None = None
    gpu_load_pct: float | None = None
    cpu_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: Mapping[str, float] = field(default_factory=dict)
    used_mib: float | None = None
    swap_mib: float | None = None
    throttle_events: int | None = None
    fan_pct: float | None = None
    gpu_memory_mhz: float | None = None
    counter: Counter | None = None
    cuts: tuple[str, ...] | None = None
    power_source: str | None = None

    def known(self) -> frozenset[str]:
        """The names of what it says."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) not in (None, {}))


class Source(Protocol):
    """Where readings come from. ``gives`` are the names that it may know; ``interval_s`` is how old a reading may be.
    Between :meth:`rest` and :meth:`wake` it takes no processor time, as far as it can."""

    name: str
    gives: frozenset[str]
    interval_s: float

    def read(self) -> Reading | None:
        """The present reading; None where there is none."""
        ...

    def wake(self) -> None:
        """Readings are wanted."""
        ...

    def rest(self) -> None:
        """No reading is wanted for a while."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Ready:
    """The part of a :class:`Source` that most have in common: ready at any time, with nothing to give back."""

    def wake(self) -> None:
        """Nothing to do."""

    def rest(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to give back."""


def merged(readings: Sequence[tuple[str, Reading | None]]) -> tuple[Reading, dict[str, str]]:
    """One reading from several in the order of preference, field by field, and the source of each field."""
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, reading in readings:
        for known in sorted(reading.known() - found.keys()) if reading else ():
            found[known], sources[known] = getattr(reading, known), name
    return Reading(**found), sources
