"""Power: a Jetson's power mode and clocks, set for a sweep and put back afterwards, whatever ends it.

``nvpmodel`` sets the mode, ``jetson_clocks`` holds the clocks at its limits (Jetson Linux Developer Guide, "Power
Management"). What was is written to a journal before anything is set, and the journal goes when all is put back: what a
crash left is mended from it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from edgeprof.boards.sensors.files import text
from edgeprof.boards.sensors.gauges import AS_ROOT
from edgeprof.boards.sensors.monitor import find_program
from edgeprof.boards.sensors.nvpmodel import CONFIGURATION, ModeDefinition, parse_configuration, parse_query
from edgeprof.errors import BoardError, SpecError
from edgeprof.files import write_whole

Clocks = Literal["max"]

JOURNAL = "var/lib/edgeprof/power.json"
STORED = "var/lib/edgeprof/clocks.conf"  # as jetson_clocks writes it
PATIENCE_S = 60.0
DECLINE = "no\n"  # the answer to whatever a program asks, such as whether to reboot now
RESTORE = f"{AS_ROOT} doctor --restore"


@dataclass(frozen=True)
class Was:
    """What the journal says: the mode that was, and whether the clocks' settings that were are stored beside it."""

    number: int
    name: str
    clocks: bool
    version: int = 1

    def title(self) -> str:
        """A line for people."""
        return f"{self.name} (number {self.number}){' and its clocks' if self.clocks else ''}"


class Power:
    """Mode and clocks of the machine under ``root``, for as long as they are to be others."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def modes(self, names: Sequence[str]) -> list[ModeDefinition]:
        """The modes of these names or numbers; ``15W`` is ``MODE_15W`` too.

        :raises BoardError: this machine has no modes. :raises SpecError: it has not that one.
        """
        known = parse_configuration(text(self._root / CONFIGURATION) or "").modes
        if not known:
            raise BoardError(f"there are no power modes here: no /{CONFIGURATION}", "leave out --power-mode")
        return [_named(name, known) for name in names]

    def left(self) -> Was | None:
        """What an earlier sweep did not put back; None where all is well.

        :raises BoardError: the journal cannot be read.
        """
        path = self._root / JOURNAL
        try:
            return Was(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise BoardError(
                f"the journal of the power mode {path} cannot be read: {error}",
                "set the mode by hand (sudo nvpmodel -m NUMBER), then remove the file",
            ) from None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever is set meanwhile is put back at the end. What an earlier sweep left counts as what was.

        :raises BoardError: this user may not set it, or a program is missing.
        """
        if self._root == Path("/") and os.geteuid() != 0:
            raise BoardError("the power mode and clocks can be set by root alone", f"{AS_ROOT} sweep …")
        self._program("nvpmodel")
        if self.left() is None:
            self._write_journal()
        try:
            yield
        finally:
            with undisturbed():
                self.restore()

    def use(self, mode: ModeDefinition | None, clocks: Clocks | None) -> None:
        """Set a mode (None: the present one) and its clocks, within :meth:`kept`.

        :raises BoardError: it cannot be set, or not without a reboot, which is never agreed to.
        """
        was = self.left()
        assert was is not None
        if was.clocks and clocks:
            self._run(
                "jetson_clocks", "--restore", str(self._root / STORED)
            )  # limits cannot move while they are held
        if mode is not None:
            self._set(mode.number, mode.name)
        if clocks == "max":
            self._run("jetson_clocks")

    def restore(self) -> Was | None:
        """Put back what the journal says, if there is one: what that is.

        :raises BoardError: it cannot be put back; the journal stays.
        """
        was = self.left()
        if was is None:
            return None
        stored = self._root / STORED
        if was.clocks:
            self._run("jetson_clocks", "--restore", str(stored))
        self._set(was.number, was.name)
        if was.clocks:  # a mode has set limits of its own
            self._run("jetson_clocks", "--restore", str(stored))
        (self._root / JOURNAL).unlink()
        stored.unlink(missing_ok=True)
        return was

    def _write_journal(self) -> None:
        present = parse_query(self._run("nvpmodel", "-q"))
        if present.number is None:
            raise BoardError("nvpmodel does not tell the present mode", "see what sudo nvpmodel -q says")
        stored = self._root / STORED
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.unlink(missing_ok=True)  # jetson_clocks asks before it writes over a file
        clocks = find_program("jetson_clocks", self._root) is not None
        if clocks:
            self._run("jetson_clocks", "--store", str(stored))
        was = Was(present.number, present.name or str(present.number), clocks)
        write_whole(self._root / JOURNAL, json.dumps(asdict(was)))
        os.sync()  # a board that hangs is switched off

    def _set(self, number: int, name: str) -> None:
        said = self._run("nvpmodel", "-m", str(number))
        if parse_query(self._run("nvpmodel", "-q")).number == number:
            return
        if "reboot" in said.lower():
            raise BoardError(
                f"the board must be rebooted for power mode {name}",
                f"sudo nvpmodel -m {number}, agree, and sweep after the reboot without --power-mode",
            )
        raise BoardError(
            f"power mode {name} was not set: {_last(said)}", f"try it by hand: sudo nvpmodel -m {number}"
        )

    def _run(self, name: str, *arguments: str) -> str:
        """What a program prints. It is alone in its session: Ctrl-C in a terminal passes it by."""
        try:
            done = subprocess.run(
                (self._program(name), *arguments),
                input=DECLINE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=PATIENCE_S,
                start_new_session=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BoardError(f"{name} {' '.join(arguments)}: {error}", "run it by hand to see why") from None
        if done.returncode != 0:
            raise BoardError(
                f"{name} {' '.join(arguments)} ended with status {done.returncode}: {_last(done.stdout)}",
                "run it by hand to see why",
            )
        return done.stdout

    def _program(self, name: str) -> str:
        found = find_program(name, self._root)
        if found is None:
            raise BoardError(f"there is no {name} on PATH", "it is part of NVIDIA's Linux for Jetson")
        return found


def _named(name: str, known: Sequence[ModeDefinition]) -> ModeDefinition:
    wanted = name.strip().lower()
    for mode in known:
        if wanted in (mode.name.lower(), mode.name.lower().removeprefix("mode_"), str(mode.number)):
            return mode
    raise SpecError(
        f"this board has no power mode '{name}'", f"it has {', '.join(mode.name for mode in known)}"
    )


def _last(said: str) -> str:
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
