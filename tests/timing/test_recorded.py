"""Profiles and graphs of ONNX Runtime's CUDA provider, as it wrote them (tests/data/profiles): names, order, layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeprof.backends.ort import Session
from edgeprof.backends.ort_cuda import only_here
from edgeprof.nets.network import net_operators
from edgeprof.nets.spec import net_spec
from edgeprof.timing.breakdown import Kernel, device_kind, match_events, trace

DATA = Path(__file__).parents[1] / "data" / "profiles"
NET = net_spec(conv=3, depth=(8, 20, 64), kernel=3, padding="same", fc=2, neurons=128)
LAYERS = ["conv1", "conv1_relu", "conv2", "conv2_relu", "conv3", "conv3_relu", "pool3", "flatten"]
LAYERS += ["fc1", "fc1_relu", "fc2", "fc2_relu", "classifier", "softmax"]


class Profiled:
    """A runtime's session that has written its profile already."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def io_binding(self) -> None:
        return None

    def end_profiling(self) -> str:
        return str(self._path)


def traced(name: str) -> tuple[tuple[Kernel, Any], ...]:
    operators = net_operators(NET, 4)
    graph = onnx.load(str(DATA / f"{name}.onnx"), load_external_data=False).graph
    kernels, spans = Session(Profiled(DATA / f"{name}.json"), 0.0, None).profile(1)
    assert len(spans) == 3
    assert only_here(kernels) == kernels
    assert {len(kernel["us"]) for kernel in kernels} == {2}
    return match_events(trace(graph, operators, device_kind), operators, kernels)


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


@pytest.mark.parametrize("name", ["cuda", "cuda-nhwc"])
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
