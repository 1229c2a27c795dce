"""Locks: a discrete GPU's clocks, held for a sweep and given back afterwards, whatever ends it.

``nvidia-smi`` locks them, for root alone: SM clocks on Volta and newer, the memory's on Ampere and newer (NVML API
reference, "Device Commands"). Nothing tells what is locked at present, so giving back is the driver's default. What is
to be given back is in a journal on the board before anything is set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

from edgeprof.boards import console
from edgeprof.boards.power import PATIENCE_S, REACH_S, Console, HereConsole, last, undisturbed
from edgeprof.boards.sensors.nvpmodel import ModeDefinition
from edgeprof.errors import BoardError
from edgeprof.sweeps.case import Clocks

FILE = "gpu-clocks.json"
JOURNAL = f"{console.SYSTEM}/{FILE}"
# The clock that the GPU keeps up within its thermal design power, whatever runs: its base clock (NVIDIA's CUPTI
# documentation, "Multi-Instance GPU"; nvml.h, NVML_CLOCK_LIMIT_ID_TDP).
BASE = "tdp"
QUERY = ("--query-gpu=name,uuid,clocks.max.sm,clocks.max.memory", "--format=csv,noheader,nounits")
BY_SUDO, DENIED, NO_GPU = 1, 4, 6  # sudo(8), "Exit value"; nvidia-smi(1), "Return value"
UNSUPPORTED = "not supported"  # it says so with status 0, and goes on
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


class _Gpu(NamedTuple):
    """What nvidia-smi says of a GPU: whose it is, and the highest clocks in MHz."""

    locked: Locked
    mhz: str
    memory_mhz: str


class Locks:
    """Clocks of the GPU at a PCI address of the machine that ``at`` leads to, for as long as they are to be held.

    :param hold: keeps the driver loaded there: without persistence mode it forgets locks with its last user.
    """

    holds: tuple[Clocks, ...] = ("base", "max")

    def __init__(
        self, address: str = "", at: Console | None = None, hold: Callable[[], object] = lambda: None
    ) -> None:
        self._address, self._at, self._hold = address, at or HereConsole(), hold
        self._touched = False
        self._set_to: str | None = None

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
        return self._left()[0]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Clocks that are locked meanwhile are given back at the end. What an earlier sweep left of another GPU is
        given back before.

        :raises BoardError: nothing answers for the GPU, or this user may not write the journal.
        """
        self._hold()
        self._touched = False
        locked, was = self._gpu().locked, self.left()
        if was and was.uuid != locked.uuid:
            self.restore()
            was = None
        if was is None:
            self._write_journal(locked)
        try:
            yield
        finally:
            with undisturbed():
                self._put_back(new=was is None)

    def use(self, mode: ModeDefinition | None, clocks: str | None) -> str:
        """Lock the clocks at ``base`` or ``max``, or give them back (None), within :meth:`kept`: a line for people.

        :raises BoardError: this user may not, or the GPU cannot.
        """
        self._set_to = None
        self._hold()
        gpu = self._gpu()
        name = gpu.locked.name
        if clocks is None:
            self._give_back(gpu.locked)
            return f"clocks of {name}{self._on()} as its driver has them"
        limit = BASE if clocks == "base" else gpu.mhz
        before, self._touched = self._touched, True  # a line that is lost does not tell whether it was done
        status, said = self._smi("-i", gpu.locked.uuid, "-lgc", f"{limit},{limit}")
        if status or UNSUPPORTED in said:
            self._touched = before
            raise self._refused(status, said, name, limit)
        memory = self._lock_memory(gpu)
        self._set_to = clocks
        at = "its base (what it keeps up within its power)" if clocks == "base" else f"{limit} MHz"
        return f"SM clock of {name}{self._on()} locked at {at}, {memory}"

    def renew(self) -> None:
        """Set again what :meth:`use` set, on a machine that may have been started anew meanwhile."""
        if self._set_to is not None:
            self.use(None, self._set_to)

    def restore(self) -> Locked | None:
        """Give back what the journal says, if there is one: what that is.

        :raises BoardError: it cannot be given back; the journal stays.
        """
        self._set_to = None
        was, path = self._left()
        if was is None:
            return None
        self._give_back(was)
        self._at.ask("remove", path=path)
        return was

    def _put_back(self, new: bool) -> None:
        self._set_to = None
        try:
            self._at.reach(REACH_S)
            if self._touched:
                self.restore()
            elif new:
                self._at.ask("remove", path=self._left()[1])
        except BoardError as error:
            if not self._at.name:
                raise
            raise BoardError(
                f"the clocks of the GPU of {self._at.name} were not given back: {error.message}",
                self._at.restore,
            ) from None

    def _left(self) -> tuple[Locked | None, str]:
        """The journal, and the file that it is in or will be."""
        paths = [f"{folder}/{FILE}" for folder in self._at.ask("where")["folders"]]
        for path in paths:
            found = self._at.ask("read", path=path)["text"]
            if found is None:
                continue
            try:
                return Locked(**json.loads(found)), path
            except (ValueError, TypeError) as error:
                raise BoardError(
                    f"the journal of locked clocks {path} cannot be read: {error}",
                    f"{self._at.by_hand}sudo nvidia-smi -rgc, the same with -rmc, then remove the file",
                ) from None
        return None, paths[0]

    def _write_journal(self, locked: Locked) -> None:
        try:
            self._at.ask("write", path=self._left()[1], text=json.dumps(asdict(locked)))
        except BoardError as error:
            raise BoardError(
                f"the journal of locked clocks cannot be written: {error.message}", error.hint
            ) from None

    def _gpu(self) -> _Gpu:
        status, said = self._smi("-i", self._address, *QUERY, as_root=False)
        fields = [field.strip() for field in said.strip().rsplit(",", 3)]
        if status or len(fields) != 4:
            raise BoardError(f"no GPU answers at {self._address}{self._on()}: {last(said)}", FREE)
        name, uuid, mhz, memory_mhz = fields
        return _Gpu(Locked(uuid, name), mhz, memory_mhz)

    def _lock_memory(self, gpu: _Gpu) -> str:
        """Lock the memory's clock at its highest, where that can be done: what was done."""
        mhz = gpu.memory_mhz
        status, said = self._smi("-i", gpu.locked.uuid, "-lmc", f"{mhz},{mhz}")
        if UNSUPPORTED in said:
            return "its memory's not: it cannot be (from Ampere on, and not on all cards)"
        return f"its memory's not: {last(said)}" if status else f"its memory's at {mhz} MHz"

    def _give_back(self, was: Locked) -> None:
        for flag in ("-rgc", "-rmc"):
            status, said = self._smi("-i", was.uuid, flag)
            if status == NO_GPU:
                raise BoardError(
                    f"{was.name} ({was.uuid}) does not answer{self._on()}: {last(said)}",
                    f"a reboot gives its clocks back; then remove {self._left()[1]}",
                )
            if status and UNSUPPORTED not in said:  # what cannot be locked, was not
                raise BoardError(
                    f"the clocks of {was.name}{self._on()} were not given back: {last(said)}",
                    f"by hand: {self._at.by_hand}sudo nvidia-smi -i {was.uuid} {flag}; then {self._at.restore}",
                )

    def _refused(self, status: int, said: str, name: str, limit: str) -> BoardError:
        if UNSUPPORTED in said:
            return BoardError(f"{name}{self._on()} cannot lock its clocks: GPUs can from Volta on", FREE)
        if status not in (BY_SUDO, DENIED):
            return BoardError(f"the clocks of {name}{self._on()} were not locked: {last(said)}", FREE)
        command = f"{self._at.by_hand}sudo nvidia-smi -i {self._address}"
        why = f" ({last(said)})" if status != DENIED else ""
        return BoardError(
            f"the clocks of {name}{self._on()} can be locked by root alone{why}",
            f"{self._at.as_root}; or by hand: {command} -lgc {limit},{limit} (back: {command} -rgc)",
        )

    def _smi(self, *arguments: str, as_root: bool = True) -> tuple[int, str]:
        """The status of nvidia-smi, and what it prints."""
        what = dict(arguments=arguments, answer="", patience_s=PATIENCE_S, as_root=as_root)
        done = self._at.ask("run", name="nvidia-smi", **what)
        if not done["found"]:
            raise BoardError(
                f"there is no nvidia-smi on PATH{self._on()}",
                "it comes with NVIDIA's driver, and locks clocks",
            )
        if done["status"] is None:
            raise BoardError(f"nvidia-smi {' '.join(arguments)}: {done['said']}", "run it by hand to see why")
        return int(done["status"]), str(done["said"])

    def _on(self) -> str:
        return f" on {self._at.name}" if self._at.name else ""
