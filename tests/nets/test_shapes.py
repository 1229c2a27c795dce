"""Shapes: inference that follows what a graph reckons with shapes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import SpecError
from edgeprof.nets.operators import operators
from edgeprof.nets.shapes import inferred


def reckoning(image: list[int]) -> onnx.ModelProto:
    """Pads an image by half its width less one, as exporters spell it out, then multiplies by a table."""

    def number(name: str, value: int | list[int]) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, np.int64), name)

    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["width"]),
        helper.make_node("Div", ["width", "two"], ["half"]),
        helper.make_node("Sub", ["half", "one"], ["edge"]),
        helper.make_node("Concat", ["zero", "zero", "zero", "edge"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["wide"]),
        helper.make_node("MatMul", ["wide", "table"], ["out"], name="product"),
    ]
    numbers = [number(name, [value]) for name, value in {"last": -1, "two": 2, "one": 1, "zero": 0}.items()]
    table = TensorProto(name="table", dims=[11, 5], data_type=TensorProto.FLOAT)  # a shape alone
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [*numbers, table],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def test_reckoned_shapes_are_followed() -> None:
    model = reckoning([3, 8])
    before = model.SerializeToString()
    assert "wide" not in inferred(model)[0]
    shapes, types = inferred(model, reckoned=True)
    assert shapes["wide"] == (3, 11)
    assert shapes["out"] == (3, 5)
    assert types["out"] == TensorProto.FLOAT
    assert model.SerializeToString() == before
    product = operators(model, partial=True)[-1]
    assert (product.known, product.macs) == (True, 3 * 11 * 5)
    with pytest.raises(SpecError, match="is unknown"):
        operators(model)


def test_what_depends_on_values_stays_unknown() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Relu", ["x"], ["out"]),
        helper.make_node("Cast", ["where"], ["kept"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("out", "kept")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    found = operators(model, partial=True)
    assert [(op.op_type, op.known) for op in found] == [("NonZero", False), ("Relu", True), ("Cast", False)]
