"""What a board's sensors cost: processor time of each source, and latencies with it and without, by turns.

``python -m benchmarks.telemetry`` (root): on an emulated Orin Nano, whose files lie in the place of ``/sys`` in a mount
namespace, with the real service of jetson-stats if it is installed. The figures are of this machine's processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import numpy as np
import psutil

from benchmarks.emulation import write_board
from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.boards.sensors.gauges import Gauges
from edgeprof.boards.sensors.jtop import Jtop
from edgeprof.boards.sensors.sysfs import Sysfs
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.stats import round_ms, samples_ms

NAMESPACE = 'mount --bind "$1" /sys && mount -t tmpfs none /run && shift && exec "$@"'
SERVICE = """
import grp, os, sys
import jtop.service as service
service.JTOP_USER = grp.getgrgid(os.getgid()).gr_name
if not os.path.isdir("/sys/devices/virtual/dmi/id"):
    service.get_hardware = lambda: {"Model": "emulated"}
if __name__ == "__main__":
    server = service.JtopServer()
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.close()
"""
WATCH_S = 10.0


def main() -> None:
    """Everything, in a few minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return inside(given.repeats)
    with tempfile.TemporaryDirectory() as folder:
        root = write_board(Path(folder) / "board", "orin-nano")
        command = [
            "unshare",
            "--mount",
            "bash",
            "-c",
            NAMESPACE,
            "namespace",
            str(root / "sys"),
            sys.executable,
        ]
        command += ["-m", "benchmarks.telemetry", "--inside", "--repeats", str(given.repeats)]
        sys.exit(subprocess.run(command, check=False).returncode)


def inside(repeats: int) -> None:
    """Where ``/sys`` is the board's."""
    print(f"reading all files: {1e3 * _seconds(Sysfs().read, 200):.2f} ms of processor time")
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(SERVICE)
        script.flush()
        service = subprocess.Popen(
            [sys.executable, script.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert service.stdin and service.stdout
        service.stdout.readline()
        try:
            for interval_s in (1.0, 0.1):
                with closing(Gauges([Jtop(interval_s)])):
                    print(
                        f"jtop's service at {interval_s:g} s: {_share_pct(service.pid):.2f} % of a processor"
                    )
                time.sleep(10)  # until it has noticed
            print(f"jtop's service without a client: {_share_pct(service.pid):.2f} % of a processor")
            by_turns(repeats)
        finally:
            service.stdin.close()
            service.wait()


def by_turns(repeats: int) -> None:
    """Latencies of one network with jtop connected, as in a sweep, and without."""
    rng = Random(0)
    found: dict[bool, list[float]] = {True: [], False: []}
    with closing(open_backend("ort-cpu")) as backend:
        case = Case(
            net=net_spec(conv=2, depth=20, fc=1, neurons=256),
            batch=8,
            precision="fp32",
            threads=1,
            launch="blocking",
            board="b",
            machine="m",
            backend="ort-cpu",
            runtime=backend.runtime(),
        )
        for number in range(repeats):
            for connected in rng.sample([True, False], 2):
                with closing(Gauges([Jtop()] if connected else [])):
                    measured = backend.measure(case, number, Stop(min_s=1.5, max_s=2.0, profile=False), None)
                found[connected].append(
                    round_ms(samples_ms(measured.runs_ns, measured.repeats), "low-decile")
                )
                time.sleep(4 if connected else 0)  # the service goes on for three seconds
    ratios = np.array(found[True]) / np.array(found[False])
    low, high = np.percentile(ratios, (25, 75))
    a, b = (float(np.median(found[connected])) for connected in (True, False))
    print(f"latency with jtop connected {a:.4f} ms, without {b:.4f} ms, load {os.getloadavg()[0]:.1f}")
    print(
        f"ratio of a pair: median {np.median(ratios):.4f}, middle half {low:.4f} to {high:.4f}, {repeats} pairs"
    )


def _seconds(work: Callable[[], object], times: int) -> float:
    """Processor time of one call."""
    begin = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begin) / times


def _share_pct(pid: int) -> float:
    """Processor time of a process and its children, of the time that passes."""

    def spent() -> float:
        parent = psutil.Process(pid)
        times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
        return sum(t.user + t.system for t in times)

    begin, before = time.monotonic(), spent()
    time.sleep(WATCH_S)
    return 100 * (spent() - before) / (time.monotonic() - begin)


if __name__ == "__main__":
    main()
