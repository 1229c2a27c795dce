"""One layer alone, as the operators of a graph."""

from __future__ import annotations

from functools import lru_cache

from onnx import NodeProto, TensorProto, helper

from edgeprof.errors import SpecError
from edgeprof.nets.graph import IR_VERSION, OPSET
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.shapes import Shape


@lru_cache(maxsize=65536)
def conv_layer(
    batch: int,
    in_channels: int,
    out_channels: int,
    kernel: int,
    size: int,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> tuple[Operator, ...]:
    """A convolution on square images of ``size`` pixels a side, with ``padding`` pixels on each side.

    :raises SpecError: no pixels are left, or the groups do not divide the channels.
    """
    if in_channels % groups or out_channels % groups:
        raise SpecError(
            f"{groups} groups do not divide {in_channels} channels in and {out_channels} out",
            "channels are multiples of the groups",
        )
    left = (size + 2 * padding - kernel) // stride + 1
    if left < 1:
        raise SpecError(
            f"a kernel of {kernel} leaves no pixels of {size}", "take a smaller kernel or pad more"
        )
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        name="conv",
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[padding] * 4,
        group=groups,
    )
    weight = (out_channels, in_channels // groups, kernel, kernel)
    return _alone(node, (batch, in_channels, size, size), weight, (batch, out_channels, left, left))


@lru_cache(maxsize=65536)
def linear_layer(rows: int, inner: int, columns: int) -> tuple[Operator, ...]:
    """A matrix product (rows × inner)·(inner × columns)."""
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="linear")
    return _alone(node, (rows, inner), (inner, columns), (rows, columns))


def _alone(node: NodeProto, given: Shape, weight: Shape, made: Shape) -> tuple[Operator, ...]:
    weights = TensorProto(name="w", dims=weight, data_type=TensorProto.FLOAT)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)],
        [weights],
    )
    return operators(
        helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    )
