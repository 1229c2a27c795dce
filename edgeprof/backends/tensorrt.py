"""TensorRT on the device: engines built from ONNX, kept by content, run on a stream, timed layer by layer.

Python 3.6 syntax; the standard library, NumPy, tensorrt and NVIDIA's driver alone: this file is sent to the worker,
after :mod:`edgeprof.backends.cuda`, :mod:`edgeprof.nvml` and :mod:`edgeprof.backends.ort`. Calls are those
that the bindings of TensorRT 8.5 to 11 have in common; where they differ, it says so. Source: NVIDIA/TensorRT,
python/src.
"""

import collections
import hashlib
import json
import os
import re
import time

import numpy as np

from edgeprof import nvml
from edgeprof.backends import cuda, ort

OLDEST = (8, 5)  # with execute_async_v3 and addresses by tensor; JetPack 5.1 and newer have it
TYPED = (10, 0)  # precision comes from the graph alone; an option before 11
DLA_UNTIL, DLA_FROM = (10, 7), (11, 4)  # releases between have none (Working with DLA, TensorRT 11.4.1)
LISTED = "TensorRT"
INSTALL = (
    "pip install 'edgeprof[tensorrt]'; on a Jetson JetPack has it, for the system's Python (docs/jetson.md)"
)
LIBRARIES = "pip install tensorrt brings them; or add the folder of your TensorRT to LD_LIBRARY_PATH"
UPGRADE = "TensorRT 8.5 came with JetPack 5.1; on JetPack 4 measure with --backend ort-cuda"
FIXED = "export the network with shapes that its file says; or --backend ort-cuda"
UNTOLD = "--launch async, where a captured graph tells none"
TIMING_CACHE = "timing-%s.cache"
KEPT_BYTES = 2**31  # of engines beside the networks
TIMED_S = 0.05
TIMED_RUNS = 100
CAPTURED_AFTER = 2  # runs; the first may set things up
NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
SHORT_OF_MEMORY = re.compile(
    "OutOfMemory|[Oo]ut of memory|insufficient memory|memory \\([0-9]+ bytes\\) could not be allocated"
)
ASKED = re.compile(r"memory \(([0-9]{1,18}) bytes\) could not|[Rr]equested size (?:was|of) ([0-9]{1,18})")
WARNING = 2  # of severities: 0 and 1 are errors, 3 and 4 are talk
TOLD = 200  # messages that are kept; one that every run repeats must not fill the memory

opened = {}  # of this process: the GPU and its sensors, and who listens to TensorRT

noise = ort.noise
Missing, Refused = cuda.Missing, cuda.Refused


def library():
    """The module tensorrt. Missing where it, its libraries or a version that is supported is not there."""
    try:
        import tensorrt
    except ImportError as error:
        if ".so" in str(error) or "libnvinfer" in str(error):
            raise Missing("TensorRT's libraries are not found: %s" % error, LIBRARIES) from None
        raise Missing("TensorRT is not installed: %s" % error, INSTALL) from None
    if version(tensorrt) < OLDEST:
        text = "TensorRT %s is older than %d.%d, which edgeprof needs"
        raise Missing(text % ((tensorrt.__version__,) + OLDEST), UPGRADE)
    return tensorrt


def version(tensorrt):
    """Major and minor version of a module tensorrt."""
    return tuple(int(part) for part in tensorrt.__version__.split(".")[:2])


def describe():
    """Versions of TensorRT and the driver, the GPU and its DLAs; Missing or CudaError where one is not there."""
    tensorrt = library()
    found = {
        "runtime": "tensorrt",
        "runtime_version": tensorrt.__version__,
        "providers": [LISTED],
    }
    found.update(device().describe())
    found["dla_cores"] = made(tensorrt.Builder, listener()).num_DLA_cores
    return found


def device():
    """The GPU, opened once in this process."""
    if "gpu" not in opened:
        opened["gpu"] = cuda.Device()
        opened["sensors"] = nvml.open_sensors(opened["gpu"].describe()["gpu_address"])
    return opened["gpu"]


