"""What of a discrete GPU disturbs a sweep, and how to mend that."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from edgeprof.boards.sensors.gpu import GpuState
from edgeprof.finding import Finding

HOT_C = 10.0  # below the temperature that cuts clocks: less, and a sweep will be throttled


def gpu_findings(state: GpuState) -> Iterator[Finding]:
    """One finding for each thing that the driver tells of a GPU; what it does not tell is left out."""
    called = f"{state.name}, driver {state.driver}"
    if state.lost:
        yield Finding(
            "gpu",
            "warning",
            f"{called}: it is lost, it does not answer",
            "see sudo dmesg (Xid); sudo nvidia-smi -r resets it, or reboot",
        )
        return
    yield Finding("gpu", "ok", ", ".join([called, *_clocks(state)]))
    yield from _modes(state)
    yield from _heat(state)
    yield from _limit(state)
    yield from _others(state)


def _clocks(state: GpuState) -> Iterator[str]:
    for now, most, what in (
        (state.mhz, state.max_mhz, ""),
        (state.memory_mhz, state.max_memory_mhz, "memory "),
    ):
        if now is not None:
            yield f"{what}{now:.0f}{'' if most is None else f' of {most:.0f}'} MHz"


def _modes(state: GpuState) -> Iterator[Finding]:
    if state.persistent is not None:
        yield (
            Finding("persistence", "ok", "on")
            if state.persistent
            else Finding(
                "persistence",
                "warning",
                "off: the driver is loaded anew for each program, and forgets clocks that were locked",
                "sudo nvidia-smi -pm 1 (back: -pm 0)",
            )
        )
    if state.ecc is not None:
        yield Finding(
            "ecc", "ok", "on: on cards with GDDR it costs some memory and speed" if state.ecc else "off"
        )
    if state.mig:
        yield Finding(
            "mig",
            "warning",
            "on: an instance of the GPU is measured, and board files are of whole ones",
            "sudo nvidia-smi -i 0 -mig 0, when nothing uses it (back: -mig 1)",
        )


def _heat(state: GpuState) -> Iterator[Finding]:
    if state.temperature_c is None:
        return
    detail = f"{state.temperature_c:.0f} °C"
    if state.headroom_c is None:
        yield Finding("gpu heat", "ok", detail)
        return
    detail += f", {state.headroom_c:.0f} below the temperature that cuts its clocks"
    if state.headroom_c < HOT_C:
        remedy = "let it cool, see that its fan and the case's work, or hold its clocks: --clocks base"
        yield Finding("gpu heat", "warning", detail, remedy)
    else:
        yield Finding("gpu heat", "ok", detail)


def _limit(state: GpuState) -> Iterator[Finding]:
    limit, default = state.limit_w, state.default_limit_w
    if limit is None:
        return
    if default is not None and limit < default:
        yield Finding(
            "gpu power",
            "warning",
            f"limited to {limit:.0f} of {default:.0f} W: clocks are cut sooner",
            f"sudo nvidia-smi -i 0 -pl {default:.0f}",
        )
    else:
        yield Finding("gpu power", "ok", f"limited to {limit:.0f} W")


def _others(state: GpuState) -> Iterator[Finding]:
    if "nvmlDeviceGetComputeRunningProcesses_v3" in state.denied:
        yield Finding("gpu company", "missing", "who else computes on it is for root alone (MIG)")
    elif state.processes:
        told = ", ".join(f"{pid}{_name(pid)}" for pid in state.processes)
        yield Finding(
            "gpu company",
            "warning",
            f"other programs compute on it: {told}",
            "stop them: their kernels take turns with those that are measured",
        )
    elif state.processes is not None:
        yield Finding("gpu company", "ok", "no other program computes on it")


def _name(pid: int) -> str:
    """Its name behind a process's number; empty where that is not to be had, as of another container's."""
    try:
        return f" ({psutil.Process(pid).name()})"
    except psutil.Error:
        return ""
