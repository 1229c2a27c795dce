"""ONNX Runtime's TensorRT provider on the device: the network becomes an engine, which runs as one node.

Python 3.6 syntax; the standard library, NumPy, onnxruntime-gpu, TensorRT and NVIDIA's driver alone: this file is sent
to the worker, after :mod:`edgeprof.backends.ort_cuda` and what that needs.
"""

import ctypes
import importlib
import os
import shutil

from edgeprof.backends import ort, ort_cuda

PROVIDER = "TensorrtExecutionProvider"
FILES = ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_tensorrt.so")
INSTALL = (
    "TensorRT 10 for the runtime's CUDA must be found (11 does not fit): pip install 'tensorrt-cu13<11'; on a Jetson "
    "JetPack has it"
)
UNBUILT = "it needs an onnxruntime-gpu that was built with TensorRT, as those of PyPI are"
PACKAGE = "tensorrt_libs"  # of the wheels tensorrt-cu12-libs and tensorrt-cu13-libs
KEPT_BYTES = 2**31  # of engines

noise = ort.noise


def describe():
    """Versions of the runtime, TensorRT and the driver, and the GPU; Missing or CudaError where one is not there."""
    found = ort_cuda.describe()
    if PROVIDER not in found["providers"]:
        text = "this %s %s has no %s"
        raise ort_cuda.Missing(text % (found["runtime"], found["runtime_version"], PROVIDER), UNBUILT)
    preload()
    trouble = ort_cuda.trouble_of_libraries(FILES)
    if trouble:
        raise ort_cuda.Missing("the TensorRT provider cannot be loaded: %s" % trouble, INSTALL)
    found["tensorrt"] = version_text(ctypes.CDLL(None).getInferLibVersion())
    return found


def preload():
    """Load CUDA's libraries, and TensorRT's where they are a package of Python, so that the provider's library finds
    them."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    try:
        importlib.import_module(PACKAGE)
    except ImportError:  # the system has them, or nobody
        pass


def version_text(number):
    """A version of TensorRT as its library counts: 8601 is 8.6.1, 101303 is 10.13.3 (NvInferVersion.h)."""
    unit = 10000 if number >= 10000 else 1000
    return "%d.%d.%d" % (number // unit, number % unit // 100, number % 100)


def lanes(depth, model, threads, providers, options, weights):
    """As with the CUDA provider."""
    return ort_cuda.lanes(depth, model, threads, providers, options, weights, load)


def load(model, threads, providers, options, weights, profiled, stream=None):
    """A session for ``model`` (bytes or a path), with the folder of weights outside it, or None. Of ``options``, names
    with a dot are session configuration entries, the others the provider's own. ``stream``: another than the GPU's
    first. The engine of a file is built once and kept beside it, and so are the times of tactics.

    Raises Refused where anything but TensorRT would run a node of the network.
    """
    gpu = ort_cuda.device()
    preload()
    entries, own = ort_cuda.parted(options)
    own.update({"device_id": str(gpu.number), "user_compute_stream": str(stream or gpu.stream)})
    if isinstance(model, str):
        own.update(caches(model, own))
    settings = ort.recorded(ort.settings_of(threads, entries))
    return ort_cuda.open_on(EngineSession, gpu, model, settings, [(PROVIDER, own)], weights, profiled)


def caches(model, own):
    """Options that keep what building costs: the engine in a folder of its model's own, since the runtime tells models
    apart by names alone; times of tactics in one for all models that are built alike."""
    root = os.path.dirname(os.path.abspath(model))
    alike = sorted(key for key, value in own.items() if key.endswith("_enable") and value == "True")
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        alike.append("exact")
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": folder_of(root, os.path.basename(model)),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": made(os.path.join(root, "timing", "-".join(alike) or "plain")),
    }


def folder_of(root, name):
    """The folder for the engine of a model of this name; the oldest of others go where they take more than 2 GiB."""
    engines = os.path.join(root, "engines")
    own = made(os.path.join(engines, name))
    others = [os.path.join(engines, other) for other in os.listdir(engines) if other != name]
    total = 0
    for folder in sorted(others, key=os.path.getmtime, reverse=True):
        total += sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
        if total > KEPT_BYTES:
            shutil.rmtree(folder, ignore_errors=True)
    return own


def made(folder):
    """``folder``, which is there afterwards."""
    os.makedirs(folder, exist_ok=True)
    return folder


class EngineSession(ort_cuda.CudaSession):
    """A network of which TensorRT runs every node; Refused where the runtime tells otherwise."""

    provider = PROVIDER
    called = "the TensorRT provider"
    libraries = tuple(FILES)
    install = INSTALL

    def __init__(self, session, load_ms, folder, gpu, free):
        super().__init__(session, load_ms, folder, gpu, free)
        elsewhere = ort.assigned_elsewhere(session, self.provider)
        if elsewhere:
            text = "not all of the network runs in %s: %s" % (self.called, ", ".join(elsewhere))
            raise ort_cuda.Refused(text, "it has no way to run it")
