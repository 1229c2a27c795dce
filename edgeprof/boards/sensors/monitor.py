"""``tegrastats`` as a child process: a line a second, read when wanted, stopped meanwhile, ended with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from edgeprof.boards.sensors.reading import MONITORED, Reading
from edgeprof.boards.sensors.tegrastats import Tegrastats, parse

PR_SET_PDEATHSIG = 1


class Monitor:
    """The program ``tegrastats`` of this path."""

    name = "tegrastats"
    gives = MONITORED

    def __init__(
        self, program: str, interval_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """:raises OSError: it cannot be started."""
        self.interval_s = interval_s
        self._clock = clock
        self._rest = b""
        self._line = ""
        self._at = clock()
        self._process = subprocess.Popen(
            (program, "--interval", str(round(1000 * interval_s))),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
            start_new_session=True,
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)

    def read(self) -> Reading | None:
        """What its last line says; None where that is older than two intervals."""
        assert self._process.stdout
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._process.stdout.fileno(), 2**16):
                *lines, self._rest = (self._rest + part).split(b"\n")
                if lines:
                    self._line, self._at = lines[-1].decode(errors="replace"), self._clock()
        if not self._line or self._clock() - self._at > 2 * self.interval_s:
            return None
        return reading(parse(self._line))

    def first(self, patience_s: float) -> Reading | None:
        """The first reading, waited for."""
        deadline = self._clock() + patience_s
        while (found := self.read()) is None and self._clock() < deadline and self._process.poll() is None:
            time.sleep(0.02)
        return found

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def rest(self) -> None:
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)


def reading(line: Tegrastats) -> Reading:
    """A line as a reading."""
    clocks = [core.mhz for core in line.cpu if core and core.mhz is not None]
    return Reading(
        rails_mw=line.power_mw,
        gpu_mhz=line.gpu_mhz,
        gpu_load_pct=line.gpu_load_pct,
        cpu_mhz=max(clocks, default=None),
        memory_mhz=line.emc_mhz,
        temperature_c=line.temperature_c,
        used_mib=line.ram_mib,
        swap_mib=line.swap_mib,
    )


def find_program(name: str, root: Path = Path("/")) -> str | None:
    """A program of the machine under ``root``: on ``PATH``, whose folders are taken below the root."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if root != Path("/"):
        folders = [str(root / folder.lstrip("/")) for folder in folders]
    return shutil.which(name, path=os.pathsep.join(folders))


def _end_with_parent() -> None:
    """In the child: end when the parent does, however that ends (Linux, prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
