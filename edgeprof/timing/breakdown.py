"""Kernels: what the runtime really executed, traced back to the operators of the network.

ONNX Runtime renames and merges nodes when it optimises (``conv1_relu_out_nchwc``, ``fused fc1``, ``ReorderOutput``).
Its optimised graph tells which value a kernel makes and in which layout, and that leads back to the operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import onnx

from edgeprof.errors import WorkerError
from edgeprof.nets.operators import Operator

NCHWC = "com.microsoft.nchwc"
WIDENED = "InsertedPrecisionFreeCast_"  # before the name of a value that was float16
NESTED = frozenset({"If", "Loop", "Scan"})  # operators with graphs inside
NHWC = "com.ms.internal.nhwc"
LAYOUT = frozenset({"ReorderInput", "ReorderOutput", "Transpose", "MemcpyToHost", "MemcpyFromHost", "Cast"})


# The kind of a node's kernel; values whose channels are blocked, shapes of weights, operator types that it covers.
KindOf = Callable[[onnx.NodeProto, Collection[str], Mapping[str, tuple[int, ...]], Collection[str]], str]


@dataclass(frozen=True)
class Kernel:
    """One kernel of an optimised graph: ``kind`` (operator type and implementation), the runtime's own ``name``, and
    the names of the ``operators`` it covers, in graph order; a kernel that only changes a layout (``glue``) names the
    operator whose output it rewrites."""

    kind: str
    name: str
    op_type: str
    operators: tuple[str, ...]
    glue: bool = False


def trace(
    graph: onnx.GraphProto, operators: Sequence[Operator], kind_of: KindOf | None = None
) -> tuple[Kernel, ...]:
    """The kernels of an optimised ``graph`` of a network whose original ``operators`` are given, in graph order.

    Every operator is covered by a kernel, or was removed together with its producer's work. A kernel that the runtime
    put in beside those of the operators (a reshape before a product) covers the operator upstream of it.

    :param kind_of: the kind of a node's kernel: :func:`processor_kind` unless given.
    :raises WorkerError: a kernel that cannot be traced to any operator.
    """
    kind_of = kind_of or processor_kind
    by_name = {op.name: op for op in operators}
    maker = {value: op for op in operators for value in op.values}
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    covers: list[list[Operator]] = []
    for node in graph.node:
        if is_glue(node, by_name):
            covers.append([])
            continue
        made_here = (maker.get(value.removeprefix(WIDENED)) for value in node.output)
        anchors = [_named(node.name, by_name, maker), *made_here]
        covers.append(list(dict.fromkeys(op for op in anchors if op)))
    owner = {op.name: index for index, ops in enumerate(covers) for op in ops}
    _claim(by_name, covers, owner, graph)
    _enclose(by_name, covers, owner, graph)
    _adopt(operators, covers, owner, graph)
    _follow(by_name, covers, graph)
    order = {op.name: i for i, op in enumerate(operators)}
    blocked: set[str] = set()
    source: dict[str, Operator] = {}
    kernels: list[Kernel] = []
    for node, ops in zip(graph.node, covers, strict=True):
        glue = is_glue(node, by_name)
        names = tuple(sorted((op.name for op in ops), key=order.__getitem__))
        if glue:
            value = next((source[v] for v in node.input if v in source), None)
            ends = [v.removeprefix(WIDENED) for v in (*node.output, *node.input)]
            made = next((maker[v] for v in ends if v in maker), None) or value
            names = (made.name,) if made else ("input",)
        if not names:
            raise WorkerError(
                f"kernel {node.name} ({node.op_type}) covers no operator", "please report the network"
            )
        last = by_name.get(names[-1])
        source.update({value: last for value in node.output if last})
        types = {by_name[name].op_type for name in names if name in by_name}
        kind = kind_of(node, blocked, weights, types)
        kernels.append(Kernel(kind, node.name, plain_type(node.op_type), names, glue))
        if node.op_type != "ReorderOutput" and (
            node.domain == NCHWC or _stays_blocked(node, blocked, weights)
        ):
            blocked.update(node.output)
    return tuple(kernels)


def _named(name: str, operators: Mapping[str, Operator], maker: Mapping[str, Operator]) -> Operator | None:
    """The operator that a kernel is called after: ``fused fc1``, ``conv1_out_nchwc``, ``conv1_token_1`` (in another
    layout), ``norm1/LayerNormFusion/``."""
    name = re.sub(r"_token_\d+$", "", name.removeprefix("fused ").removeprefix(WIDENED))
    value = name.removesuffix("_nchwc")
    if found := operators.get(name) or maker.get(value) or maker.get(value.removesuffix("_bn")):
        return found
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in operators:
            return operators[name]
    return None


def _stays_blocked(node: onnx.NodeProto, blocked: Collection[str], weights: Collection[str]) -> bool:
    """True for a kernel on values in blocked layout that does not care for the layout, and so keeps it."""
    values = [v for v in node.input if v and v not in weights]
    return bool(values) and all(v in blocked for v in values)


def is_glue(node: onnx.NodeProto, original: Mapping[str, Operator]) -> bool:
    """True for a kernel that the runtime put in to change a layout or a place; transposes of a network that has some
    itself may be its own, moved."""
    if node.op_type == "Transpose" and any(op.op_type == "Transpose" for op in original.values()):
        return False
    return node.op_type in LAYOUT and node.name not in original


def plain_type(op_type: str) -> str:
    """The operator type of a kernel without the runtime's prefix for fusion."""
    return op_type.removeprefix("Fused")


