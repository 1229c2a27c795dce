"""The layers that networks of the zoo are written in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgeprof.nets.graph import Graph

# Activations of one operator; the others are spelled out in Builder.activation, as exporters do at opset 13.
PLAIN = {
    "relu": "Relu",
    "leakyrelu": "LeakyRelu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "exp": "Exp",
    "sqrt": "Sqrt",
}


@dataclass(frozen=True)
class Value:
    """What a node gives: its name in the graph and its shape, the batch first."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Channels of an image ``[batch, channels, height, width]``."""
        return self.shape[1]


class Builder:
    """A network of the zoo while it is written: every layer takes values and gives one.

    ``norm`` asks for batch normalisation after a convolution. With ``fold`` it is part of the convolution's weights and
    bias, as exporters write graphs for inference; else it is a node of its own and the convolution has no bias.
    """

    def __init__(self, name: str, batch: int, *, weights: bool, fold: bool) -> None:
        self.batch = batch
        self._graph = Graph(f"zoo:{name}", weights)
        self._fold = fold
        self._image: tuple[int, ...] = ()

    def image(self, channels: int, size: int) -> Value:
        """The network's input."""
        self._image = (self.batch, channels, size, size)
        return Value("input", self._image)

    def conv(
        self,
        name: str,
        x: Value,
        depth: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        pad: int | tuple[int, int] = 0,
        groups: int = 1,
        dilation: int = 1,
        norm: bool = False,
        bias: bool = True,
        act: str = "",
    ) -> Value:
        """A convolution; kernel and padding are (vertical, horizontal) where they differ.

        ``bias`` is asked for without ``norm`` alone.
        """
        tall, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        above, left = (pad, pad) if isinstance(pad, int) else pad
        shape = (depth, x.channels // groups, tall, wide)
        fan_in = math.prod(shape[1:])
        if self._fold if norm else bias:
            parameters = self._graph.parameters(name, shape, fan_in)
        else:
            parameters = [self._graph.weight(name, shape, fan_in)]
        reach = ((tall - 1) * dilation + 1, (wide - 1) * dilation + 1)
        pixels = _pixels(x.shape[2:], reach, stride, (above, left))
        spread = {"dilations": [dilation, dilation]} if dilation > 1 else {}
        out = self._node(
            "Conv",
            name,
            [x.name, *parameters],
            (self.batch, depth, *pixels),
            kernel_shape=[tall, wide],
            strides=[stride, stride],
            pads=[above, left, above, left],
            group=groups,
            **spread,
        )
        if norm and not self._fold:
            out = self.norm(f"{name}_bn", out)
        return self.activation(name, out, act)

    def norm(self, name: str, x: Value, act: str = "") -> Value:
        """Batch normalisation as a node: scale 1, shift 0, running mean 0 and variance 1."""
        start = {"scale": 1, "shift": 0, "mean": 0, "variance": 1}
        parameters = [self._graph.filled(f"{name}_{what}", (x.channels,), v) for what, v in start.items()]
        out = self._node("BatchNormalization", name, [x.name, *parameters], x.shape)
        return self.activation(name, out, act)

    def activation(self, name: str, x: Value, act: str) -> Value:
        """``x`` after one of :data:`PLAIN`, relu6, hardsigmoid, hardswish, silu, gelu or lrn (local response
        normalisation over five channels); after none, ``x``."""
        if not act:
            return x
        name = f"{name}_{act}"
        if act in PLAIN:
            return self._node(PLAIN[act], name, [x.name], x.shape)
        if act == "relu6":
            limits = [self._number(f"{name}_low", 0), self._number(f"{name}_high", 6)]
            return self._node("Clip", name, [x.name, *limits], x.shape)
        if act == "lrn":
            return self._node("LRN", name, [x.name], x.shape, size=5)
        if act == "hardsigmoid":
            return self._node("HardSigmoid", name, [x.name], x.shape, alpha=1 / 6, beta=0.5)
        if act in ("hardswish", "silu"):
            gate = self.activation(name, x, "hardsigmoid" if act == "hardswish" else "sigmoid")
            return self.multiply(name, x, gate)
        if act == "gelu":
            out = self.scale(f"{name}_scale", x, math.sqrt(0.5))
            out = self._node("Erf", f"{name}_erf", [out.name], x.shape)
            out = self._node("Add", f"{name}_plus", [out.name, self._number(f"{name}_one", 1)], x.shape)
            return self.scale(f"{name}_half", self.multiply(name, x, out), 0.5)
        raise ValueError(act)

    def max_pool(
        self, name: str, x: Value, kernel: int, stride: int, *, pad: int = 0, ceil: bool = False
    ) -> Value:
        """Maximum pooling; ``ceil`` keeps a last window that reaches over the edge."""
        return self._pool("MaxPool", name, x, kernel, stride, pad, ceil_mode=int(ceil))

    def average_pool(self, name: str, x: Value, kernel: int, stride: int, *, pad: int = 0) -> Value:
        """Average pooling; padding counts as zeros."""
        return self._pool("AveragePool", name, x, kernel, stride, pad, count_include_pad=1)

    def global_pool(self, name: str, x: Value) -> Value:
        """The average of every channel: ``[batch, channels, 1, 1]``."""
        return self._node("GlobalAveragePool", name, [x.name], (*x.shape[:2], 1, 1))

    def concat(self, name: str, values: Sequence[Value], axis: int = 1) -> Value:
        """Values side by side along an axis, channels unless told otherwise."""
        shape = list(values[0].shape)
        shape[axis] = sum(v.shape[axis] for v in values)
        return self._node("Concat", name, [v.name for v in values], tuple(shape), axis=axis)

    def add(self, name: str, x: Value, y: Value, act: str = "") -> Value:
        """The sum of two values of one shape."""
        return self.activation(name, self._node("Add", name, [x.name, y.name], x.shape), act)

    def resize(self, name: str, x: Value, factor: int, mode: str = "nearest") -> Value:
        """Every pixel ``factor`` times as wide and tall; mode ``nearest`` or ``linear``."""
        scales = self._graph.constant(f"{name}_scales", np.array([1, 1, factor, factor], np.float32))
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        shape = (*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
        return self._node("Resize", name, [x.name, "", scales], shape, mode=mode, **how)

    def multiply(self, name: str, x: Value, y: Value) -> Value:
        """The product, element by element; ``y`` may have one pixel per channel."""
        return self._node("Mul", name, [x.name, y.name], x.shape)

    def scale(self, name: str, x: Value, factor: float) -> Value:
        """``x`` times a number."""
        return self._node("Mul", name, [x.name, self._number(f"{name}_factor", factor)], x.shape)

    def flatten(self, name: str, x: Value) -> Value:
        """One row per image."""
        return self._node("Flatten", name, [x.name], (self.batch, math.prod(x.shape[1:])), axis=1)

    def linear(self, name: str, x: Value, width: int, act: str = "") -> Value:
        """A fully connected layer on the last axis: Gemm on rows, MatMul and Add on anything else, as exporters do."""
        shape, inner = (*x.shape[:-1], width), x.shape[-1]
        weight, bias = self._graph.parameters(name, (inner, width), inner)
        if len(shape) == 2:
            out = self._node("Gemm", name, [x.name, weight, bias], shape)
        else:
            out = self._node("MatMul", name, [x.name, weight], shape)
            out = self._node("Add", f"{name}_add", [out.name, bias], shape)
        return self.activation(name, out, act)

    def classifier(self, x: Value, classes: int) -> Value:
        """The last fully connected layer, ``classifier``, and ``softmax``."""
        return self.softmax(self.linear("classifier", x, classes))

    def softmax(self, x: Value) -> Value:
        """Probabilities of the classes."""
        return self._node("Softmax", "softmax", [x.name], x.shape)

    def matmul(self, name: str, x: Value, y: Value) -> Value:
        """The product of two stacks of matrices."""
        return self._node("MatMul", name, [x.name, y.name], (*x.shape[:-1], y.shape[-1]))

    def reshape(self, name: str, x: Value, shape: tuple[int, ...]) -> Value:
        """The same numbers in another shape."""
        to = self._graph.constant(f"{name}_shape", np.array(shape, np.int64))
        return self._node("Reshape", name, [x.name, to], shape)

    def transpose(self, name: str, x: Value, order: tuple[int, ...]) -> Value:
        """Axes in another order."""
        return self._node("Transpose", name, [x.name], tuple(x.shape[i] for i in order), perm=order)

    def gather(self, name: str, x: Value, axis: int, index: int) -> Value:
        """The slice at ``index``, without its axis."""
        at = self._graph.constant(f"{name}_index", np.array(index, np.int64))
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        return self._node("Gather", name, [x.name, at], shape, axis=axis)

    def layer_norm(self, name: str, x: Value) -> Value:
        """Normalisation over the last axis (Ba et al. 2016), spelled out, since its operator came with opset 17."""
        narrow = (*x.shape[:-1], 1)
        mean = self._node("ReduceMean", f"{name}_mean", [x.name], narrow, axes=[-1])
        centred = self._node("Sub", f"{name}_centred", [x.name, mean.name], x.shape)
        two = self._number(f"{name}_two", 2)
        square = self._node("Pow", f"{name}_square", [centred.name, two], x.shape)
        variance = self._node("ReduceMean", f"{name}_variance", [square.name], narrow, axes=[-1])
        tiny = self._number(f"{name}_epsilon", 1e-6)
        steady = self._node("Add", f"{name}_steady", [variance.name, tiny], narrow)
        deviation = self._node("Sqrt", f"{name}_deviation", [steady.name], narrow)
        out = self._node("Div", f"{name}_unit", [centred.name, deviation.name], x.shape)
        scale = self._graph.filled(f"{name}_scale", x.shape[-1:], 1)
        shift = self._graph.filled(f"{name}_shift", x.shape[-1:], 0)
        out = self._node("Mul", f"{name}_scaled", [out.name, scale], x.shape)
        return self._node("Add", name, [out.name, shift], x.shape)

    def attention(self, name: str, x: Value, heads: int) -> Value:
        """Self-attention of several heads (Vaswani et al. 2017, §3.2), queries, keys and values from one product."""
        batch, rows, width = x.shape
        qkv = self.linear(f"{name}_qkv", x, 3 * width)
        qkv = self.reshape(f"{name}_heads", qkv, (batch, rows, 3, heads, width // heads))
        qkv = self.transpose(f"{name}_heads_transpose", qkv, (2, 0, 3, 1, 4))
        q, k, v = (self.gather(f"{name}_{part}", qkv, 0, i) for i, part in enumerate("qkv"))
        q = self.scale(f"{name}_scale", q, (width // heads) ** -0.5)
        scores = self.matmul(f"{name}_scores", q, self.transpose(f"{name}_k_transpose", k, (0, 1, 3, 2)))
        mixed = self.matmul(f"{name}_mixed", self.activation(name, scores, "softmax"), v)
        mixed = self.transpose(f"{name}_mixed_transpose", mixed, (0, 2, 1, 3))
        return self.linear(
            f"{name}_project", self.reshape(f"{name}_mixed_rows", mixed, (batch, rows, width)), width
        )

    def token(self, name: str, width: int) -> Value:
        """A learnt row in front of every image's rows: ``[batch, 1, width]``."""
        row = self._graph.weight(name, (1, 1, width), width)
        shape = self._graph.constant(f"{name}_shape", np.array([self.batch, 1, width], np.int64))
        return self._node("Expand", name, [row, shape], (self.batch, 1, width))

    def position(self, name: str, x: Value) -> Value:
        """``x`` plus a learnt table, the same for every image."""
        table = self._graph.weight(name, (1, *x.shape[1:]), x.shape[-1])
        return self._node("Add", name, [x.name, table], x.shape)

    def model(self, output: Value) -> onnx.ModelProto:
        """The finished network; ``output`` is what its last node gives."""
        return self._graph.model(self._image, output.shape)

    def _pool(
        self, op_type: str, name: str, x: Value, kernel: int, stride: int, pad: int, **more: int
    ) -> Value:
        pixels = _pixels(x.shape[2:], (kernel, kernel), stride, (pad, pad), bool(more.get("ceil_mode")))
        size = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self._node(op_type, name, [x.name], (*x.shape[:2], *pixels), **size, **more)

    def _number(self, name: str, value: float) -> str:
        return self._graph.constant(name, np.array(value, np.float32))

    def _node(
        self, op_type: str, name: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any
    ) -> Value:
        return Value(self._graph.node(op_type, name, inputs, **attributes), shape)


def _pixels(
    size: tuple[int, ...], kernel: tuple[int, int], stride: int, pad: tuple[int, int], ceil: bool = False
) -> tuple[int, ...]:
    """Pixels left after a window has passed."""
    left = [s + 2 * p - k for s, k, p in zip(size, kernel, pad, strict=True)]
    return tuple((-(-n // stride) if ceil else n // stride) + 1 for n in left)
