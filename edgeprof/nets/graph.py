"""An ONNX graph that grows from input to output.

Opset 13 and IR version 7: the runtimes of JetPack 4 to 7 read them.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import SpecError
from edgeprof.files import write_whole

OPSET = 13
IR_VERSION = 7
MAX_BYTES = 2**31 - 1  # protobuf's limit for one message


class Graph:
    """Nodes and initializers in the order in which they are asked for.

    Weights are drawn from the hash of ``seed``. With ``weights=False`` they keep their shapes but hold no data: enough
    for shape inference, not for a runtime.
    """

    def __init__(self, seed: str, weights: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._bytes = 0
        self._rng = np.random.default_rng(
            int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
        )
        self._weights = weights

    def node(self, op_type: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node of one output; the output's name."""
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))
        return output

    def parameters(self, name: str, shape: tuple[int, ...], fan_in: int) -> list[str]:
        """Weight and bias: He initialisation (He et al. 2015, equation 10), zero bias of ``shape``'s outputs."""
        outputs = shape[-1] if len(shape) == 2 else shape[0]
        return [self.weight(name, shape, fan_in), self.filled(f"{name}_bias", (outputs,), 0)]

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        """A weight by He initialisation."""
        self._count(name, shape)
        if not self._weights:
            return self._bare(f"{name}_weight", shape)
        values = self._rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan_in))
        return self.constant(f"{name}_weight", values)

    def filled(self, name: str, shape: tuple[int, ...], value: float) -> str:
        """A parameter of one value everywhere."""
        self._count(name, shape)
        if not self._weights:
            return self._bare(name, shape)
        return self.constant(name, np.full(shape, value, np.float32))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Numbers that are there without weights too, such as the shape of a reshape."""
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def model(self, image: tuple[int, ...], output: tuple[int, ...]) -> onnx.ModelProto:
        """The model: from ``input``, a float32 image of this shape, to ``output``, what the last node gives."""
        self.nodes[-1].output[0] = "output"
        return helper.make_model(
            helper.make_graph(
                self.nodes,
                "edgeprof",
                [helper.make_tensor_value_info("input", TensorProto.FLOAT, image)],
                [helper.make_tensor_value_info("output", TensorProto.FLOAT, output)],
                self.initializers,
            ),
            producer_name="edgeprof",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def _bare(self, name: str, shape: tuple[int, ...]) -> str:
        self.initializers.append(TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT))
        return name

    def _count(self, name: str, shape: tuple[int, ...]) -> None:
        self._bytes += 4 * math.prod(shape)
        if self._bytes > MAX_BYTES:
            raise SpecError(
                f"network: its weights exceed 2 GiB at {name}, more than one ONNX file holds",
                "use less depth, fewer neurons, more pooling or a smaller tile",
            )


def checked_bytes(model: onnx.ModelProto) -> bytes:
    """``model``, checked by ``onnx.checker`` and serialised; the same model, the same bytes."""
    data: bytes = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(data)
    return data


def write_model(model: onnx.ModelProto, path: Path) -> int:
    """Write ``model`` to an ONNX file, checked, whole or not at all; the file's bytes.

    :raises SpecError: where it cannot be written.
    """
    data = checked_bytes(model)
    write_whole(path, data)
    return len(data)
