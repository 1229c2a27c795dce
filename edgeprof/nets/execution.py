"""Execution: which operators of a graph a runtime runs as kernels of their own.

An eager runtime launches one for each. A compiler folds a batch normalisation into its convolution and a ReLU into the
operator whose output nothing else reads; one that merges runs convolutions of equal windows on one tensor as a single
wide one, and computes the same thing once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from edgeprof.nets.operators import Operator

Execution = Literal["eager", "compiled", "merged"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
AGAIN = "Relu.again"  # a further ReLU of a tensor that has one already


def executed(operators: Sequence[Operator], how: Execution) -> tuple[Operator, ...]:
    """The operators that run as kernels, their type being the kernel's kind. Merged convolutions are the first of
    them, with the output channels of all."""
    if how == "eager":
        return tuple(op for op in operators if op.op_type != "Identity")
    types = {op.name: op.op_type for op in operators}
    tensor: dict[str, str] = {}  # operator → the one whose kernel writes its output
    for op in operators:
        source = op.producers[0] if op.producers else ""
        folded = op.op_type == "BatchNormalization" and types.get(source) == "Conv"
        folded |= op.op_type == "Identity" and how == "merged"
        tensor[op.name] = tensor[source] if folded else op.name
    readers: dict[str, list[Operator]] = {}
    for op in operators:
        if tensor[op.name] == op.name:
            for source in op.producers:
                readers.setdefault(tensor[source], []).append(op)
    relus = {name: [op for op in of if op.op_type == "Relu"] for name, of in readers.items()}
    rectified: dict[str, str] = {}  # ReLU → the tensor that it reads
    found: list[Operator] = []
    for op in operators:
        if tensor[op.name] != op.name or op.op_type == "Identity":
            continue
        source = tensor[op.producers[0]] if op.producers else ""
        if op.op_type == "Relu" and source:
            rectified[op.name] = source
            if op is not relus[source][0]:
                if how == "compiled":
                    found.append(replace(op, op_type=AGAIN))
                continue
            if len(relus[source]) == len(readers[source]) and types[source] in ("Conv", "Add", "Gemm"):
                continue
        found.append(op)
    return tuple(found) if how == "compiled" else _merged(found, tensor, rectified)


def _merged(
    operators: Sequence[Operator], tensor: dict[str, str], rectified: dict[str, str]
) -> tuple[Operator, ...]:
    """Convolutions of equal windows on one tensor as one; poolings of one tensor as one."""
    places: dict[object, int] = {}
    found: list[Operator] = []
    for op in operators:
        source = tensor[op.producers[0]] if op.producers else ""
        read = (rectified.get(source, source), source in rectified)
        window = tuple(op.dims.get(name) for name in ("Kh", "Kw", "S", "P", "G"))
        key = (op.op_type, read, window)
        if not source or op.op_type not in ("Conv", "AveragePool", "MaxPool") or op.dims.get("G", 1) != 1:
            found.append(op)
        elif key not in places:
            places[key] = len(found)
            found.append(op)
        elif op.op_type == "Conv":
            found[places[key]] = _wider(found[places[key]], op)
    return tuple(found)


def _wider(one: Operator, other: Operator) -> Operator:
    """One convolution with the output channels of both."""
    return replace(
        one,
        outputs=((one.outputs[0][0], one.outputs[0][1] + other.outputs[0][1], *one.outputs[0][2:]),),
        values=one.values + other.values,
        macs=one.macs + other.macs,
        parameters=one.parameters + other.parameters,
        parameter_bytes=one.parameter_bytes + other.parameter_bytes,
        activation_bytes=one.activation_bytes + 4 * int(other.dims["Y"]),
        dims={**one.dims, "M": one.dims["M"] + other.dims["M"], "Y": one.dims["Y"] + other.dims["Y"]},
    )
