"""Feeds: what the inputs of any ONNX graph are given to be run: element types, shapes, ranges of whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgeprof.errors import SpecError
from edgeprof.nets.model import graph_inputs

TYPES: Mapping[int, str] = {  # of ONNX, in NumPy's words: what can be made up
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BOOL: "bool",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
}
TABLES = {"Gather": (0, 1), "EmbedLayerNormalization": (2, 0)}  # operator → its table and what looks up in it
SAME = ("Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Transpose", "Expand", "Clip")


@dataclass(frozen=True)
class Feed:
    """An input: ``dtype`` in NumPy's words. ``high`` is the number of values that a whole number may have, from 0; None
    where nothing tells, and for other types."""

    dtype: str
    shape: tuple[int, ...]
    high: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the worker."""
        return asdict(self)

    def noise(self, random: np.random.RandomState) -> NDArray[Any]:
        """Numbers for it: fractions in [0, 1), whole numbers below ``high``, ones where nothing tells that."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return np.asarray(random.random_sample(self.shape)).astype(dtype)
        if self.high is None:
            return np.ones(self.shape, dtype)
        return np.asarray(random.randint(0, self.high, size=self.shape)).astype(dtype)


def feeds(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, Feed]:
    """What every input of ``model`` takes, for inputs of these shapes.

    Whole numbers that look up rows of a table (token ids) are below its number of rows.

    :raises SpecError: an input that cannot be fed: no tensor, or of a type that NumPy has not.
    """
    rows = table_rows(model.graph)
    found = {}
    for one in graph_inputs(model.graph):
        if one.data_type not in TYPES:
            known = one.data_type in TensorProto.DataType.values() and one.data_type
            kind = f"of type {TensorProto.DataType.Name(one.data_type).lower()}" if known else "no tensor"
            raise SpecError(
                f"input '{one.name}' is {kind}: numbers for it cannot be made up",
                f"export the network with inputs of another type: {', '.join(TYPES.values())}",
            )
        dtype = TYPES[one.data_type]
        found[one.name] = Feed(dtype, tuple(shapes[one.name]), rows.get(one.name) if "int" in dtype else None)
    return found


def table_rows(graph: onnx.GraphProto) -> dict[str, int]:
    """Input → rows of the smallest table that its numbers look up, as far as the graph tells."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    sizes = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    source = {value.name: value.name for value in graph.input if value.name not in sizes}
    found: dict[str, int] = {}
    for node in graph.node:
        inputs = list(node.input)
        if node.op_type in TABLES and len(inputs) > max(TABLES[node.op_type]):
            table, index = (inputs[i] for i in TABLES[node.op_type])
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            rows = sizes.get(table, ())[axis : axis + 1 or None]
            if index in source and rows:
                found[source[index]] = min(found.get(source[index], rows[0]), rows[0])
        elif node.op_type == "OneHot" and inputs[0] in source and inputs[1] in constants:
            depth = int(numpy_helper.to_array(constants[inputs[1]]).reshape(-1)[0])
            found[source[inputs[0]]] = min(found.get(source[inputs[0]], depth), depth)
        elif node.op_type in SAME and inputs and inputs[0] in source:
            source[node.output[0]] = source[inputs[0]]
    return found
