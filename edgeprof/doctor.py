"""Doctor: what this machine can measure, what will disturb it, and how to mend that; before a sweep."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil

from edgeprof.advice import ADVICE
from edgeprof.backends.base import Backend, Stop
from edgeprof.backends.open import BACKENDS, open_backend
from edgeprof.boards.detect import Machine, detect_board, detect_machine, load_1m
from edgeprof.boards.locks import Locks
from edgeprof.boards.power import RESTORE, HereConsole, Power
from edgeprof.boards.sensors.desktop import read_desktop
from edgeprof.boards.sensors.devfreq import read_gpu_clock
from edgeprof.boards.sensors.gauges import AS_ROOT, open_gauges
from edgeprof.boards.sensors.gpu import GpuState
from edgeprof.boards.sensors.host import Disturbance, HostReading, between, hottest_c, read_host
from edgeprof.boards.sensors.l4t import read_release
from edgeprof.boards.sensors.nvml import Gpu
from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.boards.sensors.overcurrent import read_overcurrent
from edgeprof.boards.sensors.rails import read_rails
from edgeprof.boards.sensors.reading import LABELS
from edgeprof.errors import EdgeprofError
from edgeprof.finding import Finding, State
from edgeprof.gpu import gpu_findings
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.guest import locked_devices
from edgeprof.timing.measurement import Round
from edgeprof.timing.noise import CLOCK_PCT
from edgeprof.timing.place import RESTORING

LOOK_S = 1.0
READINGS = 5
PROBE = net_spec(conv=2, depth=32, fc=1, neurons=256)
PROBE_BATCH = 8
QUIET_LOAD = 0.5  # runnable processes per core, above which the machine is busy
QUIET_PCT = 2.0  # of the time: stolen by the hypervisor, or some task waiting for a processor
STEADY_PCT = 3.0  # how far readings of one network may lie apart
FREE_MIB = 1024
SAMPLING = ("switched", "faulted", "growing")
OVERCURRENT = "clocks were cut: use the board's own power supply, or a lower power mode (nvpmodel)"


def examine(
    root: Path = Path("/"),
    sleep: Callable[[float], None] = time.sleep,
    gpus: Sequence[Gpu] = (),
    gpu: GpuState | None = None,
) -> list[Finding]:
    """Everything worth knowing before a sweep, on a machine with these discrete GPUs, of which ``gpu`` is the first.
    Takes a few seconds; runs one small network where a runtime is there."""
    machine = detect_machine(root, gpus)
    before = read_host(root)
    sleep(LOOK_S)
    after = read_host(root)
    found = [_board(machine), _processor(machine), *_runtimes(), _governor(machine)]
    seen = between(before, after)
    found += [*_company(machine, seen), *_sensors(after, seen), *_jetson(machine, root), *_sources(root)]
    found += [*(gpu_findings(gpu) if gpu else ()), *_left(root)]
    found += [_space(), *_probed(machine)]
    return found


def said_once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings for people: what is amiss with one as with an earlier one is not said again."""
    first: dict[tuple[str, str], str] = {}
    for finding in findings:
        name = first.setdefault((finding.detail, finding.remedy), finding.name)
        again = finding.remedy and name != finding.name
        yield replace(finding, detail=f"as with {name}", remedy="") if again else finding


def _board(machine: Machine) -> Finding:
    try:
        board = detect_board(machine)
    except EdgeprofError as error:
        return Finding("board", "missing", error.message, error.hint)
    called = f" ({machine.device_tree})" if machine.device_tree else ""
    return Finding(
        "board", "ok", f"{board.name}{called}: {board.about}" if board.about else board.name + called
    )


def _processor(machine: Machine) -> Finding:
    caches = [
        f"{name} {size} KiB"
        for name, size in (("L1", machine.l1d_kib), ("L2", machine.l2_kib), ("L3", machine.l3_kib))
        if size
    ]
    told = (machine.title(), f"{machine.lanes} float32 lanes", *caches)
    return Finding("processor", "ok", ", ".join(told))


def _runtimes() -> Iterator[Finding]:
    for name in BACKENDS:
        if name == "simulated":
            continue
        try:
            backend = open_backend(name)
            try:
                yield Finding(name, "ok", backend.runtime())
                if why := backend.facts().get("cupti"):
                    yield Finding(f"{name} kernels", "missing", *_parted(why))
            finally:
                backend.close()
        except EdgeprofError as error:
            yield Finding(name, "missing", error.message, error.hint)


