"""A network in another number format: float16 tensors, or convolutions and products on 8-bit whole numbers.

Runtimes that take their precision from the graph (TensorRT 11 has no other way) are given such graphs. Nodes of the
network keep their names; what is put in beside them is called ``cast/…``, ``quantize/…`` and ``dequantize/…`` with the
name of a tensor. Inputs and outputs stay float32, so that a network is fed the same in every format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import SpecError

CONVERTED = ("fp16", "int8")  # formats that a float32 graph is rewritten for
LARGEST_FP16 = 65504.0
STAYS_FP32: Mapping[str, frozenset[int]] = {  # inputs that ONNX wants in float32
    "Resize": frozenset({1, 2}),
    "Upsample": frozenset({1}),
    "QuantizeLinear": frozenset({1}),
    "DequantizeLinear": frozenset({1}),
}
OUTPUT_CHANNELS = {"Conv": 0, "ConvTranspose": 1}  # axis of a weight
PER_CHANNEL_OPSET = 13  # of QuantizeLinear with an axis
QUANTIZE_OPSET = 10
LEVELS = 127  # symmetric: TensorRT takes no other zero point than 0
PUT_IN = ("cast/", "quantize/", "dequantize/")  # before the names of nodes that this module puts in


def float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with every float32 weight, constant and tensor in float16 but for its inputs and outputs, which are
    cast. Weights too large for float16 become its largest.

    :raises SpecError: a graph with branches or loops, or with weights outside its file.
    """
    _refuse_what_is_elsewhere(model, "fp16")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    del graph.value_info[:]
    wide = _read_as_float32(graph)
    plain = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    for name, tensor in plain.items():
        if wide.get(name) != "only":
            if wide.get(name) == "too":
                graph.initializer.add().CopyFrom(tensor)
                graph.initializer[-1].name = f"cast/{name}"
            tensor.CopyFrom(_half(tensor))
    for node in graph.node:
        for place in STAYS_FP32.get(node.op_type, ()):
            if place < len(node.input) and wide.get(node.input[place]) == "too":
                node.input[place] = f"cast/{node.input[place]}"
        for attribute in node.attribute:
            _narrow(node, attribute)
    before, after = [], []
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in plain:
            before.append(_cast(value.name, f"cast/{value.name}", TensorProto.FLOAT16))
            _rename_reads(graph.node, value.name, f"cast/{value.name}")
        elif value.name in plain:  # before IR version 4 weights are inputs too
            value.type.tensor_type.elem_type = plain[value.name].data_type
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            for node in graph.node:
                node.output[:] = [f"cast/{v}" if v == value.name else v for v in node.output]
            _rename_reads(graph.node, value.name, f"cast/{value.name}")
            after.append(_cast(f"cast/{value.name}", value.name, TensorProto.FLOAT))
    _put(graph, [*before, *graph.node, *after])
    return made


def quantized(model: onnx.ModelProto, largest: Mapping[str, float]) -> onnx.ModelProto:
    """``model`` with a pair of QuantizeLinear and DequantizeLinear before what convolutions and products by weights
    read: symmetric, one scale for a tensor, one for each output channel of a weight (where its opset has that). Where
    two tensors are added, the one that is made first is quantised too, so that the sum can be part of the convolution
    that makes the other (NVIDIA, Working with Quantized Types, placement of Q/DQ). Biases stay float32.

    :param largest: the greatest magnitude of the tensors in :func:`wanted_ranges`.
    :raises SpecError: as for :func:`float16`; or an opset without quantisation.
    """
    _refuse_what_is_elsewhere(model, "int8")
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < QUANTIZE_OPSET:
        raise SpecError(f"int8 needs opset {QUANTIZE_OPSET}, and the network has {opset}", "export it again")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {t.name: t for t in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    ready: dict[str, str] = {}
    for node, places in _quantised_reads(graph):
        for place in places:
            name = node.input[place]
            if name not in ready:
                axis = _channel_axis(node, weights[name]) if name in weights else None
                axis = axis if opset >= PER_CHANNEL_OPSET else None
                scale = _scales(numpy_helper.to_array(weights[name]), axis) if name in weights else None
                if scale is None:
                    scale = np.asarray(_rounded_up(largest[name] / LEVELS), np.float32)
                ready[name] = _pair(graph, nodes, name, scale, axis)
            node.input[place] = ready[name]
        nodes.append(node)
    _put(graph, nodes)
    return made


def wanted_ranges(model: onnx.ModelProto) -> tuple[str, ...]:
    """The tensors, weights apart, whose greatest magnitude :func:`quantized` wants to know, in graph order."""
    weights = {t.name for t in model.graph.initializer}
    names = (node.input[place] for node, places in _quantised_reads(model.graph) for place in places)
    return tuple(dict.fromkeys(name for name in names if name not in weights))


def ranges(model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """The greatest magnitude of each of :func:`wanted_ranges` when ``model`` is run on ``inputs``: by ONNX Runtime
    where it is installed, else by ONNX's reference implementation in NumPy, which knows less and may take seconds.

    :raises SpecError: neither can.
    """
    names = wanted_ranges(model)
    made = [name for name in names if name not in inputs]
    if not names:
        return {}
    told = onnx.ModelProto()
    told.CopyFrom(model)
    del told.graph.output[:]
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    try:
        values = _values(told, made, inputs) if made else []
    except Exception as error:  # of whatever class the runtime, or the operator's implementation, has
        reason = " ".join(str(error).split())[:120]
        raise SpecError(
            f"int8: the ranges of the tensors are not known: {reason}",
            "quantise the network yourself and measure that file, or pip install 'edgeprof[cpu]', which runs more",
        ) from None
    found = {**inputs, **dict(zip(made, values, strict=True))}
    return {name: float(np.max(np.abs(found[name]), initial=0.0)) for name in names}


def _values(
    model: onnx.ModelProto, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return list(ReferenceEvaluator(model).run(names, dict(inputs)))
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(names, dict(inputs)))


def _refuse_what_is_elsewhere(model: onnx.ModelProto, precision: str) -> None:
    if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in _attributes(model)):
        raise SpecError(
            f"{precision}: the network has branches or loops, which edgeprof does not rewrite",
            "export it in that format, and measure the file",
        )
    if any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer):
        raise SpecError(
            f"{precision}: the network's weights are over 2 GB, which edgeprof does not rewrite",
            "export it in that format, and measure the file",
        )


