"""Blocks: short chains of layers, built as ONNX."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeprof.errors import SpecError
from edgeprof.nets.blocks import KINDS, Block, block, block_model
from edgeprof.nets.graph import checked_bytes
from edgeprof.nets.network import net_operators, network_bytes

SMALL = {"size": 9, "channels": 12, "depth": (8, 20), "kernel": (3, 3), "groups": 4, "act": ("relu", "silu")}


@pytest.mark.parametrize("of", KINDS)
def test_every_kind_runs_and_gives_the_shape_it_says(of: str) -> None:
    data = checked_bytes(block_model(block(of=of, **SMALL), 2))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    given = np.random.default_rng(0).random(shape, np.float32)
    made = session.run(None, {"input": given})[0]
    assert list(made.shape) == session.get_outputs()[0].shape
    assert np.isfinite(made).all()


def test_the_same_numbers_give_the_same_bytes() -> None:
    one, two = (block(of="conv", **SMALL) for _ in range(2))
    assert one == two
    assert network_bytes(one, 3) == network_bytes(two, 3)
    assert network_bytes(one, 3) != network_bytes(block(of="conv", **{**SMALL, "channels": 16}), 3)
    assert Block.model_validate_json(one.model_dump_json()) == one


def test_windows_groups_and_dilation_are_in_the_graph() -> None:
    net = block(
        of="conv", size=20, channels=16, depth=30, kernel=("1x7", "5x1"), groups=8, dilation=2, act=""
    )
    first, second = net_operators(net, 1)
    assert (first.dims["Kh"], first.dims["Kw"], first.dims["G"], first.dims["I"], first.dims["Dl"]) == (
        1,
        7,
        8,
        2,
        2,
    )
    assert first.outputs == ((1, 32, 20, 20),)  # 30 rounded up to groups
    assert second.outputs[0][2:] == (20, 20)
    onnx.checker.check_model(block_model(net, 1))


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"of": "nothing"}, "of"),
        ({"of": "conv", "depth": (1, 2, 3), "kernel": (1, 2)}, "kernel has 2 values for 3 layers"),
        ({"of": "conv", "kernel": "7"}, "kernel"),
        ({"of": "conv", "act": "loud"}, "act"),
        ({"of": "conv", "depth": 0}, "depth"),
        ({"of": "conv", "width": 3}, "width"),
    ],
)
def test_what_is_no_block_is_refused(knobs: dict[str, object], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        block(**knobs)