def listener():
    """The logger of this process, which keeps what TensorRT warns of (``told``) and says nothing. TensorRT has one at a
    time: a second would hear nothing while a builder or a runtime of the first lives (NVIDIA/TensorRT issue 1475)."""
    if "listener" not in opened:
        opened["listener"] = new_listener()
    return opened["listener"]


def new_listener():
    """A logger as :func:`listener` describes it."""
    import tensorrt

    class Listener(tensorrt.ILogger):
        def __init__(self):
            tensorrt.ILogger.__init__(self)
            self.told = collections.deque(maxlen=TOLD)

        def log(self, severity, msg):
            if int(severity) <= WARNING:
                self.told.append((int(severity) < WARNING, msg))

        def last_error(self):
            errors = [text for wrong, text in self.told if wrong]
            return " ".join(errors[-1].split()) if errors else ""

    return Listener()


def made(kind, logger):
    """A builder or a runtime. Refused where TensorRT makes none, as for a GPU or a driver that is too old for it."""
    try:
        return kind(logger)
    except TypeError:  # of the bindings, which say only that there is none
        raise trouble(logger, "TensorRT does not start on this GPU and its driver") from None


def load(model, threads, providers, options, weights, profiled):
    """A session for the network in the file ``model``; ``weights`` is the folder of weights outside the model, or None.
    ``options``: ``precision``, ``device`` (``gpu`` or ``dla0``), ``capture`` (a CUDA graph), ``build`` (a number:
    engines of other numbers are built apart, without the times of tactics that others found).

    Raises Refused where TensorRT does not take the network, MemoryError where it does not fit.
    """
    return Session(open_engine(model, weights, options), device(), options, profiled)


def lanes(depth, model, threads, providers, options, weights):
    """``depth`` ways to run ``model`` at the same time, each from a thread of its own: one engine, and for each a
    context and a stream. Contexts may run side by side (TensorRT's documentation on threads)."""
    engine, gpu = open_engine(model, weights, options), device()
    return [Lane(engine, gpu.on(stream), options, False) for stream in gpu.streams(depth)]


def open_engine(model, weights, options):
    """The engine that was built before for the same bytes, TensorRT, GPU and ``options``, else one built now."""
    tensorrt, gpu, logger = library(), device(), listener()
    logger.told.clear()
    free, begin = gpu.free_bytes(), time.perf_counter()
    with open(model, "rb") as stream:
        data = stream.read()
    path = engine_path(model, data, tensorrt.__version__, gpu.describe(), options, weights)
    built_ms = None
    if not os.path.exists(path):
        keep(path, build(tensorrt, logger, data, model, weights, options))
        built_ms = (time.perf_counter() - begin) * 1e3
    runtime = made(tensorrt.Runtime, logger)
    if core(options) is not None:
        runtime.DLA_core = core(options)
    with open(path, "rb") as stream:
        engine = runtime.deserialize_cuda_engine(stream.read())
    if engine is None:
        raise trouble(logger, "the engine cannot be loaded")
    facts = {"engine_mib": os.path.getsize(path) / 2.0**20}
    if built_ms is not None:
        facts["engine_build_ms"] = built_ms
    return Opened(tensorrt, logger, runtime, engine, (time.perf_counter() - begin) * 1e3, free, facts)


class Opened(object):
    """An engine that is loaded, with what it needs as long as it lives, the time that took (ms), the GPU's memory that
    was free before, and facts to tell of it."""

    def __init__(self, tensorrt, logger, runtime, engine, load_ms, free, facts):
        self.tensorrt, self.logger, self.runtime, self.engine = tensorrt, logger, runtime, engine
        self.load_ms, self.free, self.facts = load_ms, free, facts


def engine_path(model, data, release, gpu, options, weights):
    """Where the engine for these bytes, TensorRT, GPU and options lies: beside the network, under a name of its own."""
    about = {
        "tensorrt": release,
        "weights": weights,
        "gpu": [gpu[key] for key in ("gpu", "gpu_compute_capability", "cuda_driver")],
    }
    about["options"] = {key: value for key, value in options.items() if key != "capture"}
    key = hashlib.sha256(data + json.dumps(about, sort_keys=True).encode()).hexdigest()
    return os.path.join(os.path.dirname(os.path.abspath(model)), key[:40] + ".engine")