def kernel_kind(node: onnx.NodeProto, blocked: Collection[str], stays: bool = False) -> str:
    """Operator type and implementation: ``Conv.nchwc`` (blocked channels in and out), ``Conv.nchw`` (plain channels in,
    blocked out), ``Conv.im2col``, ``MaxPool.nchwc``, ``Add.nchwc`` (``stays`` in blocked layout); the operator type
    alone where there is one implementation."""
    kind = plain_type(node.op_type)
    if node.op_type in LAYOUT:
        return kind
    if node.domain == NCHWC:
        return f"{kind}.nchwc" if kind != "Conv" or node.input[0] in blocked else f"{kind}.nchw"
    if kind == "Conv":
        return f"{kind}.im2col"
    return f"{kind}.nchwc" if stays else kind


def _refined(
    kind: str, node: onnx.NodeProto, weights: Mapping[str, tuple[int, ...]], types: Collection[str]
) -> str:
    """Of convolutions in blocked layout, the implementation: ``Conv.depthwise`` (one channel a group),
    ``Conv.pointwise`` (a single pixel, no padding). A batch normalisation done as a convolution keeps its own name."""
    if kind != "Conv.nchwc":
        return kind
    if "Conv" not in types:
        return f"{min(types, default='Conv')}.nchwc"
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    shape = weights.get(node.input[1], ())
    if given.get("group", 1) > 1 and shape[1:2] == (1,):
        return "Conv.depthwise"
    if shape[2:] == (1, 1) and not any(given.get("pads", ())):
        return "Conv.pointwise"
    return kind


def processor_kind(
    node: onnx.NodeProto,
    blocked: Collection[str],
    weights: Mapping[str, tuple[int, ...]],
    types: Collection[str],
) -> str:
    """:func:`kernel_kind`, and of convolutions in blocked layout the implementation."""
    kind = kernel_kind(node, blocked, _stays_blocked(node, blocked, weights))
    return _refined(kind, node, weights, types)


def device_kind(
    node: onnx.NodeProto,
    blocked: Collection[str],
    weights: Mapping[str, tuple[int, ...]],
    types: Collection[str],
) -> str:
    """The operator type, and ``.nhwc`` where the CUDA provider changed the layout for it. Which implementation its
    library takes, a graph does not tell."""
    kind = plain_type(node.op_type)
    return f"{kind}.nhwc" if node.domain == NHWC and node.op_type not in LAYOUT else kind


def _claim(
    operators: Mapping[str, Operator],
    covers: list[list[Operator]],
    owner: dict[str, int],
    graph: onnx.GraphProto,
) -> None:
    """Give a kernel that no name leads to an operator of its type (a ``Conv`` known by the activation after it) the
    nearest one upstream that no kernel has yet, and what lies between (a folded batch normalisation)."""
    for index, node in enumerate(graph.node):
        op_type = plain_type(node.op_type)
        if op_type in {op.op_type for op in covers[index]}:
            continue
        ways = [[operators[name]] for op in covers[index] for name in op.producers if name not in owner]
        for way in ways:  # grows: breadth first
            if way[-1].op_type == op_type:
                covers[index].extend(way)
                owner.update((op.name, index) for op in way)
                break
            ways.extend([*way, operators[name]] for name in way[-1].producers if name not in owner)


