"""Layers of a TensorRT engine: what its inspector tells of them, and the operators that each one covers.

The inspector's JSON of TensorRT 8.5 to 11 (profiling verbosity DETAILED). A layer that fuses nodes of the ONNX graph
is called after them (``conv1 + conv1_relu``), tells them in its ``Metadata`` (``[ONNX Layer: conv1]``), or is a block
of TensorRT's compiler (``{ForeignNode[conv1...softmax]}``, Myelin) or of a DLA, of which no more is known than where
it begins and ends. From 9 on the compiler's blocks are told in parts (``__myl_AddCast_myl0_3``, ``fc1_myl0_4``), each
with its metadata. No document of NVIDIA's says how layers are called; the rules were read off files that TensorRT wrote
(``python -m benchmarks.trt_layers`` tries them on such files).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprof.errors import WorkerError
from edgeprof.nets.operators import Operator
from edgeprof.nets.precision import PUT_IN
from edgeprof.timing.breakdown import Kernel
from edgeprof.timing.kernel_names import PRODUCTS, read_name

NODE = re.compile(
    r"\[ONNX Layer: ([^\]\x1e\x1f]*?)(?: \| [^\]\x1e\x1f]*)?\]"
)  # onnx-tensorrt, processMetadata
BLOCK = re.compile(r"\{ForeignNode\[(.*?)(?:\.\.\.(.*))?\]\}")
COPY = re.compile(r"Reformatting CopyNode for (Input|Output) Tensor \d+ to (.*)")
BETWEEN = re.compile(r" \+ | \|\| |, |PWN\(|\)")  # in a name, between the nodes that it is made of
COPIED = re.compile(r"_clone_\d+$|_myl\d+_\d+$")
BESIDE = re.compile(  # a node's name, in that of a layer that only brings its tensors into shape
    r"^(?:copied_)?(?:un)?(?:reshape|squeeze)_(?:node_)?(?:before|after)_|_copy_input$"
)
NAMELESS = "node_of_"  # before the first value of a node that has no name in its file
MOVES = frozenset({"Reformat", "NoOp", "Constant", "Shuffle", "copy", "reshape", "shape_call"}) | frozenset(
    {"TrainStation", "signal", "wait", "signal_and_wait", "signal_wait"}  # between streams
)
MYELIN = frozenset({"Myelin", "kgen", "fusion"})
PRODUCT = re.compile("conv|gemm|matrixmultiply", re.IGNORECASE)  # in a layer's type

FORMATS = {  # as weights and tensors call them
    "fp32": "fp32",
    "float": "fp32",
    "fp16": "fp16",
    "half": "fp16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "int8": "int8",
    "fp8": "fp8",
}
TENSOR = re.compile("|".join(sorted(FORMATS, key=len, reverse=True)), re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """A layer of an engine: ``tactic`` is its kernel's name where one is told, ``nodes`` are those of its metadata,
    ``reads`` and ``makes`` tensors, ``formats`` those of what it reads, weights first and other constants last, in
    TensorRT's words."""

    name: str
    layer_type: str = ""
    tactic: str = ""
    nodes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()

    @property
    def dla(self) -> bool:
        """Whether a DLA runs it."""
        return self.layer_type.upper() == "DLA"

    @property
    def myelin(self) -> bool:
        """Whether it is a block of TensorRT's compiler, whose parts are not told apart."""
        block = self.layer_type in MYELIN or "ForeignNode[" in self.name or "__myl" in self.name + self.tactic
        return block and not self.dla

    @property
    def multiplies(self) -> bool:
        """Whether its kernel's name or its type tells that it is a convolution or a product."""
        return (
            read_name(self.tactic).implementation in PRODUCTS or PRODUCT.search(self.layer_type) is not None
        )

    @property
    def precision(self) -> str:
        """What it computes in, by its kernel's name, else by its weights, else by what it reads; ``tf32`` only a
        kernel's name tells. Empty where nothing does."""
        words = (TENSOR.search(text) for text in self.formats)
        of_tensors = next((FORMATS[word[0].lower()] for word in words if word), "")
        return read_name(self.tactic).precision or of_tensors

    @property
    def words(self) -> str:
        """How it is computed, as far as that is told: of a product its kernel's implementation, precision and tile; or
        ``myelin`` or ``dla``."""
        if self.dla or self.myelin:
            return "dla" if self.dla else "myelin"
        name = read_name(self.tactic)
        if name.implementation not in PRODUCTS:
            return "depthwise" if "Depthwise" in self.layer_type else ""
        return name.words