def _parted(text: str) -> tuple[str, str]:
    """What is amiss, and what to do about it."""
    what, _, remedy = text.partition(" · ")
    return what, remedy


def _governor(machine: Machine) -> Finding:
    if machine.governor is None:
        return Finding(
            "governor", "ok", "not visible here: the clock is governed elsewhere (a virtual machine?)"
        )
    if machine.governor == "performance":
        return Finding("governor", "ok", "performance")
    return Finding("governor", "warning", machine.governor, ADVICE["governor"].remedy)


def _company(machine: Machine, seen: Disturbance) -> Iterator[Finding]:
    load, cores = load_1m(), machine.physical_cores
    state: State = "warning" if load > QUIET_LOAD * cores else "ok"
    yield Finding(
        "load", state, f"{load:.2f} on {cores} cores", ADVICE["busy"].remedy if state != "ok" else ""
    )
    for name, share, code in (("steal", seen.steal_pct, "stolen"), ("waiting", seen.waited_pct, "contended")):
        what = "by the hypervisor" if name == "steal" else "some task waited for a processor"
        if share is None:
            yield Finding(name, "missing", f"not visible on this kernel ({what})")
        elif share > QUIET_PCT:
            yield Finding(name, "warning", f"{share:.1f} % of the time, {what}", ADVICE[code].remedy)
        else:
            yield Finding(name, "ok", f"{share:.1f} % of the time, {what}")


def _sensors(reading: HostReading, seen: Disturbance) -> Iterator[Finding]:
    if seen.clock_moved_pct is not None and seen.clock_moved_pct > CLOCK_PCT:
        moved = f"{max(reading.mhz):.0f} MHz, {seen.clock_moved_pct:.0f} % off what it was a moment before"
        yield Finding("clock", "warning", moved, ADVICE["clock-moved"].remedy)
    else:
        yield _sensor("clock", f"{reading.mhz[0]:.0f} MHz" if reading.mhz else None)
    hottest = hottest_c(reading.temperature_c)
    for name, value in (
        ("temperature", f"{hottest:.0f} °C" if hottest is not None else None),
        ("throttling", f"{reading.throttled} events so far" if reading.throttled is not None else None),
    ):
        yield _sensor(name, value)


def _sensor(name: str, value: str | None) -> Finding:
    if value is None:
        return Finding(name, "missing", "no sensor is visible: it will not be in the measurements")
    return Finding(name, "ok", value)


def _jetson(machine: Machine, root: Path) -> Iterator[Finding]:
    """What only the machines with NVIDIA's Linux have; nothing elsewhere."""
    release = read_release(root)
    if release is None:
        return
    yield Finding("jetpack", "ok", f"{release.jetpack or 'unknown'}, L4T {release.version}")
    mode = read_power_mode(root)
    if mode is None:
        yield Finding(
            "power mode", "missing", "nvpmodel has left no state file", "sudo nvpmodel -q tells the mode"
        )
    else:
        yield Finding("power mode", "ok", f"{mode.name or 'without a name'} (number {mode.number})")
    if names := read_desktop(root):
        yield Finding("desktop", "warning", f"runs: {', '.join(names)}", ADVICE["desktop"].remedy)
    clock = read_gpu_clock(root)
    if clock is None or clock.mhz is None:
        yield Finding("gpu", "missing", "its clock cannot be read: it will not be in the measurements")
    else:
        load = "" if clock.load_pct is None else f", load {clock.load_pct:.0f} %"
        yield Finding(
            "gpu", "ok", f"{clock.mhz:.0f} of {clock.max_mhz or math.nan:.0f} MHz{load}, {clock.governor}"
        )
    rails = ", ".join(f"{name} {rail.mw / 1000:.1f} W" for name, rail in read_rails(root).items())
    yield Finding("power", "ok" if rails else "missing", rails or "no current monitor can be read")
    events = read_overcurrent(root)
    if any(events.values()):
        told = ", ".join(f"{name} {count}" for name, count in events.items())
        yield Finding("over-current", "warning", f"{told} events since the start", OVERCURRENT)
    elif events:
        yield Finding("over-current", "ok", "no event since the start")


