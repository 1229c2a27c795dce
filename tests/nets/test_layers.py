"""Single layers: the same dimensions and work as in a network, and what cannot be."""

from __future__ import annotations

import pytest

from edgeprof.errors import SpecError
from edgeprof.nets.layers import conv_layer, linear_layer
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import Operator
from edgeprof.nets.spec import net_spec


def alone(op: Operator) -> tuple[dict[str, float], int, int]:
    """What an operator says of itself; Z is of the whole network."""
    return {k: v for k, v in op.dims.items() if k != "Z"}, op.macs, op.activation_bytes


def test_layers_of_a_network() -> None:
    net = net_spec(tile=28, channels=3, conv=1, depth=20, kernel=5, stride=2, padding=1, neurons=100)
    own = {op.name: op for op in net_operators(net, 16)}
    (conv,) = conv_layer(16, 3, 20, 5, 28, 2, 1)
    assert alone(conv) == alone(own["conv1"])
    fc = own["fc1"]
    (linear,) = linear_layer(int(fc.dims["R"]), int(fc.dims["N"]), int(fc.dims["M"]))
    assert alone(linear) == alone(fc)


def test_groups() -> None:
    (conv,) = conv_layer(2, 8, 16, 3, 10, padding=1, groups=4)
    assert conv.dims["G"] == 4
    assert conv.macs == 2 * 16 * 10 * 10 * (8 // 4) * 9
    with pytest.raises(SpecError, match="3 groups do not divide"):
        conv_layer(2, 8, 16, 3, 10, groups=3)


def test_no_pixels_left() -> None:
    with pytest.raises(SpecError, match="leaves no pixels"):
        conv_layer(1, 3, 3, 7, 5)
