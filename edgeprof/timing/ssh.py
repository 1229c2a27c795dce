"""A board over ssh: the worker and its guest run there, networks travel to it once.

The plain OpenSSH client is used, with the user's own configuration and known hosts; the board needs sshd, Python 3.6 or
newer, NumPy and the runtime. ``EDGEPROF_SSH`` names another client or its options: ``ssh -F FILE``.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from edgeprof.boards.detect import FILES as MACHINE_FILES
from edgeprof.boards.detect import Machine, System, detect_machine, emulated, physical_cores
from edgeprof.boards.locks import Locks
from edgeprof.boards.power import Power
from edgeprof.boards.sensors.card import Card
from edgeprof.boards.sensors.desktop import FILES as DESKTOP_FILES
from edgeprof.boards.sensors.desktop import read_desktop
from edgeprof.boards.sensors.gauges import Gauges
from edgeprof.boards.sensors.host import FILES as HOST_FILES
from edgeprof.boards.sensors.host import HostReading, read_host
from edgeprof.boards.sensors.l4t import read_release
from edgeprof.boards.sensors.nvml import Gpu
from edgeprof.boards.sensors.nvpmodel import FILES as POWER_FILES
from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.boards.sensors.reading import Reading
from edgeprof.boards.sensors.sysfs import FILES as SENSOR_FILES
from edgeprof.boards.sensors.sysfs import Sysfs, read_sysfs
from edgeprof.errors import BackendError, BoardError, WorkerError
from edgeprof.timing.place import Start, ending, wait_for_lock
from edgeprof.timing.process import Peer, source

# A line that is lost is noticed after 15 s. One connection a process, so that its end ends the process.
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ClearAllForwardings": "yes",
}
CONNECT_S = 60.0
ANSWER_S = 30.0
AGAIN_S = 1.0  # between two tries
LOCK_AGAIN_S = 30.0  # after a reconnection, until the board has noticed the loss too
KEPT_BYTES = 2**29  # of networks and tiles on the board
SSH_FAILED = 255
HINTS = (
    ("host key verification failed", "compare its key and accept it once by hand: ssh {name}"),
    ("host identification has changed", "see whether it is the same board: ssh {name}"),
    ("permission denied", "edgeprof asks for no password; set up a key: ssh-copy-id {name}"),
    ("no such file or directory", "name the board's interpreter: --host-python CMD"),
    ("not found", "name the board's interpreter: --host-python CMD"),
    ("answered nonsense", "its shell must print nothing at the start: see what ssh {name} true prints"),
    ("is needed, and this is python", "name a newer interpreter of the board: --host-python CMD"),
)


class Line:
    """How Python is started on a board."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self.install = f"on {name}: {python} -m pip install numpy onnxruntime; on a Jetson see docs/jetson.md"
        self._python = python

    def start(self, code: str, environment: Mapping[str, str], scratch: str) -> Start:
        client = shlex.split(os.environ.get("EDGEPROF_SSH", "ssh"))
        options = [part for pair in OPTIONS.items() for part in ("-o", "=".join(pair))]
        settings = [shlex.quote(f"{name}={value}") for name, value in environment.items()]
        remote = " ".join(["exec env", *settings, self._python, "-c", shlex.quote(code)])
        return Start((*client, "-T", *options, "--", self.name, remote), dict(os.environ), apart=True)

    def ended(self, code: int | None, tail: str) -> tuple[str, str]:
        return f"{self.name}: {tail or ending(code)}", self.hint(tail)

    def hint(self, trouble: str) -> str:
        """How to mend what ssh or the board's shell complains of."""
        found = next(
            (hint for mark, hint in HINTS if mark in trouble.lower()), "see whether it works: ssh {name}"
        )
        return found.format(name=self.name)


