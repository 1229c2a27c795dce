"""Networks of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2.1) from the six letters of their cell.

Image 32×32×3 → stem → three stages of five cells, with 16, 32 and 64 channels and a residual block that halves the
pixels between stages → batch normalisation, ReLU, mean over the pixels, a linear layer of 10 classes. A cell has four
nodes; each is the sum of its edges, and a convolution is ReLU, Conv, BatchNormalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeprof.errors import SpecError
from edgeprof.nets.execution import Execution, executed
from edgeprof.nets.graph import IR_VERSION, OPSET
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.shapes import Shape

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
LETTERS = "0S13P"  # none, skip, Conv 1×1, Conv 3×3, average pool 3×3
CHANNELS = (16, 32, 64)
CELLS = 5
SIZE = 32
CLASSES = 10

Zeros = Literal["run", "input", "empty", "none"]
"""What becomes of ``none``, which is a multiplication by zero in the published code. ``run``: every edge is in the
graph, dead ones too. In the others an edge is there only if its output reaches the cell's by edges that are not
``none``. ``input``: of ``none`` edges, those from the cell's input are in the graph; ``empty``: only one that gives a
node without other edges its zeros; ``none``: not one, and what would read a node without edges is not there either."""

EXECUTIONS: dict[str, tuple[Execution, Zeros]] = {
    "eager": ("eager", "run"),
    "compiled": ("compiled", "none"),
    "merged": ("merged", "none"),
    "compiled, zeros kept": ("compiled", "empty"),
    "merged, zeros kept": ("merged", "empty"),
    "compiled, zeros added": ("compiled", "input"),
    "merged, zeros added": ("merged", "input"),
}
"""Which kernels run, and what becomes of ``none``."""


@dataclass(frozen=True)
class Node:
    """A node of the graph: what it reads, the shape of its output without the batch, its window and stride."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    given: tuple[Shape, ...]
    made: Shape
    kernel: int = 1
    stride: int = 1


