"""The worker seen from the parent: start it, ask it, end it. A crash or a hang is an error of one request."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from edgeprof.errors import BackendError, OutOfMemory, WorkerError
from edgeprof.scratch import scratch_folder
from edgeprof.timing.place import HERE, Starter

# ONNX Runtime's packages for Linux report sessions and models to their maker since 1.29 (its pull request 27379), by
# threads of their own and with files in the temporary folder.
QUIET: Mapping[str, str] = {"ORT_DISABLE_TELEMETRY": "1"}
BOOT = """
import json, sys, types
if sys.version_info < (3, 6):
    sys.exit("Python 3.6 or newer is needed, and this is Python " + sys.version.split()[0])
parts = []
try:
    for name, text in json.loads(sys.stdin.buffer.readline().decode()):
        steps = name.split(".")
        for i in range(1, len(steps) + 1):
            path = ".".join(steps[:i])
            if path not in sys.modules:
                sys.modules[path] = types.ModuleType(path)
                if i > 1:
                    setattr(sys.modules[".".join(steps[:i - 1])], steps[i - 1], sys.modules[path])
        parts.append(sys.modules[name])
        exec(compile(text, name + ".py", "exec"), parts[-1].__dict__)
except ImportError as error:
    sys.exit(sys.stdout.write(json.dumps({"error": str(error), "kind": "missing"}) + "\\n") and 1)
