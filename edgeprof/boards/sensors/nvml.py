"""Discrete GPUs by name, asked of NVIDIA's driver (NVML) through nvidia-ml-py, which is looked for when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprof.boards.sensors.reading import Reading, Ready
from edgeprof.errors import BoardError
from edgeprof.nvml import NoDriver, gpus, opened


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver names it, with its memory in MiB (None where the driver does not tell)."""

    name: str
    memory_mib: int | None = None


@contextmanager
def driver() -> Iterator[Any]:
    """The driver's library through NVIDIA's bindings, open meanwhile.

    :raises BoardError: nvidia-ml-py is not installed, or there is no driver.
    """
    try:
        nvml = opened()
    except NoDriver as trouble:
        raise BoardError(str(trouble), trouble.hint) from None
    try:
        yield nvml
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def read_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine, in the driver's order.

    :raises BoardError: nvidia-ml-py is not installed, there is no driver, or no GPU.
    """
    try:
        return tuple(Gpu(**found) for found in gpus())
    except NoDriver as trouble:
        raise BoardError(str(trouble), trouble.hint) from None


class NvmlGauge(Ready):
    """What NVIDIA's driver says of its first GPU. On a Jetson that is little, and on most of them nothing."""

    name = "nvml"
    gives = frozenset(("rails_mw", "gpu_mhz", "gpu_load_pct", "temperature_c"))
    interval_s = 0.1

    def __init__(self) -> None:
        """:raises BoardError: nvidia-ml-py is not installed, there is no driver, or no GPU."""
        read_gpus()
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    def read(self) -> Reading:
        nvml, gpu = self._nvml, self._handle
        power = self._asked(lambda: nvml.nvmlDeviceGetPowerUsage(gpu))
        celsius = self._asked(lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))
        return Reading(
            rails_mw={} if power is None else {"GPU": power},
            gpu_mhz=self._asked(lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
            gpu_load_pct=self._asked(lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            temperature_c={} if celsius is None else {"gpu": celsius},
        )

    def close(self) -> None:
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _asked(self, question: Callable[[], Any]) -> float | None:
        """A number of the driver's; None where it does not tell."""
        try:
            return float(question())
        except (self._nvml.NVMLError, TypeError, ValueError):
            return None


def gpus_here(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """The same, and none where there are none or they cannot be asked. A board under another root has none."""
    try:
        return read_gpus() if root == Path("/") else ()
    except BoardError:
        return ()