class _Nodes:
    """Nodes of a graph that grows from input to output."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {"input": (3, SIZE, SIZE)}

    def add(
        self,
        name: str,
        op_type: str,
        *inputs: str,
        made: Shape | None = None,
        kernel: int = 1,
        stride: int = 1,
    ) -> str:
        given = tuple(self.shapes[i] for i in inputs)
        self.shapes[name] = made or given[0]
        self.nodes.append(Node(name, op_type, inputs, given, self.shapes[name], kernel, stride))
        return name

    def conv(self, name: str, source: str, channels: int, kernel: int, stride: int = 1) -> str:
        made = (channels, *(side // stride for side in self.shapes[source][1:]))
        return self.add(name, "Conv", source, made=made, kernel=kernel, stride=stride)

    def relu_conv_bn(self, name: str, source: str, channels: int, kernel: int, stride: int = 1) -> str:
        relu = self.add(f"{name}_relu", "Relu", source)
        conv = self.conv(f"{name}_conv", relu, channels, kernel, stride)
        return self.add(f"{name}_bn", "BatchNormalization", conv)

    def edge(self, name: str, letter: str, source: str) -> str:
        channels = self.shapes[source][0]
        match letter:
            case "S":
                return source
            case "P":
                return self.add(f"{name}_pool", "AveragePool", source, kernel=3)
            case "0":
                return self.add(f"{name}_zero", "Mul", source)
        return self.relu_conv_bn(name, source, channels, int(letter))

    def cell(self, name: str, edges: Sequence[tuple[int, int, str]], source: str) -> str:
        values = {0: source}
        for node in (1, 2, 3):
            for start, end, letter in edges:
                if end != node or start not in values:
                    continue
                value = self.edge(f"{name}_{start}{end}", letter, values[start])
                if node in values:
                    value = self.add(f"{name}_{start}{end}_add", "Add", values[node], value)
                values[node] = value
            if node in values and values[node] in [
                values[before] for before in range(node) if before in values
            ]:
                values[node] = self.add(f"{name}_{node}", "Identity", values[node])
        return values.get(3, source)


def cell_edges(cell: str, zeros: Zeros) -> tuple[tuple[int, int, str], ...]:
    """The edges of a cell that are in the graph, as (from, to, letter).

    :raises SpecError: not six of the letters.
    """
    if len(cell) != len(EDGES) or set(cell) - set(LETTERS):
        raise SpecError(
            f"'{cell}' is no cell of NAS-Bench-201",
            f"six of the letters {', '.join(LETTERS)}, an edge each: 0→1, 0→2, 1→2, 0→3, 1→3, 2→3",
        )
    edges = [(start, end, letter) for (start, end), letter in zip(EDGES, cell, strict=True)]
    if zeros == "run":
        return tuple(edges)
    made = {0}  # nodes that hold anything
    for start, end, letter in edges:
        if letter != "0" and (start in made or zeros != "none"):
            made.add(end)
    used = {3}
    for start, end, letter in reversed(edges):
        if letter != "0" and end in used and (start in made or zeros != "none"):
            used.add(start)
    found = []
    for start, end, letter in edges:
        if end not in used:
            continue
        if letter != "0":
            keep = start in used
        else:
            keep = start == 0 and (zeros == "input" or (zeros == "empty" and end not in made))
        if keep:
            found.append((start, end, letter))
    return tuple(found)


@lru_cache(maxsize=4096)
def cell_nodes(cell: str, zeros: Zeros = "run") -> tuple[Node, ...]:
    """The network's nodes in the order of their execution."""
    edges = cell_edges(cell, zeros)
    graph = _Nodes()
    stem = graph.conv("stem_conv", "input", CHANNELS[0], 3)
    value = graph.add("stem_bn", "BatchNormalization", stem)
    for stage, channels in enumerate(CHANNELS):
        if stage:
            name = f"reduce{stage}"
            first = graph.relu_conv_bn(f"{name}_a", value, channels, 3, stride=2)
            second = graph.relu_conv_bn(f"{name}_b", first, channels, 3)
            before, *size = graph.shapes[value]
            half = (before, *(side // 2 for side in size))
            pool = graph.add(f"{name}_pool", "AveragePool", value, made=half, kernel=2, stride=2)
            value = graph.add(f"{name}_add", "Add", second, graph.conv(f"{name}_conv", pool, channels, 1))
        for i in range(CELLS):
            value = graph.cell(f"stage{stage + 1}_cell{i + 1}", edges, value)
    value = graph.add("last_bn", "BatchNormalization", value)
    value = graph.add("last_relu", "Relu", value)
    value = graph.add("mean", "GlobalAveragePool", value, made=(CHANNELS[-1], 1, 1))
    value = graph.add("flatten", "Flatten", value, made=(CHANNELS[-1],))
    graph.add("classifier", "Gemm", value, made=(CLASSES,))
    return tuple(graph.nodes)


def cell_model(cell: str, batch: int, zeros: Zeros = "run") -> ModelProto:
    """The network as an ONNX model with a static batch: shapes of parameters, but no values.

    :raises SpecError: not a cell.
    """
    return _model(cell_nodes(cell, zeros), batch)


@lru_cache(maxsize=256)
def cell_operators(cell: str, batch: int, zeros: Zeros = "run") -> tuple[Operator, ...]:
    """The operators of the network: those of :func:`cell_model`, each distinct node described once, without ``Z``.

    :raises SpecError: not a cell.
    """
    return tuple(
        replace(
            _described(batch, node.op_type, node.given, node.made, node.kernel, node.stride),
            name=node.name,
            producers=tuple(i for i in node.inputs if i != "input"),
            values=(node.name,),
        )
        for node in cell_nodes(cell, zeros)
    )


def cell_kernels(cell: str, batch: int, execution: str = "eager") -> tuple[Operator, ...]:
    """What a runtime runs of the network, in order: by :func:`edgeprof.nets.execution.executed`, kernels of equal
    dimensions being one object.

    :param execution: one of :data:`EXECUTIONS`. :raises SpecError: not a cell, or no such execution.
    """
    return tuple(_described(batch, *kernel) for kernel in _plan(cell, execution))


_Kernel = tuple[str, tuple[Shape, ...], Shape, int, int]  # kind, shapes read and made, window, stride


@lru_cache(maxsize=65536)
def _plan(cell: str, execution: str) -> tuple[_Kernel, ...]:
    if execution not in EXECUTIONS:
        raise SpecError(f"no execution '{execution}'", f"one of: {', '.join(EXECUTIONS)}")
    how, zeros = EXECUTIONS[execution]
    if how == "eager":
        return tuple(
            _shared(node.op_type, node.given, node.made, node.kernel, node.stride)
            for node in cell_nodes(cell, zeros)
            if node.op_type != "Identity"
        )
    nodes = {node.name: node for node in cell_nodes(cell, zeros)}
    found = []
    for op in executed(cell_operators(cell, 1, zeros), how):
        node = nodes[op.name]
        found.append(_shared(op.op_type, node.given, op.outputs[0][1:], node.kernel, node.stride))
    return tuple(found)


@lru_cache(maxsize=4096)
def _shared(*kernel: Any) -> _Kernel:
    return kernel


@lru_cache(maxsize=4096)
def _described(
    batch: int, op_type: str, given: tuple[Shape, ...], made: Shape, kernel: int, stride: int
) -> Operator:
    inputs = tuple(f"input{i}" for i, _ in enumerate(given))
    node = Node("node", op_type.partition(".")[0], inputs, given, made, kernel, stride)
    (operator,) = operators(_model((node,), batch))
    size = "×".join(str(side) for side in made)
    window = f" {kernel}×{kernel}" if kernel > 1 else ""
    dims = {name: value for name, value in operator.dims.items() if name != "Z"}  # that is of a whole run
    return replace(operator, op_type=op_type, name=f"{op_type}{window} to {size}", dims=dims)


def _model(nodes: Sequence[Node], batch: int) -> ModelProto:
    protos, parameters = [], []
    inputs: dict[str, Shape] = {}
    made = {node.name for node in nodes}
    for node in nodes:
        inputs |= {n: s for n, s in zip(node.inputs, node.given, strict=True) if n not in made}
        proto, own = _proto(node)
        protos.append(proto)
        parameters += own
    graph = helper.make_graph(
        protos,
        "nasbench201",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, (batch, *s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1].name, TensorProto.FLOAT, (batch, *nodes[-1].made))],
        parameters,
    )
    return helper.make_model(
        graph,
        producer_name="edgeprof",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _proto(node: Node) -> tuple[NodeProto, list[TensorProto]]:
    """An ONNX node and its parameters."""
    channels = node.given[0][0]
    shapes: dict[str, Shape] = {}
    attributes: dict[str, Any] = {}
    if node.op_type in ("Conv", "AveragePool"):
        pad = (node.kernel - 1) // 2 if node.kernel % 2 else 0
        attributes = {
            "kernel_shape": [node.kernel] * 2,
            "strides": [node.stride] * 2,
            "pads": [pad] * 4,
        }
    match node.op_type:
        case "Conv":
            shapes = {"weight": (node.made[0], channels, node.kernel, node.kernel)}
        case "BatchNormalization":
            shapes = dict.fromkeys(("scale", "bias", "mean", "variance"), (channels,))
        case "Gemm":
            shapes = {"weight": (channels, node.made[0]), "bias": (node.made[0],)}
        case "Mul":
            shapes = {"zero": (1,)}
    tensors = [
        TensorProto(name=f"{node.name}_{name}", dims=shape, data_type=TensorProto.FLOAT)
        for name, shape in shapes.items()
    ]
    proto = helper.make_node(
        node.op_type, [*node.inputs, *(t.name for t in tensors)], [node.name], name=node.name, **attributes
    )
    return proto, tensors
