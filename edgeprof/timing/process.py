"""The worker seen from the parent: start it, ask it, end it. A crash or a hang is an error of one request."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import resources
from typing import Any

from edgeprof.errors import BackendError, WorkerError

BOOT = """
import json, sys, types
parts = {}
for name, text in json.loads(sys.stdin.readline()):
    parts[name] = types.ModuleType(name)
    exec(compile(text, name + ".py", "exec"), parts[name].__dict__)
parts["worker"].main(parts["loop"], parts["driver"])
"""


class Worker:
    """A measuring process that runs the driver module ``driver`` (such as ``edgeprof.backends.ort``).

    It may be told anything that is JSON. After :class:`WorkerError` it is gone; the next request starts another.

    :param environment: variables set before the runtime starts.
    """

    def __init__(self, driver: str, environment: Mapping[str, str] | None = None) -> None:
        self._driver = driver
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one request and wait for its answer.

        :raises WorkerError: it crashed, hung for ``timeout_s``, or ran out of memory.
        :raises BackendError: the runtime is not installed, or refused what was asked.
        """
        try:
            line = self._exchange(json.dumps(request) + "\n", timeout_s)
        except KeyboardInterrupt:
            self.kill()  # or its answer would be taken for that of the next request
            raise
        if not line.endswith("\n"):
            raise self._gone()
        answer = json.loads(line)
        if "ok" in answer:
            return dict(answer["ok"])
        if answer.get("kind") == "memory":
            raise WorkerError(answer["error"], "use a smaller batch or network")
        if answer.get("kind") == "missing":
            raise BackendError(answer["error"], "install the runtime: pip install 'edgeprof[cpu]'")
        raise BackendError(
            answer["error"], "the runtime refused it; edgeprof list backends tells what it knows"
        )

    def close(self) -> None:
        """End the worker in order; kill it if it does not end within a second."""
        process = self._process
        if process and process.poll() is None:
            try:
                assert process.stdin
                process.stdin.close()
                process.wait(timeout=1)
            except (OSError, subprocess.TimeoutExpired):
                self.kill()
        self._forget()

    def kill(self) -> None:
        """End the worker at once."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._forget()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process number while it runs."""
        return self._process.pid if self._process else None

    def _exchange(self, text: str, timeout_s: float) -> str:
        """Send a line, wait for a line; what comes back has no end where the worker ended first."""
        process = self._started()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(text)
            process.stdin.flush()
        except OSError:
            return ""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                self.kill()
                raise WorkerError(
                    f"no answer for {timeout_s:.0f} s", "the network was given up; others go on"
                )
        return process.stdout.readline()

    def _started(self) -> subprocess.Popen[str]:
        if self._process and self._process.poll() is None:
            return self._process
        self._forget()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **self._environment},
            text=True,
        )
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended at once: the next exchange says how
            self._process.stdin.write(json.dumps(program(self._driver)) + "\n")
        return self._process

    def _gone(self) -> WorkerError:
        process, tail = self._process, ""
        code = process.wait() if process else None
        if self._errors:
            self._errors.seek(0)
            tail = " ".join(self._errors.read()[-300:].split())
        self._forget()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"status {code}"
        hint = "out of memory perhaps: use a smaller batch" if code == -signal.SIGKILL else "others go on"
        return WorkerError(f"the worker ended with {how}{': ' + tail if tail else ''}", hint)

    def _forget(self) -> None:
        if self._process:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self._errors:
            self._errors.close()
        self._process = self._errors = None


def program(driver: str) -> list[tuple[str, str]]:
    """The worker's source: name and text of each part, in the order they are loaded."""
    package, _, module = driver.rpartition(".")
    timing = resources.files("edgeprof.timing")
    return [
        ("loop", (timing / "loop.py").read_text("utf-8")),
        ("driver", (resources.files(package) / f"{module}.py").read_text("utf-8")),
        ("worker", (timing / "worker.py").read_text("utf-8")),
    ]
