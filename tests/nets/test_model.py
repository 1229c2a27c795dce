"""ModelFile: any ONNX file, with its axes filled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import CatalogueError, EdgeprofError, SpecError
from edgeprof.nets.build import build_model
from edgeprof.nets.model import (
    Input,
    ModelFile,
    build_file,
    content_hash,
    fill_axes,
    graph_inputs,
    model_file,
    parse_shape,
    read_model,
    weights_folder,
)
from edgeprof.nets.network import net_operators, rebuildable
from edgeprof.nets.spec import net_spec


def two_inputs(path: Path, opset: int = 13, **save: Any) -> Path:
    """``y = relu(a @ w + b)``: two inputs that share an open batch, the second of them one row per image."""
    weight = numpy_helper.from_array(np.ones((8, 512), np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["s"], name="sum"),
        helper.make_node("Relu", ["s"], ["y"], name="sum"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", "T", 8]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, ["N", "T", 512]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "T", 512])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, path, **save)
    return path


def test_open_axes_are_filled(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "two.onnx")
    net = model_file(path, batch=3, shapes={"b": (3, 5, 512)})
    assert net.shapes == (("a", (3, 5, 8)), ("b", (3, 5, 512)))
    assert (net.name, net.label(), net.batch) == ("two", "two", 3)
    found = net_operators(net, 3)
    assert [op.name for op in found] == ["MatMul_0", "sum", "sum_2"]  # every node has a name of its own
    assert found[0].macs == 3 * 5 * 8 * 512
    assert found[-1].outputs == ((3, 5, 512),)
    assert all(op.known for op in found)


def test_what_is_left_open_is_named_with_the_flag(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "two.onnx")
    with pytest.raises(SpecError, match=r"input 'a' is N×T×8: axis 1 is of open size") as caught:
        model_file(path, batch=3)
    assert caught.value.hint == "give --shape a=3x1x8"
    with pytest.raises(SpecError, match=r"axes 0, 1 are of open size"):
        model_file(path)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"c": (1,)}, "no input 'c'"),
        ({"a": (1, 2)}, "has 3 axes, not 2"),
        ({"a": (1, 2, 9)}, "which 1×2×9 does not fit"),
        ({"a": (1, 2, 8), "b": (2, 2, 512)}, "which 2×2×512 does not fit"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], says: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=says):
        model_file(two_inputs(tmp_path / "two.onnx"), shapes=shapes)


def test_a_batch_that_no_input_takes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    onnx.save(build_model(net_spec(conv=0, fc=0), 2), path)
    assert model_file(path, batch=2).batch == 2
    with pytest.raises(SpecError, match="open first axis for a batch of 3: input is 2×1×28×28"):
        model_file(path, batch=3)


def test_axes_without_a_name() -> None:
    image = Input("x", TensorProto.FLOAT, ("", 3, 224, 224))
    assert fill_axes([image], 4, {}) == {"x": (4, 3, 224, 224)}
    with pytest.raises(SpecError, match=r"x' is \?×3×224×224: axis 0") as caught:
        fill_axes([image], None, {})
    assert caught.value.hint == "give --batch 1, or --shape x=1x3x224x224"
    bare = Input("x", TensorProto.FLOAT, None)
    assert fill_axes([bare], None, {"x": (2, 2)}) == {"x": (2, 2)}
    with pytest.raises(SpecError, match="does not tell the shape of input 'x'"):
        fill_axes([bare], 1, {})
    assert fill_axes([Input("n", TensorProto.INT64, ())], 4, {}) == {"n": ()}


@pytest.mark.parametrize(
    ("text", "found"),
    [("x=1x3x224x224", ("x", (1, 3, 224, 224))), ("a=b=7", ("a=b", (7,))), ("ids=1×128", ("ids", (1, 128)))],
)
def test_shapes_are_read(text: str, found: tuple[str, tuple[int, ...]]) -> None:
    assert parse_shape(text) == found


@pytest.mark.parametrize("text", ["x", "x=", "=1x2", "x=1x", "x=-1", "x=1,2", "x=1x2.5"])
def test_shapes_that_are_none(text: str) -> None:
    with pytest.raises(SpecError, match="is no shape"):
        parse_shape(text)


def test_the_identity_is_content_and_shapes_not_the_place(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "two.onnx")
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "elsewhere" / "two.onnx"))
    shapes = {"a": (1, 2, 8)}
    one, other = model_file(path, shapes=shapes), model_file(copy, shapes=shapes)
    assert one == other
    assert hash(one) == hash(other)
    assert one != model_file(path, shapes={"a": (1, 3, 8)})
    assert one != "two"
    read = ModelFile.model_validate_json(one.model_dump_json())
    assert read == one
    assert read.path is None
    assert not rebuildable(read)
    with pytest.raises(SpecError, match="is not at hand"):
        build_file(read)
    onnx.save(build_model(net_spec(conv=0, fc=0), 1), path)
    assert model_file(path, name="two").sha256 != one.sha256


def test_external_data_is_part_of_the_content(tmp_path: Path) -> None:
    kept = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 16}
    path = two_inputs(tmp_path / "two.onnx", **kept)
    net = model_file(path, shapes={"a": (1, 2, 8)})
    assert weights_folder(net) is None
    whole = build_file(net)
    assert np.all(numpy_helper.to_array(whole.graph.initializer[0]) == 1)
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert content_hash(path, read_model(path)) != net.sha256
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(SpecError, match=r"keeps weights in weights\.bin, which is not beside it"):
        model_file(path, shapes={"a": (1, 2, 8)})


def test_weights_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    kept = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 16}
    path = two_inputs(tmp_path / "two.onnx", **kept)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SpecError, match="outside its folder"):
        model_file(path, shapes={"a": (1, 2, 8)})


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(CatalogueError, match="no such file"):
        model_file(path)
    with pytest.raises(CatalogueError, match="cannot be read"):
        model_file(tmp_path)
    for content in (b"not a network", b"", b"\x00" * 100):
        path.write_bytes(content)
        with pytest.raises(EdgeprofError, match=r"is not ONNX|holds no network"):
            model_file(path)


def test_an_opset_before_7_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="opset 6"):
        model_file(two_inputs(tmp_path / "two.onnx", opset=6), shapes={"a": (1, 2, 8)})


def test_initializers_are_no_inputs() -> None:
    # up to IR version 3 the inputs of a graph list them too
    model = build_model(net_spec(conv=0, fc=0), 1)
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    assert [i.name for i in graph_inputs(model.graph)] == ["input"]
