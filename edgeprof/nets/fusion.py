"""Fusion: the operators that are left once a runtime has rewritten a graph for inference.

What ONNX Runtime does on a processor whatever the sizes are: work on constants is done beforehand, a batch
normalisation is folded into its convolution, and short patterns become one operator. What depends on sizes and layouts
(an activation or a sum done by the convolution before it) is for a law's rules (:mod:`edgeprof.fit.rules`); here an
operator that cannot be merged, since others read the same tensor, gets a type of its own, such as ``Relu.apart``; so
does a convolution in groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeprof.nets.operators import Operator

REMOVED = ("Identity", "Dropout")
ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu")
HOSTS = ("Conv", "ConvTranspose", "Gemm", "BatchNormalization")  # an activation may be part of their kernel
PASSES = {  # over the results that it takes, once they are written; a rectifier is done before
    "Clip": 1,
    "LeakyRelu": 1,
    "HardSigmoid": 1,
    "HardSwish": 2,
    "Sigmoid": 1,
    "Tanh": 1,
    "Elu": 1,
}
EXPONENTIAL = ("Sigmoid", "Tanh", "Elu")  # those that take one of each result
TWO_SIDED = ("Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min", "Where")
SUMS = ("Add", "Sum")
APART, BROADCAST, GROUPED = ".apart", ".broadcast", ".grouped"


@dataclass(frozen=True)
class Fused:
    """The ``operators`` that are left, and for each of the graph the one that does its work (``owner``; none where the
    work is done beforehand)."""

    operators: tuple[Operator, ...]
    owner: Mapping[str, str]


def fused(operators: Sequence[Operator]) -> Fused:
    """The operators of a graph as an optimising runtime leaves them. A merged operator has the name and the outputs of
    its last part. Networks of the family stay as they are."""
    graph = _Graph(operators)
    graph.fold_constants()
    for op in operators:
        if op.name in graph.of and op.op_type in REMOVED and op.producers:
            graph.remove(op.name, op.producers[0])
    for op in operators:
        for pattern in (_normalisation, _layer_norm, _gelu, _swish, _biased):
            if op.name in graph.of and (parts := pattern(graph, graph.of[op.name])):
                graph.merge(*parts)
                break
    left = tuple(_typed(graph, op) for op in graph.of.values())
    after = {op.producers[0]: op for op in left if op.op_type in PASSES and op.producers}
    return Fused(tuple(_activated(op, after.get(op.name)) for op in left), graph.owners())


class _Graph:
    """Operators by name, in order, while they are merged."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        self.of = {op.name: op for op in operators}
        self.owner: dict[str, str] = {op.name: op.name for op in operators}
        self.readers: dict[str, list[str]] = {op.name: [] for op in operators}
        for op in operators:
            for source in op.producers:
                self.readers[source].append(op.name)

    def fold_constants(self) -> None:
        """Take out what depends on no input: sizes of tensors, learnt tables that are only reshaped."""
        for op in list(self.of.values()):
            known = sum(source not in self.of for source in op.producers)
            if op.op_type in ("Shape", "Size") or (op.known and known == len(op.inputs)):
                del self.of[op.name], self.owner[op.name]
        for op in list(self.of.values()):
            if gone := [source for source in op.producers if source not in self.of]:
                left = tuple(source for source in op.producers if source in self.of)
                sizes = [
                    shape for shape, source in zip(op.inputs, op.producers, strict=False) if source in gone
                ]
                shapes = list(op.inputs)
                for shape in sizes:
                    shapes.remove(shape)
                self.of[op.name] = replace(op, producers=left, inputs=tuple(shapes))

    def source(self, op: Operator, *types: str) -> Operator | None:
        """The first of what ``op`` reads that is of one of these types."""
        return next((self.of[p] for p in op.producers if self.of[p].op_type in types), None)

    def next(self, op: Operator, op_type: str) -> Operator | None:
        """What alone reads ``op``, if it is of this type."""
        after = {name for name in self.readers[op.name] if name in self.of}
        found = self.of[after.pop()] if len(after) == 1 else None
        return found if found is not None and found.op_type == op_type else None

    def remove(self, name: str, source: str) -> None:
        """Let those who read ``name`` read ``source``, and take it out."""
        self._replace({name}, source)

    def merge(self, parts: Sequence[Operator], op_type: str, model: Operator) -> None:
        """Put one operator of ``op_type`` in the place of ``parts``, with the dimensions of ``model``."""
        last, names = parts[-1], {op.name for op in parts}
        outer = [
            (p, s) for op in parts for p, s in zip(op.producers, op.inputs, strict=False) if p not in names
        ]
        sources = dict(outer)
        inputs = tuple(sources.values()) or parts[0].inputs
        made = replace(
            last,
            op_type=op_type,
            inputs=inputs,
            producers=tuple(sources),
            macs=sum(op.macs for op in parts),
            parameters=sum(op.parameters for op in parts),
            parameter_bytes=sum(op.parameter_bytes for op in parts),
            activation_bytes=4 * sum(math.prod(s) for s in (*inputs, *last.outputs)),
            dims={**model.dims, "X": sum(math.prod(s) for s in inputs), "Y": last.dims.get("Y", 0)},
        )
        self._replace(names - {last.name}, last.name)
        self.of[last.name] = made
        for source in made.producers:
            self.readers[source] = [*dict.fromkeys([*self.readers[source], last.name])]

    def owners(self) -> dict[str, str]:
        """For each operator of the graph the one that is left."""

        def left(name: str) -> str:
            return name if name in self.of else left(self.owner[name])

        return {name: left(name) for name in self.owner}

    def _replace(self, names: Iterable[str], by: str) -> None:
        for name in names:
            for reader in self.readers[name]:
                if reader in self.of and reader != by:
                    op = self.of[reader]
                    self.of[reader] = replace(
                        op, producers=tuple(by if p == name else p for p in op.producers)
                    )
                    self.readers[by].append(reader)
            del self.of[name]
            self.owner[name] = by
        for source, readers in self.readers.items():
            self.readers[source] = [r for r in readers if r not in names]


