"""NetSpec → ONNX model."""

from __future__ import annotations

import onnx

from edgeprof.nets.graph import Graph, checked_bytes
from edgeprof.nets.spec import NetSpec


def build_model(net: NetSpec, batch: int, *, weights: bool = True) -> onnx.ModelProto:
    """The ONNX model of ``net`` with a static batch: input ``[batch, channels, tile, tile]`` float32,
    output ``[batch, classes]``.

    The same arguments give the same bytes. Nodes are called ``conv1``, ``conv1_relu``, ``pool1``, ``flatten``,
    ``fc1``, ``fc1_relu``, ``classifier``, ``softmax``. With ``weights=False`` initializers keep their shapes but
    hold no data: enough for shape inference, not for a runtime.

    :raises SpecError: where the weights do not fit in one file.
    """
    graph = Graph(net.model_dump_json(), weights)
    value, size, channels = "input", net.tile, net.channels
    for i in range(net.conv):
        name, k, s = f"conv{i + 1}", net.kernel[i], net.stride[i]
        begin, end = net.pads(i, size)
        shape = (net.depth[i], channels, k, k)
        value = graph.node(
            "Conv",
            name,
            [value, *graph.parameters(name, shape, channels * k * k)],
            kernel_shape=[k, k],
            strides=[s, s],
            pads=[begin, begin, end, end],
        )
        value = graph.node("Relu", f"{name}_relu", [value])
        size, channels = (size + begin + end - k) // s + 1, net.depth[i]
        pool = net.pool_after(i)
        if pool > 1:
            value = graph.node(
                "MaxPool", f"pool{i + 1}", [value], kernel_shape=[pool, pool], strides=[pool, pool]
            )
            size //= pool
    value = graph.node("Flatten", "flatten", [value], axis=1)
    width = channels * size * size
    for i, neurons in enumerate((*net.neurons, net.classes)):
        hidden = i < net.fc
        name = f"fc{i + 1}" if hidden else "classifier"
        value = graph.node("Gemm", name, [value, *graph.parameters(name, (width, neurons), width)])
        value = graph.node("Relu" if hidden else "Softmax", f"{name}_relu" if hidden else "softmax", [value])
        width = neurons
    return graph.model((batch, net.channels, net.tile, net.tile), (batch, net.classes))


def model_bytes(net: NetSpec, batch: int) -> bytes:
    """:func:`build_model`, checked by ``onnx.checker`` and serialised; the same arguments, the same bytes."""
    return checked_bytes(build_model(net, batch))
