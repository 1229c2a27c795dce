"""The state of a discrete GPU before a sweep, as NVIDIA's driver tells it: clocks, heat, power, who else is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprof.boards.sensors.nvml import driver
from edgeprof.errors import BoardError
from edgeprof.nvml import Sensors

# nvml.h, nvmlTemperatureThresholds_t: from which on the hardware cuts clocks, and from which on they go below base
THRESHOLDS = (1, 3)


@dataclass(frozen=True)
class GpuState:
    """What the driver says of a GPU; None where it does not. Clocks in MHz, power in W; ``headroom_c`` is how far it is
    below the temperature at which its clocks are cut. ``processes`` compute on it; ``denied`` is what this user may not
    ask."""

    name: str
    driver: str = ""
    lost: bool = False
    mhz: float | None = None
    max_mhz: float | None = None
    memory_mhz: float | None = None
    max_memory_mhz: float | None = None
    temperature_c: float | None = None
    headroom_c: float | None = None
    limit_w: float | None = None
    default_limit_w: float | None = None
    persistent: bool | None = None
    ecc: bool | None = None
    mig: bool | None = None
    processes: tuple[int, ...] | None = None
    denied: tuple[str, ...] = ()


def gpu_here(root: Path = Path("/")) -> GpuState | None:
    """The state of this machine's first GPU; None where there is none. A board under another root has none."""
    try:
        return read_gpu() if root == Path("/") else None
    except BoardError:
        return None


def read_gpu() -> GpuState:
    """The state of this machine's first GPU.

    :raises BoardError: nvidia-ml-py is not installed, or there is no driver or GPU.
    """
    with driver() as nvml:
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(0)
            name, version = nvml.nvmlDeviceGetName(handle), nvml.nvmlSystemGetDriverVersion()
        except nvml.NVMLError as error:
            raise BoardError(
                f"the NVIDIA driver lists no GPU: {error}", "nvidia-smi must list the GPU"
            ) from None
        return _state(name, version, nvml, Sensors(nvml, handle))


def _state(name: str, version: str, nvml: Any, gpu: Sensors) -> GpuState:
    now = gpu.read()
    celsius = now.get("temperature_c")
    limit, default = (
        gpu.asked(f"nvmlDeviceGet{which}Limit") for which in ("EnforcedPower", "PowerManagementDefault")
    )
    on = {
        which: gpu.asked(f"nvmlDeviceGet{which}Mode") for which in ("Persistence", "Ecc", "Mig")
    }  # now, or now and after the next reset
    running = gpu.first("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
    return GpuState(
        name,
        version,
        lost=gpu.lost,
        mhz=now.get("gpu_mhz"),
        max_mhz=gpu.asked("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        memory_mhz=now.get("gpu_memory_mhz"),
        max_memory_mhz=gpu.asked("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
        temperature_c=celsius,
        headroom_c=_headroom_c(gpu, celsius),
        limit_w=None if limit is None else limit / 1000,
        default_limit_w=None if default is None else default / 1000,
        persistent=None if on["Persistence"] is None else bool(on["Persistence"]),
        ecc=None if on["Ecc"] is None else bool(on["Ecc"][0]),
        mig=None if on["Mig"] is None else bool(on["Mig"][0]),
        processes=None if running is None else tuple(sorted(process.pid for process in running)),
        denied=tuple(sorted(gpu.denied)),
    )


def _headroom_c(gpu: Sensors, celsius: float | None) -> float | None:
    """How far it is below the nearest threshold: as the driver tells it (newer parts), or from the thresholds."""
    margin = gpu.asked("nvmlDeviceGetMarginTemperature")
    if margin is not None:
        return float(margin)
    found = [gpu.asked("nvmlDeviceGetTemperatureThreshold", which) for which in THRESHOLDS]
    known = [threshold for threshold in found if threshold]
    return None if celsius is None or not known else float(min(known) - celsius)
