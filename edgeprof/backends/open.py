"""A backend by its name, as ``--backend`` gives it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from edgeprof.backends.base import Backend
from edgeprof.backends.engines import RtxBackend, TensorrtBackend
from edgeprof.backends.gpu import CudaBackend
from edgeprof.backends.runtime import RuntimeBackend
from edgeprof.backends.trt import GPU, TrtBackend
from edgeprof.errors import BackendError
from edgeprof.timing.place import HERE, Here, Place


def _ort_cpu(argument: str, place: Place) -> Backend:
    return RuntimeBackend(
        "ort-cpu", "edgeprof.backends.ort", ("CPUExecutionProvider",), ("blocking",), place=place
    )


def _ort_cuda(argument: str, place: Place) -> Backend:
    return CudaBackend(place)


def _ort_tensorrt(argument: str, place: Place) -> Backend:
    return TensorrtBackend(place)


def _ort_tensorrt_rtx(argument: str, place: Place) -> Backend:
    return RtxBackend(place)


def _tensorrt(argument: str, place: Place) -> Backend:
    return TrtBackend(place, argument or GPU)


def _simulated(argument: str, place: Place) -> Backend:
    if not isinstance(place, Here):
        raise BackendError("a simulated board is not measured on another machine", "leave out --host")
    from edgeprof.backends.simulated import SimulatedBackend, parse_simulated  # laws: what runs needs none
    from edgeprof.fit.law_file import read_law

    law, noise, faults, clocks = parse_simulated(argument)
    return SimulatedBackend(read_law(law), noise, faults, clocks)


BACKENDS: Mapping[str, tuple[str, Callable[[str, Place], Backend]]] = {
    "ort-cpu": ("ONNX Runtime on the processor", _ort_cpu),
    "ort-cuda": ("ONNX Runtime's CUDA provider on an NVIDIA GPU", _ort_cuda),
    "ort-tensorrt": ("ONNX Runtime's TensorRT provider: whole networks, no kernels", _ort_tensorrt),
    "ort-tensorrt-rtx": (
        "TensorRT-RTX, ONNX Runtime's plugin: whole networks alone",
        _ort_tensorrt_rtx,
    ),
    "tensorrt": ("TensorRT, layer by layer; tensorrt:dla0 on a Jetson's DLA", _tensorrt),
    "simulated": ("plays a law back as if it were a board: simulated:LAW,noise=1%", _simulated),
}


def open_backend(name: str, place: Place = HERE) -> Backend:
    """The backend called ``name``, to execute networks at ``place``; what follows a colon is its argument.

    :raises BackendError: no such backend.
    """
    kind, _, argument = name.partition(":")
    if kind not in BACKENDS:
        near = difflib.get_close_matches(kind, BACKENDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(BACKENDS)}"
        raise BackendError(f"there is no backend called '{kind}'", hint)
    return BACKENDS[kind][1](argument, place)
