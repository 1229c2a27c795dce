"""Over-current events of a Jetson: how often its supply could not follow, and clocks were cut for it.

Jetson Linux Developer Guide, "Jetson Orin Nano Series, Jetson Orin NX Series and Jetson AGX Orin Series": ``oc1`` is
under-voltage, ``oc2`` average and ``oc3`` instantaneous over-current. Counters since the board was started.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeprof.boards.sensors.files import number

SUFFIX = "_event_cnt"


def read_overcurrent(root: Path = Path("/")) -> Mapping[str, int]:
    """Events so far, by counter, of the machine whose ``/sys`` is under ``root``; empty where there are none."""
    found = {}
    for path in sorted((root / "sys/class/hwmon").glob(f"hwmon*/oc*{SUFFIX}")):
        count = number(path)
        if count is not None:
            found[path.name.removesuffix(SUFFIX)] = int(count)
    return found
