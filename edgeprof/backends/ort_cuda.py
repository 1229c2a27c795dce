"""ONNX Runtime's CUDA provider on the device: everything stays on the GPU, on a stream that events can be put on.

Python 3.6 syntax; the standard library, NumPy, onnxruntime-gpu and NVIDIA's driver alone: this file is sent to the
worker, after :mod:`edgeprof.backends.cuda`, :mod:`edgeprof.backends.cupti`, :mod:`edgeprof.nvml` and
:mod:`edgeprof.backends.ort`.
"""

import base64
import ctypes
import os

import numpy as np

from edgeprof import nvml
from edgeprof.backends import cuda, cupti, ort

PROVIDER = "CUDAExecutionProvider"
INSTALL = (
    "pip install 'edgeprof[gpu]' where the extra cpu is not: they exclude each other (Jetson: docs/jetson.md)"
)
LIBRARIES = "CUDA and cuDNN of the runtime's version must be found: pip install 'onnxruntime-gpu[cuda,cudnn]'"
DEBUG = "see what the runtime says: python -c 'import onnxruntime; onnxruntime.print_debug_info()'"
NUMPY = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
NO_KERNEL = "it has no way to run these, or leaves shapes and indices to the processor"
FILES = ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so")
FALLEN_BACK = ("fallback to CPU EP", "the session uses", "Please install TensorRT")
TIMED_S = 0.05
TIMED_RUNS = 100
TRACED_AFTER = 3  # runs: the first ones search for algorithms, and capture a graph

devices = {}  # of this process, by number: its context and stream live as long as it does
sensors = {}  # of these

noise = ort.noise
Missing, Refused = cuda.Missing, cuda.Refused


def describe():
    """Versions of the runtime and the driver, and the GPU; Missing or CudaError where one of them is not there."""
    try:
        found = ort.describe()
    except ImportError as error:
        raise Missing(str(error), INSTALL) from None
    if PROVIDER not in found["providers"]:
        text = "this %s %s has no %s: it is the package for processors"
        raise Missing(text % (found["runtime"], found["runtime_version"], PROVIDER), INSTALL)
    found.update(device().describe())
    found["cuda_runtime"] = build_version()
    return found


def build_version():
    """The CUDA that the runtime was built for; None where it does not say."""
    import onnxruntime

    return getattr(onnxruntime, "cuda_version", None) or None


def device(number=0):
    """The GPU of that number, opened once."""
    if number not in devices:
        devices[number] = cuda.Device(number)
        sensors[number] = nvml.open_sensors(devices[number].describe()["gpu_address"])
    return devices[number]


def lanes(depth, model, threads, providers, options, weights, opened=None):
    """``depth`` ways to run ``model`` at the same time: as many sessions, each on a stream of its own. A session with a
    stream of ours puts all of its runs on that one. ``opened``: another provider's ``load``."""
    ort.see_that_runs_overlap()
    streams = device().streams(depth)
    return [
        (opened or load)(model, threads, providers, options, weights, False, stream) for stream in streams
    ]


def load(model, threads, providers, options, weights, profiled, stream=None):
    """A session for ``model`` (bytes or a path), with the folder of weights outside it, or None. Of ``options``, names
    with a dot are session configuration entries, the others the provider's own. ``stream``: another than the GPU's
    first.

    Raises Refused where anything but the GPU would run a node of the network.
    """
    import onnxruntime

    gpu = device()
    entries, own = parted(options)
    version = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    if version < (1, 18):  # the environment switches it off there
        own.pop("use_tf32", None)
    own.update({"device_id": str(gpu.number), "user_compute_stream": str(stream or gpu.stream)})
    settings = ort.settings_of(threads, entries)
    return open_on(CudaSession, gpu, model, settings, [(PROVIDER, own)], weights, profiled)