Parts = tuple[Sequence[Operator], str, Operator] | None


def _normalisation(graph: _Graph, op: Operator) -> Parts:
    """A batch normalisation of a convolution that nothing else reads."""
    source = graph.source(op, "Conv") if op.op_type == "BatchNormalization" else None
    if source is None or graph.next(source, "BatchNormalization") is None:
        return None
    return (source, op), "Conv", source


def _layer_norm(graph: _Graph, op: Operator) -> Parts:
    """mean → x − mean → square → mean → + ε → √ → quotient → · scale → + shift."""
    if op.op_type != "ReduceMean":
        return None
    parts = [op]
    centred = graph.next(op, "Sub")
    if centred is None:
        return None
    power = next(
        (graph.of[r] for r in graph.readers[centred.name] if graph.of[r].op_type in ("Pow", "Mul")), None
    )
    quotient = next((graph.of[r] for r in graph.readers[centred.name] if graph.of[r].op_type == "Div"), None)
    if power is None or quotient is None:
        return None
    parts += [centred, power]
    for op_type in ("ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"):
        found = graph.next(parts[-1], op_type)
        if found is None:
            return None
        parts.append(found)
    return (parts, "LayerNormalization", parts[-1]) if quotient in parts else None


def _gelu(graph: _Graph, op: Operator) -> Parts:
    """½·x·(1 + erf(x/√2)), the quotient spelled as one."""
    source = graph.source(op, "Div") if op.op_type == "Erf" else None
    plus = graph.next(op, "Add")
    product = graph.next(plus, "Mul") if source and plus else None
    half = graph.next(product, "Mul") if product else None
    if source is None or plus is None or product is None or half is None:
        return None
    return (source, op, plus, product, half), "Gelu", half


def _swish(graph: _Graph, op: Operator) -> Parts:
    """x · sigmoid(x); and, of a convolution's output, x · hardsigmoid(x)."""
    if op.op_type not in ("Sigmoid", "HardSigmoid") or not op.producers:
        return None
    product = graph.next(op, "Mul")
    if product is None or set(product.producers) != {op.name, op.producers[0]}:
        return None
    if op.op_type == "HardSigmoid":
        own = graph.of[op.producers[0]].op_type == "Conv" and len(set(graph.readers[op.producers[0]])) == 2
        own = own and bool(graph.readers[product.name])  # the network's last operator is left alone
        return ((op, product), "HardSwish", op) if own else None
    return (op, product), "QuickGelu", op


def _biased(graph: _Graph, op: Operator) -> Parts:
    """A product with weights, and the bias that alone follows it."""
    if op.op_type != "MatMul" or not op.parameters:
        return None
    bias = graph.next(op, "Add")
    return (
        ((op, bias), "Gemm", op)
        if bias and len(bias.inputs) == 1 and bias.parameters == op.dims["M"]
        else None
    )


def _typed(graph: _Graph, op: Operator) -> Operator:
    """``op`` with a type that says whether the kernel before it may do its work, and its sources in the order in which
    they are asked for that."""
    first = graph.of[op.producers[0]] if op.producers else None
    if op.op_type == "Conv" and op.dims.get("G", 1) > 1:
        return replace(op, op_type=op.op_type + GROUPED)
    if op.op_type in ACTIVATIONS and first is not None:
        return op if _may_host(graph, first) else replace(op, op_type=op.op_type + APART)
    if op.op_type not in TWO_SIDED or len(op.inputs) < 2 or not op.known:
        return op
    if op.op_type == "Sum" and len(op.inputs) == 2:
        op = replace(op, op_type="Add")
    if len(set(op.inputs)) > 1:
        return replace(op, op_type=op.op_type + BROADCAST)
    if op.op_type != "Add":
        return op
    host = _host_of_sum(graph, op)
    if host is None:
        return replace(op, op_type=op.op_type + APART)
    return replace(op, producers=(host, *(p for p in op.producers if p != host)))


def _activated(op: Operator, activation: Operator | None) -> Operator:
    """A convolution or product with the numbers that its activation goes through."""
    if activation is None or op.op_type.partition(".")[0] not in HOSTS:
        return op
    size = activation.dims.get("Y", 0)
    taken = {"A": PASSES[activation.op_type] * size, "E": size * (activation.op_type in EXPONENTIAL)}
    return replace(op, dims={**op.dims, **taken})


def _may_host(graph: _Graph, source: Operator) -> bool:
    """Whether the kernel that makes ``source`` may do an activation too: nothing else reads it, and it is a product."""
    if len(set(graph.readers[source.name])) != 1:
        return False
    return source.op_type in HOSTS or (source.op_type in SUMS and _host_of_sum(graph, source) is not None)


def _host_of_sum(graph: _Graph, op: Operator) -> str | None:
    """The convolution among what a sum reads that nothing else reads."""
    for source in op.producers:
        if graph.of[source].op_type == "Conv" and len(set(graph.readers[source])) == 1:
            return source
    return None
