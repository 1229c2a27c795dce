"""Network: what a case is of. The one place that knows every kind of network.

A kind is a frozen value that says what the network is (``label`` names it for people), and a function that builds its
ONNX graph. All else, its operators, multiply-accumulates and bytes, follows from the graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnx
from pydantic import BaseModel, ConfigDict, Discriminator, Tag

from edgeprof.errors import SpecError
from edgeprof.nets.blocks import Block, block_model
from edgeprof.nets.build import build_model
from edgeprof.nets.feeds import Feed, feeds
from edgeprof.nets.graph import checked_bytes
from edgeprof.nets.model import ModelFile, build_file, graph_inputs
from edgeprof.nets.model import weights_folder as _file_weights
from edgeprof.nets.model import weights_format as _file_format
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.precision import CONVERTED, float16, quantized, ranges
from edgeprof.nets.spec import NetSpec
from edgeprof.nets.zoo import zoo_model


class ZooNet(BaseModel):
    """A network of the zoo by its name; any batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["zoo"] = "zoo"
    name: str

    def label(self) -> str:
        """A short name for people."""
        return self.name


def _kind(value: Any) -> str:
    """What tells one kind from another; networks of the family have no such field, and never had."""
    found = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return found or "family"


Network = Annotated[
    Annotated[NetSpec, Tag("family")]
    | Annotated[ModelFile, Tag("file")]
    | Annotated[ZooNet, Tag("zoo")]
    | Annotated[Block, Tag("block")],
    Discriminator(_kind),
]


def build_network(net: Network, batch: int, *, weights: bool = True) -> onnx.ModelProto:
    """The ONNX model of ``net`` at ``batch``; the shapes of a file say its batch themselves. With ``weights=False`` it
    may have shapes alone: enough for shape inference, not for a runtime.

    :raises EdgeprofError: it cannot be built.
    """
    match net:
        case NetSpec():
            return build_model(net, batch, weights=weights)
        case Block():
            return block_model(net, batch, weights=weights)
        case ZooNet():
            return zoo_model(net.name, batch, weights=weights)
        case ModelFile():
            return build_file(net, weights=weights)


def network_bytes(net: Network, batch: int, precision: str = "fp32") -> bytes:
    """:func:`build_network`, serialised; the same arguments, the same bytes. What edgeprof builds is checked by
    ``onnx.checker``; a file may have operators that only its runtime knows.

    :param precision: a graph of float32 weights is rewritten for ``fp16`` and ``int8``
        (:mod:`edgeprof.nets.precision`); others stay as they are.
    :raises SpecError: one that cannot be.
    """
    model = build_network(net, batch)
    if precision in CONVERTED and weights_format(net) in ("", "fp32"):
        model = float16(model) if precision == "fp16" else quantized(model, net_ranges(net))
    if not isinstance(net, ModelFile):
        return checked_bytes(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@lru_cache(maxsize=1024)
def net_ranges(net: Network) -> Mapping[str, float]:
    """The greatest magnitude of each tensor of ``net`` that ``int8`` quantises, on one tile of seeded noise (a file's
    own batch of it).

    :raises SpecError: it cannot be told.
    """
    model = build_network(net, 1)
    random = np.random.RandomState(0)
    return ranges(model, {name: feed.noise(random) for name, feed in net_feeds(net, 1).items()})


def weights_folder(net: Network) -> Path | None:
    """The folder of weights that are too large for :func:`network_bytes`; None for all but such files."""
    return _file_weights(net) if isinstance(net, ModelFile) else None


def weights_format(net: Network) -> str:
    """The number format of a file's weights, such as ``fp16``; nothing for the others, which are built to order."""
    return _file_format(net) if isinstance(net, ModelFile) else ""


def rebuildable(net: Network) -> bool:
    """Whether the graph can be had. A file that a database tells of may lie anywhere, or nowhere."""
    return not isinstance(net, ModelFile) or net.path is not None


@lru_cache(maxsize=4096)
def net_operators(net: Network, batch: int) -> tuple[Operator, ...]:
    """The operators of ``net`` at ``batch``, without building its weights."""
    return operators(build_network(net, batch, weights=False), partial=isinstance(net, ModelFile))


@lru_cache(maxsize=4096)
def net_feeds(net: Network, batch: int) -> Mapping[str, Feed]:
    """What the inputs of ``net`` are given to be run at ``batch``.

    :raises SpecError: one of them cannot be fed.
    """
    model = build_network(net, batch, weights=False)
    shapes = {one.name: [int(axis) for axis in one.axes or ()] for one in graph_inputs(model.graph)}
    return feeds(model, shapes)


def total_macs(net: Network, batch: int) -> int:
    """Multiply-accumulates of one run of ``net``."""
    return sum(op.macs for op in net_operators(net, batch))


def total_parameters(net: Network) -> int:
    """Weights and biases of ``net``."""
    return sum(op.parameters for op in net_operators(net, 1))


def net_key(net: Network) -> str:
    """A short name of a network, the same for equal networks: 12 hexadecimal digits."""
    return hashlib.sha256(net.model_dump_json().encode()).hexdigest()[:12]


def of_family(net: Network, why: str) -> NetSpec:
    """``net`` as a network of the family.

    :raises SpecError: it is of another kind, and ``why`` needs the family's numbers.
    """
    if isinstance(net, NetSpec):
        return net
    raise SpecError(
        f"{why}: {net.label()} is not of the family", "give a network by its flags, such as --conv 2"
    )
