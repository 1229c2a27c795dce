"""Discrete GPUs by name, asked of NVIDIA's driver (NVML) through nvidia-ml-py, which is looked for when needed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from edgeprof.errors import BoardError


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver names it, with its memory in MiB (None where the driver does not tell)."""

    name: str
    memory_mib: int | None = None


def read_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine, in the driver's order.

    :raises BoardError: nvidia-ml-py is not installed, there is no driver, or no GPU.
    """
    try:
        import pynvml
    except ImportError:
        raise BoardError(
            "NVIDIA GPUs are found through nvidia-ml-py, which is not installed",
            "pip install nvidia-ml-py, or edgeprof with its extra: pip install 'edgeprof[gpu]'",
        ) from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise BoardError(
            f"no NVIDIA driver answers here: {error}",
            "nvidia-smi must list the GPU; in a container, pass it in",
        ) from None
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        if not handles:
            raise BoardError("the NVIDIA driver lists no GPU", "nvidia-smi must list the GPU")
        return tuple(_gpu(pynvml, handle) for handle in handles)
    except pynvml.NVMLError as error:
        raise BoardError(
            f"the NVIDIA driver does not name its GPUs: {error}", "see what nvidia-smi says"
        ) from None
    finally:
        pynvml.nvmlShutdown()


def gpus_here() -> tuple[Gpu, ...]:
    """The same, and none where there are none or they cannot be asked."""
    try:
        return read_gpus()
    except BoardError:
        return ()


def _gpu(pynvml, handle) -> Gpu:  # type: ignore[no-untyped-def]
    name = pynvml.nvmlDeviceGetName(handle)
    memory = None
    with contextlib.suppress(pynvml.NVMLError):
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20
    return Gpu(name.decode() if isinstance(name, bytes) else str(name), memory)