parts[-1].main(*parts[:-1])
"""


SEEN = b'{"seen":'  # how a line begins that is no answer yet
LONGEST_WAIT_S = 3600.0  # at once: poll(2) counts milliseconds in 31 bits, 24 days; then it is waited again


class Peer:
    """A process of ours, somewhere, that answers requests; its source goes over its standard input.

    It may be told anything that is JSON. After :class:`WorkerError` it is gone; the next request starts another.

    :param parts: name and text of its modules; the last one's ``main`` is called with the others.
    """

    def __init__(
        self,
        parts: Callable[[], Sequence[tuple[str, str]]],
        starter: Starter,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._parts = parts
        self._starter = starter
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None
        self._folder: Any = None

    def ask(
        self,
        request: Mapping[str, Any],
        timeout_s: float,
        data: bytes = b"",
        meanwhile: Callable[[], None] | None = None,
        every_s: float = 0.1,
        enough: Callable[[Any], bool] = lambda seen: False,
    ) -> dict[str, Any]:
        """Send one request, and ``data`` if it has any, and wait for its answer. After a sign of life (an empty line)
        ``meanwhile`` is called every ``every_s`` seconds until the answer is there. ``enough`` is given what is seen on
        the way, and says whether the other side may stop.

        :raises WorkerError: it crashed or hung for ``timeout_s``. :raises OutOfMemory: what was asked did not fit.
        :raises BackendError: the runtime is not installed, or refused what was asked.
        """
        try:
            sent = json.dumps(request).encode() + b"\n" + data
            line = self._exchange(sent, timeout_s, meanwhile, every_s, enough)
        except KeyboardInterrupt:
            self.kill()  # or its answer would be taken for that of the next request
            raise
        if not line.endswith(b"\n"):
            raise self._gone()
        answer = parse_answer(line)
        if answer is None:
            self.kill()
            start = line[:60].decode(errors="replace")
            raise WorkerError(f"the worker answered nonsense: {start}", "others go on with a new worker")
        if "ok" in answer:
            return dict(answer["ok"])
        if answer.get("kind") == "memory":
            raise OutOfMemory(answer["error"], answer.get("bytes"))
        if answer.get("kind") == "missing":
            self.kill()  # it may be on its way out
            raise BackendError(answer["error"], answer.get("hint") or self._starter.install)
        hint = answer.get("hint") or "the runtime refused it; edgeprof list backends tells what it knows"
        raise BackendError(answer["error"], hint)

    def close(self, patience_s: float = 1.0) -> None:
        """End it in order; kill it if it does not end in time."""
        process = self._process
        if process and process.poll() is None:
            try:
                assert process.stdin
                process.stdin.close()
                process.wait(timeout=patience_s)
            except (OSError, subprocess.TimeoutExpired):
                self.kill()
        self._forget()

    def kill(self) -> None:
        """End it at once."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._forget()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process number while it runs."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _exchange(
        self,
        line: bytes,
        timeout_s: float,
        meanwhile: Callable[[], None] | None,
        every_s: float,
        enough: Callable[[Any], bool],
    ) -> bytes:
        """Send a line, wait for a line; what comes back has no end where the worker ended first."""
        process = self._started()
        assert process.stdin and process.stdout
        self._send(line)  # where it ended, what it wrote before tells why
        deadline, due = time.monotonic() + timeout_s, float("inf")
        rest = bytearray()  # of a line whose end is not there yet
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                wait_s = min(deadline, due) - time.monotonic()
                if not selector.select(min(max(wait_s, 0), LONGEST_WAIT_S)):
                    if time.monotonic() >= deadline:
                        self.kill()
                        raise WorkerError(
                            f"no answer for {timeout_s:.0f} s", "the network was given up; others go on"
                        )
                else:
                    part = os.read(process.stdout.fileno(), 2**16)
                    if not part:
                        return bytes(rest)
                    rest += part
                    if b"\n" not in part:
                        continue
                    *lines, rest = rest.split(b"\n")
                    for one in lines:
                        if one.startswith(SEEN):
                            if enough(json.loads(one)["seen"]):
                                self._send(b'{"do": "enough"}\n')
                        elif one:
                            return bytes(one) + b"\n"
                        elif meanwhile and due == float("inf"):  # an empty line is a sign of life
                            due = time.monotonic() + every_s
                if meanwhile and time.monotonic() >= due:
                    meanwhile()
                    due = time.monotonic() + every_s

    def _send(self, line: bytes) -> None:
        assert self._process and self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is None:
            return self._process
        self._forget()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (it lives as long as the process)
        self._folder = scratch_folder()
        start = self._starter.start(BOOT, self._environment, self._folder.name)
        self._process = subprocess.Popen(
            start.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=start.environment,
            start_new_session=start.apart,
        )
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended at once: the next exchange says how
            self._process.stdin.write(json.dumps(self._parts()).encode() + b"\n")
        return self._process

    def _gone(self) -> WorkerError:
        process, tail = self._process, ""
        code = None
        if process:
            try:
                code = process.wait(timeout=1)
            except subprocess.TimeoutExpired:  # it closed its output, but lives
                process.kill()
                process.wait()
        if self._errors:
            self._errors.seek(0)
            tail = " ".join(self._errors.read()[-300:].split())
        self._forget()
        return WorkerError(*self._starter.ended(code, tail))

    def _forget(self) -> None:
        if self._process:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self._errors:
            self._errors.close()
        if self._folder:
            self._folder.cleanup()
        self._process = self._errors = self._folder = None


class Worker(Peer):
    """A measuring process that runs the driver module ``driver`` (such as ``edgeprof.backends.ort``).

    :param environment: variables set before the runtime starts. :param place: where it runs. :param needs: modules
        that the driver imports.
    """

    def __init__(
        self,
        driver: str,
        environment: Mapping[str, str] | None = None,
        place: Starter = HERE,
        needs: Sequence[str] = (),
    ) -> None:
        super().__init__(lambda: program(driver, needs), place, {**QUIET, **(environment or {})})


def parse_answer(line: bytes) -> dict[str, Any] | None:
    """The answer in a line of the worker; None where it is none."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    return answer if isinstance(answer.get("ok"), dict) or isinstance(answer.get("error"), str) else None


def program(driver: str, needs: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The worker's source: name and text of each module, in the order they are loaded; a later one may import those
    before it by these names."""
    names = ("edgeprof.timing.loop", *needs, driver, "edgeprof.timing.worker")
    return [(name, source(name)) for name in names]


def source(name: str) -> str:
    """The text of one of edgeprof's own modules."""
    package, _, module = name.rpartition(".")
    return (resources.files(package) / f"{module}.py").read_text("utf-8")