def parted(options):
    """Configuration entries of a session, which have a dot in their names, and a provider's own options."""
    entries = {key: value for key, value in options.items() if "." in key}
    return entries, {key: value for key, value in options.items() if "." not in key}


def open_on(kind, gpu, model, settings, providers, weights, profiled):
    """A ``kind`` of session on ``gpu``; Refused where anything else would run a node of the network."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    free = gpu.free_bytes()

    def opened(session, load_ms, folder):
        return kind(session, load_ms, folder, gpu, free)

    try:
        return ort.open_session(opened, model, settings, providers, weights, profiled)
    except Refused:
        raise
    except Exception as error:  # of the runtime's own classes
        if not any(sign in str(error) for sign in FALLEN_BACK):
            raise
        trouble = trouble_of_libraries(kind.libraries)
        if trouble:
            raise Refused("%s cannot be loaded: %s" % (kind.called, trouble), kind.install) from None
        elsewhere = left_over(model, settings, providers, kind.provider)
        if elsewhere:
            text = "not all of the network runs in %s: %s" % (kind.called, "; ".join(elsewhere))
            raise Refused(text, NO_KERNEL) from None
        raise Refused(str(error), DEBUG) from None


def left_over(model, settings, providers, provider):
    """The nodes of a network that ``provider`` leaves to others; none where the runtime does not tell (before 1.24), or
    nothing runs at all."""
    import onnxruntime

    settings.enable_profiling = False
    settings.optimized_model_filepath = ""
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
    try:
        session = onnxruntime.InferenceSession(
            model, ort.recorded(settings), providers=providers, enable_fallback=0
        )
    except Exception:  # of the runtime's own classes: the first one says what is amiss
        return []
    return ort.assigned_elsewhere(session, provider) if provider in session.get_providers() else []


def trace(request, inputs_of):
    """Kernels as the GPU ran them, and the nodes that launched them, for a request as ``measure`` has them:
    what :func:`edgeprof.backends.cupti.collect` gives, with

    - ``events``: the nodes in execution order, as :meth:`edgeprof.backends.ort.Session.profile` has them.
    - ``nodes`` and ``runs``: begin and end of each node and of each traced run, in ns of the host's clock.
    - ``replayed``: the same of a captured graph's replays, which have no nodes; ``graph``: the optimised graph.

    A captured graph's network is run node by node first. Unavailable where there is no CUPTI; Refused as by ``load``.
    """
    library = cupti.library()
    cupti.tracing(library)
    options = dict(request["options"])
    captured = options.pop("enable_cuda_graph", None)

    def setting(options, profiled):
        head = (request["model"], request["threads"], request["providers"], options, request.get("weights"))
        return head + (profiled,)

    session = load(*setting(options, "graph" if request.get("graph") else "times"))
    try:
        session.bind(inputs_of(session.inputs()))
        found = cupti.collect(session.run, TRACED_AFTER, request["trace_s"], library)
        found.update(session.timeline(len(found["windows"])))
        if request.get("graph"):
            found["graph"] = base64.b64encode(session.graph()).decode("ascii")
    finally:
        session.close()
    if captured:
        session = load(*setting(request["options"], False))
        try:
            session.bind(inputs_of(session.inputs()))
            found["replayed"] = cupti.collect(session.run, TRACED_AFTER, request["trace_s"], library)
        finally:
            session.close()
    return found


def only_here(kernels):
    """``kernels``, all of which ran on the GPU; Refused where one did not."""
    elsewhere = sorted({kernel["provider"] for kernel in kernels} - {PROVIDER, ""})
    if elsewhere:
        names = ", ".join(k["name"] for k in kernels if k["provider"] in elsewhere)
        text = "not all of the network ran on the GPU: %s ran by %s" % (names, ", ".join(elsewhere))
        raise Refused(text, NO_KERNEL)
    return kernels


def trouble_of_libraries(names=FILES):
    """What the dynamic linker says of a provider's libraries; empty where they can be loaded, or are not there."""
    import onnxruntime

    folder = os.path.join(os.path.dirname(onnxruntime.__file__), "capi")
    for name in names:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            try:
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                return str(error)
    return ""


