"""TensorRT on the device: where it, its libraries or a GPU is missing; and where it is there, on the GPU.

Between the two stands a module with the calls that the bindings of each release have (NVIDIA/TensorRT, python/src),
which doubles numbers in place of running a network: it shows that the driver calls what there is, in order, and says
nothing of TensorRT.
"""

from __future__ import annotations

import copy
import enum
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgeprof.backends import tensorrt as driver
from edgeprof.backends import trt as trt_backend
from edgeprof.backends.base import Stop
from edgeprof.backends.cuda import CudaError
from edgeprof.backends.trt import TrtBackend
from edgeprof.errors import BackendError, EdgeprofError, WorkerError
from edgeprof.nets.network import net_operators, network_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing import loop, worker

NET = net_spec(conv=1, depth=4, fc=1, neurons=8)
HERE = importlib.util.find_spec("tensorrt") is not None
X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.mark.skipif(HERE, reason="TensorRT is installed")
def test_without_tensorrt() -> None:
    with pytest.raises(driver.Missing, match="not installed: No module named 'tensorrt'") as caught:
        driver.describe()
    assert "edgeprof[tensorrt]" in caught.value.hint


def module(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Let ``import tensorrt`` find a module of this text."""
    (folder / "tensorrt.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(
        sys.modules, "tensorrt", types.ModuleType("tensorrt")
    )  # so that it is gone afterwards
    monkeypatch.delitem(sys.modules, "tensorrt")


@pytest.mark.parametrize("name", ["libnvinfer.so.10", "libnvonnxparser.so.11"])
def test_bindings_without_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """As the wheels of the bindings alone (10.16.1, 11.4.0) say it."""
    error = f"{name}: cannot open shared object file: No such file or directory"
    module(monkeypatch, tmp_path, f"raise ImportError({error!r})")
    with pytest.raises(driver.Missing, match=f"libraries are not found: {name}") as caught:
        driver.describe()
    assert "pip install tensorrt" in caught.value.hint


def test_a_release_that_is_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module(monkeypatch, tmp_path, "__version__ = '8.2.1.9'")
    with pytest.raises(driver.Missing, match=r"TensorRT 8\.2\.1\.9 is older than 8\.5") as caught:
        driver.describe()
    assert "JetPack 4" in caught.value.hint


def test_tensorrt_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    try:
        driver.device()
    except CudaError as error:
        reason = str(error)
    else:
        pytest.skip("there is a GPU")
    module(monkeypatch, tmp_path, "__version__ = '10.3.0'")
    with pytest.raises(CudaError, match="NVIDIA driver") as caught:
        driver.describe()
    assert str(caught.value) == reason


# --- the calls of each release


class Memory:
    """A GPU's memory, as the driver uses it."""

    def __init__(self) -> None:
        self.held: dict[int, np.ndarray] = {}
        self.stream, self.capturing, self.graphs, self.log = 77, False, 0, []

    def describe(self) -> dict[str, str]:
        return {"gpu": "none", "gpu_compute_capability": "0.0", "cuda_driver": "0.0", "gpu_address": "0"}

    def allocate(self, size: int) -> int:
        address = 4096 * (len(self.held) + 1)
        self.held[address] = np.zeros(size, np.uint8)
        return address

    def streams(self, count: int) -> list[int]:
        return list(range(self.stream, self.stream + count))

    def on(self, stream: int) -> Memory:
        other = copy.copy(self)
        other.stream = stream
        return other

    def enter(self) -> None:
        self.log.append(f"enter {self.stream}")

    def free(self, address: int) -> None:
        del self.held[address]

    def upload(self, address: int, array: np.ndarray) -> None:
        self.held[address][:] = array.view(np.uint8).reshape(-1)

    def download(self, array: np.ndarray, address: int) -> None:
        array.view(np.uint8).reshape(-1)[:] = self.held[address]

    def integrated(self) -> bool:
        return False

    def free_bytes(self) -> int:
        return 2**30 - sum(len(one) for one in self.held.values())

    def synchronize(self) -> None:
        self.log.append("synchronize")

    finish = synchronize

    def capture(self, run: Any) -> int:
        self.capturing = True
        run()
        self.capturing = False
        self.captured, self.graphs = run, self.graphs + 1
        return 5

    def replay(self, executable: int) -> None:
        self.log.append(f"replay {executable}")
        self.captured()

    def forget(self, executable: int) -> None:
        self.graphs -= 1

    def time_ns(self, run: Any) -> int:
        run()
        return 1000


class Trt(types.ModuleType):
    """The module tensorrt of a release, with what its bindings have and nothing else."""

    def __init__(self, release: str, memory: Memory, dlas: int = 0) -> None:
        super().__init__("tensorrt")
        numbers = tuple(int(part) for part in release.split(".")[:2])
        self.__version__, self.memory, self.dlas = release, memory, dlas
        self.builds: list[dict[str, Any]] = []
        self.fails, self.reads, self.on_host, self.reports, self.device = "", True, "", True, b"here"
        self.loggers: list[Any] = []
        self.shapes, self.layers = {"input": (2, 4), "output": (2, 4)}, ["conv1", "softmax"]
        flags = ["TF32", "GPU_FALLBACK"] + (["FP16", "INT8"] if numbers < (11, 0) else [])
        self.BuilderFlag = enum.IntEnum("BuilderFlag", flags)
        network = (["EXPLICIT_BATCH"] if numbers < (11, 0) else []) + (
            ["STRONGLY_TYPED"] if numbers >= (10, 0) else []
        )
        self.NetworkDefinitionCreationFlag = enum.IntEnum("Flag", network, start=0)
        self.ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "LAYER_NAMES_ONLY NONE DETAILED")
        self.TensorLocation = enum.Enum("TensorLocation", "DEVICE HOST")
        self.TensorIOMode = enum.Enum("TensorIOMode", "NONE INPUT OUTPUT")
        self.DataType = enum.Enum("DataType", "FLOAT HALF INT8 INT32 BF16")
        self.DeviceType = enum.Enum("DeviceType", "GPU DLA")
        self.LayerInformationFormat = enum.Enum("LayerInformationFormat", "ONELINE JSON")
        trt = self

        class ILogger:
            def log(self, severity: int, msg: str) -> None:
                raise NotImplementedError

        class IProfiler:
            def report_layer_time(self, layer_name: str, ms: float) -> None:
                raise NotImplementedError

        class Builder:
            num_DLA_cores = dlas

            def __init__(self, logger: ILogger) -> None:
                assert isinstance(logger, ILogger)
                trt.loggers.append(logger)
                self.logger = trt.loggers[0]  # TensorRT has one, however many it is given
                trt.start(logger)

            def create_network(self, flags: int = 0) -> dict[str, Any]:
                return {"flags": flags}

            def create_builder_config(self) -> Config:
                return Config()

            def build_serialized_network(self, network: dict[str, Any], config: Config) -> bytes | None:
                assert "model" in network
                trt.builds.append({**network, **vars(config)})
                if trt.fails:
                    self.logger.log(1, trt.fails)
                    return None
                self.logger.log(3, "talk")
                config.cache.content = (config.cache.content or trt.device) + b" times"
                return memoryview(b"engine of " + network["model"])

        class Config:
            def __init__(self) -> None:
                self.flags = {"TF32"}

            def set_flag(self, flag: Any) -> None:
                self.flags.add(trt.BuilderFlag(flag).name)

            def clear_flag(self, flag: Any) -> None:
                self.flags.discard(trt.BuilderFlag(flag).name)

            def create_timing_cache(self, serialized_timing_cache: bytes) -> Cache | None:
                return None if serialized_timing_cache == b"broken" else Cache(serialized_timing_cache)

            def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
                if cache.content and not cache.content.startswith(trt.device):
                    return False
                self.cache, self.known = cache, cache.content
                return True

            def get_timing_cache(self) -> Cache:
                return self.cache

        class Cache:
            def __init__(self, content: bytes) -> None:
                self.content = content

            def serialize(self) -> memoryview:
                return memoryview(self.content)

        class OnnxParser:
            num_errors = 1

            def __init__(self, network: dict[str, Any], logger: ILogger) -> None:
                self.network = network

            def parse(self, model: bytes, path: str | None = None) -> bool:
                self.network.update(model=model, path=path)
                return trt.reads

            def get_error(self, index: int) -> str:
                return "In node 3: no such operator"

        class Runtime:
            def __init__(self, logger: ILogger) -> None:
                trt.start(logger)
                self.DLA_core = -1

            def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine:
                assert serialized_engine.startswith(b"engine of ")
                return Engine()

        class Engine:
            num_io_tensors = 2

            def get_tensor_name(self, index: int) -> str:
                return ("input", "output")[index]

            def get_tensor_mode(self, name: str) -> Any:
                return trt.TensorIOMode.INPUT if name == "input" else trt.TensorIOMode.OUTPUT

            def get_tensor_shape(self, name: str) -> tuple[int, ...]:
                return trt.shapes[name]

            def get_tensor_location(self, name: str) -> Any:
                return trt.TensorLocation.HOST if name == trt.on_host else trt.TensorLocation.DEVICE

            def get_tensor_dtype(self, name: str) -> Any:
                return trt.DataType.FLOAT

            def create_execution_context(self) -> Context:
                return Context()

            def create_engine_inspector(self) -> Engine:
                return self

            def get_engine_information(self, format: Any) -> str:
                assert format is trt.LayerInformationFormat.JSON
                return json.dumps({"Layers": trt.layers})

        class Context:
            def __init__(self) -> None:
                self.profiler, self.enqueue_emits_profile, self.nvtx_verbosity = None, True, None
                self.places: dict[str, int] = {}

            def set_tensor_address(self, name: str, memory: int) -> bool:
                self.places[name] = memory
                return True

            def execute_async_v3(self, stream_handle: int) -> bool:
                place = stream_handle - trt.memory.stream
                trt.memory.log.append(f"launch {place}" if place else "launch")
                if not trt.memory.capturing:
                    held = trt.memory.held
                    read, made = (held[self.places[name]].view(np.float32) for name in ("input", "output"))
                    made[:] = 2 * read[: len(made)]
                return True

            def report_to_profiler(self) -> bool:
                if not trt.reports:
                    return False
                for order, name in enumerate(trt.layers):
                    self.profiler.report_layer_time(name, 0.5 / (order + 1))
                return True

        def start(logger: ILogger) -> None:
            if trt.too_old:
                logger.log(1, trt.too_old)
                raise TypeError("pybind11::init(): factory function returned nullptr")

        self.start, self.too_old = start, ""
        self.ILogger, self.IProfiler, self.Builder = ILogger, IProfiler, Builder
        self.OnnxParser, self.Runtime = OnnxParser, Runtime


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Make TensorRT of a release importable; a function that opens sessions on it."""
    memory = Memory()
    (tmp_path / "net.onnx").write_bytes(b"a network")

    def release(name: str, dlas: int = 0):
        trt = Trt(name, memory, dlas)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        monkeypatch.setattr(driver, "opened", {"gpu": memory, "sensors": None})

        def load(profiled: bool | str = False, model: str = "net.onnx", **options: str) -> driver.Session:
            given = {"precision": "fp32", "device": "gpu", **options}
            return driver.load(str(tmp_path / model), 1, [], given, None, profiled)

        return trt, memory, load

    return release


@pytest.mark.parametrize(
    ("release", "precision", "flags", "network"),
    [
        ("8.5.2.2", "fp32", set(), 1),
        ("8.5.2.2", "fp16", {"FP16"}, 1),
        ("8.6.1", "int8", {"INT8"}, 1),
        ("10.3.0", "tf32", {"TF32"}, 2),
        ("10.16.1.11", "fp16", set(), 2),
        ("11.4.0.106", "fp32", set(), 0),
        ("11.4.0.106", "int8", set(), 0),
    ],
)
def test_the_format_is_the_graphs_where_a_release_has_no_flags(
    opened, release, precision, flags, network
) -> None:
    trt, _, load = opened(release)
    load(precision=precision).close()
    (build,) = trt.builds
    assert (build["flags"], build["model"]) == (flags, b"a network")
    assert build["profiling_verbosity"] is trt.ProfilingVerbosity.DETAILED
    trt, _, load = opened(release)
    assert driver.creation_flags(trt, {"precision": precision}) == network


def test_a_run_is_from_the_gpu_to_the_gpu(opened) -> None:
    _, memory, load = opened("10.3.0")
    session = load()
    assert session.inputs() == {"input": {"shape": [2, 4], "dtype": "float32"}}
    session.bind({"input": X.astype(np.float64)})
    memory.log.clear()
    session.run()
    assert memory.log == ["launch", "synchronize"]
    (found,) = session.run_from_host()
    np.testing.assert_array_equal(found, 2 * X)
    told = session.observe(iter(range(0, 10**12, 10**8)).__next__)
    assert told["device_ns"] == [1000] * len(told["device_ns"])
    assert len(told["device_ns"]) >= 3
    assert told["gpu_memory_mib"] * 2**20 == 2 * X.nbytes
    assert told["engine_build_ms"] > 0
    session.close()
    assert not memory.held


def test_an_engine_is_kept_by_content(opened, tmp_path: Path) -> None:
    trt, _, load = opened("10.3.0")
    load()
    load(capture="1")
    assert len(trt.builds) == 1
    (tmp_path / "copy.onnx").write_bytes(b"a network")
    load(model="copy.onnx")
    assert len(trt.builds) == 1
    for change in ({"precision": "fp16"}, {"build": "2"}):
        load(**change)
    (tmp_path / "net.onnx").write_bytes(b"another network")
    load()
    assert len(trt.builds) == 4
    newer, _, load = opened("10.4.0")
    load()
    assert len(newer.builds) == 1


def test_times_of_tactics_are_kept_but_for_builds_apart(opened) -> None:
    trt, _, load = opened("10.3.0")
    for options in ({}, {"precision": "fp16"}, {"build": "2"}, {"build": "3"}, {"precision": "tf32"}):
        load(**options)
    assert [build["known"] for build in trt.builds] == [b"", b"here times", b"", b"", b"here times times"]


@pytest.mark.parametrize("left", [b"elsewhere times", b"broken"])
def test_times_of_another_gpu_or_release_are_begun_anew(opened, tmp_path: Path, left: bytes) -> None:
    trt, _, load = opened("10.3.0")
    place = tmp_path / (driver.TIMING_CACHE % "gpu")
    place.write_bytes(left)
    load()
    assert [build["known"] for build in trt.builds] == [b""]
    assert place.read_bytes() == b"here times"


def test_one_logger_hears_of_every_build(opened) -> None:
    trt, _, load = opened("10.3.0")
    session = load()
    trt.fails = "[E] no kernel for conv1"
    with pytest.raises(driver.Refused, match="no kernel for conv1"):
        load(precision="tf32")
    assert len(set(map(id, trt.loggers))) == 1
    session.close()
    trt.fails = ""
    load(precision="fp16")
    assert not driver.listener().told  # what went wrong before is not told of the next
    for _ in range(driver.TOLD + 9):
        driver.listener().log(2, "as every run says")
    assert len(driver.listener().told) == driver.TOLD


def test_a_driver_that_is_too_old_is_told_in_tensorrts_words(opened) -> None:
    trt, _, load = opened("11.4.0.106")
    trt.too_old = "Error Code 6: CUDA initialization failure with error: 35"
    for start in (driver.describe, load):
        with pytest.raises(
            driver.Refused, match=r"does not start .* CUDA initialization failure with error: 35"
        ):
            start()


def test_what_has_no_place_on_the_gpu_before_a_run_is_refused(opened) -> None:
    trt, _, load = opened("10.3.0")
    trt.on_host = "input"
    with pytest.raises(driver.Refused, match="input is a shape") as caught:
        load()
    assert "ort-cuda" in caught.value.hint
    trt.on_host, trt.shapes["output"] = "", (-1, 4)
    with pytest.raises(driver.Refused, match="the size of output is known only after a run"):
        load()


def test_runs_whose_layers_are_not_told_do_not_count(opened) -> None:
    trt, _, load = opened("10.3.0")
    session = load("times")
    session.bind({"input": X})
    for trt.reports in (True, False, True):
        session.run()
    assert session.profile(1) == (
        [{"name": "conv1", "us": [500.0]}, {"name": "softmax", "us": [250.0]}],
        [750.0, 750.0],
    )
    with pytest.raises(driver.Refused, match="does not tell how long its layers take"):
        session.profile(2)


def test_old_engines_make_room(opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, load = opened("10.3.0")
    monkeypatch.setattr(driver, "KEPT_BYTES", 50)
    for precision in ("fp32", "tf32", "fp16"):
        load(precision=precision)
    assert len(list(tmp_path.glob("*.engine"))) == 2


def test_a_graph_is_captured_after_two_runs_and_replayed(opened) -> None:
    _, memory, load = opened("10.3.0")
    session = load(capture="1")
    session.bind({"input": X})
    memory.log.clear()
    for _ in range(4):
        session.run()
    launches = ["launch", "synchronize"]
    assert memory.log == [*launches, *launches, "launch", "replay 5", *launches, "replay 5", *launches]
    np.testing.assert_array_equal(session.run_from_host()[0], 2 * X)
    session.close()
    assert memory.graphs == 0


def test_layers_are_timed_after_each_run(opened) -> None:
    _, _, load = opened("8.5.2.2")
    session = load("graph")
    assert session._context.enqueue_emits_profile is False
    session.bind({"input": X})
    for _ in range(5):
        session.run()
    layers, spans = session.profile(2)
    assert layers == [{"name": "conv1", "us": [500.0] * 3}, {"name": "softmax", "us": [250.0] * 3}]
    assert spans == [750.0] * 5
    assert session.graph() == b'{"Layers": ["conv1", "softmax"]}'


def test_runs_in_which_other_layers_ran_do_not_count() -> None:
    runs = [[("a", 1.0)], [("a", 2.0), ("b", 1.0)], [("a", 3.0)], [("a", 4.0), ("b", 2.0)]]
    assert driver.layers_of(runs, 1) == (
        [{"name": "a", "us": [2.0, 4.0]}, {"name": "b", "us": [1.0, 2.0]}],
        [1.0, 3.0, 3.0, 6.0],
    )
    assert driver.layers_of(runs, 4) == ([], [1.0, 3.0, 3.0, 6.0])
    assert driver.layers_of([], 0) == ([], [])


def test_several_runs_share_an_engine_and_have_streams_of_their_own(opened, tmp_path: Path) -> None:
    trt, memory, _ = opened("10.3.0")
    options = {"precision": "fp32", "device": "gpu"}
    several = driver.lanes(3, str(tmp_path / "net.onnx"), 1, [], options, None)
    assert len(trt.builds) == 1
    for number, lane in enumerate(several):
        lane.bind({"input": X * number})
    memory.log.clear()
    for lane in several:
        lane.run()
    assert [line for line in memory.log if line != "synchronize"] == [
        *("enter 77", "launch"),
        *("enter 78", "launch 1"),
        *("enter 79", "launch 2"),
    ]
    for number, lane in enumerate(several):
        np.testing.assert_array_equal(lane.run_from_host()[0], 2 * X * number)
        lane.close()
    assert not memory.held


@pytest.mark.parametrize(
    ("release", "precision", "dlas", "says"),
    [
        ("10.3.0", "fp16", 2, ""),
        ("11.4.1", "int8", 2, ""),
        ("10.3.0", "int8", 2, "quantises nothing on a DLA"),
        ("10.16.1.11", "fp16", 2, "has no DLA: 10.7 was the last"),
        ("11.3.0", "fp16", 2, "has no DLA"),
        ("11.4.1", "fp16", 1, "finds 1 DLAs here, and number 1"),
    ],
)
def test_a_dla_with_what_it_cannot_left_to_the_gpu(opened, release, precision, dlas, says) -> None:
    trt, _, load = opened(release, dlas)
    if says:
        with pytest.raises(driver.Refused, match=says):
            load(precision=precision, device="dla1")
        return
    session = load(precision=precision, device="dla1")
    (build,) = trt.builds
    assert (build["default_device_type"], build["DLA_core"]) == (trt.DeviceType.DLA, 1)
    assert build["flags"] == {"GPU_FALLBACK"} | ({"FP16"} if release == "10.3.0" else set())
    assert session._opened.runtime.DLA_core == 1
    assert driver.creation_flags(trt, {"device": "dla1"}) == 0  # strongly typed as from 11 on, or not at all


SHORT = [  # in TensorRT's words (NVIDIA/TensorRT issue 4254, DeepStream-Yolo issue 366, torch2trt issue 661)
    ("Error code 2: OutOfMemory (Requested size was 22942842880 bytes.)", 22942842880),
    ("Error Code 2: OutOfMemory (no further information)", None),
    ("Requested amount of GPU memory (4294967296 bytes) could not be allocated.", 4294967296),
    ("Skipping tactic 3 due to insufficient memory on requested size of 4294967296 detected", 4294967296),
    ("Requested amount of memory (150994944 bytes) could not be allocated.", 150994944),
]


def test_what_tensorrt_refuses_and_what_does_not_fit(opened, tmp_path: Path) -> None:
    trt, _, load = opened("10.3.0")
    trt.fails = "[E] Error Code 10: Could not find any implementation for node conv1"
    with pytest.raises(driver.Refused, match=r"cannot build an engine for the network: .* for node conv1"):
        load()
    for trt.fails, asked in SHORT:
        with pytest.raises(MemoryError, match="out of memory") as caught:
            load()
        assert worker.out_of_memory("", caught.value._total_size)["bytes"] == asked
    trt.fails, trt.reads = "", False
    with pytest.raises(driver.Refused, match="does not read the network: In node 3: no such operator"):
        load()
    assert not list(tmp_path.glob("*.engine"))


class InProcess:
    """A worker without a process of its own."""

    def ask(self, request: dict[str, Any], timeout_s: float, **more: Any) -> dict[str, Any]:
        found = worker.answer(json.loads(json.dumps(request)), loop, driver, None)
        assert "ok" in found, found
        return found["ok"]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("refusal", [WorkerError, BackendError])
def test_a_chain_that_does_not_run_prices_events_at_nothing(
    monkeypatch, refusal: type[EdgeprofError]
) -> None:
    backend = TrtBackend()
    one = Case(
        net=NET,
        batch=1,
        precision="fp32",
        threads=1,
        launch="async",
        provider_options=backend.options("fp32", "async"),
        board="b",
        machine="m",
        backend=backend.name,
        runtime="r",
    )
    asked = []

    def refuse(chain: Case, *more: Any) -> dict[str, Any]:
        asked.append((chain.launch, dict(chain.provider_options)["capture"]))
        raise refusal("cuStreamBeginCapture: not supported (801)", "")

    monkeypatch.setattr(backend, "_ask", refuse)
    try:
        assert [backend._event_cost(one) for _ in range(2)] == [0.0, 0.0]
    finally:
        backend.close()
    assert asked == [("graph", "1")]


@pytest.mark.parametrize(
    ("device", "precision", "launch"),
    [("gpu", "fp32", "blocking"), ("gpu", "int8", "graph"), ("dla0", "fp16", "async")],
)
def test_a_round_from_the_case_to_its_kernels(
    opened, monkeypatch, device: str, precision: str, launch: str
) -> None:
    """What is made up here are times, and what the inspector says; not what becomes of them."""
    trt, memory, _ = opened("10.3.0", dlas=2)
    trt.shapes = {"input": (2, 1, 28, 28), "output": (2, 10)}
    trt.layers = [
        "Reformatting CopyNode for Input Tensor 0 to conv1 + conv1_relu",
        "conv1 + conv1_relu",
        "pool1",
        "flatten",
        "fc1 + fc1_relu",
        "classifier",
        "softmax",
    ]
    backend = TrtBackend(device=device)
    monkeypatch.setattr(backend, "worker_of", lambda case, traced=False: InProcess())
    one = Case(
        net=NET,
        batch=2,
        precision=precision,
        threads=1,
        launch=launch,
        provider_options=backend.options(precision, launch),
        board="b",
        machine="m",
        backend=backend.name,
        runtime="r",
    )
    try:
        first, second = (backend.measure(one, n, Stop(min_runs=3, min_s=0, max_s=0.01), None) for n in (1, 2))
        assert len(trt.builds) == (
            3 if device == "dla0" else 4
        )  # one is kept, two are compared, one prices events
        told_us = [500.0 / (order + 1) for order in range(len(trt.layers))]
        cost = 0 if device == "dla0" else (sum(told_us) - 1) / len(told_us)
        for found in (first, second):
            assert found.status == "ok"
            assert [kernel.glue for kernel in found.kernels] == [True, *[False] * 6]
            covered = [name for kernel in found.kernels if not kernel.glue for name in kernel.operators]
            assert sorted(covered) == sorted(op.name for op in net_operators(NET, 2))
            assert found.kernels[1].us[0] == 250.0
            assert found.event_us == found.telemetry["event_us"] == pytest.approx(cost)
            assert len(found.telemetry["builds_ms"]) == 3
            assert found.telemetry["build_spread_pct"] >= 0
            assert found.telemetry["kernels_from"] == "TensorRT"
            fallen = found.telemetry.get("dla_fallback")
            assert fallen == (sorted(covered, key=covered.index) if device == "dla0" else None)
        assert "engine_build_ms" in first.telemetry
        assert "engine_build_ms" not in second.telemetry
        assert (
            backend.measure(one, 3, Stop(min_runs=3, min_s=0, max_s=0.01, profile=False), None).kernels == ()
        )
        assert not memory.held
        assert memory.graphs == 0
    finally:
        backend.close()


def test_the_first_networks_are_built_again_in_every_launch_mode(opened, monkeypatch) -> None:
    trt, _, _ = opened("10.3.0")
    trt.shapes = {"input": (1, 1, 28, 28), "output": (1, 10)}
    trt.layers = ["conv1 + conv1_relu", "fc1 + fc1_relu", "classifier", "softmax"]
    backend = TrtBackend()
    monkeypatch.setattr(backend, "worker_of", lambda case, traced=False: InProcess())
    monkeypatch.setattr(trt_backend, "BUILT_AGAIN", 1)
    stop = Stop(min_runs=3, min_s=0, max_s=0.002, profile=False)
    told = []
    try:
        for depth in (4, 5):
            for launch in ("async", "graph"):
                one = Case(
                    net=net_spec(conv=1, depth=depth, fc=1, neurons=8),
                    batch=1,
                    precision="fp32",
                    threads=1,
                    launch=launch,
                    provider_options=backend.options("fp32", launch),
                    board="b",
                    machine="m",
                    backend=backend.name,
                    runtime="r",
                )
                told.append(len(backend.measure(one, 1, stop, None).telemetry.get("builds_ms", ())))
    finally:
        backend.close()
    assert told == [3, 3, 0, 0]
    assert len(trt.builds) == 3 + 1 + 1  # the last prices events


# --- TensorRT itself


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_an_engine_gives_what_the_processor_gives(tmp_path: Path, precision: str) -> None:
    (tmp_path / "net.onnx").write_bytes(network_bytes(NET, 2, precision))
    x = driver.noise({"shape": (2, 1, 28, 28)}, 0)
    options = {"precision": precision, "device": "gpu"}
    session = driver.load(str(tmp_path / "net.onnx"), 1, [], options, None, False)
    try:
        session.bind({"input": x})
        session.run()
        (found,) = session.run_from_host()
    finally:
        session.close()
    plain = onnxruntime.InferenceSession(network_bytes(NET, 2), providers=["CPUExecutionProvider"])
    (wanted,) = plain.run(None, {"input": x})
    tolerance = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 1e-2, "int8": 0.2}[precision]
    assert np.linalg.norm(found - wanted) < tolerance * np.linalg.norm(wanted)


@pytest.mark.tensorrt
def test_a_captured_engine_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(network_bytes(NET, 2))
    found = []
    for capture in ("0", "1"):
        options = {"precision": "fp32", "device": "gpu", "capture": capture}
        session = driver.load(str(tmp_path / "net.onnx"), 1, [], options, None, False)
        try:
            session.bind({"input": driver.noise({"shape": (2, 1, 28, 28)}, 0)})
            for _ in range(4):
                session.run()
            found.append(session.run_from_host()[0])
        finally:
            session.close()
    np.testing.assert_allclose(*found, rtol=1e-6)
