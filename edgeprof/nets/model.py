"""ModelFile: any ONNX file as a network, with every axis of its inputs given a size."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import onnx
from onnx import TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from pydantic import BaseModel, ConfigDict, Field

from edgeprof.errors import CatalogueError, SpecError
from edgeprof.nets.graph import MAX_BYTES
from edgeprof.nets.operators import parse_model

OLDEST_OPSET = 7
FORMATS: Mapping[int, str] = {  # of weights; whole numbers of 32 and 64 bits are shapes and indices
    TensorProto.FLOAT: "fp32",
    TensorProto.DOUBLE: "fp64",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
}
BLOCK = 2**20
Size = Annotated[int, Field(ge=0)]
Axis = int | str  # a size; the name of an axis whose size is open, or "" where it has none


class ModelFile(BaseModel):
    """An ONNX file; frozen, hashable, comparable.

    ``name`` is for people, ``sha256`` of the file and of its external data, ``shapes`` are those of its inputs, with
    every axis filled. Where the file lies is no part of what it is: ``path`` is known to who opened it, and not to who
    reads a database.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["file"] = "file"
    name: str
    sha256: str
    shapes: tuple[tuple[str, tuple[Size, ...]], ...]
    path: Path | None = Field(default=None, exclude=True, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelFile) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return self.name, self.sha256, self.shapes

    @property
    def batch(self) -> int:
        """The first axis of its first input that has axes; 1 where there is none."""
        return next((shape[0] for _, shape in self.shapes if shape), 1)

    def label(self) -> str:
        """A short name for people."""
        return self.name


@dataclass(frozen=True)
class Input:
    """An input of a graph: its element type (of ``onnx.TensorProto``; 0 where it is no tensor), and its axes, None
    where not even their number is known."""

    name: str
    data_type: int
    axes: tuple[Axis, ...] | None


def model_file(
    path: Path, *, batch: int | None = None, shapes: Mapping[str, Sequence[int]] | None = None, name: str = ""
) -> ModelFile:
    """The network in an ONNX file.

    Open axes are filled from ``shapes`` (input → sizes); an axis of the same name has the same size in every input. An
    open first axis that these leave is the ``batch``.

    :raises CatalogueError: no such file. :raises SpecError: no ONNX file, an opset before 7, missing external data, a
        shape that is not the file's, or axes that nothing gives a size.
    """
    model = read_model(path)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise SpecError(
            f"{path} is of ONNX opset {opset}; runtimes read {OLDEST_OPSET} and newer",
            "convert it: onnx.version_converter.convert_version(model, 13)",
        )
    inputs = graph_inputs(model.graph)
    filled = fill_axes(inputs, batch, dict(shapes or {}))
    if batch is not None and not any(shape[:1] == (batch,) for shape in filled.values()):
        raise SpecError(
            f"{path} has no input with an open first axis for a batch of {batch}: {shown_inputs(inputs)}",
            "leave out --batch, or export the network with an open batch",
        )
    return ModelFile(
        name=name or path.stem, sha256=content_hash(path, model), shapes=tuple(filled.items()), path=path
    )


