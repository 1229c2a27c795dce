"""Block: a short chain of layers of one kind, so that the operators of real networks can be measured by themselves.

Every kind is a few layers as published networks have them, with sizes that may be anything. A chain starts from an
image of ``size`` × ``size`` × ``channels`` (``rows`` and ``attention`` from ``size`` rows of ``channels`` numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import onnx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeprof.document import first_problem
from edgeprof.errors import SpecError
from edgeprof.nets.spec import Count
from edgeprof.nets.zoo.builder import Builder, Value

Of = Literal[
    "conv",  # convolutions: groups, dilation, strides, windows such as 1x7
    "depthwise",  # one convolution a channel, then one over channels
    "residual",  # two convolutions, and what entered them is added
    "gate",  # squeeze and excite
    "dense",  # normalisation, convolution, and both side by side
    "branches",  # three ways through one tensor, side by side
    "pool",  # poolings of a plain image
    "pooled",  # poolings after a convolution
    "linear",  # fully connected layers
    "rows",  # fully connected layers on every row, with layer normalisation
    "attention",  # self-attention; ``groups`` are the heads
    "elementwise",  # activations, sums and products of plain images
    "resize",  # a convolution, and its pixels twice as dense
]
KINDS: tuple[Of, ...] = get_args(Of)
Kernel = Count | Annotated[str, Field(pattern=r"^[1-9]\d{0,2}x[1-9]\d{0,2}$")]
Act = Literal[
    "",
    "relu",
    "relu6",
    "tanh",
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "silu",
    "gelu",
    "softmax",
    "leakyrelu",
    "exp",
    "sqrt",
    "lrn",
    "add",
    "multiply",
]
LAYER: Mapping[str, Any] = {"depth": 32, "kernel": 3, "stride": 1, "groups": 1, "dilation": 1, "act": "relu"}
MODES = ("nearest", "linear")


class Block(BaseModel):
    """A chain of layers; frozen, hashable, comparable. Each knob of a layer has one value a layer; a single one stands
    for all, and the longest says how many there are. Channels are rounded up to what groups ask for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["block"] = "block"
    of: Of
    size: Count = 28
    channels: Count = 16
    depth: tuple[Count, ...] = ()
    kernel: tuple[Kernel, ...] = ()
    stride: tuple[Count, ...] = ()
    groups: tuple[Count, ...] = ()
    dilation: tuple[Count, ...] = ()
    act: tuple[Act, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_value_per_layer(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        out = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        layers = max((len(v) for key, v in out.items() if key in LAYER and isinstance(v, tuple)), default=1)
        for knob, usual in LAYER.items():
            given_values = out.get(knob, usual)
            values = given_values if isinstance(given_values, tuple) else (given_values,)
            values = values or (usual,)
            out[knob] = values * layers if len(values) == 1 else values
            if len(out[knob]) != layers or not 1 <= layers <= 64:
                raise ValueError(f"{knob} has {len(values)} values for {layers} layers (1 to 64)")
        return out

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.depth)

    def label(self) -> str:
        """A short name for people."""
        depth = ",".join(str(d) for d in dict.fromkeys(self.depth))
        return f"{self.layers} × {self.of} {depth} · {self.size}×{self.size}×{self.channels}"


def block(**knobs: Any) -> Block:
    """A Block from its knobs.

    :raises SpecError: naming the knob that is wrong.
    """
    try:
        return Block(**knobs)
    except ValidationError as error:
        hint = f"a block is of {', '.join(KINDS)}; its knobs are {', '.join(LAYER)}, size and channels"
        raise SpecError(f"block: {first_problem(error)}", hint) from None


def block_model(net: Block, batch: int, *, weights: bool = True) -> onnx.ModelProto:
    """The ONNX model of a block with a static batch; the same arguments give the same bytes.

    :raises SpecError: no pixels are left, or a window is larger than the image.
    """
    builder = Builder(net.model_dump_json(), batch, weights=weights, fold=True)
    return builder.model(WRITE[net.of](builder, net))


def _window(kernel: int | str, dilation: int = 1) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel and the padding that keeps the size (vertical, horizontal)."""
    tall, wide = (kernel, kernel) if isinstance(kernel, int) else (int(k) for k in kernel.split("x"))
    return (tall, wide), (dilation * (tall - 1) // 2, dilation * (wide - 1) // 2)


def _layer(b: Builder, name: str, x: Value, net: Block, i: int, *, act: str | None = None) -> Value:
    """The convolution of layer ``i``."""
    kernel, pad = _window(net.kernel[i], net.dilation[i])
    groups = math.gcd(x.channels, net.groups[i])
    depth = -(-net.depth[i] // groups) * groups
    stride = net.stride[i] if x.shape[2] > 1 else 1
    how: dict[str, Any] = {"stride": stride, "pad": pad, "groups": groups, "dilation": net.dilation[i]}
    return b.conv(name, x, depth, kernel, **how, act=_single(net.act[i]) if act is None else act)


def _single(act: str) -> str:
    """An activation; none for those of two sides."""
    return "" if act in ("add", "multiply") else act


def _side(kernel: int | str) -> int:
    return kernel if isinstance(kernel, int) else max(int(k) for k in kernel.split("x"))


def _conv(b: Builder, net: Block) -> Value:
    x = b.image(net.channels, net.size)
    for i in range(net.layers):
        x = _layer(b, f"conv{i + 1}", x, net, i)
    return x


def _depthwise(b: Builder, net: Block) -> Value:
    x = b.conv("first", b.image(3, net.size), net.channels, 1)
    for i in range(net.layers):
        kernel, pad = _window(net.kernel[i], net.dilation[i])
        how: dict[str, Any] = {"pad": pad, "groups": x.channels, "dilation": net.dilation[i]}
        stride = net.stride[i] if x.shape[2] > 1 else 1
        x = b.conv(f"dw{i + 1}", x, x.channels, kernel, stride=stride, **how, act=_single(net.act[i]))
        x = b.conv(f"pw{i + 1}", x, net.depth[i], 1)
    return x


def _residual(b: Builder, net: Block) -> Value:
    x = b.conv("first", b.image(3, net.size), net.channels, 1, act=_single(net.act[0]))
    for i in range(net.layers):
        name, kernel, pad = f"part{i + 1}", *_window(net.kernel[i])
        y = b.conv(f"{name}_conv1", x, net.depth[i], 1, act=_single(net.act[i]))
        y = b.conv(f"{name}_conv2", y, x.channels, kernel, pad=pad)
        x = b.add(f"{name}_add", y, x, _single(net.act[i]))
    return x


def _gate(b: Builder, net: Block) -> Value:
    x = b.conv("first", b.image(3, net.size), net.channels, 1, act=_single(net.act[0]))
    for i in range(net.layers):
        name = f"part{i + 1}"
        y = _layer(b, f"{name}_conv", x, net, i)
        squeezed = max(y.channels // 4, 1)
        gate = b.conv(f"{name}_squeeze", b.global_pool(f"{name}_pool", y), squeezed, 1, act="relu")
        gate = b.conv(f"{name}_excite", gate, y.channels, 1, act=("sigmoid", "hardsigmoid")[i % 2])
        x = b.multiply(f"{name}_gate", y, gate)
    return x


def _dense(b: Builder, net: Block) -> Value:
    x = b.conv("first", b.image(3, net.size), net.channels, 1)
    for i in range(net.layers):
        y = b.norm(f"part{i + 1}_bn", x, _single(net.act[i]))
        y = _layer(b, f"part{i + 1}_conv", y, net, i, act="")
        if y.shape[2] == x.shape[2]:
            y = b.concat(f"part{i + 1}_concat", (x, y))
        x = y
    return x


def _branches(b: Builder, net: Block) -> Value:
    x = b.conv("first", b.image(3, net.size), net.channels, 1, act="relu")
    for i in range(net.layers):
        name, act = f"part{i + 1}", _single(net.act[i])
        kernel, pad = _window(net.kernel[i])
        y = b.conv(f"{name}_1x1", x, net.depth[i], 1, act=act)
        z = b.conv(f"{name}_deep1", x, max(net.depth[i] // 2, 1), 1, act=act)
        z = b.conv(f"{name}_deep2", z, net.depth[i], kernel, pad=pad, act=act)
        pool = (b.max_pool, b.average_pool)[i % 2]
        w = b.conv(f"{name}_proj", pool(f"{name}_pool", x, 3, 1, pad=1), net.depth[i], 1, act=act)
        x = b.concat(f"{name}_concat", (y, z, w))
    return x


def _pool(b: Builder, net: Block) -> Value:
    return _pools(b, net, b.image(net.channels, net.size))


def _pooled(b: Builder, net: Block) -> Value:
    return _pools(b, net, b.conv("first", b.image(3, net.size), net.channels, 1, act="relu"))


def _pools(b: Builder, net: Block, x: Value) -> Value:
    for i in range(net.layers):
        side, pool = _side(net.kernel[i]), (b.max_pool, b.average_pool)[i % 2]
        if x.shape[2] >= side:
            x = pool(f"pool{i + 1}", x, side, net.stride[i], pad=(side - 1) // 2)
    return b.flatten("flatten", b.global_pool("global", x))


def _linear(b: Builder, net: Block) -> Value:
    x = b.flatten("flatten", b.image(net.channels, 1))
    for i in range(net.layers):
        x = b.linear(f"fc{i + 1}", x, net.depth[i], _single(net.act[i]))
    return b.softmax(x)


def _tokens(b: Builder, channels: int, rows: int) -> Value:
    """``rows`` rows of ``channels`` numbers from an image one pixel wide."""
    x = b.image(channels, 1) if rows == 1 else b.image(channels * rows, 1)
    return b.reshape("rows", x, (b.batch, rows, channels))


def _rows(b: Builder, net: Block) -> Value:
    x = _tokens(b, net.channels, net.size)
    for i in range(net.layers):
        y = b.linear(f"fc{i + 1}", b.layer_norm(f"norm{i + 1}", x), net.depth[i], _single(net.act[i]))
        x = b.add(f"add{i + 1}", y, x) if y.shape == x.shape else y
    return x


def _attention(b: Builder, net: Block) -> Value:
    x = _tokens(b, net.channels, net.size)
    for i in range(net.layers):
        heads = math.gcd(x.shape[2], net.groups[i])
        x = b.add(f"add{i + 1}", x, b.attention(f"attention{i + 1}", b.layer_norm(f"norm{i + 1}", x), heads))
    return x


def _elementwise(b: Builder, net: Block) -> Value:
    first = x = b.image(net.channels, net.size)
    for i, act in enumerate(net.act):
        name = f"step{i + 1}"
        if act in ("add", "multiply"):
            x = (b.add if act == "add" else b.multiply)(name, x, first)
        else:
            x = b.activation(name, x, act) if act else b.scale(name, x, 0.5)
    return x


def _resize(b: Builder, net: Block) -> Value:
    x = b.image(net.channels, net.size)
    for i in range(net.layers):
        x = _layer(b, f"conv{i + 1}", x, net, i)
        x = b.resize(f"resize{i + 1}", x, 2, MODES[i % len(MODES)])
    return x


WRITE: Mapping[Of, Callable[[Builder, Block], Value]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "residual": _residual,
    "gate": _gate,
    "dense": _dense,
    "branches": _branches,
    "pool": _pool,
    "pooled": _pooled,
    "linear": _linear,
    "rows": _rows,
    "attention": _attention,
    "elementwise": _elementwise,
    "resize": _resize,
}
