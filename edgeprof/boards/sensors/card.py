"""A discrete GPU's own sensors as a source of readings: here, or at the other end of a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgeprof.boards.sensors.reading import Counter, Reading, Ready
from edgeprof.boards.spec import CARD
from edgeprof.nvml import open_sensors


class Card(Ready):
    """The sensors that ``look`` answers for, as :class:`edgeprof.nvml.Sensors` does; None where they cannot be
    asked."""

    name = "nvml"
    gives = frozenset(
        (
            "rails_mw",
            "gpu_mhz",
            "gpu_memory_mhz",
            "gpu_load_pct",
            "temperature_c",
            "fan_pct",
            "counter",
            "cuts",
        )
    )
    interval_s = 1.0  # power is averaged over a second (NVML API reference, nvmlDeviceGetPowerUsage)

    def __init__(self, look: Callable[[], Mapping[str, Any] | None]) -> None:
        self._look = look

    def read(self) -> Reading | None:
        found = self._look()
        return card_reading(found) if found else None


def open_card(address: str) -> Card | None:
    """The sensors of this machine's GPU at a PCI address; None where they cannot be asked."""
    sensors = open_sensors(address)
    return Card(sensors.look) if sensors else None


def card_reading(found: Mapping[str, Any]) -> Reading:
    """What a GPU says, as a reading; what it does not say is None or empty."""
    counter = found.get("energy_mj")
    power, celsius, cuts = (found.get(name) for name in ("power_mw", "temperature_c", "throttle_reasons"))
    return Reading(
        rails_mw={} if power is None else {CARD: float(power)},
        gpu_mhz=found.get("gpu_mhz"),
        gpu_memory_mhz=found.get("gpu_memory_mhz"),
        gpu_load_pct=found.get("gpu_load_pct"),
        temperature_c={} if celsius is None else {"gpu": float(celsius)},
        fan_pct=found.get("fan_pct"),
        counter=None if counter is None else Counter(float(counter), float(found["at_s"])),
        cuts=None if cuts is None else tuple(cuts),
        power_source=found.get("power_source"),
    )
