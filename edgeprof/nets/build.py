"""NetSpec → ONNX model: opset 13 and IR version 7, which the runtimes of JetPack 4 to 7 read."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import SpecError
from edgeprof.nets.spec import NetSpec

OPSET = 13
IR_VERSION = 7
MAX_BYTES = 2**31 - 1  # protobuf's limit for one message


class _Graph:
    """Nodes and initializers of a graph that grows from input to output."""

    def __init__(self, seed: int, weights: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.bytes = 0
        self._rng = np.random.default_rng(seed)
        self._weights = weights

    def node(self, op_type: str, name: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))
        return output

    def parameters(self, name: str, shape: tuple[int, ...], fan_in: int) -> list[str]:
        """Weight and bias: He initialisation (He et al. 2015, equation 10), zero bias of ``shape``'s outputs."""
        outputs = shape[-1] if len(shape) == 2 else shape[0]
        self.bytes += 4 * (math.prod(shape) + outputs)
        if self.bytes > MAX_BYTES:
            raise SpecError(
                f"network: its weights exceed 2 GiB at {name}, more than one ONNX file holds",
                "use less depth, fewer neurons, more pooling or a smaller tile",
            )
        for suffix, dims in (("weight", shape), ("bias", (outputs,))):
            tensor = TensorProto(name=f"{name}_{suffix}", dims=dims, data_type=TensorProto.FLOAT)
            if self._weights:
                values = np.zeros(dims, np.float32)
                if suffix == "weight":
                    values = self._rng.standard_normal(dims, np.float32) * np.float32(math.sqrt(2 / fan_in))
                tensor = numpy_helper.from_array(values, tensor.name)
            self.initializers.append(tensor)
        return [f"{name}_weight", f"{name}_bias"]


def build_model(net: NetSpec, batch: int, *, weights: bool = True) -> onnx.ModelProto:
    """The ONNX model of ``net`` with a static batch: input ``[batch, channels, tile, tile]`` float32,
    output ``[batch, classes]``.

    The same arguments give the same bytes. Nodes are called ``conv1``, ``conv1_relu``, ``pool1``, ``flatten``,
    ``fc1``, ``fc1_relu``, ``classifier``, ``softmax``. With ``weights=False`` initializers keep their shapes but
    hold no data: enough for shape inference, not for a runtime.

    :raises SpecError: where the weights do not fit in one file.
    """
    seed = int.from_bytes(hashlib.sha256(net.model_dump_json().encode()).digest()[:8], "little")
    graph = _Graph(seed, weights)
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
    graph.nodes[-1].output[0] = "output"
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "edgeprof",
            [
                helper.make_tensor_value_info(
                    "input", TensorProto.FLOAT, [batch, net.channels, net.tile, net.tile]
                )
            ],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, net.classes])],
            graph.initializers,
        ),
        producer_name="edgeprof",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def model_bytes(net: NetSpec, batch: int) -> bytes:
    """:func:`build_model`, checked by ``onnx.checker`` and serialised; the same arguments, the same bytes."""
    model = build_model(net, batch)
    data: bytes = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(data)
    return data
