"""CUPTI: without its package, with it and without a driver, and, where there is a GPU, on it. What it hands over is
read from objects with the fields that its classes have."""

from __future__ import annotations

import base64
import json
import time
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from edgeprof.backends import cupti, ort, ort_cuda
from edgeprof.backends.cuda import CudaError, Device
from edgeprof.nets.build import model_bytes
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import parse_model
from edgeprof.nets.spec import net_spec
from edgeprof.timing.breakdown import match_events, trace
from edgeprof.timing.launches import Clock, Span, read_clock, within
from edgeprof.timing.traced import traced

INSTALLED = find_spec("cupti") is not None
MANGLED = "_ZN5cudnn17winograd_nonfused24winogradForwardOutput4x4IffEEvNS0_20WinogradOutputParamsIT_T0_EE"
READABLE = (
    "void cudnn::winograd_nonfused::winogradForwardOutput4x4<float, float>"
    "(cudnn::winograd_nonfused::WinogradOutputParams<float, float>)"
)
REQUEST = {
    "threads": 1,
    "providers": [ort_cuda.PROVIDER],
    "options": {"use_tf32": "0"},
    "trace_s": 0.05,
    "graph": True,
}


def no_driver() -> str:
    try:
        Device()
    except CudaError as error:
        return str(error)
    return ""


@pytest.mark.skipif(INSTALLED, reason="cupti-python is installed")
def test_without_its_package_the_extra_is_named() -> None:
    with pytest.raises(cupti.Unavailable, match="cupti-python is not installed") as caught:
        cupti.collect(lambda: None, 0, 0.01)
    assert "edgeprof[gpu]" in caught.value.hint


@pytest.mark.skipif(not INSTALLED, reason="cupti-python is not installed")
@pytest.mark.skipif(not no_driver(), reason="there is a GPU")
def test_without_a_driver_it_says_so() -> None:
    with pytest.raises(cupti.Unavailable, match="CUDA driver is not found") as caught:
        cupti.collect(lambda: None, 0, 0.01)
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.skipif(not INSTALLED, reason="cupti-python is not installed")
def test_the_package_has_every_name_that_is_used() -> None:
    from cupti import cupti as real

    for name in ("activity_register_callbacks", "activity_enable", "activity_disable", "activity_flush_all"):
        assert callable(getattr(real, name))
    assert callable(real.get_timestamp)
    assert issubclass(real.cuptiError, Exception)
    assert set(vars(Kinds)) - set(dir(object)) - {"__dict__", "__weakref__", "__module__"} <= set(
        dir(real.ActivityKind)
    )
    for record, of in (
        (kernel(), real.ActivityKernel9),
        (call(), real.ActivityAPI),
        (copy(), real.ActivityMemcpy6),
    ):
        assert all(hasattr(of, name) for name in vars(record))


class Kinds:
    """CUpti_ActivityKind: the numbers of CUPTI's headers."""

    MEMCPY = 1
    MEMSET = 2
    KERNEL = 3
    DRIVER = 4
    RUNTIME = 5
    CONCURRENT_KERNEL = 10


def kernel(name=MANGLED, begin=1000, end=3000, correlation=7, **more):
    size = {f"{of}_{way}": n for of, n in (("grid", 8), ("block", 128)) for way in "xyz"}
    memory = {"static_shared_memory": 1024, "dynamic_shared_memory": 2048}
    return SimpleNamespace(
        **{
            "kind": Kinds.CONCURRENT_KERNEL,
            "name": name,
            "start": begin,
            "end": end,
            "correlation_id": correlation,
        },
        **{**size, "registers_per_thread": 96, **memory, **more},
    )


def call(kind=Kinds.RUNTIME, begin=100, end=200, correlation=7):
    return SimpleNamespace(kind=kind, start=begin, end=end, correlation_id=correlation)


def copy(kind=Kinds.MEMCPY, copy_kind=8, begin=3000, end=3500, correlation=9):
    return SimpleNamespace(kind=kind, copy_kind=copy_kind, start=begin, end=end, correlation_id=correlation)


def test_records_become_plain_values() -> None:
    records = cupti.Records(Kinds)
    records.take(
        [call(), kernel(), kernel(begin=4000, end=5000, correlation=8), call(Kinds.DRIVER, 300, 400, 8)]
    )
    memset = SimpleNamespace(kind=Kinds.MEMSET, start=6000, end=6100, correlation_id=10)
    records.take(
        [copy(), memset, kernel(begin=0, end=0, correlation=11), call(begin=500, end=600, correlation=99)]
    )
    assert records.plain() == {
        "kinds": [
            [READABLE, [8, 8, 8], [128, 128, 128], 96, 3072],
            ["[CUDA memcpy DtoD]", [], [], 0, 0],
            ["[CUDA memset]", [], [], 0, 0],
        ],
        "kernels": [[0, 1000, 3000, 7], [0, 4000, 5000, 8], [1, 3000, 3500, 9], [2, 6000, 6100, 10]],
        "launches": [[7, 100, 200], [8, 300, 400]],
        "dropped": 1,
    }


def test_names_are_readable_where_the_compiler_can_tell() -> None:
    assert cupti.readable(MANGLED) == READABLE
    assert cupti.readable("_Znonsense") == "_Znonsense"
    assert cupti.readable("maxwell_sgemm_64x64_tn") == "maxwell_sgemm_64x64_tn"


