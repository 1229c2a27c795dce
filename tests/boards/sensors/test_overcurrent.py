"""Over-current counters, at the paths of Jetson Orin (Jetson Linux Developer Guide)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeprof.boards.sensors.overcurrent import read_overcurrent


def test_counters(tree: Callable[..., Path]) -> None:
    root = tree(
        {
            "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
            "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
            "sys/class/hwmon/hwmon3/oc1_throt_en": "1\n",
            "sys/class/hwmon/hwmon3/oc2_event_cnt": "15\n",
            "sys/class/hwmon/hwmon3/oc3_event_cnt": None,
        }
    )
    assert dict(read_overcurrent(root)) == {"oc1": 0, "oc2": 15}


def test_no_counter(tmp_path: Path) -> None:
    assert dict(read_overcurrent(tmp_path)) == {}