def parse_layers(text: str) -> tuple[Layer, ...]:
    """The layers in what TensorRT's engine inspector says of an engine, in the order in which they run. An engine built
    without detail has names alone.

    :raises WorkerError: it is no such document.
    """
    try:
        found = json.loads(text)["Layers"]
        return tuple(Layer(one) if isinstance(one, str) else _layer(one) for one in found)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WorkerError(
            f"the engine's inspector says what edgeprof cannot read: {type(error).__name__}: {error}",
            "please report it with the version of TensorRT",
        ) from None


def _layer(one: Mapping[str, Any]) -> Layer:
    weights = one.get("Weights")
    reads = one.get("Inputs") or ()
    typed = [str(weights.get("Type", ""))] if isinstance(weights, Mapping) else []
    typed += [
        str(tensor.get(key, ""))
        for tensor in (*reads, *(one.get("Constants") or ()))
        for key in ("Format/Datatype", "DataType", "Datatype")
    ]
    return Layer(
        name=str(one["Name"]),
        layer_type=str(one.get("LayerType", "")),
        tactic=str(one.get("TacticName", "")),
        nodes=tuple(dict.fromkeys(NODE.findall(str(one.get("Metadata", ""))))),
        reads=tuple(str(tensor["Name"]) for tensor in reads),
        makes=tuple(str(tensor["Name"]) for tensor in one.get("Outputs") or ()),
        formats=tuple(word for word in typed if word),
    )


def trace_layers(
    layers: Sequence[Layer], operators: Sequence[Operator], precision: str = "fp32"
) -> tuple[Kernel, ...]:
    """The kernels that ``layers`` of an engine are, each with the operators that it covers: every operator belongs to
    one. A layer that only changes a layout or a number format (``glue``) names the operator whose tensor it changes.

    The kind is the operator with the most multiply-accumulates, how it is computed where that is told
    (``Conv.implicit-gemm.fp16.128x64x32``, ``Softmax.myelin``), and the format where it is another than the
    ``precision`` asked for (``Gemm.myelin.fp32``). Layers that multiply nothing have no TF32.
    """
    by_name = {op.name: op for op in operators}
    covers = _covers(layers, operators)
    kernels = []
    for layer, names in zip(layers, covers, strict=True):
        if not names:
            glue = _moved(layer, layers, covers, operators)
            put_in = any(name.startswith(PUT_IN) for name in (*layer.nodes, *_parts(layer.name)))
            kind = "Cast" if put_in else "myelin" if layer.myelin else layer.layer_type or "Copy"
            kernels.append(Kernel(kind, layer.name, kind, (glue,), True))
            continue
        main = max((by_name[name] for name in names), key=lambda op: op.macs)  # the first, where none has any
        words = [main.op_type, layer.words]
        another = layer.precision not in ("", precision) and (precision != "tf32" or main.macs)
        if another and layer.precision not in layer.words.split("."):
            words.append(layer.precision)
        kernels.append(
            Kernel(".".join(word for word in words if word), layer.name, main.op_type, tuple(names))
        )
    return tuple(kernels)


def precisions_ran(
    layers: Sequence[Layer], operators: Sequence[Operator], us: Mapping[str, float]
) -> dict[str, float]:
    """Of the time of all layers that multiply and say in what format: each format's part. ``us``: microseconds of a
    layer, by name."""
    products = {op.name for op in operators if op.macs}
    times: dict[str, float] = {}
    for layer, names in zip(layers, _covers(layers, operators), strict=True):
        if layer.precision and products.intersection(names):
            times[layer.precision] = times.get(layer.precision, 0.0) + us.get(layer.name, 0.0)
    total = sum(times.values())
    return {word: time / total for word, time in sorted(times.items())} if total else {}


def match_times(
    kernels: Sequence[Kernel], operators: Sequence[Operator], events: Iterable[Mapping[str, Any]]
) -> tuple[tuple[Kernel, Any], ...]:
    """A profiler's events beside their kernels, by name, in the order in which they ran. An event that the inspector
    has no layer for (a DLA's copies: ``conv1_out from nvm``) is glue of the operator whose tensor it names."""
    maker = {value: op.name for op in operators for value in op.values}
    waiting = list(kernels)
    found = []
    for event in events:
        kernel = next((k for k in waiting if k.name == event["name"]), None)
        if kernel is None:
            of = maker.get(event["name"].split(" ")[0], "input")
            kernel = Kernel("Copy", event["name"], "Copy", (of,), True)
        else:
            waiting.remove(kernel)
        found.append((kernel, event))
    return tuple(found)


