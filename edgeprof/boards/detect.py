"""What this machine is, and which board that makes it. Files are read under a root that is passed in; discrete GPUs,
which a driver names and no file, are passed in too."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from edgeprof import catalogue
from edgeprof.boards.match import likeness
from edgeprof.boards.sensors.devicetree import FOLDERS, read_device_tree
from edgeprof.boards.sensors.files import text
from edgeprof.boards.sensors.l4t import read_release
from edgeprof.boards.sensors.nvml import Gpu, read_gpus
from edgeprof.boards.spec import Board, read_board
from edgeprof.errors import BoardError, CatalogueError

# float32 lanes of a vector register, widest first: Intel SDM vol. 1 ch. 15 (AVX-512), ch. 14 (AVX); Arm ARM C1 (NEON)
LANES = (("avx512f", 16), ("avx2", 8), ("avx", 8), ("sse2", 4), ("asimd", 4), ("neon", 4))

# Below a root, what detect_machine reads: patterns, for those who copy it from elsewhere.
CPU = "sys/devices/system/cpu/cpu"
FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "etc/nv_tegra_release",
    *(f"{folder}/{name}" for folder in FOLDERS for name in ("model", "compatible")),
    *(f"{CPU}0/cache/index*/{name}" for name in ("type", "level", "size")),
    *(f"{CPU}0/cpufreq/{name}" for name in ("scaling_governor", "cpuinfo_max_freq")),
    f"{CPU}[0-9]*/topology/thread_siblings_list",
)


@dataclass(frozen=True)
class System:
    """What a system says of itself in no file: ``name`` and release of its kernel, processor, architecture, processors
    that it has, and physical cores that a process may use."""

    name: str
    processor: str
    architecture: str
    logical_cores: int
    usable_cores: int


@dataclass(frozen=True)
class Machine:
    """A machine as detected: sizes in KiB and MiB, clocks in MHz; None where it cannot be told. ``device_tree`` and
    ``compatible`` are an ARM board's own name, ``l4t`` a Jetson's release of Linux, ``gpus`` the discrete ones.
    ``emulated``: another machine plays this one. ``no_gpu``: why none could be asked for, and what to do, if that is
    known; no part of what it is."""

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
    device_tree: str | None = None
    compatible: tuple[str, ...] = ()
    l4t: str | None = None
    gpus: tuple[str, ...] = ()
    gpu_mib: tuple[int | None, ...] = ()
    emulated: bool = False
    no_gpu: tuple[str, str] | None = field(default=None, compare=False)

    def title(self) -> str:
        """A line for people."""
        return f"{self.model}, {self.physical_cores} cores, {self.memory_mib / 1024:.0f} GiB"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return {name: value for name, value in asdict(self).items() if name != "no_gpu"}


def detect_machine(root: Path = Path("/"), gpus: Sequence[Gpu] = (), system: System | None = None) -> Machine:
    """The machine whose ``/proc``, ``/sys`` and ``/etc`` are under ``root``, with these discrete GPUs; ``system`` is
    this process's own, if not given."""
    system = system or this_system()
    cpuinfo = _cpuinfo(root)
    flags = frozenset(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
    caches = _caches(root)
    tree, release = read_device_tree(root), read_release(root)
    return Machine(
        model=cpuinfo.get("model name") or cpuinfo.get("Model") or system.processor,
        architecture=system.architecture,
        physical_cores=system.usable_cores,
        logical_cores=system.logical_cores,
        lanes=next((lanes for flag, lanes in LANES if flag in flags), 4),
        isa=tuple(flag for flag, _ in LANES if flag in flags),
        l1d_kib=caches.get(1),
        l2_kib=caches.get(2),
        l3_kib=caches.get(3),
        memory_mib=_memory_mib(root),
        governor=text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        max_mhz=_mhz(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"),
        system=system.name,
        device_tree=tree.model,
        compatible=tree.compatible,
        l4t=release.version if release else None,
        gpus=tuple(gpu.name for gpu in gpus),
        gpu_mib=tuple(gpu.memory_mib for gpu in gpus),
    )


def emulated(board: Machine, machine: Machine) -> Machine:
    """``board`` as it is emulated on ``machine``, whose processor executes networks: its name says so."""
    return replace(
        board,
        model=f"{board.device_tree or board.model}, emulated on {machine.model}",
        lanes=machine.lanes,
        isa=machine.isa,
        emulated=True,
    )


def this_system() -> System:
    """The system that this process runs on."""
    return System(
        name=f"{platform.system()} {platform.release()}",
        processor=platform.processor() or platform.machine(),
        architecture=platform.machine(),
        logical_cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
    )


def physical_cores(root: Path) -> int | None:
    """Physical cores by the kernel's lists of processors that share one; None where it has none."""
    lists = {text(path) for path in root.glob(f"{CPU}[0-9]*/topology/thread_siblings_list")}
    return len(lists) or None


def usable_cores() -> int:
    """Physical cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


def find_board(name: str, machine: Machine) -> Board:
    """The board of a name or file. ``auto`` is what the machine is; ``jetson`` and ``discrete`` what it is among the
    boards of that kind.

    :raises CatalogueError: no such board. :raises BoardError: the machine is none of that kind.
    """
    if name == "auto":
        return detect_board(machine)
    return detect_kind(name, machine) if name in ABSENT else read_board(name)


def detect_board(machine: Machine) -> Board:
    """The board that this machine is: the most particular match, and else the one that matches anything.

    :raises CatalogueError: nothing matches.
    """
    board = _likest(machine, _boards())
    if board is None:
        raise CatalogueError(
            "no board file matches this machine", "name one: --board NAME (edgeprof list boards)"
        )
    return board


def detect_kind(kind: str, machine: Machine) -> Board:
    """The board that this machine is, among those of one kind.

    :raises BoardError: it is none; the text says what was looked for.
    """
    board = _likest(machine, [board for board in _boards() if board.kind == kind])
    if board is None:
        raise ABSENT[kind](machine)
    return board


def _boards() -> list[Board]:
    return [read_board(str(entry.path)) for entry in catalogue.entries("boards")]


def _likest(machine: Machine, boards: Sequence[Board]) -> Board | None:
    facts = machine.as_dict()
    found = [(like, board) for board in boards if (like := likeness(board.match, facts))]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _no_jetson(machine: Machine) -> BoardError:
    tree = machine.device_tree
    if tree is None and not machine.compatible:
        return BoardError(
            "this is no Jetson: there is no /proc/device-tree/model and no /proc/device-tree/compatible",
            "run edgeprof on the Jetson, or name a board: --board NAME (edgeprof list boards)",
        )
    return BoardError(
        f"no Jetson's board file matches the device tree: it says '{tree}', compatible {', '.join(machine.compatible)}",
        "name the nearest one, --board NAME (edgeprof list boards), or add a file: see boards/README.md",
    )


def _no_discrete(machine: Machine) -> BoardError:
    if machine.no_gpu:
        return BoardError(*machine.no_gpu)
    try:
        named = machine.gpus or tuple(gpu.name for gpu in read_gpus())
    except BoardError as error:
        return error
    return BoardError(
        f"no board file matches the GPU: the driver says {', '.join(named)}",
        "name the nearest one, --board NAME (edgeprof list boards), or add a file: see boards/README.md",
    )


# The kinds that can be asked for by name, and what to say on a machine that is none.
ABSENT: Mapping[str, Callable[[Machine], BoardError]] = {"jetson": _no_jetson, "discrete": _no_discrete}


def load_1m() -> float:
    """Load average over a minute."""
    return os.getloadavg()[0]


def _cpuinfo(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _caches(root: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    for folder in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (text(folder / name) for name in ("type", "level", "size"))
        if kind in ("Data", "Unified") and level and size and size[-1] in "KM":
            found[int(level)] = int(size[:-1]) * (1024 if size[-1] == "M" else 1)
    return found


def _memory_mib(root: Path) -> int:
    for line in (text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return int(psutil.virtual_memory().total) // 2**20


def _mhz(path: Path) -> float | None:
    khz = text(path)
    return int(khz) / 1000 if khz and khz.isdigit() else None
