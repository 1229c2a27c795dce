"""Locks: a discrete GPU's clocks, held for a sweep and given back afterwards, whatever ends it.

NVML API reference, "Device Commands": ``nvmlDeviceSetGpuLockedClocks`` (Volta and newer), for memory
``nvmlDeviceSetMemoryLockedClocks`` (Ampere and newer), both for root alone. Nothing tells what is locked at present, so
giving back is the driver's default. What is to be given back is in a journal before anything is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeprof.boards.console import SYSTEM
from edgeprof.boards.power import RESTORE, undisturbed
from edgeprof.boards.sensors.gauges import AS_ROOT
from edgeprof.boards.sensors.nvml import driver
from edgeprof.boards.sensors.nvpmodel import ModeDefinition
from edgeprof.errors import BoardError
from edgeprof.files import write_whole
from edgeprof.sweeps.case import Clocks

JOURNAL = f"{SYSTEM}/gpu-clocks.json"
# nvml.h, nvmlClockLimitId_t: the clock that the GPU keeps up within its thermal design power, whatever runs: its base
# clock. NVIDIA's own benchmarks lock "base" so (nvbench, device_info.cu).
TDP = 0xFFFFFF01
FREE = "leave out --clocks: every round keeps the clocks that it ran at"


@dataclass(frozen=True)
class Locked:
    """What the journal says: whose clocks were locked."""

    uuid: str
    name: str
    version: int = 1

    def title(self) -> str:
        """A line for people."""
        return f"the clocks of {self.name}"


class Locks:
    """Clocks of the GPU at a PCI address, for as long as they are to be held. The journal is below ``root``."""

    holds: tuple[Clocks, ...] = ("base", "max")

    def __init__(self, address: str = "", root: Path = Path("/")) -> None:
        self._address, self._path = address, root / JOURNAL
        self._touched = False

    def modes(self, names: Sequence[str]) -> list[ModeDefinition]:
        """A discrete GPU has no power modes.

        :raises BoardError: one is asked for.
        """
        if names:
            raise BoardError(
                "a discrete GPU has no power modes: they are a Jetson's",
                "leave out --power-mode; --clocks base and --clocks max hold its clocks",
            )
        return []

    def left(self) -> Locked | None:
        """What an earlier sweep did not give back; None where all is well.

        :raises BoardError: the journal cannot be read.
        """
        try:
            return Locked(**json.loads(self._path.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise BoardError(
                f"the journal of locked clocks {self._path} cannot be read: {error}",
                "sudo nvidia-smi -rgc and sudo nvidia-smi -rmc, then remove the file",
            ) from None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Clocks that are locked meanwhile are given back at the end. The driver stays loaded: without persistence
        mode it would forget locks with its last user.

        :raises BoardError: nothing answers for the GPU, or this user may not write the journal.
        """
        with driver() as nvml:
            _, locked = self._gpu(nvml)
            new = self.left() is None
            if new:
                self._write_journal(locked)
            try:
                yield
            finally:
                with undisturbed():
                    if self._touched:
                        self.restore()
                    elif new:
                        self._path.unlink(missing_ok=True)

    def use(self, mode: ModeDefinition | None, clocks: str | None) -> str:
        """Lock the clocks at ``base`` or ``max``, or give them back (None), within :meth:`kept`: a line for people.

        :raises BoardError: this user may not, or the GPU cannot.
        """
        with driver() as nvml:
            gpu, locked = self._gpu(nvml)
            name = locked.name
            if clocks is None:
                _give_back(nvml, gpu, name)
                return f"clocks of {name} as its driver has them"
            try:
                mhz = nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM)
                limit = TDP if clocks == "base" else mhz
                nvml.nvmlDeviceSetGpuLockedClocks(gpu, limit, limit)
                self._touched = True
            except nvml.NVMLError as error:
                raise _refused(nvml, error, name, self._address, "MHZ" if clocks == "base" else mhz) from None
            at = "its base (what it keeps up within its power)" if clocks == "base" else f"{mhz} MHz"
            return f"SM clock of {name} locked at {at}, {_lock_memory(nvml, gpu)}"

    def restore(self) -> Locked | None:
        """Give back what the journal says, if there is one: what that is.

        :raises BoardError: it cannot be given back; the journal stays.
        """
        was = self.left()
        if was is None:
            return None
        with driver() as nvml:
            try:
                gpu = nvml.nvmlDeviceGetHandleByUUID(was.uuid)
            except nvml.NVMLError as error:
                raise BoardError(
                    f"{was.name} ({was.uuid}) does not answer: {error}",
                    f"a reboot gives its clocks back; then remove {self._path}",
                ) from None
            _give_back(nvml, gpu, was.name)
        self._path.unlink()
        return was

    def _gpu(self, nvml: Any) -> tuple[Any, Locked]:
        try:
            gpu = nvml.nvmlDeviceGetHandleByPciBusId(self._address)
            return gpu, Locked(nvml.nvmlDeviceGetUUID(gpu), nvml.nvmlDeviceGetName(gpu))
        except nvml.NVMLError as error:
            raise BoardError(f"no GPU answers at {self._address}: {error}", FREE) from None

    def _write_journal(self, locked: Locked) -> None:
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except PermissionError:
            raise _by_root(locked.name, self._address, "MHZ") from None
        except OSError as error:
            raise BoardError(f"the journal of locked clocks cannot be written: {error}", FREE) from None
        if not os.access(folder, os.W_OK):
            raise _by_root(locked.name, self._address, "MHZ")
        write_whole(self._path, json.dumps(asdict(locked)))
        os.sync()  # a machine that hangs is switched off


def _lock_memory(nvml: Any, gpu: Any) -> str:
    """Lock the memory's clock at its highest, where that can be done: what was done."""
    try:
        mhz = nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_MEM)
        nvml.nvmlDeviceSetMemoryLockedClocks(gpu, mhz, mhz)
    except nvml.NVMLError as error:
        return f"its memory's not ({error}: from Ampere on)"
    return f"its memory's at {mhz} MHz"


def _give_back(nvml: Any, gpu: Any, name: str) -> None:
    for function in ("nvmlDeviceResetGpuLockedClocks", "nvmlDeviceResetMemoryLockedClocks"):
        try:
            getattr(nvml, function)(gpu)
        except nvml.NVMLError_NotSupported:  # nor was it locked
            continue
        except nvml.NVMLError as error:
            raise BoardError(f"the clocks of {name} were not given back: {error}", RESTORE) from None


def _refused(nvml: Any, error: Exception, name: str, address: str, mhz: object) -> BoardError:
    if isinstance(error, nvml.NVMLError_NoPermission):
        return _by_root(name, address, mhz)
    if isinstance(error, nvml.NVMLError_NotSupported):
        return BoardError(f"{name} cannot lock its clocks: GPUs can from Volta on", FREE)
    return BoardError(f"the clocks of {name} were not locked: {error}", FREE)


def _by_root(name: str, address: str, mhz: object) -> BoardError:
    by_hand = f"sudo nvidia-smi -i {address} -lgc {mhz}"
    return BoardError(
        f"the clocks of {name} can be locked by root alone",
        f"{AS_ROOT} sweep …; or by hand: {by_hand} (back: sudo nvidia-smi -i {address} -rgc)",
    )
