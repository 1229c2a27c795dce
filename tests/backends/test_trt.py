"""The backend tensorrt: what makes a case; a whole round where there are TensorRT and a GPU."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.backends.trt import TrtBackend, steps_bytes
from edgeprof.boards.spec import read_board
from edgeprof.errors import BackendError
from edgeprof.nets.model import model_file
from edgeprof.nets.network import net_operators
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case, Workload
from edgeprof.target import Target, with_device

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)


@pytest.fixture
def backend():
    opened = open_backend("tensorrt")
    yield opened
    opened.close()


def case(backend: TrtBackend, launch: str = "async", precision: str = "fp32") -> Case:
    return Case(
        net=net_spec(conv=2, depth=(8, 16), fc=1, neurons=8),
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


def test_format_launch_and_device_make_cases_of_their_own(backend) -> None:
    dla = TrtBackend(device="dla0")
    try:
        cases = [case(b, launch, p) for b in (backend, dla) for launch in b.launches for p in b.precisions]
        assert len({one.key() for one in cases}) == 3 * 4 + 3 * 2
        assert dict(cases[-1].provider_options)["device"] == "dla0"
        assert (dla.name, dla.precisions) == ("tensorrt", ("fp16", "int8"))
    finally:
        dla.close()


def test_a_graph_is_captured_where_that_is_the_launch_mode(backend) -> None:
    options = {launch: dict(backend.options("fp16", launch)) for launch in backend.launches}
    assert [options[launch].get("capture") for launch in ("blocking", "async", "graph")] == [None, None, "1"]
    assert all(backend.profiled(case(backend, launch)) for launch in backend.launches)


def test_the_network_is_written_in_the_format_of_the_case(backend) -> None:
    sizes = {p: backend._model(case(backend, precision=p)).stat().st_size for p in backend.precisions}
    assert sizes["fp32"] == sizes["tf32"]
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    assert sizes["int8"] > sizes["fp32"]  # with scales; TensorRT quantises the weights itself


@pytest.mark.parametrize(
    ("name", "asked", "found"),
    [
        ("half", "fp32", "fp16"),
        ("half", "int8", "fp16"),
        ("image13", "tf32", "tf32"),
        ("image13", "int8", "int8"),
    ],
)
def test_a_files_own_format_is_that_of_the_case(
    backend, model_files, name: str, asked: str, found: str
) -> None:
    """But for float32, which can be rewritten."""
    target = Target("b", "m", {}, backend, "r", "median", 1)
    one = target.case(
        Workload(net=model_file(model_files[name], batch=2), batch=2, precision=asked, launch="async")
    )
    assert one.precision == dict(one.provider_options)["precision"] == found


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_without_tensorrt_it_is_said_what_to_install(backend) -> None:
    with pytest.raises(BackendError, match="TensorRT is not installed") as caught:
        backend.runtime()
    assert "edgeprof[tensorrt]" in caught.value.hint


@pytest.mark.parametrize(
    ("backend", "device", "board", "found"),
    [
        ("auto", None, "cpu", "auto"),
        ("auto", "gpu", "jetson-agx-orin-64gb", "auto"),
        ("auto", "dla1", "jetson-agx-orin-64gb", "tensorrt:dla1"),
        ("tensorrt", None, "h100-pcie", "tensorrt"),
        ("tensorrt", "gpu", "h100-pcie", "tensorrt"),
        ("tensorrt:dla0", None, "jetson-xavier-nx-8gb", "tensorrt:dla0"),
        ("tensorrt:dla0", "gpu", "jetson-xavier-nx-8gb", "tensorrt"),
        ("simulated:law,noise=1%", None, "cpu", "simulated:law,noise=1%"),
    ],
)
def test_a_device_is_part_of_the_backends_name(backend, device, board, found) -> None:
    assert with_device(backend, device, read_board(board)) == found


@pytest.mark.parametrize(
    ("backend", "device", "board", "says"),
    [
        ("auto", "dla0", "jetson-orin-nano-8gb", "jetson-orin-nano-8gb has no DLA: there is no dla0"),
        ("tensorrt", "dla2", "jetson-agx-orin-64gb", "has 2 DLA: there is no dla2"),
        ("tensorrt:dla0", None, "h100-pcie", "is not known to have a DLA"),
        ("ort-cuda", "gpu", "h100-pcie", "ort-cuda has no devices"),
        ("tensorrt", "npu", "h100-pcie", "no device 'npu'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(backend, device, board, says) -> None:
    with pytest.raises(BackendError, match=says):
        with_device(backend, device, read_board(board))


@pytest.mark.tensorrt
@pytest.mark.parametrize("launch", ["blocking", "async", "graph"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_round_on_a_gpu(backend, launch: str, precision: str) -> None:
    backend.runtime()
    one = case(backend, launch, precision)
    found = backend.measure(one, 1, QUICK, None)
    assert found.latency_ms > 0
    assert found.telemetry["engine_mib"] > 0
    assert len(found.telemetry["builds_ms"]) == 3
    assert found.telemetry["precision_ran"][precision] > 0.5
    layers_ms = sum(sorted(kernel.us)[len(kernel.us) // 2] for kernel in found.kernels) / 1e3
    assert 0.1 < layers_ms / found.telemetry["device_ms"] < 3
    covered = [name for kernel in found.kernels if not kernel.glue for name in kernel.operators]
    assert sorted(covered) == sorted(op.name for op in net_operators(one.net, one.batch))


def test_the_chain_that_prices_events_runs_and_stays_in_bounds() -> None:
    session = onnxruntime.InferenceSession(steps_bytes(40), providers=["CPUExecutionProvider"])
    x = np.random.RandomState(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    (found,) = session.run(None, {"input": x})
    assert found.shape == x.shape
    assert 1e-6 < np.abs(found).max() < 1e6
    nodes = onnx.load_model_from_string(steps_bytes(40)).graph.node
    assert [node.op_type for node in nodes] == ["Conv"] * 40
