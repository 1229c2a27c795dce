"""The operators of any ONNX graph: dimensions, multiply-accumulates and bytes, by shape inference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from edgeprof.errors import SpecError
from edgeprof.nets.shapes import Shape, inferred


@dataclass(frozen=True)
class Operator:
    """One node of an ONNX graph.

    ``inputs`` and ``outputs`` are the shapes of its activations (parameters apart); ``producers`` names the
    operators whose output it reads, in the order of its inputs. ``parameters`` counts what is learnt (and a batch
    normalisation's running mean and variance): no scalars, shapes or axes. ``macs`` are multiply-accumulates per run,
    bytes are per run too. ``dims`` are the numbers that laws are written in (see :func:`dims`), and ``Z``, the bytes of
    weights and results that a run of the whole graph touches. Where a shape is not ``known`` there are no MACs
    and dims, and bytes are those that can be told.
    """

    name: str
    op_type: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    producers: tuple[str, ...]
    values: tuple[str, ...]
    macs: int
    parameters: int
    parameter_bytes: int
    activation_bytes: int
    output_bytes: int
    dims: Mapping[str, float]
    known: bool = True

    def __hash__(self) -> int:
        return hash((self.name, self.op_type, self.inputs, self.outputs))


def parse_model(data: bytes, source: str) -> onnx.ModelProto:
    """The network in the content of an ONNX file.

    :raises SpecError: it is none.
    """
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which has no public name
        raise SpecError(f"{source} is not ONNX: {error}", "export the network again") from None


def operators(model: onnx.ModelProto, *, partial: bool = False) -> tuple[Operator, ...]:
    """Every node of ``model`` in graph order, with dimensions found by ONNX shape inference.

    :param partial: operators whose shapes are unknown are told as such, instead of an error.
    :raises SpecError: where a shape that matters is unknown (a dynamic axis, an operator outside ONNX).
    """
    graph = model.graph
    shapes, types = inferred(model, reckoned=partial)
    sizes = {name: _item_bytes(data_type) for name, data_type in types.items()}
    parameters = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constant = node.attribute[0].t
            parameters[node.output[0]] = onnx.TensorProto(
                name=node.output[0], dims=constant.dims, data_type=constant.data_type
            )
    producers: dict[str, str] = {}
    read = {v for node in graph.node for v in node.input} | {v.name for v in graph.output}
    found: list[Operator] = []
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{index}"
        producers.update(dict.fromkeys(node.output, name))
        if node.op_type == "Constant":
            continue
        activations = [v for v in node.input if v and v not in parameters]
        made = [v for v in node.output if v in read]  # nobody reads a dropout's mask
        unknown = [v for v in (*activations, *made) if v not in shapes]
        if unknown and not partial:
            raise SpecError(
                f"operator {name} ({node.op_type}): the shape of '{unknown[0]}' is unknown",
                "give every dynamic axis a size, and use only operators that ONNX defines",
            )
        weights = [parameters[v] for v in node.input if v in parameters]
        outputs = tuple(shapes[v] for v in node.output if v in shapes)
        inputs = tuple(shapes[v] for v in activations if v in shapes)
        try:
            macs, numbers = (
                (0, {})
                if unknown
                else (_macs(node, inputs, outputs, weights), dims(node, inputs, outputs, weights))
            )
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise SpecError(
                f"operator {name} ({node.op_type}) is not as ONNX defines it: {error}",
                "check the file with onnx.checker",
            ) from error
        found.append(
            Operator(
                name=name,
                op_type=node.op_type,
                inputs=inputs,
                outputs=outputs,
                producers=tuple(producers[v] for v in activations if v in producers),
                values=tuple(node.output),
                macs=macs,
                parameters=sum(math.prod(w.dims) for w in weights if _learnt(w)),
                parameter_bytes=sum(math.prod(w.dims) * _item_bytes(w.data_type) for w in weights),
                activation_bytes=sum(
                    math.prod(shapes[v]) * sizes[v] for v in (*activations, *node.output) if v in shapes
                ),
                output_bytes=sum(math.prod(shapes[v]) * sizes[v] for v in node.output if v in shapes),
                dims=numbers,
                known=not unknown,
            )
        )
    run_bytes = float(sum(op.parameter_bytes + op.output_bytes for op in found))
    return tuple(replace(op, dims={**op.dims, "Z": run_bytes}) for op in found)


def dims(
    node: onnx.NodeProto,
    inputs: tuple[Shape, ...],
    outputs: tuple[Shape, ...],
    weights: list[onnx.TensorProto],
) -> dict[str, float]:
    """The numbers of an operator that laws are written in.

    ``B`` batch; ``C`` channels in, ``M`` channels or columns out; ``H``, ``W`` output, ``Hi``, ``Wi`` input pixels;
    ``Kh``, ``Kw`` kernel, ``S`` stride, ``G`` groups, and where there are several, ``I`` channels in of each; ``Dl``
    dilation, where there is any; ``P`` padding, both sides of a row, in pixels; for a matrix product ``R`` rows, ``N``
    inner and ``M`` columns; for a concatenation along channels ``N``, the greatest common divisor of its parts; ``X``
    elements in, ``Y`` elements out. ``A`` results that an activation goes through once a convolution has written them,
    and ``E`` exponentials that it takes, are 0 here: fusion (:mod:`edgeprof.nets.fusion`) tells whose activation it is.
    """
    first, out = (inputs or ((),))[0], (outputs or ((),))[0]
    found: dict[str, float] = {
        "B": out[0] if out else 1,
        "X": sum(math.prod(s) for s in inputs),
        "Y": sum(math.prod(s) for s in outputs),
    }
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in ("Gemm", "MatMul"):
        rows, inner, columns = _product(node, inputs, outputs, weights)
        found |= {"R": rows, "N": inner, "M": columns}
        if node.op_type == "MatMul":
            found["G"] = math.prod(out[:-2]) if len(inputs) > 1 else 1
    elif len(out) == 4 and len(first) == 4:
        found |= {"C": first[1], "Hi": first[2], "Wi": first[3], "M": out[1], "H": out[2], "W": out[3]}
        kernel = attributes.get("kernel_shape") or (list(weights[0].dims[2:]) if weights else [1, 1])
        if len(kernel) == 2:
            pads = attributes.get("pads", [0, 0, 0, 0])
            found |= {"Kh": kernel[0], "Kw": kernel[1], "S": attributes.get("strides", [1, 1])[0]}
            found |= {"P": pads[1] + pads[3], "G": attributes.get("group", 1), "A": 0, "E": 0}
            if found["G"] > 1:
                found["I"] = first[1] // found["G"]
            if max(dilations := attributes.get("dilations", [1])) > 1:
                found["Dl"] = max(dilations)
        if node.op_type == "Concat" and attributes.get("axis") == 1:
            found["N"] = math.gcd(*(shape[1] for shape in inputs))
        if node.op_type == "Softmax":
            found["M"] = out[-1]
    elif out:
        found["M"] = out[-1]
    return found


def _product(
    node: onnx.NodeProto,
    inputs: tuple[Shape, ...],
    outputs: tuple[Shape, ...],
    weights: list[onnx.TensorProto],
) -> tuple[int, int, int]:
    """Rows, inner size and columns of a matrix product; a stack of them counts as rows."""
    out = outputs[0] or (1,)  # two vectors: a scalar
    first = tuple(weights[0].dims) if weights and weights[0].name == node.input[0] else inputs[0]
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(out[:-1]), first[0] if transposed else first[-1], out[-1]


def _macs(
    node: onnx.NodeProto,
    inputs: tuple[Shape, ...],
    outputs: tuple[Shape, ...],
    weights: list[onnx.TensorProto],
) -> int:
    """Multiply-accumulates: products alone; biases, activations and pooling count none, as in the literature."""
    if node.op_type in ("Conv", "ConvTranspose") and (weights or len(inputs) > 1):
        shape = tuple(weights[0].dims) if weights else inputs[1]
        pixels = outputs[0] if node.op_type == "Conv" else (inputs[0][0], shape[0], *inputs[0][2:])
        return math.prod(pixels) * math.prod(shape[1:])
    if node.op_type in ("Gemm", "MatMul") and outputs:
        return math.prod(_product(node, inputs, outputs, weights))
    if node.op_type in WEIGHT_AT:
        shape = _input_shapes(node, inputs, weights)[WEIGHT_AT[node.op_type]]
        inner = math.prod(shape[1:]) if "Conv" in node.op_type else shape[-2]
        return math.prod(outputs[0]) * inner
    if node.op_type in ("LSTM", "GRU", "RNN"):
        x, to_gates, back = _input_shapes(node, inputs, weights)[:3]
        return math.prod(x[:2]) * (math.prod(to_gates) + math.prod(back))
    if node.op_type == "Einsum":
        return _einsum(node, _input_shapes(node, inputs, weights))
    return 0


WEIGHT_AT = {
    "ConvInteger": 1,
    "QLinearConv": 3,
    "MatMulInteger": 1,
    "QLinearMatMul": 3,
}  # of quantised products


def _input_shapes(
    node: onnx.NodeProto, inputs: tuple[Shape, ...], weights: list[onnx.TensorProto]
) -> list[Shape]:
    """The shape of every input in its place; of one that is left out, none."""
    constants = {tensor.name: tuple(tensor.dims) for tensor in weights}
    rest = iter(inputs)
    return [constants[v] if v in constants else next(rest) if v else () for v in node.input]


def _einsum(node: onnx.NodeProto, shapes: list[Shape]) -> int:
    """A product of two for every combination of its indices; one operand is no product, and dots are not read."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if len(terms) != 2 or "." in equation:
        return 0
    sizes = {
        index: size
        for term, shape in zip(terms, shapes, strict=True)
        for index, size in zip(term, shape, strict=True)
    }
    return math.prod(sizes.values())


def _learnt(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor is learnt: a single number (a limit, an epsilon) and 64-bit whole numbers (a shape, axes) belong
    to the operator."""
    return bool(tensor.dims) and tensor.data_type != onnx.TensorProto.INT64


def _item_bytes(data_type: int) -> int:
    try:
        return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize) if data_type else 4
    except KeyError:
        raise SpecError(f"ONNX has no data type {data_type}", "check the file with onnx.checker") from None
