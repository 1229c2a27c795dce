"""Launch modes and precision as environment and options; a whole round where there is a GPU."""

from __future__ import annotations

from importlib.util import find_spec

import onnxruntime
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.cuda import CudaError, Device
from edgeprof.backends.gpu import CudaBackend, environment_of
from edgeprof.backends.open import open_backend
from edgeprof.errors import BackendError, WorkerError
from edgeprof.nets.network import net_operators
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)


def no_gpu():
    """Why there is no GPU; empty where there is one."""
    try:
        Device()
    except CudaError as error:
        return str(error)
    return ""


@pytest.fixture
def backend():
    opened = open_backend("ort-cuda")
    yield opened
    opened.close()


def case(backend: CudaBackend, launch: str = "blocking", precision: str = "fp32", **more) -> Case:
    identity = {
        "net": net_spec(conv=2, depth=(5, 16), fc=1, neurons=8),
        "batch": 2,
        "threads": 1,
        "board": "b",
        "machine": "m",
        "runtime": "r",
        "provider_options": backend.options(precision, launch),
    }
    return Case(backend=backend.name, launch=launch, precision=precision, **{**identity, **more})


def test_blocking_launches_are_a_matter_of_the_environment():
    assert environment_of("fp32", "blocking")["CUDA_LAUNCH_BLOCKING"] == "1"
    for launch in ("async", "graph"):
        assert "CUDA_LAUNCH_BLOCKING" not in environment_of("fp32", launch)


def test_fp32_keeps_tf32_out_twice(backend):
    assert environment_of("fp32", "async")["NVIDIA_TF32_OVERRIDE"] == "0"
    assert dict(backend.options("fp32", "async"))["use_tf32"] == "0"
    assert "NVIDIA_TF32_OVERRIDE" not in environment_of("tf32", "async")
    assert dict(backend.options("tf32", "async"))["use_tf32"] == "1"


def test_a_graph_is_captured_and_never_with_blocking_launches(backend):
    for launch, captured in (("blocking", None), ("async", None), ("graph", "1")):
        options = dict(backend.options("fp32", launch))
        assert options.get("enable_cuda_graph") == captured
        assert not (captured and "CUDA_LAUNCH_BLOCKING" in environment_of("fp32", launch))


def test_options_make_cases_of_their_own(backend):
    keys = {
        case(backend, launch, precision).key()
        for launch in backend.launches
        for precision in backend.precisions
    }
    assert len(keys) == 6


def test_a_process_for_each_environment(backend):
    blocking, other, graph = (backend.worker_of(case(backend, launch)) for launch in backend.launches)
    assert blocking is not other
    assert other is graph
    assert backend.worker_of(case(backend, "async", "tf32")) not in (blocking, other)


def test_kernels_have_times_in_the_profile_where_launches_block(backend):
    assert [backend.profiled(case(backend, launch)) for launch in backend.launches] == [True, False, False]


def test_kernels_are_traced_in_a_process_apart(backend):
    one = case(backend)
    assert backend.worker_of(one, traced=True) is not backend.worker_of(one)
    assert backend.worker_of(one, traced=True) is backend.worker_of(one, traced=True)
    assert backend.worker_of(one, traced=True) is not backend.worker_of(case(backend, "async"), traced=True)


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_without_cupti_kernels_are_those_of_the_profile_and_that_is_said(backend):
    one = case(backend)
    assert backend.advice == ()
    request = {**backend._request(one, backend._model(one)), **backend._network(one)}
    assert backend.traced(one, request, 60) is None
    assert backend.advice == ("host-kernels",)
    if find_spec("cupti"):
        assert "CUPTI cannot be used: CUDA driver is not found" in backend._untraced
    else:
        assert backend._untraced.startswith("cupti-python is not installed")
        assert "edgeprof[gpu]" in backend._untraced
    assert backend.profiled(one)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this is the package for GPUs"
)
def test_the_package_for_processors_is_refused_with_what_to_install(backend):
    with pytest.raises(BackendError, match="package for processors") as caught:
        backend.runtime()
    assert "edgeprof[gpu]" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.parametrize("launch", ["blocking", "async", "graph"])
def test_a_round_on_a_gpu(backend, launch):
    backend.runtime()
    one = case(backend, launch)
    found = backend.measure(one, 1, QUICK, None)
    assert found.latency_ms > 0
    assert found.host_ms > 0
    assert (
        0 < found.telemetry["device_ms"] < 10 * max(found.runs_ns) / 1e6
    )  # with the host, where the GPU waits for it
    assert found.telemetry["gpu_memory_mib"] > 0
    assert bool(found.kernels) == (launch == "blocking" or not backend.advice)
    covered = {name for kernel in found.kernels if not kernel.glue for name in kernel.operators}
    operators = {op.name: op.op_type for op in net_operators(one.net, one.batch)}
    if found.telemetry.get("kernels_from") == "CUPTI":
        assert covered <= set(operators)
        assert covered >= {name for name, op_type in operators.items() if op_type in ("Conv", "Gemm")}
        assert all(kernel.device.name for kernel in found.kernels)
        assert 0 < found.telemetry["gpu_kernels_ms"] < 1.2 * found.telemetry["device_ms"]
        assert "tf32-ran" not in found.warnings
    elif found.kernels:
        assert covered == set(operators)


@pytest.mark.gpu
@pytest.mark.parametrize("launch", ["async", "graph"])
def test_several_runs_in_flight_on_a_gpu(backend, launch):
    backend.runtime()
    one, two = backend.overlap(case(backend, launch), (1, 2), 2, 0.1)
    assert min(*one.runs_per_s, *two.runs_per_s) > 0


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_says_what_was_asked_for(backend):
    backend.runtime()
    large = case(backend, batch=2**20, net=net_spec(conv=2, depth=128, padding="same", fc=0))
    with pytest.raises(WorkerError, match=r"out of memory: .* were asked for"):
        backend.measure(large, 1, QUICK, None)
    assert backend.measure(case(backend), 1, QUICK, None).status == "ok"