def keep(path, content):
    """Write an engine, whole or not at all; the oldest of others go where they take more than 2 GiB."""
    folder = os.path.dirname(path)
    others = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".engine")]
    total = len(content)
    for other in sorted(others, key=os.path.getmtime, reverse=True):
        total += os.path.getsize(other)
        if total > KEPT_BYTES:
            os.remove(other)
    write_whole(path, content)


def write_whole(path, content):
    """Write a file whole or not at all."""
    with open(path + ".part", "wb") as stream:
        stream.write(content)
    os.replace(path + ".part", path)


def build(tensorrt, logger, data, model, weights, options):
    """A serialised engine for the network in ``data``."""
    builder = made(tensorrt.Builder, logger)
    network = builder.create_network(creation_flags(tensorrt, options))
    parser = tensorrt.OnnxParser(network, logger)
    inside = os.path.join(weights, os.path.basename(model)) if weights else model
    if not parser.parse(data, inside):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise Refused("TensorRT does not read the network: %s" % " ".join("; ".join(errors).split())[:400])
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    for flag in builder_flags(version(tensorrt), options):
        config.set_flag(getattr(tensorrt.BuilderFlag, flag))
    if options.get("precision") != "tf32":
        config.clear_flag(tensorrt.BuilderFlag.TF32)
    if core(options) is not None:
        give_to_dla(tensorrt, builder, config, options)
    place = os.path.join(os.path.dirname(os.path.abspath(model)), TIMING_CACHE % options.get("device", "gpu"))
    apart = options.get("build", "1") != "1"
    known = b""
    if os.path.exists(place) and not apart:
        with open(place, "rb") as stream:
            known = stream.read()
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):  # another release's, or another GPU's
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise trouble(logger, "TensorRT cannot build an engine for the network")
    if not apart:
        write_whole(place, bytes(config.get_timing_cache().serialize()))
    return bytes(content)


def creation_flags(tensorrt, options):
    """Flags of a new network: strongly typed where that is an option, an explicit batch where that is one. TensorRT 11
    is both without a flag; a DLA before that takes no strongly typed network."""
    release = version(tensorrt)
    flags = tensorrt.NetworkDefinitionCreationFlag
    if release >= (11, 0):
        return 0
    if release >= TYPED and core(options) is None:
        return 1 << int(flags.STRONGLY_TYPED)
    return 1 << int(flags.EXPLICIT_BATCH) if release < TYPED else 0


def builder_flags(release, options):
    """Names of the builder's flags: formats that it may use, where it does not take them from the graph."""
    named = {"fp16": ["FP16"], "int8": ["INT8"]}.get(options.get("precision"), [])
    typed = release >= (11, 0) or (release >= TYPED and core(options) is None)
    return ([] if typed else named) + (["GPU_FALLBACK"] if core(options) is not None else [])


def core(options):
    """The DLA that the options name; None for the GPU."""
    name = options.get("device", "gpu")
    return int(name[len("dla") :]) if name.startswith("dla") else None


def give_to_dla(tensorrt, builder, config, options):
    """Let layers run on a DLA where they can, and on the GPU where not. Refused where there is no such DLA."""
    number, release = core(options), version(tensorrt)
    if DLA_UNTIL < release < DLA_FROM:
        text = "TensorRT %s has no DLA: 10.7 was the last that has, and 11.4.1 is the next"
        raise Refused(text % tensorrt.__version__, "--device gpu measures the GPU")
    if options.get("precision") == "int8" and release < DLA_FROM:
        text = "TensorRT %s quantises nothing on a DLA by Q/DQ nodes, which edgeprof's int8 is"
        raise Refused(text % tensorrt.__version__, "--precision fp16, or TensorRT 11.4.1 (JetPack 7.2.2)")
    if number >= builder.num_DLA_cores:
        text = "TensorRT finds %d DLAs here, and number %d is asked for"
        raise Refused(text % (builder.num_DLA_cores, number), "--device gpu measures the GPU")
    config.default_device_type = tensorrt.DeviceType.DLA
    config.DLA_core = number


