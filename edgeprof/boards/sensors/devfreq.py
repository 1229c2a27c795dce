"""The integrated GPU's load and clock, from the kernel's device frequency scaling.

Linux, Documentation/ABI/testing/sysfs-class-devfreq; the device's ``load``, in thousandths, is NVIDIA's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeprof.boards.sensors.files import number, text

# 57000000.gpu, 17000000.gp10b, 17000000.gv11b, 17000000.ga10b; the graphics clusters of Thor are gpu-gpc-0 …
GPU = re.compile(r"(?:^|\.)(?:gpu|g[a-z][0-9]{2}b)$|^gpu-gpc-[0-9]+$")
LOADS = ("sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load")


@dataclass(frozen=True)
class GpuClock:
    """A GPU's load (percent), clock and its present limits (MHz), and its clock's governor; None where unknown."""

    name: str
    load_pct: float | None = None
    mhz: float | None = None
    min_mhz: float | None = None
    max_mhz: float | None = None
    governor: str | None = None


def read_gpu_clock(root: Path = Path("/")) -> GpuClock | None:
    """The integrated GPU of the machine whose ``/sys`` is under ``root``; None where there is none."""
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        names = (folder.name, text(folder / "device/of_node/name") or "")
        if not any(GPU.search(name) for name in names):
            continue
        loads = (number(path) for path in (folder / "device/load", *(root / path for path in LOADS)))
        load = next((value for value in loads if value is not None), None)
        return GpuClock(
            name=folder.name,
            load_pct=None if load is None else load / 10,
            mhz=_mhz(folder / "cur_freq"),
            min_mhz=_mhz(folder / "min_freq"),
            max_mhz=_mhz(folder / "max_freq"),
            governor=text(folder / "governor"),
        )
    return None


def _mhz(path: Path) -> float | None:
    hertz = number(path)
    return None if hertz is None else hertz / 1e6
