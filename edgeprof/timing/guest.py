"""The guest: what stays on a board beside the worker while a sweep measures it from elsewhere.

Python 3.6 syntax, standard library alone; its source is sent over ssh, with :mod:`edgeprof.nvml`. It owns a
folder for the networks and for what the worker writes, and the lock of the device; it reads the files that say what the
board is and what disturbs it, and asks the driver of a GPU. When its standard input ends, so do the processes that work
in its folder, and the folder goes. It talks JSON lines, as the worker does:

- ``{"do": "hello"}`` → folder, Python, system, processor, architecture, logical and usable processors.
- ``{"do": "read", "patterns": […]}`` → files below the root by path, one character a byte.
- ``{"do": "keep", "name": NAME, "bytes": N, "drop": [NAME, …]}`` and N bytes → path of the file.
- ``{"do": "gpus"}`` → GPUs by name and memory, or why there are none. ``{"do": "card", "address": PCI}`` → what the
  sensors of one say, None if nothing.
- ``{"do": "lock", "device": NAME}`` → whether it is held now. ``{"do": "unlock"}``. ``{"do": "busy"}`` → devices that
  anybody holds.
- ``{"do": "console", "call": NAME, "what": {…}}`` → what a function of ``edgeprof.boards.console`` gives.

It sends an empty line every few seconds: where the other side is gone, that ends the connection.
"""

import fcntl
import glob
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time

TICK_S = 5.0
BLOCK = 2**20
LARGEST = 2**20  # of a file that is read, bytes
ROOT = os.environ.get("EDGEPROF_ROOT") or "/"  # of the files that say what the board is


def main(nvml, console):
    """Serve requests until standard input ends, then leave nothing behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    remove_leftovers()
    folder = tempfile.mkdtemp(prefix="edgeprof-%d-" % os.getpid())
    guest = Guest(folder, nvml, console)
    try:
        serve(guest, sys.stdin.buffer, sys.stdout)
    except (IOError, OSError):
        pass  # the other side is gone
    finally:
        end_processes_in(folder)
        guest.unlock(None)
        shutil.rmtree(folder, ignore_errors=True)


def leave(number, frame):
    """A signal's way out, past the removal of the folder."""
    sys.exit(128 + number)


def serve(guest, requests, answers):
    """Answer requests; trouble becomes an answer too."""
    turn = threading.Lock()

    def say(text):
        with turn:
            answers.write(text + "\n")
            answers.flush()

    thread = threading.Thread(target=tick, args=(say,))
    thread.daemon = True
    thread.start()
    for line in iter(requests.readline, b""):
        request = json.loads(line.decode())
        try:
            found = {"ok": getattr(guest, request.pop("do"))(requests, **request)}
        except (IOError, OSError, ValueError) as error:
            found = {"error": " ".join(str(error).split())[:400], "kind": "refused"}
        say(json.dumps(found))


def tick(say):
    """An empty line now and then, for as long as anybody may listen."""
    try:
        while True:
            time.sleep(TICK_S)
            say("")
    except (IOError, OSError, ValueError):
        pass


