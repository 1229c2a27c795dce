"""Engines of TensorRT's inside ONNX Runtime: what a case is told by, and what is refused before anything runs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.backends.base import Stop
from edgeprof.backends.engines import LEFT_OUT
from edgeprof.backends.open import open_backend
from edgeprof.errors import BackendError
from edgeprof.nets.blocks import block
from edgeprof.nets.model import model_file
from edgeprof.nets.network import network_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)
NAMES = ("ort-tensorrt", "ort-tensorrt-rtx")


@pytest.fixture(params=NAMES)
def backend(request):
    opened = open_backend(request.param)
    yield opened
    opened.close()


def case(backend, launch="async", precision="fp32", **more):
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


def test_totals_are_all_there_is(backend):
    assert not any(backend.profiled(case(backend, launch)) for launch in backend.launches)
    assert "blocking" not in backend.launches
    assert backend.launches[: backend.usual] == ("async",)


def test_options_make_cases_of_their_own(backend):
    keys = {case(backend, *how).key() for how in _ways(backend)}
    assert len(keys) == len(backend.launches) * len(backend.precisions)
    for how in _ways(backend):
        assert not any("path" in name for name, _ in case(backend, *how).provider_options)


def _ways(backend):
    return [(launch, precision) for launch in backend.launches for precision in backend.precisions]


def test_fp32_has_a_process_in_which_no_library_takes_tf32(backend):
    exact, other = (backend.worker_of(case(backend, precision=p)) for p in ("fp32", "tf32"))
    assert exact._environment["NVIDIA_TF32_OVERRIDE"] == "0"
    assert "NVIDIA_TF32_OVERRIDE" not in other._environment
    assert exact is backend.worker_of(case(backend, "graph"))


def test_formats_that_tensorrt_may_take():
    backend = open_backend("ort-tensorrt")
    try:
        assert backend.options("fp16", "async") == (("trt_fp16_enable", "True"),)
        assert backend.options("int8", "graph") == (
            (LEFT_OUT, "WeightBiasQuantization;ConstantFolding"),
            ("trt_cuda_graph_enable", "True"),
            ("trt_int8_enable", "True"),
        )
        assert backend.options("fp32", "async") == backend.options("tf32", "async") == ()
    finally:
        backend.close()


@pytest.fixture
def quantised(tmp_path):
    """The file of a network with one quantised value."""
    scale, zero = (
        numpy_helper.from_array(np.asarray(v), name)
        for name, v in (("s", np.float32(0.1)), ("z", np.int8(0)))
    )
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        helper.make_node("Relu", ["y"], ["out"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "out")]
    graph = helper.make_graph(nodes, "quantised", ends[:1], ends[1:], [scale, zero])
    path = tmp_path / "quantised.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return model_file(path, batch=1)


def test_a_file_has_leave_for_the_formats_that_it_is_in(quantised, tmp_path):
    """Without it TensorRT 10 does not build a network of Q/DQ nodes (onnxruntime issue 13381)."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "half", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "half.onnx")
    biases = {LEFT_OUT: "WeightBiasQuantization"}
    given = (
        (quantised, {"trt_int8_enable": "True", **biases}, biases),
        (model_file(tmp_path / "half.onnx", batch=1), {"trt_fp16_enable": "True"}, {}),
        (net_spec(conv=1, depth=4, fc=1, neurons=8), {}, {}),
    )
    tensorrt, rtx = map(open_backend, NAMES)
    try:
        for net, wanted, of_rtx in (*given, *given):
            one = case(tensorrt, net=net, batch=1)
            assert tensorrt._request(one, tensorrt._model(one))["options"] == wanted
            other = case(rtx, net=net, batch=1)
            assert rtx._request(other, rtx._model(other))["options"] == of_rtx
    finally:
        tensorrt.close()
        rtx.close()


def test_a_provider_is_given_the_pairs_as_they_are_written(backend, tmp_path):
    """What ONNX Runtime does to a graph before it asks providers, seen on the processor."""
    data = network_bytes(net_spec(conv=2, depth=(5, 16), fc=1, neurons=8), 1, "int8")

    def handed_on(left_out):
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.optimized_model_filepath = str(tmp_path / "handed.onnx")
        if left_out:
            settings.add_session_config_entry(LEFT_OUT, left_out)
        onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        graph = onnx.load(tmp_path / "handed.onnx").graph
        types = {t.name: t.data_type for t in graph.initializer}
        read = [types.get(n.input[0]) for n in graph.node if n.op_type == "DequantizeLinear"]
        return {kind for kind in read if kind}

    int8, int32 = TensorProto.INT8, TensorProto.INT32
    assert handed_on(dict(backend.options("int8", "async"))[LEFT_OUT]) == set()
    assert handed_on("WeightBiasQuantization") == {int8}
    assert handed_on("") <= {int8, int32}


def test_int8_is_for_networks_that_are_quantised(backend, quantised):
    with pytest.raises(BackendError, match="has no QuantizeLinear nodes") as caught:
        backend.measure(case(backend, precision="int8", net=block(of="elementwise")), 1, QUICK, None)
    assert "--precision fp16" in caught.value.hint
    assert backend._model(case(backend, precision="int8", net=quantised, batch=1)).exists()
    assert backend._model(case(backend, precision="int8")).exists()


@pytest.mark.skipif(
    "TensorrtExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this is the package for GPUs",
)
def test_what_is_missing_is_told_with_what_to_install(backend):
    with pytest.raises(BackendError, match=r"package for processors|plugin|driver") as caught:
        backend.runtime()
    assert caught.value.hint


@pytest.mark.gpu
@pytest.mark.parametrize("launch", ["async", "graph"])
def test_a_round_on_a_gpu(backend, launch):
    try:
        backend.runtime()
    except BackendError as error:
        pytest.skip(error.message)
    found = backend.measure(case(backend, launch), 1, QUICK, None)
    assert found.latency_ms > 0
    assert found.kernels == ()
    assert 0 < found.telemetry["device_ms"] < 1.2 * max(found.runs_ns) / 1e6
    again = backend.measure(case(backend, launch), 2, QUICK, None)
    assert again.load_ms < found.load_ms  # its engine is there already
