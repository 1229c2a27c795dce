"""Each layer computes what its name says, and has the shape that shape inference finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeprof.nets.operators import operators
from edgeprof.nets.zoo import ZOO
from edgeprof.nets.zoo.builder import Builder, Value

Array = np.ndarray[Any, np.dtype[np.float32]]
IMAGE = np.random.default_rng(1).normal(0, 3, (2, 4, 9, 9)).astype(np.float32)


def computed(write: Callable[[Builder, Value], Value], fold: bool = True) -> Array:
    """What a network of this one layer makes of IMAGE."""
    b = Builder("test", 2, weights=True, fold=fold)
    data = b.model(write(b, b.image(4, 9))).SerializeToString()
    onnx.checker.check_model(data, full_check=True)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    out: Array = session.run(["output"], {"input": IMAGE})[0]
    return out


def logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


@pytest.mark.parametrize(
    ("act", "exact"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("relu6", lambda x: np.clip(x, 0, 6)),
        ("tanh", np.tanh),
        ("sigmoid", logistic),
        ("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6),
        ("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("silu", lambda x: x * logistic(x)),
        ("gelu", lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
    ],
)
def test_activations(act: str, exact: Callable[[Array], Array]) -> None:
    out = computed(lambda b, x: b.activation("layer", x, act))
    np.testing.assert_allclose(out, exact(IMAGE), rtol=1e-4, atol=1e-5)


def test_no_activation_and_an_unknown_one() -> None:
    b = Builder("test", 2, weights=False, fold=True)
    x = b.image(4, 9)
    assert b.activation("layer", x, "") is x
    with pytest.raises(ValueError, match="swash"):
        b.activation("layer", x, "swash")


def test_layer_norm() -> None:
    out = computed(lambda b, x: b.layer_norm("norm", x))
    np.testing.assert_allclose(out.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=-1), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "ceil", "side"),
    [(3, 2, 0, False, 4), (2, 2, 0, False, 4), (2, 2, 0, True, 5), (3, 1, 1, True, 9), (3, 2, 1, False, 5)],
)
def test_pools(kernel: int, stride: int, pad: int, ceil: bool, side: int) -> None:
    out = computed(lambda b, x: b.max_pool("pool", x, kernel, stride, pad=pad, ceil=ceil))
    assert out.shape == (2, 4, side, side)
    assert out[0, 0, 0, 0] == IMAGE[0, 0, : kernel - pad, : kernel - pad].max()
    if not ceil:
        mean = computed(lambda b, x: b.average_pool("pool", x, kernel, stride, pad=pad))
        corner = IMAGE[0, 0, : kernel - pad, : kernel - pad].sum() / kernel**2  # padding counts as zeros
        assert mean[0, 0, 0, 0] == pytest.approx(corner, rel=1e-4)


@pytest.mark.parametrize("fold", [True, False])
def test_a_convolution_normalised(fold: bool) -> None:
    def write(b: Builder, x: Value) -> Value:
        return b.conv("conv", x, 8, (1, 3), pad=(0, 1), groups=2, norm=True, act="relu")

    out = computed(write, fold)
    assert out.shape == (2, 8, 9, 9)
    np.testing.assert_allclose(out, computed(write), rtol=1e-3, atol=1e-4)
    b = Builder("test", 2, weights=False, fold=fold)
    found = {op.name: op for op in operators(b.model(write(b, b.image(4, 9))))}
    assert found["conv"].parameters == 8 * 2 * 3 + (8 if fold else 0)
    assert ("conv_bn" in found) != fold
    assert found["conv"].macs == 2 * 81 * 8 * 2 * 3


def test_shapes_of_values_are_those_of_the_graph() -> None:
    """What the builder reckons is what shape inference finds, for every node of the zoo."""

    class Watched(Builder):
        def _node(self, op_type: str, name: str, inputs: list[str], shape: Any, **attributes: Any) -> Value:
            value = super()._node(op_type, name, inputs, shape, **attributes)
            seen[name] = value.shape
            return value

    for name, (_, write) in ZOO.items():
        seen: dict[str, tuple[int, ...]] = {}
        b = Watched(name, 2, weights=False, fold=False)
        found = operators(b.model(write(b)))
        assert {op.name: op.outputs[0] for op in found} == seen
