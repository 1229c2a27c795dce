"""Footprint: the bytes that a network holds, told from its graph: weights, and values alive at once (liveness).

A value is alive from the operator that makes it to the last that reads it. An operator that works on each element
alone, or changes the shape, needs no second place: its output takes that of an input which nobody reads afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from edgeprof.nets.fusion import ACTIVATIONS, APART, fused
from edgeprof.nets.network import Network, net_operators
from edgeprof.nets.operators import Operator

MIB = 2**20
IN_PLACE = frozenset(
    (*ACTIVATIONS, *(name + APART for name in ACTIVATIONS))
    + ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Softmax")
    + ("Add", "Sum", "Mul", "Sub", "Div", "Add.apart", "BatchNormalization")
)


@dataclass(frozen=True)
class Footprint:
    """MiB of a network at a batch: ``weights``; ``live``, the most that values alive at once take; ``largest``, the
    output of one operator; ``results``, the outputs of all."""

    weights: float
    live: float
    largest: float
    results: float


@lru_cache(maxsize=4096)
def footprint(net: Network, batch: int, block: int = 1) -> Footprint:
    """The footprint of ``net`` at ``batch``, as an optimising runtime leaves its operators, in the order of the graph.
    Images that operators put out have their channels rounded up to a multiple of ``block``, as in layouts for vectors
    (ONNX Runtime's NCHWc)."""
    run = fused(net_operators(net, batch)).operators
    sizes = [bytes_out(op, block) for op in run]
    return Footprint(
        weights=sum(op.parameter_bytes for op in run) / MIB,
        live=most_live(run, block) / MIB,
        largest=max(sizes, default=0) / MIB,
        results=sum(sizes) / MIB,
    )


def most_live(run: Sequence[Operator], block: int = 1) -> float:
    """The most bytes that values alive at once take in a ``run`` of operators in their order. What an operator without
    a producer reads comes from outside, and is alive while it is read."""
    last: dict[str, int] = {}
    for place, op in enumerate(run):
        for source in op.producers:
            last[source] = place
    held: dict[str, float] = {}  # by the operator that made it: values that somebody reads yet
    most = 0.0
    for place, op in enumerate(run):
        outside = 0.0 if op.producers else _bytes_in(op)
        out = bytes_out(op, block)
        ending = [held[s] for s in dict.fromkeys(op.producers) if s in held and last[s] == place]
        room = ending if op.producers else [outside]
        new = 0.0 if op.op_type in IN_PLACE and any(size >= out for size in room) else out
        most = max(most, sum(held.values()) + outside + new)
        for source in op.producers:
            if last[source] == place:
                held.pop(source, None)
        if op.name in last:
            held[op.name] = out
    return most


def bytes_out(op: Operator, block: int = 1) -> float:
    """Bytes of what ``op`` puts out, an image's channels rounded up to a multiple of ``block``."""
    shape = op.outputs[0] if op.outputs else ()
    if block == 1 or len(shape) != 4 or not shape[1]:
        return float(op.output_bytes)
    return op.output_bytes * (-(-shape[1] // block) * block) / shape[1]


def _bytes_in(op: Operator) -> float:
    """Bytes of the values that ``op`` reads."""
    count = sum(math.prod(shape) for shape in (*op.inputs, *op.outputs))
    return op.activation_bytes * sum(math.prod(shape) for shape in op.inputs) / count if count else 0.0
