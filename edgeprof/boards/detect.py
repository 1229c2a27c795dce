"""What this machine is: read from ``/proc`` and ``/sys``, never asked. Roots are passed in."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from edgeprof import catalogue
from edgeprof.boards.spec import Board, read_board
from edgeprof.errors import CatalogueError

# float32 lanes of a vector register, widest first: Intel SDM vol. 1 ch. 15 (AVX-512), ch. 14 (AVX); Arm ARM C1 (NEON)
LANES = (("avx512f", 16), ("avx2", 8), ("avx", 8), ("sse2", 4), ("asimd", 4), ("neon", 4))


@dataclass(frozen=True)
class Machine:
    """A machine as detected: sizes in KiB and MiB, clocks in MHz; None where it cannot be told."""

    model: str
    architecture: str
    physical_cores: int
    logical_cores: int
    lanes: int
    isa: tuple[str, ...]
    l1d_kib: int | None
    l2_kib: int | None
    l3_kib: int | None
    memory_mib: int
    governor: str | None
    max_mhz: float | None
    system: str

    def title(self) -> str:
        """A line for people."""
        return f"{self.model}, {self.physical_cores} cores, {self.memory_mib / 1024:.0f} GiB"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return asdict(self)


def detect_machine(root: Path = Path("/")) -> Machine:
    """The machine whose ``/proc`` and ``/sys`` are under ``root``."""
    cpuinfo = _cpuinfo(root)
    flags = frozenset(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
    caches = _caches(root)
    return Machine(
        model=cpuinfo.get("model name") or cpuinfo.get("Model") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        physical_cores=usable_cores(),
        logical_cores=os.cpu_count() or 1,
        lanes=next((lanes for flag, lanes in LANES if flag in flags), 4),
        isa=tuple(flag for flag, _ in LANES if flag in flags),
        l1d_kib=caches.get(1),
        l2_kib=caches.get(2),
        l3_kib=caches.get(3),
        memory_mib=_memory_mib(root),
        governor=_line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        max_mhz=_mhz(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"),
        system=f"{platform.system()} {platform.release()}",
    )


def usable_cores() -> int:
    """Physical cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


def detect_board(machine: Machine) -> Board:
    """The board that this machine is: the most particular match, and else the one that matches anything."""
    facts = {key: str(value) for key, value in machine.as_dict().items()}
    boards = [read_board(str(entry.path)) for entry in catalogue.entries("boards")]
    fitting = [b for b in boards if all(text in facts.get(key, "") for key, text in b.match.items())]
    if not fitting:
        raise CatalogueError(
            "no board file matches this machine", "name one: --board NAME (edgeprof list boards)"
        )
    return max(fitting, key=lambda b: len(b.match))


def load_1m() -> float:
    """Load average over a minute."""
    return os.getloadavg()[0]


def _cpuinfo(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _caches(root: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    for folder in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (_line(folder / name) for name in ("type", "level", "size"))
        if kind in ("Data", "Unified") and level and size and size[-1] in "KM":
            found[int(level)] = int(size[:-1]) * (1024 if size[-1] == "M" else 1)
    return found


def _memory_mib(root: Path) -> int:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return int(psutil.virtual_memory().total) // 2**20


def _mhz(path: Path) -> float | None:
    text = _line(path)
    return int(text) / 1000 if text and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _line(path: Path) -> str | None:
    text = _text(path)
    return text.strip() if text is not None else None