class Host:
    """The board ``name`` (``user@board``, or a name of the user's ssh configuration), whose interpreter is ``python``,
    words that its shell reads.

    A lost connection is :class:`WorkerError`, of one case; the next request connects anew. Where that fails, it is
    :class:`BoardError`, of the whole sweep.
    """

    def __init__(self, name: str, python: str = "python3") -> None:
        self.name = name
        self._line = Line(name, python)
        self.install = self._line.install
        self._guest = Peer(guest_parts, self._line)
        self._hello: dict[str, Any] = {}
        self._kept: dict[str, int] = {}  # bytes by name, the longest unused first
        self._device: str | None = None
        self._python = python
        self._power = Power(at=HostConsole(self, python, "/usr/sbin/nvpmodel, /usr/bin/jetson_clocks"))
        self._locks: dict[str, Locks] = {}

    def start(self, code: str, environment: Mapping[str, str], scratch: str) -> Start:
        self._connect()
        return self._line.start(code, {"TMPDIR": self._hello["folder"], **environment}, scratch)

    def ended(self, code: int | None, tail: str) -> tuple[str, str]:
        lost = f"the connection to {self.name} was lost{': ' + tail if tail else ''}", "others go on"
        if not self._guest.alive:
            return lost
        try:
            self._guest.ask({"do": "hello"}, ANSWER_S)
        except (WorkerError, BackendError):
            return lost
        how = "crashed or was killed" if code == SSH_FAILED else ending(code)
        return f"the worker on {self.name} {how}{': ' + tail if tail else ''}", "others go on"

    def file(self, path: Path) -> str:
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest() + path.suffix
        self._connect()
        if name in self._kept:
            self._kept[name] = self._kept.pop(name)
        else:
            drop, total = [], sum(self._kept.values()) + len(data)
            for old, size in self._kept.items():
                if total > KEPT_BYTES:
                    drop.append(old)
                    total -= size
            for old in drop:
                del self._kept[old]
            patience = ANSWER_S + len(data) / 1e5
            self._guest.ask({"do": "keep", "name": name, "bytes": len(data), "drop": drop}, patience, data)
            self._kept[name] = len(data)
        return f"{self._hello['folder']}/{name}"

    def machine(self) -> Machine:
        self._connect()
        machine = self._machine()
        return machine if self._hello["root"] == "/" else emulated(machine, self._machine("/"))

    def _machine(self, below: str | None = None) -> Machine:
        with self._copied(MACHINE_FILES, below) as root:
            allowed = self._hello["usable_cores"]
            system = System(
                name=self._hello["system"],
                processor=self._hello["processor"],
                architecture=self._hello["architecture"],
                logical_cores=self._hello["logical_cores"],
                usable_cores=min(physical_cores(root) or allowed, allowed),
            )
            if self._hello["root"] != "/":  # the driver is not of the board that is emulated
                return detect_machine(root, system=system)
            found = self._guest.ask({"do": "gpus"}, ANSWER_S)
            machine = detect_machine(root, [Gpu(**gpu) for gpu in found["gpus"]], system)
            if not found["trouble"]:
                return machine
            trouble, hint = found["trouble"]
            return replace(machine, no_gpu=(f"{self.name}: {trouble}", f"on {self.name}: {hint}"))

    def sense(self) -> HostReading:
        if self._guest.alive:
            with suppress(WorkerError, BackendError), self._copied(HOST_FILES) as root:
                return read_host(root)
        return HostReading(time.monotonic())

    def gauges(self, card: str | None = None) -> Gauges:
        self._connect()
        if card is not None:
            return Gauges([Card(partial(self.look, card))] if self.look(card) else ())
        with self._copied(SENSOR_FILES) as root:
            jetson = read_release(root) is not None
        return Gauges([_Files(self)] if jetson else ())

    def reading(self) -> Reading | None:
        """What its files say now; None where it cannot be asked."""
        if self._guest.alive:
            with suppress(WorkerError, BackendError), self._copied(SENSOR_FILES) as root:
                return read_sysfs(root)
        return None

    def look(self, card: str) -> Mapping[str, Any] | None:
        """What the sensors of its GPU at this address say now; None where they cannot be asked."""
        if self._guest.alive:
            with suppress(WorkerError, BackendError):
                found: Mapping[str, Any] | None = self._guest.ask({"do": "card", "address": card}, ANSWER_S)[
                    "look"
                ]
                return found
        return None

    def power_mode(self) -> str | None:
        self._connect()
        with self._copied(POWER_FILES) as root:
            mode = read_power_mode(root)
        return mode.name if mode else None

    def desktop(self) -> bool:
        if self._guest.alive:
            with suppress(WorkerError, BackendError), self._copied(DESKTOP_FILES) as root:
                return bool(read_desktop(root))
        return False

    def power(self) -> Power:
        return self._power

    def locks(self, card: str = "") -> Locks:
        console = HostConsole(self, self._python, "/usr/bin/nvidia-smi")
        return self._locks.setdefault(card, Locks(card, console, partial(self.look, card)))

    def console(self, call: str, what: Mapping[str, Any], as_root: str) -> dict[str, Any]:
        """Call a function of :mod:`edgeprof.boards.console` there; once more where the line is lost meanwhile.

        :param as_root: what would let this user do it.
        :raises BoardError: it cannot be done, or the board cannot be reached.
        """
        request = {"do": "console", "call": call, "what": dict(what)}
        for last in (False, True):
            self._connect()
            try:
                return self._guest.ask(request, ANSWER_S + what.get("patience_s", 0.0))
            except BackendError as error:
                raise BoardError(f"{self.name}: {error.message}", as_root) from None
            except WorkerError as error:
                if last:
                    raise BoardError(f"{self.name}: {error.message}", self._line.hint("")) from None
        raise AssertionError("asked twice")

    def reach(self, patience_s: float) -> None:
        """Connect, unless that is done, and try again for so long (s).

        :raises BoardError: it cannot be reached.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self._connect()
            except BoardError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(AGAIN_S)

    @contextmanager
    def lock(self, device: str, waiting: Callable[[str], None]) -> Iterator[None]:
        wait_for_lock(device, lambda: self._take(device), waiting)
        self._device = device
        try:
            yield
        finally:
            self._device = None
            if self._guest.alive:
                with suppress(WorkerError, BackendError):
                    self._guest.ask({"do": "unlock"}, ANSWER_S)

    def busy(self) -> list[str]:
        self._connect()
        return list(self._guest.ask({"do": "busy"}, ANSWER_S)["devices"])

    def close(self) -> None:
        self._guest.close(patience_s=10.0)

    def _take(self, device: str) -> bool:
        self._connect()
        return bool(self._guest.ask({"do": "lock", "device": device}, ANSWER_S)["held"])

    def _connect(self) -> None:
        """See that the guest is there."""
        if self._guest.alive:
            return
        again = bool(self._hello)
        self._kept = {}
        try:
            self._hello = self._guest.ask({"do": "hello"}, CONNECT_S)
            if self._device:
                self._lock_again(self._device)
            if again:  # it may have been started anew
                self._power.renew()
                for locks in self._locks.values():
                    locks.renew()
        except FileNotFoundError as error:
            raise BoardError(f"there is no {error.filename} here", "install the OpenSSH client") from None
        except (WorkerError, BackendError) as error:
            self._guest.kill()
            if again:
                message = f"{self.name} cannot be reached again: {error.message}"
                raise BoardError(
                    message, "what was measured is kept; the same command goes on from there"
                ) from None
            raise BoardError(error.message, self._line.hint(error.message)) from None

    def _lock_again(self, device: str) -> None:
        deadline = time.monotonic() + LOCK_AGAIN_S
        while not self._guest.ask({"do": "lock", "device": device}, ANSWER_S)["held"]:
            if time.monotonic() > deadline:
                raise WorkerError(f"another sweep is using {device} now", "wait for it")
            time.sleep(0.5)

    @contextmanager
    def _copied(self, patterns: Sequence[str], below: str | None = None) -> Iterator[Path]:
        """A folder with these files of the board, below another root than its own perhaps."""
        request = {"do": "read", "patterns": list(patterns), **({"root": below} if below else {})}
        files = self._guest.ask(request, ANSWER_S)["files"]
        with tempfile.TemporaryDirectory() as name:
            for path, content in files.items():
                if ".." in PurePosixPath(path).parts or path.startswith("/"):
                    raise WorkerError(f"{self.name} answered nonsense: {path}", "others go on")
                copy = Path(name) / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content.encode("latin-1"))
            yield Path(name)


class _Files(Sysfs):
    """The same files of a board at the other end of the line."""

    interval_s = 0.2

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def read(self) -> Reading | None:
        return self._host.reading()


class HostConsole:
    """The console of a board at the other end of the line."""

    def __init__(self, host: Host, python: str, programs: str) -> None:
        """:param programs: what of the board is to be run by root, with its folders."""
        self._host = host
        self.name = host.name
        self.by_hand = f"ssh -t {host.name} "
        user = host.name.partition("@")[0] if "@" in host.name else "USER"
        self.as_root = (
            f"sweep as root of {host.name}, or have in /etc/sudoers.d/edgeprof there: "
            f"{user} ALL=(root) NOPASSWD: {programs}"
        )
        flag = "" if python == "python3" else f" --host-python {shlex.quote(python)}"
        self.restore = f"edgeprof doctor --restore --host {host.name}{flag}"

    def ask(self, call: str, **what: Any) -> dict[str, Any]:
        return self._host.console(call, what, self.as_root)

    def reach(self, patience_s: float) -> None:
        self._host.reach(patience_s)


def guest_parts() -> list[tuple[str, str]]:
    """The guest's source, and what it asks of NVIDIA's driver with, and its console."""
    names = ("edgeprof.nvml", "edgeprof.boards.console", "edgeprof.timing.guest")
    return [(name, source(name)) for name in names]
