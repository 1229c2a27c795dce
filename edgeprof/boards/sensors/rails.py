"""Power by rail, from the current monitors that Jetson modules and carrier boards have on I²C.

Linux, Documentation/hwmon/ina3221.rst and ina238.rst; before L4T 34 NVIDIA's own driver ina3221x (Tegra Linux Driver
Package Development Guide, "Software-Based Power Consumption Modeling").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeprof.boards.sensors.files import number, text

HWMON = "sys/class/hwmon"
IIO = "sys/bus/i2c/drivers/ina3221x"
UNCONNECTED = "NC"


@dataclass(frozen=True)
class Rail:
    """A rail at one moment: power (mW), and what it came from: voltage (mV) and current (mA); None where unknown."""

    mw: float
    mv: float | None = None
    ma: float | None = None


def read_rails(root: Path = Path("/")) -> Mapping[str, Rail]:
    """Rails by name, of the machine whose ``/sys`` is under ``root``; what is off or not connected is absent."""
    found: dict[str, Rail] = {}
    for name, rail in (*_hwmon(root), *_iio(root)):
        found.setdefault(name, rail)
    return found


def _hwmon(root: Path) -> Iterator[tuple[str, Rail]]:
    for folder in sorted((root / HWMON).glob("hwmon*")):
        chip = text(folder / "name") or ""
        if not re.fullmatch(r"ina[0-9]{3,4}", chip):
            continue
        for channel in sorted(path.name[2:-6] for path in folder.glob("in*_input")):
            if (folder / f"curr{channel}_input").exists():
                name = _label(folder, channel, chip)
                rail = _rail(
                    number(folder / f"in{channel}_input"),
                    number(folder / f"curr{channel}_input"),
                    number(folder / f"power{channel}_input"),
                    1000,
                )
                if name and rail:
                    yield name, rail


def _label(folder: Path, channel: str, chip: str) -> str | None:
    """A chip of one channel may go without a label; a channel among several that has none is not connected."""
    names = (f"in{channel}_label", f"curr{channel}_label", f"power{channel}_label")
    found = next(filter(None, (text(folder / name) for name in names)), None)
    if found is None and not (folder / "curr2_input").exists():
        found = text(folder / "label") or chip
    return None if found == UNCONNECTED else found


def _iio(root: Path) -> Iterator[tuple[str, Rail]]:
    for path in sorted((root / IIO).glob("*/iio:device*/rail_name_*")):
        folder, channel = path.parent, path.name.rpartition("_")[2]
        rail = _rail(
            number(folder / f"in_voltage{channel}_input"),
            number(folder / f"in_current{channel}_input"),
            number(folder / f"in_power{channel}_input"),
            1,
        )
        name = text(path)
        if name and name != UNCONNECTED and rail:
            yield name, rail


def _rail(mv: float | None, ma: float | None, power: float | None, per_mw: float) -> Rail | None:
    if power is not None:
        return Rail(power / per_mw, mv, ma)
    return None if mv is None or ma is None else Rail(mv * ma / 1000, mv, ma)
