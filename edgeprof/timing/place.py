"""A place where networks are executed: this machine here; a board elsewhere is in :mod:`edgeprof.timing.ssh`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from edgeprof.boards.detect import Machine, detect_machine, emulated
from edgeprof.boards.locks import Locks
from edgeprof.boards.power import HereConsole, Power
from edgeprof.boards.sensors.card import open_card
from edgeprof.boards.sensors.desktop import read_desktop
from edgeprof.boards.sensors.gauges import Gauges, open_gauges
from edgeprof.boards.sensors.host import HostReading, read_host
from edgeprof.boards.sensors.nvml import gpus_here
from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.errors import BoardError
from edgeprof.timing.guest import lock_path, locked_devices, release_lock, take_lock

RESTORING = "restore"  # the lock of who puts back what a sweep left
GLANCE_S = 0.05  # who asks whether a lock is held holds it for a moment


@dataclass(frozen=True)
class Start:
    """How a process is started: command, environment, and whether Ctrl-C in a terminal passes it by."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False


class Starter(Protocol):
    """What starts processes somewhere, and knows what their end means."""

    install: str  # how a missing runtime is installed there

    def start(self, code: str, environment: Mapping[str, str], scratch: str) -> Start:
        """How Python is started on ``code`` with these variables; ``scratch`` is a folder here that goes with the
        process."""
        ...

    def ended(self, code: int | None, tail: str) -> tuple[str, str]:
        """What to say of a process that ended with this status and these last words: message and hint."""
        ...


class Place(Starter, Protocol):
    """Where networks are executed."""

    def file(self, path: Path) -> str:
        """The path of a file of this machine as the worker sees it."""
        ...

    def machine(self) -> Machine:
        """What the place is."""
        ...

    def sense(self) -> HostReading:
        """Its counters now; all unknown where it cannot be asked."""
        ...

    def gauges(self, card: str | None = None) -> Gauges:
        """Its own sensors, open; without any source where there are none. ``card``: those of the discrete GPU at this
        PCI address instead."""
        ...

    def power_mode(self) -> str | None:
        """The power mode that it is in; None where it has none."""
        ...

    def desktop(self) -> bool:
        """Whether a desktop runs there."""
        ...

    def power(self) -> Power:
        """What sets its power mode and clocks; the same each time."""
        ...

    def locks(self, card: str = "") -> Locks:
        """What holds the clocks of the discrete GPU at this PCI address; the same each time. Without an address it can
        give back what was left."""
        ...

    def lock(self, device: str, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
        """One sweep on a device at a time: a second one says so and waits."""
        ...

    def busy(self) -> list[str]:
        """The devices there whose lock anybody holds."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Here:
    """This machine. With another ``root`` it executes networks, and is said to be the board whose ``/proc``, ``/sys``
    and ``/etc`` are under that root: the board is emulated."""

    install = "install the runtime: pip install 'edgeprof[cpu]'"

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._power = Power(root)
        self._locks: dict[str, Locks] = {}

    def start(self, code: str, environment: Mapping[str, str], scratch: str) -> Start:
        return Start((sys.executable, "-c", code), {**os.environ, "TMPDIR": scratch, **environment})

    def ended(self, code: int | None, tail: str) -> tuple[str, str]:
        hint = "out of memory perhaps: use a smaller batch" if code == -signal.SIGKILL else "others go on"
        return f"the worker {ending(code)}{': ' + tail if tail else ''}", hint

    def file(self, path: Path) -> str:
        return str(path)

    def machine(self) -> Machine:
        machine = detect_machine(self.root, gpus_here(self.root))
        return machine if self.root == Path("/") else emulated(machine, detect_machine())

    def sense(self) -> HostReading:
        return read_host(self.root)

    def gauges(self, card: str | None = None) -> Gauges:
        if card is None:
            return open_gauges(self.root)
        found = open_card(card)
        return Gauges([found] if found else ())

    def power_mode(self) -> str | None:
        mode = read_power_mode(self.root)
        return mode.name if mode else None

    def desktop(self) -> bool:
        return bool(read_desktop(self.root))

    def power(self) -> Power:
        return self._power

    def locks(self, card: str = "") -> Locks:
        new = Locks(card, HereConsole(self.root), partial(open_card, card))
        return self._locks.setdefault(card, new)

    def lock(self, device: str, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
        return device_lock(device, waiting)

    def busy(self) -> list[str]:
        return list(locked_devices())

    def close(self) -> None:
        pass


HERE = Here()


def ending(code: int | None) -> str:
    """How a process ended, by its status."""
    if code is None:
        return "closed its output"
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"ended with signal {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"ended with signal {-code}"


@contextmanager
def device_lock(device: str, waiting: Callable[[str], None], poll_s: float = 0.5) -> Iterator[None]:
    """One sweep on a device of this machine at a time: a second one says so and waits. The lock ends with its
    process."""
    path = lock_path(device)
    stream = wait_for_lock(device, lambda: take_lock(path), waiting, poll_s)
    try:
        yield
    finally:
        release_lock(stream)


def wait_for_lock(
    device: str, take: Callable[[], Any], waiting: Callable[[str], None], poll_s: float = 0.5
) -> Any:
    """What ``take`` gives, as soon as that is anything."""
    tries = 0
    while not (held := take()):
        if tries == 1:
            waiting(f"another sweep is using {device}: waiting for it (Ctrl-C gives up)")
        time.sleep(poll_s if tries else GLANCE_S)
        tries += 1
    return held


@contextmanager
def restoring(place: Place) -> Iterator[None]:
    """No sweep runs at a place meanwhile: one that comes waits (:func:`wait_for_restoring`).

    :raises BoardError: one runs, or what an earlier one left is being put back already.
    """

    def refuse(text: str) -> None:
        raise BoardError("edgeprof doctor --restore is under way already", "wait for it")

    with place.lock(RESTORING, refuse):
        for device in place.busy():
            if device != RESTORING:
                raise BoardError(
                    f"a sweep of {device} is running: what it set is in use",
                    "wait for its end: it puts back what it set; or end it with Ctrl-C, and try again",
                )
        yield


def wait_for_restoring(place: Place, waiting: Callable[[str], None]) -> None:
    """Until nobody puts back what a sweep left; for who holds the lock of a device."""
    what = "edgeprof doctor --restore is under way: waiting for it (Ctrl-C gives up)"
    wait_for_lock(RESTORING, lambda: RESTORING not in place.busy(), lambda text: waiting(what))
