"""Writing a model: whole or not at all, and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeprof.errors import SpecError
from edgeprof.nets.graph import Graph, checked_bytes, write_model


def model(weights: bool = True) -> onnx.ModelProto:
    graph = Graph("seed", weights)
    value = graph.node("Gemm", "fc", ["input", *graph.parameters("fc", (3, 2), 3)])
    graph.node("Reshape", "flat", [value, graph.constant("flat_shape", np.array([8], np.int64))])
    return graph.model((4, 3), (8,))


def test_a_file_is_the_model(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    assert write_model(model(), path) == path.stat().st_size
    assert path.read_bytes() == checked_bytes(model())
    assert onnx.load(path).graph.node[1].output == ["output"]
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot write") as caught:
        write_model(model(), tmp_path / "nowhere" / "net.onnx")
    assert caught.value.hint == "give another file"


def test_constants_are_there_without_weights() -> None:
    tensors = {t.name: t for t in model(weights=False).graph.initializer}
    assert not tensors["fc_weight"].raw_data
    assert list(tensors["fc_weight"].dims) == [3, 2]
    assert numpy_helper.to_array(tensors["flat_shape"]) == [8]