class Guest(object):
    """What can be asked of it."""

    def __init__(self, folder, nvml, console):
        self.folder = folder
        self.programs = console
        self.held = None
        self.nvml = nvml
        self.sensors = {}

    def hello(self, requests):
        allowed = os.cpu_count() or 1
        if hasattr(os, "sched_getaffinity"):
            allowed = len(os.sched_getaffinity(0))
        return {
            "folder": self.folder,
            "root": ROOT,
            "python": sys.version.split()[0],
            "system": "%s %s" % (platform.system(), platform.release()),
            "architecture": platform.machine(),
            "processor": platform.processor() or platform.machine(),
            "logical_cores": os.cpu_count() or 1,
            "usable_cores": allowed,
        }

    def read(self, requests, patterns, root=ROOT):
        found = {}
        for pattern in patterns:
            for path in glob.glob(os.path.join(root, pattern)):
                try:
                    with open(path, "rb") as stream:
                        found[os.path.relpath(path, root)] = stream.read(LARGEST).decode("latin-1")
                except (IOError, OSError):
                    pass  # a counter that its driver does not give, or for root alone
        return {"files": found}

    def keep(self, requests, name, bytes, drop):
        path, left, trouble = os.path.join(self.folder, name), bytes, None
        for old in drop:
            os.unlink(os.path.join(self.folder, old))
        try:
            with open(path + ".part", "wb") as stream:
                while left:
                    block = requests.read(min(left, BLOCK))
                    if not block:
                        raise IOError("the input ended within a file")
                    left -= len(block)
                    stream.write(block)
            os.rename(path + ".part", path)
        except (IOError, OSError) as error:
            trouble = error
        while left and requests.read(min(left, BLOCK)):  # what follows must be the next request
            left = max(left - BLOCK, 0)
        if trouble:
            if os.path.exists(path + ".part"):
                os.unlink(path + ".part")
            raise trouble
        return {"path": path}

    def gpus(self, requests):
        try:
            return {"gpus": self.nvml.gpus(), "trouble": None}
        except self.nvml.NoDriver as trouble:
            return {"gpus": [], "trouble": [str(trouble), trouble.hint]}

    def card(self, requests, address):
        if address not in self.sensors:
            self.sensors[address] = self.nvml.open_sensors(address)
        found = self.sensors[address]
        return {"look": found.look() if found else None}

    def console(self, requests, call, what):
        return getattr(self.programs, call)(ROOT, **what)

    def lock(self, requests, device):
        if self.held is None:
            self.held = take_lock(lock_path(device))
        return {"held": self.held is not None}

    def unlock(self, requests):
        if self.held is not None:
            release_lock(self.held)
            self.held = None
        return {}

    def busy(self, requests):
        return {"devices": locked_devices()}


def locked_devices():
    """Devices whose lock somebody holds, whoever he is, as far as this user may see."""
    found = []
    for path in sorted(glob.glob(os.path.join(tempfile.gettempdir(), "edgeprof-*.lock"))):
        try:
            with open(path) as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found.append(os.path.basename(path)[len("edgeprof-") :].rpartition("-")[0])
        except (IOError, OSError):
            pass  # it is gone, or for its owner's eyes alone
    return found


def lock_path(device):
    """The file that a sweep on ``device`` holds, here and from elsewhere."""
    return os.path.join(tempfile.gettempdir(), "edgeprof-%s-%d.lock" % (device, os.getuid()))


def take_lock(path):
    """The open file that holds the lock, until it is closed or its process ends; None where another has it."""
    stream = open(path, "a+")  # noqa: SIM115 (open for as long as the lock is held)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError):
        stream.close()
        return None
    if not os.path.exists(path) or os.fstat(stream.fileno()).st_ino != os.stat(path).st_ino:
        stream.close()  # its holder removed it just now
        return None
    return stream


def release_lock(stream):
    """Give a lock back, and leave no file."""
    try:
        os.unlink(stream.name)
    except (IOError, OSError):
        pass
    stream.close()


def remove_leftovers():
    """Remove folders whose process was killed."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "edgeprof-*-*")):
        owner = os.path.basename(folder).split("-")[1]
        ours = owner.isdigit() and os.path.isdir(folder) and os.stat(folder).st_uid == os.getuid()
        if ours and not alive(int(owner)):
            end_processes_in(folder)
            shutil.rmtree(folder, ignore_errors=True)


def alive(pid):
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def end_processes_in(folder):
    """Kill the processes whose temporary folder is ``folder``: workers whose connection is not known to be lost yet."""
    mark = b"TMPDIR=" + os.fsencode(folder)
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as stream:
                if mark in stream.read().split(b"\0"):
                    os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except (IOError, OSError):
            pass
