"""Graphs in other number formats: run by ONNX Runtime's processor they give what the float32 graph gives."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import SpecError
from edgeprof.nets.blocks import KINDS, block
from edgeprof.nets.model import model_file
from edgeprof.nets.network import Network, build_network, net_feeds, network_bytes, weights_format
from edgeprof.nets.precision import LEVELS, PUT_IN, float16, quantized, ranges, wanted_ranges
from edgeprof.nets.spec import net_spec

FAMILY = net_spec(conv=2, depth=(8, 16), fc=1, neurons=32)


def ran(net: Network, precision: str, path: Path) -> tuple[np.ndarray, Counter[str]]:
    """What the network gives in that format, and what the runtime ran for it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path)
    data = network_bytes(net, 2, precision)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    inputs = {name: feed.noise(np.random.RandomState(1)) for name, feed in net_feeds(net, 2).items()}
    return session.run(None, inputs)[0], Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("net", [FAMILY, *(block(of=kind, size=8, depth=(8, 8)) for kind in KINDS)])
def test_other_formats_give_what_float32_gives(net, tmp_path):
    wide, _ = ran(net, "fp32", tmp_path / "fp32.onnx")
    for precision, tolerance in (("fp16", 0.005), ("int8", 0.2)):
        found, _ = ran(net, precision, tmp_path / f"{precision}.onnx")
        assert found.dtype == np.float32
        assert np.linalg.norm(found - wide) < tolerance * np.linalg.norm(wide)
        assert np.any(found != wide) or not wanted_ranges(build_network(net, 1))


@pytest.mark.parametrize(
    ("net", "operator"),
    [
        (block(of="conv", size=8, depth=(8, 8), act=""), "QLinearConv"),
        (block(of="linear", depth=(8, 8), act=""), "QGemm"),
    ],
)
def test_whole_numbers_are_computed_with(net, operator, tmp_path):
    """The processor's runtime joins a pair before and one behind to an operator on int8 (not across a ReLU)."""
    assert ran(net, "int8", tmp_path / "int8.onnx")[1][operator] == 1


def test_nodes_keep_their_names_and_their_order():
    names = [node.name for node in build_network(FAMILY, 2).graph.node]
    for precision in ("fp16", "int8"):
        model = onnx.load_model_from_string(network_bytes(FAMILY, 2, precision))
        assert [node.name for node in model.graph.node if not node.name.startswith(PUT_IN)] == names
        assert len({node.name for node in model.graph.node}) == len(model.graph.node)
        assert {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)} == {
            TensorProto.FLOAT
        }
        assert network_bytes(FAMILY, 2, precision) == network_bytes(FAMILY, 2, precision)


def test_float16_halves_the_weights():
    model = onnx.load_model_from_string(network_bytes(FAMILY, 2, "fp16"))
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.FLOAT16}
    assert [n.op_type for n in model.graph.node if n.name.startswith(PUT_IN)] == ["Cast", "Cast"]


def test_pairs_are_where_products_read():
    model = onnx.load_model_from_string(network_bytes(FAMILY, 2, "int8"))
    quantised = [n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert quantised == [
        "input",
        "conv1_weight",
        "conv1_relu_out",
        "conv2_weight",
        "flatten_out",
        "fc1_weight",
        "fc1_relu_out",
        "classifier_weight",
    ]
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert held["scale/conv2_weight"].shape == (16,)
    assert held["scale/classifier_weight"].shape == (10,)
    np.testing.assert_allclose(
        held["scale/conv2_weight"] * LEVELS, np.abs(held["conv2_weight"]).max(axis=(1, 2, 3)), rtol=1e-6
    )
    assert held["scale/input"].shape == ()
    assert 1 / LEVELS <= held["scale/input"] <= 1.1 / LEVELS
    assert all(not held[name].any() for name in held if name.startswith("zero/"))


def test_of_a_sum_what_is_made_first_is_quantised():
    net = block(of="residual", size=8, channels=4, depth=4)
    model = onnx.load_model_from_string(network_bytes(net, 2, "int8"))
    (add,) = (node for node in model.graph.node if node.op_type == "Add")
    maker = {value: node for node in model.graph.node for value in node.output}
    assert sorted(maker[v].op_type for v in add.input) == ["Conv", "DequantizeLinear"]


def test_what_must_stay_float32_does():
    """Sizes of a Resize do, though a product reads the same numbers; weights beyond float16 become its largest."""
    weight = numpy_helper.from_array(np.array([1, 1, 2, 1e6], np.float32), "sizes")
    nodes = [
        helper.make_node("Resize", ["x", "", "sizes"], ["y"], name="resize", mode="nearest"),
        helper.make_node("Mul", ["y", "sizes"], ["z"], name="scale"),
    ]
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "z")]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], [weight])
    model = float16(helper.make_model(graph, ir_version=7, opset_imports=[helper.make_opsetid("", 13)]))
    types = {t.name: t.data_type for t in model.graph.initializer}
    resize, product = (next(n for n in model.graph.node if n.name == name) for name in ("resize", "scale"))
    assert types[resize.input[2]] == TensorProto.FLOAT
    assert types[product.input[1]] == TensorProto.FLOAT16
    (small,) = (numpy_helper.to_array(t) for t in model.graph.initializer if t.name == product.input[1])
    assert small[-1] == np.finfo(np.float16).max


def test_a_file_is_rewritten_too_and_one_that_is_narrow_is_not(model_files: Mapping[str, Path], tmp_path):
    net = model_file(model_files["image13"], batch=2)
    assert weights_format(net) == "fp32"
    wide, _ = ran(net, "fp32", tmp_path / "wide.onnx")
    narrow, _ = ran(net, "fp16", tmp_path / "narrow.onnx")
    np.testing.assert_allclose(narrow, wide, rtol=0.01, atol=0.01)
    path = tmp_path / "half.onnx"
    path.write_bytes(network_bytes(net, 2, "fp16"))
    half = model_file(path)
    assert weights_format(half) == "fp16"
    assert network_bytes(half, 2, "int8") == network_bytes(half, 2, "fp16") == network_bytes(half, 2)


def test_what_cannot_be_rewritten_is_refused(model_files: Mapping[str, Path]):
    branches = build_network(model_file(model_files["branch"]), 1)
    for rewrite in (float16, lambda model: quantized(model, {})):
        with pytest.raises(SpecError, match="branches or loops") as caught:
            rewrite(branches)
        assert "measure the file" in caught.value.hint
    model = build_network(FAMILY, 1)
    model.graph.node[0].domain = "com.example"
    with pytest.raises(SpecError, match="ranges of the tensors are not known"):
        ranges(model, {"input": np.zeros((1, 1, 28, 28), np.float32)})
    old = build_network(FAMILY, 1)
    old.opset_import[0].version = 9
    with pytest.raises(SpecError, match="opset 10"):
        quantized(old, {})


def test_a_tensor_of_zeros_has_a_scale():
    model = build_network(FAMILY, 1)
    made = quantized(model, dict.fromkeys(wanted_ranges(model), 0.0))
    assert {numpy_helper.to_array(t).min() for t in made.graph.initializer if t.name == "scale/input"} == {
        1.0
    }


def test_ranges_are_the_same_without_the_runtime(monkeypatch: pytest.MonkeyPatch):
    model = build_network(FAMILY, 1)
    inputs = {name: feed.noise(np.random.RandomState(0)) for name, feed in net_feeds(FAMILY, 1).items()}
    by_runtime = ranges(model, inputs)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert ranges(model, inputs) == pytest.approx(by_runtime, rel=1e-4)
    assert ranges(build_network(block(of="elementwise"), 1), {}) == {}
