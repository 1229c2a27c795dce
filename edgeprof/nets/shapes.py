"""The shapes of every value of a graph: ONNX's own inference, helped where a graph reckons shapes while it runs.

Exporters write such reckoning as nodes (the shape of a value, a slice of it, a product), which inference follows in
part. Here nodes of which every input is known and small are evaluated, and inference goes on from their results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from edgeprof.errors import SpecError

SMALL = 4096  # elements: what is reckoned with shapes is smaller
PASSES = 20
RANDOM = (
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
)

Shape = tuple[int, ...]


def inferred(model: onnx.ModelProto, *, reckoned: bool = False) -> tuple[dict[str, Shape], dict[str, int]]:
    """The shape and the element type (of ``onnx.TensorProto``) of every value whose shape can be told.

    :param reckoned: evaluate what the graph reckons with shapes.
    :raises SpecError: the graph contradicts itself.
    """
    shapes, types = _infer(model)
    if not reckoned or not _missing(model, shapes):
        return shapes, types
    work = onnx.ModelProto()
    work.CopyFrom(model)
    for _ in range(PASSES):
        if not _reckon(work, shapes):
            break
        shapes, types = _infer(work)
    return shapes, types


def _infer(model: onnx.ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    try:
        graph = shape_inference.infer_shapes(model, strict_mode=False, data_prop=True).graph
    except Exception as error:
        raise SpecError(f"shape inference failed: {error}", "check the file with onnx.checker") from error
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[info.name] = tuple(d.dim_value for d in tensor.shape.dim)
            types[info.name] = tensor.elem_type
    return shapes, types


def _missing(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Whether a node makes a value of unknown shape."""
    return any(v and v not in shapes for node in model.graph.node for v in node.output)


def _reckon(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Put constants in place of nodes whose results can be told; whether there were any."""
    known: dict[str, NDArray[Any]] = {
        t.name: numpy_helper.to_array(t)
        for t in model.graph.initializer
        if math.prod(t.dims) <= SMALL and t.data_location != onnx.TensorProto.EXTERNAL and _has_data(t)
    }
    found = False
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = _constant(node)
            if value is not None and value.size <= SMALL:
                known[node.output[0]] = value
            continue
        result = _result(node, model, shapes, known)
        if result is None or len(node.output) != 1 or result.size > SMALL:
            continue
        known[node.output[0]] = result
        constant = helper.make_node(
            "Constant",
            [],
            list(node.output),
            name=node.name,
            value=numpy_helper.from_array(np.asarray(result), node.output[0]),
        )
        node.CopyFrom(constant)
        found = True
    return found


def _has_data(tensor: onnx.TensorProto) -> bool:
    """A graph without weights has tensors that are shapes alone."""
    fields = {field.name for field, _ in tensor.ListFields()}
    return not math.prod(tensor.dims) or any(name.endswith("_data") for name in fields)


def _constant(node: onnx.NodeProto) -> NDArray[Any] | None:
    try:
        return np.asarray(_run(node, {}, []))
    except Exception:  # sparse values, strings: nothing that shapes are reckoned with
        return None


def _result(
    node: onnx.NodeProto,
    model: onnx.ModelProto,
    shapes: Mapping[str, Shape],
    known: Mapping[str, NDArray[Any]],
) -> NDArray[Any] | None:
    """What a node gives, where that can be told."""
    inputs = [v for v in node.input if v]
    if node.op_type in ("Shape", "Size") and inputs[0] in shapes:
        shape = np.array(shapes[inputs[0]], np.int64)
        if node.op_type == "Size":
            return np.asarray(shape.prod(), np.int64)
        given = {a.name: a.i for a in node.attribute}
        return np.asarray(shape[given.get("start", 0) : given.get("end", len(shape))])
    if not inputs or node.op_type in RANDOM or not all(v in known for v in inputs):
        return None
    if any(a.HasField("g") or a.graphs for a in node.attribute):
        return None
    if any(math.prod(shapes.get(v, ())) > SMALL for v in node.output):
        return None
    try:
        return np.asarray(_run(node, {v: known[v] for v in inputs}, list(model.opset_import)))
    except Exception:  # an operator that the reference evaluator lacks: its result stays unknown
        return None


def _run(
    node: onnx.NodeProto, values: Mapping[str, NDArray[Any]], opsets: list[onnx.OperatorSetIdProto]
) -> Any:
    from onnx.reference import ReferenceEvaluator  # every operator there is, in Python: few networks need it

    typed = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    ]
    output = onnx.ValueInfoProto(name=node.output[0])
    graph = helper.make_graph([node], "one", typed, [output])
    one = helper.make_model(graph, opset_imports=opsets or [helper.make_opsetid("", 13)])
    results: Any = ReferenceEvaluator(one).run(None, dict(values))
    return results[0]
