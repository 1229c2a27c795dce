"""Bytes that a network holds: by hand for small graphs, and by the columns of queries for the family."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.nets.columns import Bodies, head_largest, head_live, head_parameters, head_results
from edgeprof.nets.footprint import MIB, footprint, most_live
from edgeprof.nets.fusion import fused
from edgeprof.nets.network import ZooNet
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.spec import net_spec
from edgeprof.nets.zoo.builder import Builder, Value


def of(write: object) -> tuple[Operator, ...]:
    """The operators of a small graph of batch 2, as a runtime leaves them."""
    builder = Builder("test", 2, weights=False, fold=False)
    output = write(builder)  # type: ignore[operator]
    return fused(operators(builder.model(output))).operators


def test_a_chain_holds_what_goes_in_and_out_of_one_operator() -> None:
    def write(b: Builder) -> Value:
        x = b.conv(
            "wide", b.image(3, 8), 16, 1, act="relu"
        )  # 8×8, 16 channels; its activation is done in place
        return b.conv("narrow", x, 4, 1, act="relu")

    assert most_live(of(write)) == 4 * 2 * 64 * (16 + 4)


def test_what_is_added_later_is_held_all_the_while() -> None:
    def write(b: Builder) -> Value:
        x = b.conv("first", b.image(3, 8), 8, 1, act="relu")
        y = b.conv("second", x, 24, 1, act="relu")
        z = b.conv("third", y, 8, 1)
        return b.add("sum", z, x)

    assert most_live(of(write)) == 4 * 2 * 64 * (8 + 24 + 8)  # while the third runs; the sum needs no place


@pytest.mark.parametrize(
    "knobs",
    [
        dict(conv=0, fc=0),
        dict(conv=0, fc=3, neurons=300),
        dict(conv=1, depth=70, fc=0, pool=1),
        dict(conv=3, depth=9, kernel=3, padding="same", pool_before=2, fc=2, neurons=40),
        dict(conv=2, depth=3, kernel=7, tile=40, channels=3, fc=1, neurons=4000),
    ],
)
def test_the_family_has_the_footprint_that_queries_reckon(knobs: dict[str, object]) -> None:
    net, batch = net_spec(**knobs), 6
    own = {k: v[0] if isinstance(v, tuple) and v else v for k, v in net.model_dump().items()}
    own = {
        "depth": 20,
        "kernel": 5,
        "stride": 1,
        "padding": "valid",
        **{k: v for k, v in own.items() if v != ()},
    }
    own["padding"] = {"valid": 0, "same": -1}[own["padding"]]
    names = ("tile", "channels", "conv", "depth", "kernel", "stride", "padding", "pool", "pool_before")
    bodies = Bodies({**{k: np.array([own[k]]) for k in names}, "batch": np.array([batch])})
    head = net.fc, own.get("neurons", 0) if net.fc else 0, net.classes
    for block in (1, 16):
        found, held = footprint(net, batch, block), bodies.held(block)
        parameters = bodies.parameters[0] + head_parameters(bodies.flat[0], *head)
        live = max(held.live[0], head_live(bodies.flat[0], *head))
        largest = max(held.largest[0], head_largest(bodies.flat[0], *head))
        assert found.weights == pytest.approx(4 * parameters / MIB)
        assert found.live == pytest.approx(4 * batch * live / MIB)
        assert found.largest == pytest.approx(4 * batch * largest / MIB)
        assert found.results == pytest.approx(4 * batch * (held.results[0] + head_results(*head)) / MIB)


def test_channels_in_blocks_take_more() -> None:
    net = net_spec(conv=1, depth=17, kernel=1, pool=1, fc=0)
    plain, blocks = footprint(net, 2), footprint(net, 2, 16)
    assert plain.largest == 4 * 2 * 17 * 28**2 / MIB
    assert blocks.largest == 4 * 2 * 32 * 28**2 / MIB
    assert blocks.live == 4 * 2 * 33 * 28**2 / MIB  # and the image


def test_a_network_of_branches_holds_a_few_values_of_many() -> None:
    net = ZooNet(name="resnet18")
    found = footprint(net, 2)
    assert found.weights == pytest.approx(44.6, abs=0.2)  # 11.7 million
    assert found.live == pytest.approx(
        4 * 2 * 64 * (112**2 + 56**2) / MIB
    )  # what the first pooling reads and makes
    assert found.live < found.results / 4
    assert footprint(net, 4).live == pytest.approx(2 * found.live)