def read_model(path: Path, *, external: bool = False) -> onnx.ModelProto:
    """The content of an ONNX file; weights outside it too where ``external``.

    :raises CatalogueError: no such file. :raises SpecError: it is no ONNX file, or its external data is not there.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CatalogueError(f"no such file: {path}", "give the path of an ONNX file") from None
    except OSError as error:
        raise CatalogueError(
            f"{path} cannot be read: {error.strerror}", "give the path of an ONNX file"
        ) from None
    model = parse_model(data, str(path))
    if not model.graph.node:
        raise SpecError(f"{path} holds no network", "export the network as ONNX: torch.onnx.export, tf2onnx")
    try:
        if external:
            onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise SpecError(
            f"the weights of {path} cannot be read: {error}", "export the network again"
        ) from None
    return model


def external_files(path: Path, model: onnx.ModelProto) -> tuple[Path, ...]:
    """The files beside ``path`` that hold its weights.

    :raises SpecError: one is missing, or lies outside the folder of ``path``.
    """
    names = {
        ExternalDataInfo(tensor).location for tensor in _tensors(model.graph) if uses_external_data(tensor)
    }
    found = []
    for name in sorted(names):
        file = path.parent / name
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise SpecError(f"{path} keeps weights outside its folder: {name}", "export the network again")
        if not file.is_file():
            raise SpecError(
                f"{path} keeps weights in {name}, which is not beside it", f"copy {name} into {path.parent}"
            )
        found.append(file)
    return tuple(found)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph and of the graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def content_hash(path: Path, model: onnx.ModelProto) -> str:
    """SHA-256 of an ONNX file and of its external data."""
    found = hashlib.sha256()
    for file in (path, *external_files(path, model)):
        with file.open("rb") as stream:
            while part := stream.read(BLOCK):
                found.update(part)
    return found.hexdigest()


def graph_inputs(graph: onnx.GraphProto) -> tuple[Input, ...]:
    """What a graph has to be fed: its inputs without those that have a value already."""
    known = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return tuple(_input(value) for value in graph.input if value.name not in known)


def _input(value: onnx.ValueInfoProto) -> Input:
    if not value.type.HasField("tensor_type"):
        return Input(value.name, 0, None)
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return Input(value.name, tensor.elem_type, None)
    axes: list[Axis] = [
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param.strip("?")
        for d in tensor.shape.dim
    ]
    return Input(value.name, tensor.elem_type, tuple(axes))


def fill_axes(
    inputs: Sequence[Input], batch: int | None, given: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """The shape of every input.

    :raises SpecError: a shape that does not fit, or axes left open, naming them and the flag that fills them.
    """
    names = [i.name for i in inputs]
    for name in given:
        if name not in names:
            raise SpecError(f"the model has no input '{name}'", f"its inputs: {', '.join(names) or 'none'}")
    sizes: dict[str, int] = {}
    for one in inputs:
        wanted = given.get(one.name)
        if wanted is None or one.axes is None:
            continue
        if len(wanted) != len(one.axes):
            raise SpecError(
                f"input '{one.name}' has {len(one.axes)} axes, not {len(wanted)}", f"it is {shown_axes(one)}"
            )
        for axis, size in zip(one.axes, wanted, strict=True):
            fixed = sizes.setdefault(axis, size) if isinstance(axis, str) and axis else axis
            if isinstance(fixed, int) and fixed != size:
                raise SpecError(
                    f"input '{one.name}' is {shown_axes(one)}, which {shown_shape(wanted)} does not fit",
                    "an axis of one name has one size; a fixed axis keeps the file's",
                )
    found: dict[str, tuple[int, ...]] = {}
    for one in inputs:
        if one.axes is None and one.name not in given:
            raise SpecError(
                f"the file does not tell the shape of input '{one.name}'",
                f"give it: --shape {one.name}=1x3x224x224",
            )
        if one.name in given:
            found[one.name] = tuple(given[one.name])
            continue
        assert one.axes is not None
        if batch is not None and one.axes and isinstance(first := one.axes[0], str):
            sizes.setdefault(first, batch) if first else None
        shape: list[int | None] = [
            sizes.get(axis, batch if i == 0 and not axis else None) if isinstance(axis, str) else axis
            for i, axis in enumerate(one.axes)
        ]
        open_ = [i for i, size in enumerate(shape) if size is None]
        if open_:
            example = "x".join(str(1 if size is None else size) for size in shape)
            flag = "--batch 1, or " if open_ == [0] else ""
            raise SpecError(
                f"input '{one.name}' is {shown_axes(one)}: {_axes(open_)} of open size",
                f"give {flag}--shape {one.name}={example}",
            )
        found[one.name] = tuple(size for size in shape if size is not None)
    return found


def _axes(numbers: Sequence[int]) -> str:
    return f"axis {numbers[0]} is" if len(numbers) == 1 else f"axes {', '.join(map(str, numbers))} are"


def shown_axes(one: Input) -> str:
    """The axes of an input as people read them: ``N×3×?×?``."""
    return "×".join(str(a) if a != "" else "?" for a in one.axes or ()) or "a single number"


def shown_inputs(inputs: Sequence[Input]) -> str:
    """The inputs of a graph as people read them."""
    return ", ".join(f"{one.name} is {shown_axes(one)}" for one in inputs) or "it has no inputs"


def shown_shape(shape: Sequence[int]) -> str:
    """A shape as people read it."""
    return "×".join(map(str, shape)) or "a single number"


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """``name=1x3x224x224`` as an input's name and its sizes.

    :raises SpecError: it is none.
    """
    name, equals, sizes = text.rpartition("=")
    if not equals or not name or not re.fullmatch(r"\d{1,9}([x×]\d{1,9})*", sizes):
        raise SpecError(f"--shape {text!r} is no shape", "write it as --shape name=1x3x224x224")
    return name, tuple(int(size) for size in re.split("[x×]", sizes))


# --- the graph with its axes filled


def build_file(net: ModelFile, *, weights: bool = True) -> onnx.ModelProto:
    """The model of a file with the shapes of ``net``, and a name of its own for every node.

    With ``weights`` those outside the file are read too, as far as one file holds them all; see :func:`weights_folder`.

    :raises SpecError: it is not known where the file lies.
    """
    path = _path(net)
    model = read_model(path, external=weights and weights_folder(net) is None)
    fill(model, dict(net.shapes))
    return model


@lru_cache(maxsize=256)
def weights_folder(net: ModelFile) -> Path | None:
    """The folder where a model's weights stay, because they are more than one ONNX file holds; None where they fit."""
    path = _path(net)
    outside = external_files(path, read_model(path))
    total = sum(file.stat().st_size for file in (path, *outside))
    return path.parent if outside and total > MAX_BYTES else None


@lru_cache(maxsize=256)
def weights_format(net: ModelFile) -> str:
    """The number format of most of a model's weights, by bytes: ``fp32``, ``fp16``, ``int8`` and so on; ``fp32`` where
    there are none."""
    sizes: Counter[str] = Counter()
    for tensor in _tensors(read_model(_path(net)).graph):
        if tensor.data_type in FORMATS:
            sizes[FORMATS[tensor.data_type]] += math.prod(tensor.dims)
    return max(sizes, key=lambda name: sizes[name] * int("".join(filter(str.isdigit, name))), default="fp32")


def fill(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give the inputs of ``model`` these shapes, and every node a name of its own."""
    sizes: dict[str, int] = {}
    for value in model.graph.input:
        if value.name in shapes:
            shape = value.type.tensor_type.shape
            shape.SetInParent()  # a single number has a shape without axes
            for dim, size in zip(shape.dim, shapes[value.name], strict=False):
                if dim.dim_param:
                    sizes[dim.dim_param] = size
            del shape.dim[:]
            for size in shapes[value.name]:
                shape.dim.add().dim_value = size
    for value in (*model.graph.value_info, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        node.name = next(n for n in _variants(name) if n not in taken)
        taken.add(node.name)


def _variants(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _path(net: ModelFile) -> Path:
    if net.path is None:
        raise SpecError(
            f"the file of '{net.name}' is not at hand: a database keeps what it is, not the file itself",
            "measure it again from its file",
        )
    return net.path
