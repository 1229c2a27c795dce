"""Feeds: what the inputs of any graph are given to be run."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.backends.ort import noise
from edgeprof.errors import SpecError
from edgeprof.nets.feeds import Feed, feeds


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, list[int]]], tables: dict[str, list[int]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(dims, np.float32), name) for name, dims in tables.items()],
    )
    return helper.make_model(graph)


def test_token_ids_are_below_the_rows_of_their_table() -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["words", "wide"], ["a"]),
        helper.make_node("Gather", ["kinds", "types"], ["b"]),
        helper.make_node("Gather", ["short", "ids"], ["c"]),
        helper.make_node("Gather", ["mask", "ids"], ["d"]),  # looks up in an input: no table
        helper.make_node("Sum", ["a", "b", "c", "d"], ["out"]),
    ]
    inputs = {
        "ids": (TensorProto.INT32, [2, 4]),
        "types": (TensorProto.INT64, [2, 4]),
        "mask": (TensorProto.FLOAT16, [2, 4]),
    }
    found = feeds(
        model(nodes, inputs, {"words": [100, 8], "kinds": [2, 8], "short": [7, 8]}),
        {name: shape for name, (_, shape) in inputs.items()},
    )
    assert found == {
        "ids": Feed("int32", (2, 4), 7),
        "types": Feed("int64", (2, 4), 2),
        "mask": Feed("float16", (2, 4)),
    }


def test_a_one_hot_depth_and_another_axis() -> None:
    depth = helper.make_node("Constant", [], ["depth"], value=numpy_helper.from_array(np.array(257), "d"))
    nodes = [
        depth,
        helper.make_node("OneHot", ["bytes", "depth", "onoff"], ["a"]),
        helper.make_node("Gather", ["table", "columns"], ["b"], axis=1),
        helper.make_node("Sum", ["a", "b"], ["out"]),
    ]
    inputs = {"bytes": (TensorProto.INT32, [1, 4]), "columns": (TensorProto.INT64, [])}
    found = feeds(model(nodes, inputs, {"onoff": [2], "table": [5, 9]}), {"bytes": [1, 4], "columns": []})
    assert (found["bytes"].high, found["columns"].high) == (257, 9)


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.BFLOAT16])
def test_a_type_that_cannot_be_made_up(kind: int) -> None:
    graph = model([helper.make_node("Identity", ["x"], ["out"])], {"x": (kind, [1])}, {})
    word = TensorProto.DataType.Name(kind).lower()
    with pytest.raises(SpecError, match=f"input 'x' is of type {word}"):
        feeds(graph, {"x": [1]})


def test_an_input_that_is_no_tensor() -> None:
    graph = model([helper.make_node("SequenceAt", ["x", "i"], ["out"])], {}, {"i": []})
    graph.graph.input.append(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None))
    with pytest.raises(SpecError, match="input 'x' is no tensor"):
        feeds(graph, {"x": [1]})


@pytest.mark.parametrize(
    ("dtype", "high", "least", "most"),
    [
        ("float32", None, 0, 1),
        ("float16", None, 0, 1),
        ("float64", None, 0, 1),
        ("int64", 5, 0, 4),
        ("int32", None, 1, 1),
        ("bool", None, 1, 1),
        ("uint8", None, 0, 255),
        ("int8", None, 0, 127),
    ],
)
def test_numbers_are_in_range(dtype: str, high: int | None, least: int, most: int) -> None:
    found = noise({"dtype": dtype, "shape": [50, 40], "high": high}, 3)
    assert (str(found.dtype), found.shape) == (dtype, (50, 40))
    assert (found >= least).all()
    assert (found <= most).all()
    assert least == most or len(np.unique(found)) > min(most, 100)
    assert np.array_equal(found, noise({"dtype": dtype, "shape": [50, 40], "high": high}, 3))
    assert noise({"dtype": dtype, "shape": [], "high": high}, 3).shape == ()