class CudaSession(ort.Session):
    """A loaded network whose inputs and outputs stay on the GPU.

    Another provider of the runtime's is told by what people call it, its libraries and how to install them.
    """

    provider = PROVIDER
    called = "the CUDA provider"
    place = "cuda"  # of inputs and outputs, as the runtime calls it
    libraries = tuple(FILES)
    install = LIBRARIES

    def __init__(self, session, load_ms, folder, gpu, free):
        super().__init__(session, load_ms, folder)
        self._gpu = gpu
        self._free = free
        self._built = free - gpu.free_bytes()
        self._values = {}
        self._places = []

    @property
    def shared(self):
        """Whether the GPU's memory is the processor's."""
        return self._gpu.integrated()

    def bind(self, inputs):
        """Copy ``inputs`` (name → array) to the GPU, and give outputs of known shape a place there: a captured graph
        needs the same addresses in every run. The places are the session's own and end with it: what the runtime's
        Python takes for inputs it never gives back, so that one network would leave less memory to the next."""
        self._inputs = inputs
        for name, array in inputs.items():
            self._values[name] = place = self._room(array.nbytes)
            self._binding.bind_input(
                name, self.place, self._gpu.number, array.dtype.type, list(array.shape), place
            )
        for output in self._session.get_outputs():
            if output.type in NUMPY and all(isinstance(size, int) for size in output.shape):
                dtype = np.dtype(NUMPY[output.type])
                place = self._room(int(np.prod(output.shape)) * dtype.itemsize)
                self._binding.bind_output(
                    output.name, self.place, self._gpu.number, dtype.type, list(output.shape), place
                )
            else:
                self._binding.bind_output(output.name, self.place, self._gpu.number)
        self._upload()

    def _room(self, size):
        self._places.append(self._gpu.allocate(size))
        return self._places[-1]

    def _upload(self):
        for name, place in self._values.items():
            self._gpu.upload(place, np.ascontiguousarray(self._inputs[name]))
        self._gpu.synchronize()

    def run_from_host(self):
        """One run with the copies of inputs and outputs: into and out of the bound places, since a captured graph knows
        no others."""
        self._upload()
        self._session.run_with_iobinding(self._binding)
        return self._binding.copy_outputs_to_cpu()

    def observe(self, clock):
        """Single runs by the GPU's own clock, from an event before to an event behind what they launch; memory of the
        GPU, free before, taken by loading, and by loading and running (its allocator gives nothing back before the
        end), where the GPU has its own; and what its sensors say while it is still warm."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        times, begin = [], clock()
        while len(times) < 3 or (clock() - begin < TIMED_S * 1e9 and len(times) < TIMED_RUNS):
            times.append(self._gpu.time_ns(lambda: self._session.run_with_iobinding(self._binding, options)))
        sensed = sensors.get(self._gpu.number)
        found = {"device_ns": times, "sensors": sensed.read() if sensed else {}}
        if not self.shared:
            found["gpu_free_mib"] = self._free / 2.0**20
            found["gpu_build_mib"] = max(self._built, 0) / 2.0**20
            found["gpu_memory_mib"] = max(self._free - self._gpu.free_bytes(), 0) / 2.0**20
        return found

    def profile(self, skip):
        """As on a processor; Refused where a node ran elsewhere than on the GPU."""
        kernels, spans = super().profile(skip)
        return only_here(kernels), spans

    def timeline(self, count):
        """As on a processor; Refused where a node ran elsewhere than on the GPU."""
        found = super().timeline(count)
        only_here(found["events"])
        return found

    def close(self):
        """Give the session's memory and files back."""
        super().close()
        places, self._values, self._places = self._places, {}, []
        for place in places:
            self._gpu.free(place)