def trouble(logger, what):
    """What went wrong, from what TensorRT told: NoRoom where memory was short, else Refused."""
    short = [told for _, told in logger.told if SHORT_OF_MEMORY.search(told)]
    if not short:
        text = logger.last_error()
        return Refused("%s: %s" % (what, text[:400]) if text else what)
    sizes = [int(one or other) for told in short for one, other in ASKED.findall(told)]
    return NoRoom(
        "%s: out of memory: %s" % (what, " ".join(short[-1].split())[:300]), sizes[-1] if sizes else None
    )


class NoRoom(MemoryError):
    """Memory was short. The bytes that were asked for in one piece (None: nobody says) are where NumPy has them."""

    def __init__(self, text, size):
        super(NoRoom, self).__init__(text)
        self._total_size = size


class Session(object):
    """An engine with its inputs and outputs in the GPU's memory."""

    def __init__(self, opened, gpu, options, profiled):
        tensorrt = opened.tensorrt
        self.load_ms = opened.load_ms
        self._gpu, self._logger, self._facts, self._free = gpu, opened.logger, opened.facts, opened.free
        self._opened, self._engine, self._tensorrt = opened, opened.engine, tensorrt
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise trouble(self._logger, "there is no room for the engine's work")
        if hasattr(self._context, "nvtx_verbosity"):
            self._context.nvtx_verbosity = tensorrt.ProfilingVerbosity.NONE
        refuse_what_only_a_run_tells(self._engine, self._tensorrt)
        self._places, self._outputs, self._inputs = {}, {}, {}
        self._capture = options.get("capture") == "1"
        self._graph, self._runs = None, 0
        self._profiler = None
        if profiled:
            self._profiler = recorder()
            self._context.profiler = self._profiler
            self._context.enqueue_emits_profile = False
        self._built = self._free - gpu.free_bytes()

    @property
    def shared(self):
        """Whether the GPU's memory is the processor's."""
        return self._gpu.integrated()

    def names(self, mode):
        """The engine's tensors that are of this mode, ``INPUT`` or ``OUTPUT``."""
        names = (self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors))
        wanted = getattr(self._tensorrt.TensorIOMode, mode)
        return [name for name in names if self._engine.get_tensor_mode(name) == wanted]

    def inputs(self):
        """What the network takes: name → shape and type."""
        return {
            name: {"shape": list(self._engine.get_tensor_shape(name)), "dtype": self._dtype(name)}
            for name in self.names("INPUT")
        }

    def bind(self, inputs):
        """Copy ``inputs`` (name → array) to the GPU, and give outputs a place there."""
        for name in self.names("INPUT"):
            array = np.ascontiguousarray(inputs[name], np.dtype(self._dtype(name)))
            self._inputs[name] = array
            self._place(name, array.nbytes)
            self._gpu.upload(self._places[name], array)
        for name in self.names("OUTPUT"):
            shape = tuple(self._engine.get_tensor_shape(name))
            self._outputs[name] = np.zeros(shape, np.dtype(self._dtype(name)))
            self._place(name, self._outputs[name].nbytes)
        self._gpu.synchronize()

    def run(self):
        """One run, from inputs on the GPU to outputs on the GPU, until its last kernel ended."""
        self._enqueue()
        self._gpu.finish()
        if self._profiler is not None:
            self._profiler.end_run(self._context.report_to_profiler())

    def run_from_host(self):
        """One run with the copies of inputs and outputs."""
        for name, array in self._inputs.items():
            self._gpu.upload(self._places[name], array)
        self._enqueue()
        self._gpu.finish()
        for name, array in self._outputs.items():
            self._gpu.download(array, self._places[name])
        return [self._outputs[name].copy() for name in self.names("OUTPUT")]

    def observe(self, clock):
        """Single runs by the GPU's own clock; memory of a GPU that has its own; the engine's size and what building it
        took; what the sensors say while the GPU is still warm."""
        times, begin = [], clock()
        while len(times) < 3 or (clock() - begin < TIMED_S * 1e9 and len(times) < TIMED_RUNS):
            times.append(self._gpu.time_ns(self._enqueue))
        sensed = opened.get("sensors")
        found = {"device_ns": times, "sensors": sensed.read() if sensed else {}}
        if not self.shared:
            found["gpu_free_mib"] = self._free / 2.0**20
            found["gpu_build_mib"] = max(self._built, 0) / 2.0**20
            found["gpu_memory_mib"] = max(self._free - self._gpu.free_bytes(), 0) / 2.0**20
        found.update(self._facts)
        return found

    def profile(self, skip):
        """(layers in the order in which they run, without the first ``skip`` runs; microseconds of every run, as the
        sum of its layers). A layer is a dict of ``name`` and ``us``, its times. Refused where none was told."""
        layers, spans = layers_of(self._profiler.runs if self._profiler else [], skip)
        if not layers:
            raise Refused("TensorRT does not tell how long its layers take", UNTOLD)
        return layers, spans

    def graph(self):
        """What the engine's inspector says of its layers (JSON)."""
        inspector = self._engine.create_engine_inspector()
        return inspector.get_engine_information(self._tensorrt.LayerInformationFormat.JSON).encode("utf-8")

    def close(self):
        """Give the engine's memory back."""
        if self._graph is not None:
            self._gpu.forget(self._graph)
        self._graph = None
        for address in self._places.values():
            self._gpu.free(address)
        self._places = {}
        self._context = self._engine = self._opened = None

    def _dtype(self, name):
        kind = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        if kind not in NUMPY:
            raise Refused("the tensor %s is of type %s, which NumPy has not" % (name, kind))
        return NUMPY[kind]

    def _place(self, name, size):
        self._places[name] = self._gpu.allocate(size)
        if not self._context.set_tensor_address(name, self._places[name]):
            raise trouble(self._logger, "TensorRT refuses the place of %s" % name)

    def _enqueue(self):
        """Put a run on the stream: captured after two runs where that is asked for, and replayed from then on."""
        if self._graph is not None:
            self._gpu.replay(self._graph)
            return
        if self._capture and self._runs >= CAPTURED_AFTER:
            self._graph = self._gpu.capture(self._launch)
            self._gpu.replay(self._graph)
            return
        self._runs += 1
        self._launch()

    def _launch(self):
        if not self._context.execute_async_v3(self._gpu.stream):
            raise trouble(self._logger, "the network does not run")


