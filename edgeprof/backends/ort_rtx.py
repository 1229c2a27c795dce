"""TensorRT-RTX in ONNX Runtime: a provider that is a plugin, registered when it is needed.

Python 3.6 syntax; the standard library, NumPy, onnxruntime, the plugin's package and NVIDIA's driver alone: this file
is sent to the worker, after :mod:`edgeprof.backends.ort_tensorrt` and what that needs.
"""

import importlib
import os

from edgeprof.backends import ort, ort_cuda, ort_tensorrt

PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
PROVIDER = "NvTensorRTRTXExecutionProvider"
INSTALL = "pip install 'onnxruntime>=1.24' onnxruntime-ep-nv-tensorrt-rtx-cu13"
CAPABLE = (
    "it is made for compute capability 8.6, 8.9 and from 12.0 on (GeForce RTX 30, 40 and 50): others run "
    "--backend ort-tensorrt or ort-cuda"
)

noise = ort.noise


def describe():
    """Versions of the runtime, the plugin and the driver, and the GPU; Missing or CudaError where one is not there."""
    try:
        found = ort.describe()
    except ImportError as error:
        raise ort_cuda.Missing(str(error), INSTALL) from None
    plugin = package()
    gpu = ort_cuda.device().describe()  # before the plugin is loaded, which links the driver
    register(plugin)
    pick(gpu)
    found.update(gpu)
    found["tensorrt_rtx_plugin"] = plugin.__version__
    found["providers"].append(PROVIDER)
    return found


def package():
    """The plugin's package; Missing where it is not there, or the runtime takes none."""
    import onnxruntime

    if not hasattr(onnxruntime, "register_execution_provider_library"):
        text = "onnxruntime %s takes no providers that are plugins" % onnxruntime.__version__
        raise ort_cuda.Missing(text, INSTALL)
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise ort_cuda.Missing("the plugin of TensorRT-RTX is not installed: %s" % error, INSTALL) from None


def register(plugin):
    """Register the plugin with the runtime, once. Missing where it cannot be loaded."""
    import onnxruntime

    try:
        onnxruntime.register_execution_provider_library(PROVIDER, plugin.get_library_path())
    except Exception as error:  # of the runtime's own classes
        if "already registered" not in str(error):
            text = "the plugin of TensorRT-RTX cannot be loaded: %s" % error
            raise ort_cuda.Missing(text, INSTALL) from None


def pick(gpu):
    """What the plugin calls the GPU that the driver describes so. Refused where it does not take it."""
    import onnxruntime

    found = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    address = gpu["gpu_address"].lower()
    own = [device for device in found if device.device.metadata.get("pci_bus_id", "").lower() == address]
    if not own:
        text = "TensorRT-RTX does not take this %s of compute capability %s: it lists %d devices, none at %s"
        about = (gpu["gpu"], gpu["gpu_compute_capability"], len(found), address)
        raise ort_cuda.Refused(text % about, CAPABLE)
    return own[0]


def lanes(depth, model, threads, providers, options, weights):
    """As with the CUDA provider."""
    return ort_cuda.lanes(depth, model, threads, providers, options, weights, load)


def load(model, threads, providers, options, weights, profiled, stream=None):
    """A session for ``model`` (bytes or a path), with the folder of weights outside it, or None. Of ``options``, names
    with a dot are session configuration entries, the others the provider's own. ``stream``: another than the GPU's
    first. What is compiled for a file is kept beside it.

    Raises Refused where anything but TensorRT-RTX would run a node of the network.
    """
    gpu = ort_cuda.device()
    register(package())
    entries, own = ort_cuda.parted(options)
    own.update({"has_user_compute_stream": "1", "user_compute_stream": str(stream or gpu.stream)})
    if isinstance(model, str):
        root = os.path.dirname(os.path.abspath(model))
        own["nv_runtime_cache_path"] = ort_tensorrt.folder_of(root, os.path.basename(model))
    settings = ort.recorded(ort.settings_of(threads, entries))
    settings.add_provider_for_devices([pick(gpu.describe())], own)
    return ort_cuda.open_on(RtxSession, gpu, model, settings, [], weights, profiled)


class RtxSession(ort_tensorrt.EngineSession):
    """A network of which TensorRT-RTX runs every node."""

    provider = PROVIDER
    called = "TensorRT-RTX"
    libraries = ()  # they are in its package
    install = INSTALL

    def __init__(self, session, load_ms, folder, gpu, free):
        used = session.get_providers()
        if used[:1] != [self.provider]:
            text = "asked for %s, but the session uses %s" % (self.provider, ", ".join(used))
            raise ort_cuda.Refused(text, INSTALL)
        super().__init__(session, load_ms, folder, gpu, free)