def _enclose(
    operators: Mapping[str, Operator],
    covers: list[list[Operator]],
    owner: dict[str, int],
    graph: onnx.GraphProto,
) -> None:
    """Give a kernel that stands for a pattern (a layer norm) what lies between the values that it reads and those that
    it makes, where nothing of that belongs to another kernel."""
    maker = {value: op.name for op in operators.values() for value in op.values}
    for index, node in enumerate(graph.node):
        if not covers[index] or plain_type(node.op_type) in {op.op_type for op in covers[index]}:
            continue
        read = {maker[v] for v in (value.removeprefix(WIDENED) for value in node.input) if v in maker}
        inside = {op.name for op in covers[index]}
        ways = [name for op in covers[index] for name in op.producers]
        while ways:
            name = ways.pop()
            if name in read or name in inside:
                continue
            if name in owner:
                break
            inside.add(name)
            ways.extend(operators[name].producers)
        else:
            covers[index] = [op for op in operators.values() if op.name in inside]
            owner.update(dict.fromkeys(inside, index))


def _adopt(
    operators: Sequence[Operator], covers: list[list[Operator]], owner: dict[str, int], graph: onnx.GraphProto
) -> None:
    """Give every operator that is left to the kernel it was merged into: the one of its consumer where that is of its
    type, else of its producer, else of its consumer."""
    consumers: dict[str, list[Operator]] = {}
    for op in operators:
        for producer in op.producers:
            consumers.setdefault(producer, []).append(op)
    left = [op for op in operators if op.name not in owner]
    known = -1
    while left and known != len(owner):
        known = len(owner)
        for op in left:
            after = [owner[c.name] for c in consumers.get(op.name, ()) if c.name in owner]
            before = [owner[p] for p in op.producers if p in owner]
            alike = [i for i in after if plain_type(graph.node[i].op_type) == op.op_type]
            for index in (*alike, *before, *after)[:1]:
                covers[index].append(op)
                owner[op.name] = index
        left = [op for op in left if op.name not in owner]


def _follow(operators: Mapping[str, Operator], covers: list[list[Operator]], graph: onnx.GraphProto) -> None:
    """Give every kernel that covers nothing the operator upstream of it, or else the one downstream, or else the one
    with graphs inside (a branch whose condition is known is drawn out of its operator)."""
    made = {value: index for index, node in enumerate(graph.node) for value in node.output}
    read = {value: index for index, node in enumerate(graph.node) for value in node.input}
    left = [i for i, node in enumerate(graph.node) if not covers[i] and not is_glue(node, operators)]
    known = -1
    while left and known != len(left):
        known = len(left)
        for index in left:
            node = graph.node[index]
            before = [covers[made[v]] for v in node.input if v in made and covers[made[v]]]
            after = [covers[read[v]] for v in node.output if v in read and covers[read[v]]]
            covers[index].extend(ops[-1] for ops in (*before, *after)[:1])
        left = [i for i in left if not covers[i]]
    holders = [op for op in operators.values() if op.op_type in NESTED]
    for index in left:
        covers[index].extend(holders[:1])


def match_events(
    kernels: Sequence[Kernel], operators: Sequence[Operator], events: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Kernel, Any], ...]:
    """Profile events beside their kernels, in execution order.

    The runtime numbers its layout changes anew in every session, so these are told by type and shape, not by name; what
    else it put in under a name of its own, by type and order.

    :raises WorkerError: an event whose kernel is not in the graph.
    """
    shapes = {op.name: op.outputs[0] for op in operators if op.outputs}
    waiting, named = list(kernels), {op.name for op in operators}
    found = []
    for event in events:
        op_type = plain_type(event["op_type"])
        sizes = {tuple(shape) for shape in (*event["inputs"][:1], *event["outputs"][:1])}

        def fits(
            kernel: Kernel, name: str = event["name"], op_type: str = op_type, sizes: Any = sizes
        ) -> bool:
            if not kernel.glue or not sizes:
                return (kernel.name, kernel.op_type) == (name, op_type)
            return kernel.op_type == op_type and shapes.get(kernel.operators[0]) in (None, *sizes)

        kernel = next((k for k in waiting if fits(k)), None)
        kernel = kernel or next((k for k in waiting if k.op_type == op_type and k.name not in named), None)
        if kernel is None:
            raise WorkerError(
                f"the profile names a kernel {event['name']} that is not in the graph", "please report it"
            )
        waiting.remove(kernel)
        found.append((kernel, event))
    return tuple(found)


def band_mean(values: Sequence[float], low: float = 0.25, high: float = 0.75) -> float:
    """Mean of the values between two quantiles: as robust as a quantile, but finer than the profiler's whole
    microseconds. Of the middle half unless told otherwise."""
    ordered = sorted(values)
    n = len(ordered)
    return fmean(ordered[int(low * n) : n - int((1 - high) * n)])
