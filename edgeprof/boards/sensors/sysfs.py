"""A board's sensors as files of ``/sys`` and ``/proc``: no program, no library, mostly no root."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from edgeprof.boards.sensors.devfreq import read_gpu_clock
from edgeprof.boards.sensors.fan import read_fan_pct
from edgeprof.boards.sensors.files import number, text
from edgeprof.boards.sensors.host import FILES as HOST_FILES
from edgeprof.boards.sensors.host import read_host
from edgeprof.boards.sensors.overcurrent import read_overcurrent
from edgeprof.boards.sensors.rails import read_rails
from edgeprof.boards.sensors.reading import Reading, Ready

# The clock of the memory, which root alone may read: Orin and Xavier, older releases, Thor (as jetson-stats reads it).
MEMORY_CLOCK = (
    "sys/kernel/debug/bpmp/debug/clk/emc/rate",
    "sys/kernel/debug/clk/emc/clk_rate",
    "sys/class/devfreq/bwmgr/cur_freq",
)
# Below a root, what is read: patterns, for those who copy it from elsewhere.
FILES = (
    *HOST_FILES,
    *MEMORY_CLOCK,
    "proc/meminfo",
    "etc/nv_tegra_release",
    *(
        f"sys/class/hwmon/hwmon*/{name}"
        for name in ("name", "label", "in*_label", "curr*_label", "power*_label")
    ),
    *(f"sys/class/hwmon/hwmon*/{name}" for name in ("in*_input", "curr*_input", "power*_input", "pwm1")),
    *(
        f"sys/bus/i2c/drivers/ina3221x/*/iio:device*/{name}_*"
        for name in ("rail_name", "in_voltage*", "in_current*")
    ),
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input",
    *(
        f"sys/class/devfreq/*/{name}"
        for name in ("cur_freq", "min_freq", "max_freq", "governor", "device/load")
    ),
    "sys/class/devfreq/*/device/of_node/name",
    "sys/devices/gpu.0/load",
    "sys/devices/platform/gpu.0/load",
    "sys/devices/pwm-fan/target_pwm",
)
DENIED = {  # names of a reading → the files that root alone may read on some release or other
    "rails_mw": (
        "sys/class/hwmon/hwmon*/curr*_input",
        "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input",
    ),
    "gpu_mhz": ("sys/class/devfreq/*/cur_freq",),
    "gpu_load_pct": ("sys/class/devfreq/*/device/load", "sys/devices/gpu.0/load"),
    "cpu_mhz": ("sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_cur_freq",),
    "throttle_events": ("sys/class/hwmon/hwmon*/oc*_event_cnt",),
}


class Sysfs(Ready):
    """The files below ``root``."""

    name = "sysfs"
    gives = frozenset(f.name for f in fields(Reading))
    interval_s = 0.1

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def read(self) -> Reading | None:
        return read_sysfs(self._root)


def read_sysfs(root: Path = Path("/")) -> Reading:
    """The present reading of the machine whose ``/sys`` and ``/proc`` are under ``root``."""
    gpu, host, events = read_gpu_clock(root), read_host(root), read_overcurrent(root)
    memory = _memory_kib(root)
    total, free = memory.get("MemTotal"), memory.get("MemAvailable")
    clock = next((hertz for path in MEMORY_CLOCK if (hertz := number(root / path))), None)
    swap, left = memory.get("SwapTotal"), memory.get("SwapFree")
    return Reading(
        rails_mw={name: rail.mw for name, rail in read_rails(root).items()},
        gpu_mhz=gpu.mhz if gpu else None,
        gpu_load_pct=gpu.load_pct if gpu else None,
        cpu_mhz=max(host.mhz, default=None),
        memory_mhz=None if clock is None else clock / 1e6,
        temperature_c=host.temperature_c,
        used_mib=None if total is None or free is None else (total - free) / 1024,
        swap_mib=None if swap is None or left is None else (swap - left) / 1024,
        throttle_events=sum(events.values()) if events else None,
        fan_pct=read_fan_pct(root),
    )


def denied(root: Path = Path("/")) -> tuple[str, ...]:
    """Names of a reading whose files are there, and cannot be read by this user."""
    return tuple(
        name
        for name, patterns in DENIED.items()
        if any(_refused(path) for p in patterns for path in root.glob(p))
    )


def _refused(path: Path) -> bool:
    try:
        with path.open("rb"):
            return False
    except PermissionError:
        return True
    except OSError:
        return False


def _memory_kib(root: Path) -> dict[str, int]:
    found = {}
    for line in (text(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found
