"""Profiles and graphs of ONNX Runtime's CUDA provider, as it wrote them (tests/data/profiles): names, order, layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.backends.ort import Session
from edgeprof.backends.ort_cuda import only_here
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.spec import net_spec
from edgeprof.timing.breakdown import Kernel, device_kind, match_events, trace

DATA = Path(__file__).parents[1] / "data" / "profiles"
NET = net_spec(conv=3, depth=(8, 20, 64), kernel=3, padding="same", fc=2, neurons=128)
LAYERS = ["conv1", "conv1_relu", "conv2", "conv2_relu", "conv3", "conv3_relu", "pool3", "flatten"]
LAYERS += ["fc1", "fc1_relu", "fc2", "fc2_relu", "classifier", "softmax"]


# A real run on a GPU, as the MQL5 Reference shows it: name, type and parameters (bytes) of each node.
ON_A_GPU = [
    ("Convolution28", "Conv", 832),
    ("ReLU32", "Relu", 0),
    ("Pooling66", "MaxPool", 0),
    ("Convolution110", "Conv", 12864),
    ("ReLU114", "Relu", 0),
    ("Pooling160", "MaxPool", 0),
    ("Times212_reshape0", "Reshape", 16),
    ("Times212/MatMulAddFusion", "Gemm", 10280),
]


class Profiled:
    """A runtime's session that has written its profile already."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def io_binding(self) -> None:
        return None

    def end_profiling(self) -> str:
        return str(self._path)


def mnist() -> onnx.ModelProto:
    """The layers and names of CNTK's MNIST model."""

    def filled(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.ones(shape, np.float32), name)

    def node(kind: str, inputs: str, name: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [f"{name}_out"], name=name, **attributes)

    same: dict[str, Any] = {"auto_pad": "SAME_UPPER", "kernel_shape": [5, 5]}
    nodes = [
        node("Reshape", "Parameter193 flat", "Times212_reshape1"),
        node("Conv", "Input3 Parameter5", "Convolution28", **same),
        node("Add", "Convolution28_out Parameter6", "Plus30"),
        node("Relu", "Plus30_out", "ReLU32"),
        node("MaxPool", "ReLU32_out", "Pooling66", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "Pooling66_out Parameter87", "Convolution110", **same),
        node("Add", "Convolution110_out Parameter88", "Plus112"),
        node("Relu", "Plus112_out", "ReLU114"),
        node("MaxPool", "ReLU114_out", "Pooling160", kernel_shape=[3, 3], strides=[3, 3]),
        node("Reshape", "Pooling160_out row", "Times212_reshape0"),
        node("MatMul", "Times212_reshape0_out Times212_reshape1_out", "Times212"),
        node("Add", "Times212_out Parameter194", "Plus214"),
    ]
    weights = [
        *(
            filled("Parameter5", 8, 1, 5, 5),
            filled("Parameter6", 8, 1, 1),
            filled("Parameter87", 16, 8, 5, 5),
        ),
        *(
            filled("Parameter88", 16, 1, 1),
            filled("Parameter193", 16, 4, 4, 10),
            filled("Parameter194", 1, 10),
        ),
        numpy_helper.from_array(np.array([256, 10]), "flat"),
        numpy_helper.from_array(np.array([1, 256]), "row"),
    ]
    graph = helper.make_graph(
        nodes,
        "CNTKGraph",
        [helper.make_tensor_value_info("Input3", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("Plus214_out", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    return helper.make_model(graph, ir_version=7, opset_imports=[helper.make_opsetid("", 13)])


def traced(name: str, own: Sequence[Operator] = ()) -> tuple[tuple[Kernel, Any], ...]:
    of = own or net_operators(NET, 4)
    graph = onnx.load(str(DATA / f"{name}.onnx"), load_external_data=False).graph
    kernels, spans = Session(Profiled(DATA / f"{name}.json"), 0.0, None).profile(1)
    assert len(spans) == 3
    assert only_here(kernels) == kernels
    assert {len(kernel["us"]) for kernel in kernels} == {2}
    return match_events(trace(graph, of, device_kind), of, kernels)


def test_every_node_is_a_layer_and_none_is_fused() -> None:
    """Convolution and activation are not one node on a GPU, as they are on a processor (ONNX Runtime 1.23, 1.31)."""
    found = traced("cuda")
    assert [kernel.name for kernel, _ in found] == LAYERS
    assert [kernel.operators for kernel, _ in found] == [(layer,) for layer in LAYERS]
    assert [kernel.kind for kernel, _ in found][:2] == ["Conv", "Relu"]


def test_nodes_in_another_layout_are_told_by_the_names_they_had() -> None:
    found = traced("cuda-nhwc")
    assert [kernel.kind for kernel, _ in found if kernel.glue] == ["Transpose", "Transpose"]
    own = [(kernel, event) for kernel, event in found if not kernel.glue]
    assert [kernel.operators for kernel, _ in own] == [(layer,) for layer in LAYERS]
    assert [kernel.kind for kernel, _ in own if "nhwc" in kernel.kind] == [*["Conv.nhwc"] * 3, "MaxPool.nhwc"]
    assert own[0][1]["name"] == "conv1_token_1"


def test_nodes_are_those_of_a_real_run_on_a_gpu() -> None:
    events = json.loads((DATA / "cuda-mnist.json").read_text("utf-8"))
    nodes = [e for e in events if e["cat"] == "Node"][: len(ON_A_GPU)]
    told = [(e["name"], e["args"]["op_name"], int(e["args"]["parameter_size"])) for e in nodes]
    assert told == [(f"{name}_kernel_time", kind, size) for name, kind, size in ON_A_GPU]
    found = traced("cuda-mnist", operators(mnist()))
    assert [event["name"] for _, event in found] == [name for name, _, _ in ON_A_GPU]
    covered = {kernel.name: kernel.operators for kernel, _ in found}
    assert covered["Convolution28"] == ("Convolution28", "Plus30")
    assert covered["Convolution110"] == ("Convolution110", "Plus112")
    assert {"Times212", "Plus214"} <= set(covered["Times212/MatMulAddFusion"])


@pytest.mark.parametrize("name", ["cuda", "cuda-nhwc", "cuda-mnist"])
def test_nodes_of_a_run_follow_one_another_within_it(name: str) -> None:
    """What telling kernels to nodes by time rests on."""
    events = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    begins: list[int] = []
    for event in events:
        if event["cat"] == "Node":
            assert event["args"]["provider"] == "CUDAExecutionProvider"
            begins.append(event["ts"])
        elif event["name"] == "model_run":
            assert begins == sorted(begins)
            assert event["ts"] <= begins[0]
            assert begins[-1] <= event["ts"] + event["dur"]
            begins = []
