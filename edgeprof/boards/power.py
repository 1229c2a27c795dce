"""Power: a Jetson's power mode and clocks, set for a sweep and put back afterwards, whatever ends it.

``nvpmodel`` sets the mode, ``jetson_clocks`` holds the clocks at its limits (Jetson Linux Developer Guide, "Power
Management"). What was is written to a journal on the board before anything is set, and the journal goes when all is put
back: what a crash left is mended from it.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from edgeprof.boards import console
from edgeprof.boards.sensors.gauges import AS_ROOT
from edgeprof.boards.sensors.nvpmodel import (
    CONFIGURATION,
    STATE,
    STATUS,
    ModeDefinition,
    parse_configuration,
    parse_query,
)
from edgeprof.errors import BoardError, SpecError
from edgeprof.sweeps.case import Clocks

JOURNAL = f"{console.SYSTEM}/power.json"
STORED = f"{console.SYSTEM}/clocks.conf"  # as jetson_clocks writes it
BOOT_ID = "proc/sys/kernel/random/boot_id"  # another one after each start of the board
PATIENCE_S = 60.0
REACH_S = 60.0  # for a board whose connection is lost, before it is given up with its mode
REBOOT_S, REBOOT_STEP_S = 600.0, 1.0  # for one that reboots
DECLINE, AGREE = "no\n", "yes\n"  # to whatever a program asks, such as whether to reboot now
RESTORE = f"{AS_ROOT} doctor --restore"


class Console(Protocol):
    """Where the programs of a board are run, and its journal is kept."""

    name: str  # of a board that is elsewhere
    by_hand: str  # before a command that is typed here and runs there
    as_root: str  # how a sweep may set anything
    restore: str  # the command that puts back what was left

    def ask(self, call: str, **what: Any) -> dict[str, Any]:
        """Call a function of :mod:`edgeprof.boards.console` there. Raises BoardError where it cannot."""
        ...

    def reach(self, patience_s: float) -> None:
        """See that it can be asked, and wait for that. Raises BoardError where it cannot be reached in time."""
        ...


class HereConsole:
    """This machine, or the one whose files are below ``root``."""

    name = by_hand = ""
    as_root = f"{AS_ROOT} sweep …"
    restore = RESTORE

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def ask(self, call: str, **what: Any) -> dict[str, Any]:
        try:
            return dict(getattr(console, call)(str(self._root), **what))
        except OSError as error:
            raise BoardError(f"{error.filename or call}: {error.strerror}", self.as_root) from None

    def reach(self, patience_s: float) -> None:
        pass


@dataclass(frozen=True)
class Was:
    """What the journal says: the mode that was, and whether the clocks' settings that were are stored beside it;
    ``rebooting`` where the board was rebooted to put it back."""

    number: int
    name: str
    clocks: bool
    version: int = 1
    rebooting: bool = False

    def title(self) -> str:
        """A line for people."""
        return f"{self.name} (number {self.number}){' and its clocks' if self.clocks else ''}"


class RebootNeeded(BoardError):
    """A mode that cannot be set without a reboot, to which nobody agreed."""


class Rebooting(BoardError):
    """The board reboots into a mode, and this process with it."""


class Power:
    """Mode and clocks of the machine under ``root``, or of the board that ``at`` leads to, for as long as they are to
    be others. ``holds`` are the ways in which clocks can be held."""

    holds: tuple[Clocks, ...] = ("max",)

    def __init__(self, root: Path = Path("/"), at: Console | None = None) -> None:
        self._at = at or HereConsole(root)
        self._known: tuple[ModeDefinition, ...] = ()
        self._set_to: tuple[ModeDefinition | None, str | None] | None = None
        self._agreed = False

    def modes(self, names: Sequence[str]) -> list[ModeDefinition]:
        """The modes of these names or numbers; ``15W`` is ``MODE_15W`` too.

        :raises BoardError: this machine has no modes. :raises SpecError: it has not that one.
        """
        self._known = self._known or parse_configuration(self._read(CONFIGURATION) or "").modes
        if not self._known:
            raise BoardError(
                f"there are no power modes{self._on() or ' here'}: no /{CONFIGURATION}",
                "leave out --power-mode and --clocks",
            )
        return [_named(name, self._known) for name in names]

    def left(self) -> Was | None:
        """What an earlier sweep did not put back; None where all is well.

        :raises BoardError: the journal cannot be read.
        """
        return self._left()[0]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever is set meanwhile is put back at the end. What an earlier sweep left counts as what was. A board that
        reboots into a mode is left alone: the next one puts it back.

        :raises BoardError: this user may not set it, or a program is missing.
        """
        if not self._at.ask("where")["allowed"]:
            raise BoardError("the power mode and clocks can be set by root alone", self._at.as_root)
        if self.left() is None:
            self._write_journal()
        try:
            yield
        except Rebooting:
            raise
        except BaseException:
            with undisturbed():
                self._put_back(reboot=False)
            raise
        with undisturbed():
            self._put_back(self._agreed)

    def agree(self) -> None:
        """From now on the board may be rebooted for a mode, and at the end to put back the one that was."""
        self._agreed = True

    def behind_reboot(self, modes: Sequence[ModeDefinition]) -> list[ModeDefinition]:
        """Those of ``modes`` that need a reboot from where the board is, by trying; within :meth:`kept`.

        :raises BoardError: one cannot be set at all.
        """
        found = []
        for mode in modes:
            try:
                self.use(mode, None)
            except RebootNeeded:
                found.append(mode)
        return found

    def use(self, mode: ModeDefinition | None, clocks: str | None) -> str:
        """Set a mode (None: the present one) and its clocks, within :meth:`kept`: what was done, for people. A board
        elsewhere that reboots for it is waited for.

        :raises RebootNeeded: it needs a reboot, and nobody agreed. :raises Rebooting: this machine reboots.
        :raises BoardError: it cannot be set.
        """
        self._set_to = None
        was, folder = self._left()
        assert was is not None
        if was.clocks:  # limits cannot move while they are held
            self._run("jetson_clocks", "--restore", f"{folder}/clocks.conf")
        if mode is not None:
            self._set(mode.number, mode.name, self._agreed)
        if clocks == "max":
            self._run("jetson_clocks")
        self._set_to = (mode, clocks)
        held = ", clocks held at their limits" if clocks else ""
        return f"power mode {mode.name if mode else 'as it was'}{held}"

    def renew(self) -> None:
        """Set again what :meth:`use` set, on a board that may have been started anew meanwhile."""
        if self._set_to is not None:
            self.use(*self._set_to)

    def restore(self, reboot: bool = False) -> Was | None:
        """Put back what the journal says, if there is one: what that is.

        :param reboot: the board may be rebooted for it.
        :raises BoardError: it cannot be put back; the journal stays.
        """
        self._set_to = None
        was, folder = self._left()
        if was is None:
            return None
        stored = f"{folder}/clocks.conf"
        if was.clocks:
            self._run("jetson_clocks", "--restore", stored)
        if reboot:
            self._write(f"{folder}/power.json", replace(was, rebooting=True))
        self._set(was.number, was.name, reboot)
        if was.clocks:  # a mode has set limits of its own
            self._run("jetson_clocks", "--restore", stored)
        self._at.ask("remove", path=f"{folder}/power.json")
        self._at.ask("remove", path=stored)
        return was

    def _put_back(self, reboot: bool) -> None:
        self._set_to = None
        try:
            self._at.reach(REACH_S)
            self.restore(reboot)
        except RebootNeeded as error:
            raise RebootNeeded(error.message, f"{self._at.restore} --yes") from None
        except BoardError as error:
            if not self._at.name or isinstance(error, Rebooting):
                raise
            raise BoardError(
                f"the power mode of {self._at.name} was not put back: {error.message}", self._at.restore
            ) from None

    def _left(self) -> tuple[Was | None, str]:
        """The journal, and the folder that it is in or will be."""
        folders = self._at.ask("where")["folders"]
        for folder in folders:
            path = f"{folder}/power.json"
            found = self._read(path)
            if found is None:
                continue
            try:
                was = Was(**json.loads(found))
            except (ValueError, TypeError) as error:
                raise BoardError(
                    f"the journal of the power mode {path} cannot be read: {error}",
                    "set the mode by hand (sudo nvpmodel -m NUMBER), then remove the file",
                ) from None
            if not (was.rebooting and self._present() == was.number):
                return was, folder
        return None, folders[0]

    def _present(self) -> int | None:
        state = STATUS.search(self._read(STATE) or "")
        return int(state[1]) if state else None

    def _write_journal(self) -> None:
        present = parse_query(self._run("nvpmodel", "-q") or "")
        if present.number is None:
            raise BoardError("nvpmodel does not tell the present mode", "see what sudo nvpmodel -q says")
        folder = self._at.ask("where")["folders"][0]
        stored = f"{folder}/clocks.conf"
        self._at.ask("clear", path=stored)  # jetson_clocks asks before it writes over a file
        clocks = self._run("jetson_clocks", "--store", stored, needed=False) is not None
        was = Was(present.number, present.name or str(present.number), clocks)
        self._write(f"{folder}/power.json", was)

    def _write(self, path: str, was: Was) -> None:
        self._at.ask("write", path=path, text=json.dumps(asdict(was)))

    def _read(self, path: str) -> str | None:
        found = self._at.ask("read", path=path)["text"]
        return None if found is None else str(found)

    def _set(self, number: int, name: str, reboot: bool) -> None:
        boot = self._read(BOOT_ID)
        try:
            said = self._run("nvpmodel", "-m", str(number), answer=AGREE if reboot else DECLINE) or ""
        except BoardError:
            if not (reboot and self._at.name):
                raise
            said = "reboot"  # the line is lost, perhaps for this
        if reboot and "reboot" in said.lower():
            self._wait_for_reboot(name, boot)
        if parse_query(self._run("nvpmodel", "-q") or "").number == number:
            return
        if "reboot" in said.lower() and not reboot:
            raise RebootNeeded(
                f"the board must be rebooted for power mode {name}",
                f"sudo nvpmodel -m {number}, agree, and sweep after the reboot without --power-mode",
            )
        raise BoardError(
            f"power mode {name} was not set: {last(said)}", f"try it by hand: sudo nvpmodel -m {number}"
        )

    def _wait_for_reboot(self, name: str, boot: str | None) -> None:
        """Until the board is there again, if it is elsewhere.

        :raises Rebooting: it is this machine. :raises BoardError: it does not come back.
        """
        if not self._at.name:
            raise Rebooting(
                f"the board reboots into power mode {name}", "the same command goes on from there"
            )
        deadline = time.monotonic() + REBOOT_S
        while time.monotonic() < deadline:
            time.sleep(REBOOT_STEP_S)
            with suppress(BoardError):
                self._at.reach(0.0)
                if self._read(BOOT_ID) != boot:
                    return
        raise BoardError(
            f"{self._at.name} did not come back from its reboot into power mode {name}",
            f"the same command goes on from there; to put the mode back: {self._at.restore}",
        )

    def _run(self, name: str, *arguments: str, answer: str = DECLINE, needed: bool = True) -> str | None:
        """What a program prints; None where it is missing and not needed."""
        done = self._at.ask("run", name=name, arguments=arguments, answer=answer, patience_s=PATIENCE_S)
        if not done["found"] and not needed:
            return None
        if not done["found"]:
            raise BoardError(
                f"there is no {name} on PATH{self._on()}", "it is part of NVIDIA's Linux for Jetson"
            )
        if done["status"] is None:
            raise BoardError(f"{name} {' '.join(arguments)}: {done['said']}", "run it by hand to see why")
        if done["status"] != 0:
            how = f"ended with status {done['status']}: {last(done['said'])}"
            refused = last(done["said"]).startswith("sudo:")
            hint = self._at.as_root if refused else "run it by hand to see why"
            raise BoardError(f"{name} {' '.join(arguments)}{self._on()} {how}", hint)
        return str(done["said"])

    def _on(self) -> str:
        return f" on {self._at.name}" if self._at.name else ""


def _named(name: str, known: Sequence[ModeDefinition]) -> ModeDefinition:
    wanted = name.strip().lower()
    for mode in known:
        if wanted in (mode.name.lower(), mode.name.lower().removeprefix("mode_"), str(mode.number)):
            return mode
    raise SpecError(
        f"this board has no power mode '{name}'", f"it has {', '.join(mode.name for mode in known)}"
    )


def last(said: str) -> str:
    """The last line that a program printed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until this is over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
