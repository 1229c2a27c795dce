"""What an optimising runtime leaves of a graph."""

from __future__ import annotations

from collections import Counter

import pytest

from edgeprof.nets.blocks import block, block_model
from edgeprof.nets.fusion import fused
from edgeprof.nets.network import ZooNet, net_operators
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.spec import net_spec
from edgeprof.nets.zoo.builder import Builder, Value


def of(write: object) -> tuple[Operator, ...]:
    """The operators of a small graph."""
    builder = Builder("test", 2, weights=False, fold=False)
    output = write(builder)  # type: ignore[operator]
    return operators(builder.model(output))


def types(found: tuple[Operator, ...]) -> list[str]:
    return [op.op_type for op in fused(found).operators]


@pytest.mark.parametrize("net", [net_spec(), net_spec(conv=3, fc=0), net_spec(conv=0, fc=2)])
def test_networks_of_the_family_stay_as_they_are(net: object) -> None:
    found = net_operators(net, 4)  # type: ignore[arg-type]
    left = fused(found)
    assert left.operators == found
    assert all(name == owner for name, owner in left.owner.items())


def test_a_normalisation_is_folded_into_its_convolution_alone() -> None:
    def write(b: Builder) -> Value:
        x = b.conv("conv", b.image(3, 8), 16, 3, norm=True, act="relu")
        return b.norm("apart", x)

    left = fused(of(write))
    assert [op.op_type for op in left.operators] == ["Conv", "Relu", "BatchNormalization"]
    conv = left.operators[0]
    assert (conv.name, left.owner["conv"]) == ("conv_bn", "conv_bn")
    assert (conv.dims["Kh"], conv.macs) == (3, 2 * 36 * 16 * 27)


def test_activations_that_cannot_be_merged_are_told_apart() -> None:
    def write(b: Builder) -> Value:
        x = b.conv("conv", b.image(3, 8), 16, 3)
        y = b.activation("one", b.activation("one", x, "relu"), "tanh")
        return b.add("sum", y, b.activation("two", x, "sigmoid"))

    assert types(of(write)) == ["Conv", "Relu.apart", "Tanh.apart", "Sigmoid.apart", "Add.apart"]


@pytest.mark.parametrize(
    ("act", "passes", "exponentials"),
    [("relu", 0, 0), ("relu6", 1, 0), ("hardswish", 2, 0), ("tanh", 1, 1), ("sigmoid", 1, 1)],
)
def test_a_convolution_is_told_what_its_activation_takes(act: str, passes: int, exponentials: int) -> None:
    def write(b: Builder) -> Value:
        x = b.activation("own", b.conv("conv", b.image(3, 8), 16, 3), act)
        return b.activation("last", b.activation("apart", x, "relu"), "tanh")

    conv = fused(of(write)).operators[0]
    size = 2 * 16 * 6 * 6
    assert (conv.op_type, conv.dims["Y"]) == ("Conv", size)
    assert (conv.dims["A"], conv.dims["E"]) == (passes * size, exponentials * size)


def test_what_others_read_is_activated_apart() -> None:
    def write(b: Builder) -> Value:
        x = b.conv("conv", b.image(3, 8), 16, 3)
        return b.add("sum", x, b.activation("own", x, "tanh"))

    conv = fused(of(write)).operators[0]
    assert (conv.dims["A"], conv.dims["E"]) == (0, 0)


def test_a_sum_asks_the_convolution_that_nothing_else_reads_first() -> None:
    def write(b: Builder) -> Value:
        x = b.conv("first", b.image(3, 8), 16, 1, act="relu")
        return b.add("sum", x, b.conv("second", x, 16, 1), "relu")

    left = fused(of(write)).operators
    assert [op.op_type for op in left] == ["Conv", "Relu", "Conv", "Add", "Relu"]
    assert left[3].producers == ("second", "first_relu")


def test_patterns_become_one_operator() -> None:
    block_ = block(of="rows", size=5, channels=8, depth=(16,), act=("gelu",))
    left = fused(operators(block_model(block_, 2, weights=False)))
    kinds = Counter(op.op_type for op in left.operators)
    assert kinds["LayerNormalization"] == kinds["Gemm"] == 1
    assert not {"MatMul", "ReduceMean", "Sqrt", "Pow"} & kinds.keys()
    norm = next(op for op in left.operators if op.op_type == "LayerNormalization")
    assert (norm.dims["M"], norm.dims["X"], norm.dims["Y"]) == (8, 2 * 5 * 8, 2 * 5 * 8)
    assert len({left.owner[name] for name in left.owner if name.startswith("norm1")}) == 1
    swish = block(of="conv", channels=16, depth=(16, 16), act=("silu",))
    assert "QuickGelu" in types(operators(block_model(swish, 1, weights=False)))


def test_work_on_constants_is_done_beforehand() -> None:
    found = net_operators(ZooNet(name="vit-tiny"), 1)
    left = fused(found)
    assert "class_token" in {op.name for op in found}
    assert "class_token" not in left.owner
    assert {"Expand", "Sqrt"}.isdisjoint(op.op_type for op in left.operators)


@pytest.mark.parametrize("name", ["mobilenet-v3", "efficientnet-b0", "densenet40", "vit-tiny"])
def test_nothing_is_lost(name: str) -> None:
    found = net_operators(ZooNet(name=name), 2)
    left = fused(found)
    names = {op.name for op in left.operators}
    assert set(left.owner.values()) == names
    assert all(source in names for op in left.operators for source in op.producers)
    assert sum(op.macs for op in left.operators) == sum(op.macs for op in found)
    order = {op.name: i for i, op in enumerate(left.operators)}
    assert all(order[s] < order[op.name] for op in left.operators for s in op.producers)