class Lane(Session):
    """One of several sessions that run at the same time, each from a thread of its own."""

    def run(self):
        """As one that runs alone."""
        self._gpu.enter()
        super(Lane, self).run()


def refuse_what_only_a_run_tells(engine, tensorrt):
    """Refused where an input is a shape, which TensorRT wants to read in the host's memory, or a tensor's size depends
    on what is computed: none of them has a place on the GPU before a run."""
    for order in range(engine.num_io_tensors):
        name = engine.get_tensor_name(order)
        if engine.get_tensor_location(name) != tensorrt.TensorLocation.DEVICE:
            raise Refused("%s is a shape that TensorRT reads from the processor's memory" % name, FIXED)
        if any(size < 0 for size in engine.get_tensor_shape(name)):
            raise Refused("the size of %s is known only after a run" % name, FIXED)


def recorder():
    """A profiler that keeps the times of layers, run by run."""
    import tensorrt

    class Recorder(tensorrt.IProfiler):
        def __init__(self):
            tensorrt.IProfiler.__init__(self)
            self.runs, self._told = [], []

        def report_layer_time(self, layer_name, ms):
            self._told.append((layer_name, ms * 1e3))

        def end_run(self, whole):
            if whole:
                self.runs.append(self._told)
            self._told = []

    return Recorder()


def layers_of(runs, skip):
    """(layers in the order in which they ran, microseconds of every run) from what was told of each run, a list of
    names and times. Of the first ``skip`` runs, and of those in which other layers ran than in the last, no layer
    counts."""
    spans = [sum(us for _, us in run) for run in runs]
    names = [name for name, _ in runs[-1]] if runs else []
    kept = [run for run in runs[skip:] if [name for name, _ in run] == names]
    layers = [{"name": name, "us": [run[order][1] for run in kept]} for order, name in enumerate(names)]
    return (layers if kept else []), spans