def _left(root: Path) -> Iterator[Finding]:
    """What a sweep that was killed did not put back."""
    for control in (Power(root), Locks(at=HereConsole(root))):
        try:
            was = control.left()
        except EdgeprofError as error:
            yield Finding("left", "warning", error.message, error.hint)
            continue
        if was and (running := [device for device in locked_devices() if device != RESTORING]):
            told = f"a sweep of {running[0]} is running, and puts back {was.title()} at its end"
            yield Finding("left", "ok", told)
        elif was:
            told = f"a sweep that was killed did not put back {was.title()}"
            yield Finding("left", "warning", told, RESTORE)


def _sources(root: Path) -> Iterator[Finding]:
    """Where the telemetry of a sweep would come from; nothing on machines without sources."""
    with closing(open_gauges(root)) as gauges:
        if not gauges.sources:
            return
        sources = gauges.read().sources
    fields = {name: [LABELS[f] for f in LABELS if sources.get(f) == name] for name in sources.values()}
    told = "; ".join(f"{name}: {', '.join(of)}" for name, of in fields.items())
    yield Finding("sensors", "ok" if told else "missing", told or "none can be read")
    if gauges.denied:
        for_root = ", ".join(LABELS[name] for name in gauges.denied)
        yield Finding("root", "missing", f"for root alone: {for_root}", f"{AS_ROOT} …")
    for name, error in gauges.absent.items():
        yield Finding(name, "missing", error.message, error.hint)


def _space() -> Finding:
    disk = shutil.disk_usage(tempfile.gettempdir()).free / 2**20
    memory = psutil.virtual_memory().available / 2**20
    detail = f"{disk / 1024:.1f} GiB in {tempfile.gettempdir()}, {memory / 1024:.1f} GiB of memory free"
    if min(disk, memory) < FREE_MIB:
        return Finding(
            "space", "warning", detail, "networks of the catalogue need about a GiB: free some, or set TMPDIR"
        )
    return Finding("space", "ok", detail)


def _probed(machine: Machine) -> Iterator[Finding]:
    """How well one small network repeats, five times over, on one thread, and what disturbed its samples."""
    try:
        board = detect_board(machine)
        backend: Backend = open_backend(board.backend)
    except EdgeprofError as error:
        yield Finding("steadiness", "missing", error.message, error.hint)
        return
    try:
        case = Case(
            net=PROBE,
            batch=PROBE_BATCH,
            precision="fp32",
            threads=1,
            launch=backend.launches[0],
            provider_options=backend.options("fp32", backend.launches[0]),
            board=board.name,
            machine=machine.model,
            backend=backend.name,
            runtime=backend.runtime(),
        )
        rounds = [backend.measure(case, n, Stop(min_s=0.2, max_s=0.4), None) for n in range(READINGS)]
    except EdgeprofError as error:
        yield Finding("steadiness", "missing", error.message, error.hint)
        return
    finally:
        backend.close()
    yield _steadiness([r.latency_ms for r in rounds])
    yield _sampling(rounds)


def _steadiness(readings: list[float]) -> Finding:
    spread = 100 * (max(readings) / min(readings) - 1)
    detail = (
        f"a network of {min(readings):.2f} ms repeats within {spread:.1f} % ({READINGS} times, one thread)"
    )
    if not math.isfinite(spread) or spread > STEADY_PCT:
        return Finding(
            "steadiness", "warning", detail, f"stop other programs (pid {os.getpid()} is edgeprof's own)"
        )
    return Finding("steadiness", "ok", detail)


def _sampling(rounds: list[Round]) -> Finding:
    noise = [r.telemetry.get("disturbance", {}) for r in rounds]
    switches, faults, growth = (
        max(n.get(name, 0.0) for n in noise) for name in ("switches_per_s", "faults_per_s", "growth_mib")
    )
    codes = Counter(code for r in rounds for code in r.warnings if code in SAMPLING)
    detail = (
        f"at most {switches:.0f} involuntary context switches and {faults:.0f} page faults a second,"
        f" {growth:.1f} MiB grown"
    )
    if not codes:
        return Finding("sampling", "ok", detail)
    return Finding("sampling", "warning", detail, ADVICE[codes.most_common(1)[0][0]].remedy)