class Library:
    """Stands in for the module of cupti-python: hands over a kernel for each traced run, at the end."""

    ActivityKind = Kinds

    class cuptiError(Exception):
        pass

    def __init__(self, refused: int | None = None, said: str = "CUPTI_ERROR_NOT_COMPATIBLE") -> None:
        self.refused, self.said, self.enabled, self.runs, self.number = refused, said, [], 0, 0

    def get_timestamp(self) -> int:
        return time.time_ns() - 10**15

    def activity_register_callbacks(self, requested, completed) -> None:
        assert requested() == (8 * 2**20, 0)
        self.completed = completed

    def activity_enable(self, kind: int) -> None:
        if kind == self.refused:
            raise self.cuptiError(self.said)
        self.enabled.append(kind)

    def activity_disable(self, kind: int) -> None:
        self.enabled.remove(kind)

    def activity_flush_all(self, flag: int) -> None:
        assert self.enabled
        self.completed([kernel(correlation=i) for i in range(self.number)])
        self.number = 0

    def run(self) -> None:
        self.runs += 1
        if self.enabled:
            self.number += 1


def test_runs_are_traced_after_the_warm_up_alone() -> None:
    library = Library()
    found = cupti.collect(library.run, 3, 0.0, library)
    assert (library.runs, len(found["windows"])) == (3 + 1 + 8, 8)
    assert len(found["kernels"]) == 8
    assert all(begin <= end for begin, end in found["windows"])
    assert [host - told for told, host in found["clocks"]] == pytest.approx([10**15] * 2, abs=10**9)


def test_it_is_switched_on_before_the_first_run_and_once() -> None:
    library, kinds = Library(), []

    def run() -> None:
        kinds.append(len(library.enabled))
        library.run()

    for _ in range(2):
        cupti.collect(run, 1, 0.0, library)
    assert set(kinds) == {5}
    library.run()
    library.activity_flush_all(1)  # late records of nobody's


def test_another_profiler_is_told_from_an_old_driver() -> None:
    library = Library(refused=Kinds.CONCURRENT_KERNEL, said="ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED (39)")
    with pytest.raises(cupti.Unavailable, match="MULTIPLE_SUBSCRIBERS") as caught:
        cupti.tracing(library)
    assert "Nsight" in caught.value.hint


def test_what_cupti_refuses_leaves_nothing_on() -> None:
    library = Library(refused=Kinds.DRIVER)
    with pytest.raises(cupti.Unavailable, match="does not record: CUPTI_ERROR_NOT_COMPATIBLE"):
        cupti.collect(library.run, 1, 0.0, library)
    assert library.enabled == []
    silent = Library()
    with pytest.raises(cupti.Unavailable, match="recorded no kernel"):
        cupti.collect(lambda: None, 0, 0.0, silent)


class Halfway(Library):
    """Stands in too: hands over a kernel that the host called for halfway through each traced run."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps: list[int] = []

    def get_timestamp(self) -> int:
        if self.enabled:
            self.stamps.append(super().get_timestamp())
            return self.stamps[-1]
        return super().get_timestamp()

    def activity_flush_all(self, flag: int) -> None:
        ends = self.stamps[2 * cupti.READINGS : -2 * cupti.READINGS]
        halves = [(begin + end) // 2 for begin, end in zip(ends[::2], ends[1::2], strict=True)]
        self.completed([call(begin=half, end=half, correlation=i) for i, half in enumerate(halves)])
        self.completed(
            [kernel("volta_sgemm_64x64_nn", half + 500, half + 2500, i) for i, half in enumerate(halves)]
        )


def test_a_trace_has_the_nodes_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a trace from the session to the kernels of a round, on a processor: nodes and clocks are real, the
    kernels are not."""

    def on_the_processor(model, threads, providers, options, weights, profiled):
        assert options == {"use_tf32": "0"}
        return ort.load(model, threads, ["CPUExecutionProvider"], {}, weights, profiled)

    monkeypatch.setattr(ort_cuda, "load", on_the_processor)
    monkeypatch.setattr(ort_cuda, "only_here", lambda kernels: kernels)
    monkeypatch.setattr(cupti, "library", Halfway)
    net = net_spec(conv=2, depth=(5, 16), fc=1, neurons=8)
    request = {**REQUEST, "model": model_bytes(net, 2)}
    answer = ort_cuda.trace(
        request, lambda wanted: {name: ort_cuda.noise(one, 0) for name, one in wanted.items()}
    )
    told = json.loads(json.dumps(answer))
    windows, runs = ([Span(*ends) for ends in told[name]] for name in ("windows", "runs"))
    clock = read_clock([(a, b) for a, b in told["clocks"]])
    assert clock is not None
    assert within(clock, windows, runs)
    assert not within(Clock(0), windows, runs)
    operators = net_operators(net, 2)
    graph = parse_model(base64.b64decode(told["graph"]), "the graph").graph
    nodes = [node for node, _ in match_events(trace(graph, operators), operators, told["events"])]
    found = traced(told, nodes, "fp32")
    outside = found.telemetry.get("kernels_outside_us", {})
    assert {k.device.name for k in found.kernels if k.device} | set(outside) == {"volta_sgemm_64x64_nn"}
    assert found.telemetry["gpu_kernels_ms"] == pytest.approx(0.002)


@pytest.mark.gpu
def test_kernels_of_a_real_network() -> None:
    request = {**REQUEST, "model": model_bytes(net_spec(conv=2, depth=(5, 16), fc=1, neurons=8), 2)}
    found = ort_cuda.trace(
        request, lambda wanted: {name: ort_cuda.noise(one, 0) for name, one in wanted.items()}
    )
    assert found["dropped"] == 0
    assert all(begin < end for _, begin, end, _ in found["kernels"])
    assert {k[3] for k in found["kernels"]} == {c[0] for c in found["launches"]}
    assert len(found["windows"]) == len(found["runs"]) == len(found["nodes"])