def _attributes(model: onnx.ModelProto) -> Iterable[onnx.AttributeProto]:
    return (attribute for node in model.graph.node for attribute in node.attribute)


# --- float16


def _read_as_float32(graph: onnx.GraphProto) -> dict[str, str]:
    """Tensors that a node wants in float32: ``only``, or ``too`` where others read them as well."""
    kept = {
        node.input[place]
        for node in graph.node
        for place in STAYS_FP32.get(node.op_type, ())
        if place < len(node.input) and node.input[place]
    }
    others = {
        name
        for node in graph.node
        for place, name in enumerate(node.input)
        if place not in STAYS_FP32.get(node.op_type, ())
    }
    return {name: "too" if name in others else "only" for name in kept}


def _half(tensor: TensorProto) -> TensorProto:
    values = np.clip(numpy_helper.to_array(tensor), -LARGEST_FP16, LARGEST_FP16).astype(np.float16)
    return numpy_helper.from_array(values, tensor.name)


def _narrow(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    """Let what an attribute says of float32 be said of float16."""
    if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.FLOAT16
    elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
        attribute.t.CopyFrom(_half(attribute.t))
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        tensor = numpy_helper.from_array(np.asarray(values, np.float16))
        attribute.CopyFrom(helper.make_attribute("value", tensor))


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    name = target if target.startswith("cast/") else f"cast/{target}"
    return helper.make_node("Cast", [source], [target], name=name, to=to)


def _rename_reads(nodes: Iterable[onnx.NodeProto], name: str, by: str) -> None:
    for node in nodes:
        node.input[:] = [by if v == name else v for v in node.input]


def _put(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


# --- whole numbers


def _quantised_reads(graph: onnx.GraphProto) -> list[tuple[onnx.NodeProto, tuple[int, ...]]]:
    """Every node, with the places of its inputs that are to be quantised."""
    weights = {t.name: t for t in graph.initializer}
    made = {value: index for index, node in enumerate(graph.node) for value in node.output}

    def places(node: onnx.NodeProto) -> tuple[int, ...]:
        if node.op_type in (*OUTPUT_CHANNELS, "Gemm", "MatMul") and len(node.input) > 1:
            weight = weights.get(node.input[1])
            if weight is None or weight.data_type != TensorProto.FLOAT or node.input[0] in weights:
                return ()
            return (0, 1)
        if node.op_type == "Add" and not any(v in weights for v in node.input):
            first, second = (made.get(v, -1) for v in node.input)
            if min(first, second) >= 0 and _of_convolution(graph, max(first, second), made):
                return (0,) if first < second else (1,)
        return ()

    return [(node, places(node)) for node in graph.node]


def _of_convolution(graph: onnx.GraphProto, index: int, made: Mapping[str, int]) -> bool:
    """Whether a node is a convolution, or a batch normalisation of one."""
    node = graph.node[index]
    if node.op_type == "BatchNormalization" and node.input[0] in made:
        node = graph.node[made[node.input[0]]]
    return bool(node.op_type == "Conv")


def _channel_axis(node: onnx.NodeProto, weight: TensorProto) -> int | None:
    """The axis of a weight's output channels; None where TensorRT wants one scale for all of it."""
    if node.op_type in OUTPUT_CHANNELS:
        return OUTPUT_CHANNELS[node.op_type]
    if len(weight.dims) != 2:
        return None
    transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if transposed else 1


def _scales(weight: NDArray[Any], axis: int | None) -> NDArray[np.float32]:
    around = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    reached: NDArray[np.float32] = np.asarray(np.max(np.abs(weight), axis=around), np.float32)
    return np.where(reached > 0, reached / LEVELS, 1).astype(np.float32)


def _rounded_up(scale: float) -> float:
    """``scale`` with two digits, so that its last binary digit depends on no machine; 1 for a tensor of zeros."""
    if not (math.isfinite(scale) and scale > 0):
        return 1.0
    digit = 10.0 ** (math.floor(math.log10(scale)) - 1)
    return math.ceil(scale / digit) * digit


def _pair(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], name: str, scale: NDArray[Any], axis: int | None
) -> str:
    """Append a quantisation of ``name`` and the way back; what that gives."""
    zero = np.zeros(scale.shape, np.int8)
    graph.initializer.append(numpy_helper.from_array(scale, f"scale/{name}"))
    graph.initializer.append(numpy_helper.from_array(zero, f"zero/{name}"))
    attributes = {} if axis is None else {"axis": axis}
    constants = [f"scale/{name}", f"zero/{name}"]
    make: Callable[..., onnx.NodeProto] = helper.make_node
    nodes.append(
        make("QuantizeLinear", [name, *constants], [f"q/{name}"], name=f"quantize/{name}", **attributes)
    )
    nodes.append(
        make(
            "DequantizeLinear",
            [f"q/{name}", *constants],
            [f"dq/{name}"],
            name=f"dequantize/{name}",
            **attributes,
        )
    )
    return f"dq/{name}"