def fallen_back(layers: Sequence[Layer], operators: Sequence[Operator]) -> tuple[str, ...]:
    """Of an engine for a DLA, the operators that the GPU runs, in graph order."""
    covers = _covers(layers, operators)
    on_gpu = {name for layer, names in zip(layers, covers, strict=True) if not layer.dla for name in names}
    return tuple(op.name for op in operators if op.name in on_gpu)


def _covers(layers: Sequence[Layer], operators: Sequence[Operator]) -> list[list[str]]:
    """The operators of each layer, in graph order; none where it only moves or converts tensors, or helps another
    layer with its operator."""
    order = {op.name: i for i, op in enumerate(operators)}
    maker = {value: op.name for op in operators for value in op.values}
    named = _nodes(operators)
    claims: dict[str, list[tuple[int, int]]] = {}
    macs = {op.name: op.macs for op in operators}
    for index, layer in enumerate(layers):
        for node in () if _is_copy(layer) else (*layer.nodes, *_parts(layer.name)):
            if node in named:
                name = named[node]
                claims.setdefault(name, []).append((_distance(layer, macs[name]), index))
    owner = {op.name: min(claims[op.name])[1] for op in operators if op.name in claims}
    for index, layer in enumerate(layers):
        ends = None if _is_copy(layer) else _ends(layer.name, order, named)
        if ends:
            for name, place in order.items():
                if ends[0] <= place <= ends[1]:
                    owner.setdefault(name, index)
        elif index not in owner.values() and layer.layer_type not in MOVES and not _is_copy(layer):
            made = (maker[value] for value in layer.makes if value in maker)
            for name in made:
                owner.setdefault(name, index)
    _adopt(operators, owner)
    covers: list[list[str]] = [[] for _ in layers]
    for op in operators:
        if op.name in owner:
            covers[owner[op.name]].append(op.name)
    return covers


def _nodes(operators: Sequence[Operator]) -> dict[str, str]:
    """Operators by what an engine calls their nodes: a node without a name after its values."""
    nameless = {NAMELESS + value: op.name for op in operators for value in op.values}
    return {**nameless, **{op.name: op.name for op in operators}}


def _distance(layer: Layer, macs: int) -> int:
    """How far a layer that names an operator is from doing its work: a node may be several layers, such as a product
    and what prepares for it."""
    return 2 if layer.layer_type in MOVES else 0 if macs and layer.multiplies else 1


def _is_copy(layer: Layer) -> bool:
    return COPY.match(layer.name) is not None or layer.name.endswith(" copy")


def _parts(name: str) -> list[str]:
    """The nodes that a layer's name is made of, among other words."""
    return [COPIED.sub("", part.strip()) for part in BETWEEN.split(name)]


def _ends(name: str, order: Mapping[str, int], named: Mapping[str, str]) -> tuple[int, int] | None:
    """The places of the first and the last operator of a block."""
    found = BLOCK.search(name)
    if not found:
        return None
    places = [order[named[part]] for text in found.groups("") for part in _parts(text) if part in named]
    return (min(places), max(places)) if places else None


def _adopt(operators: Sequence[Operator], owner: dict[str, int]) -> None:
    """Give an operator that no layer tells of to the layer of what it reads, else of what reads it."""
    for op in operators:
        known = [owner[name] for name in op.producers if name in owner]
        if known:
            owner.setdefault(op.name, known[0])
    for op in reversed(operators):
        for name in op.producers if op.name in owner else ():
            owner.setdefault(name, owner[op.name])


def _moved(
    layer: Layer, layers: Sequence[Layer], covers: Sequence[Sequence[str]], operators: Sequence[Operator]
) -> str:
    """The operator whose tensor a layer copies or converts, or that it helps with; ``input`` for the network's own."""
    maker = {value: op.name for op in operators for value in op.values}
    put_in = [part.removeprefix(prefix) for part in _parts(layer.name) for prefix in PUT_IN]
    for value in (*put_in, *layer.reads, *layer.makes):
        if value in maker:
            return maker[value]
    found = COPY.match(layer.name)
    about = found[2] if found else layer.name
    block = BLOCK.search(about)
    parts = [part for text in (block.groups("") if block else (about,)) for part in _parts(text)]
    named = _nodes(operators)
    nodes = (BESIDE.sub("", part) for part in (*layer.nodes, *parts))
    names = [named[node] for node in nodes if node in named]
    if not names:
        names = next(
            (list(own) for other, own in zip(layers, covers, strict=True) if other.name == about), []
        )
    if not names or not found or found[1] == "Output":
        return names[-1 if found else 0] if names else "input"
    return next((name for op in operators if op.name == names[0] for name in op.producers), "input")
