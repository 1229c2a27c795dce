"""NetSpec: the defaults of the family, one value or one per layer, and every refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeprof.errors import SpecError
from edgeprof.nets.spec import NetSpec, net_spec

steady = settings(derandomize=True, deadline=None, max_examples=300, database=None)


def test_the_defaults_are_those_of_the_family() -> None:
    assert net_spec().model_dump() == {
        "tile": 28,
        "channels": 1,
        "classes": 10,
        "conv": 1,
        "depth": (20,),
        "kernel": (5,),
        "stride": (1,),
        "padding": ("valid",),
        "pool": 2,
        "pool_before": 1,
        "fc": 1,
        "neurons": (1024,),
    }


def test_one_value_stands_for_every_layer() -> None:
    net = net_spec(conv=3, depth=8, kernel=[3], padding="same", fc=2, neurons=(64,))
    assert (net.depth, net.kernel, net.padding) == ((8, 8, 8), (3, 3, 3), ("same",) * 3)
    assert net.neurons == (64, 64)
    assert net == net_spec(conv=3, depth=[8, 8, 8], kernel=3, padding=["same"] * 3, neurons=[64, 64])


@pytest.mark.parametrize("knob", ["depth", "kernel", "stride", "padding"])
def test_a_list_per_conv_layer_implies_conv(knob: str) -> None:
    values = {"padding": ["same", "valid", 1]}.get(knob, [1, 2, 3])
    net = net_spec(**{knob: values})
    assert net.conv == 3
    assert getattr(net, knob) == tuple(values)


def test_a_list_of_neurons_implies_fc() -> None:
    assert net_spec(neurons=[128, 64]).fc == 2
    assert net_spec(neurons=[128, 64]).conv == 1


def test_no_layers_at_all_is_legal() -> None:
    net = net_spec(conv=0, fc=0)
    assert (net.depth, net.neurons) == ((), ())
    assert net_spec(depth=[], neurons=[]) == net
    assert net.label() == "no conv · no hidden fc"


def test_pixels_of_padding_are_named_in_a_label() -> None:
    assert net_spec(padding=2).label() == "conv 1×20 k5 pad 2 · fc 1×1024"
    assert net_spec(padding="same").label() == "conv 1×20 k5 same · fc 1×1024"


def test_values_are_frozen_hashable_and_survive_json() -> None:
    net = net_spec(conv=2, padding=["same", 1], neurons=[64, 32])
    assert NetSpec.model_validate_json(net.model_dump_json()) == net
    assert {net: 1}[net_spec(conv=2, padding=["same", 1], neurons=[64, 32])] == 1
    with pytest.raises(ValidationError):
        net.conv = 3


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"depth": -1}, "depth.0: Input should be greater than or equal to 1, not -1"),
        ({"depth": [8, 0]}, "depth.1: Input should be greater than or equal to 1, not 0"),
        ({"neurons": 65_537}, "neurons.0: Input should be less than or equal to 65536, not 65537"),
        ({"tile": 0}, "tile: Input should be greater than or equal to 1, not 0"),
        ({"pool": 0}, "pool: Input should be greater than or equal to 1"),
        ({"stride": 0}, "stride.0: Input should be greater than or equal to 1"),
        ({"depht": 8}, "unknown key 'depht'"),
        ({"batch": 8}, "unknown key 'batch'"),  # belongs to the case
        ({"conv": True}, "conv must be a whole number from 0 to 64, not True"),
        ({"conv": 2.0}, "conv must be a whole number from 0 to 64, not 2.0"),
        ({"conv": "2"}, "conv must be a whole number from 0 to 64, not '2'"),
        ({"conv": -1}, "conv must be a whole number from 0 to 64, not -1"),
        ({"fc": 65}, "fc must be a whole number from 0 to 64, not 65"),
        ({"neurons": [1] * 65}, "fc must be a whole number from 0 to 64, not 65"),
        ({"depth": True}, "depth.0: Input should be a valid integer, not True"),
        ({"tile": True}, "tile: Input should be a valid integer, not True"),
        ({"depth": 8.0}, "depth.0: Input should be a valid integer, not 8.0"),
        ({"tile": 28.5}, "tile: Input should be a valid integer, not 28.5"),
        ({"tile": "28"}, "tile: Input should be a valid integer"),
        ({"depth": None}, "depth.0: Input should be a valid integer"),
        ({"depth": "8,16"}, "depth.0: Input should be a valid integer"),
        ({"padding": "full"}, "padding must be valid, same or pixels from 0 to 1024, not 'full'"),
        ({"padding": -1}, "padding must be valid, same or pixels from 0 to 1024, not -1"),
        ({"padding": True}, "padding must be valid, same or pixels from 0 to 1024, not True"),
        ({"conv": 3, "depth": [8, 16]}, "depth has 2 values for 3 conv layers"),
        ({"depth": [8, 16], "kernel": [3, 3, 3]}, "kernel has 3 values for 2 conv layers"),
        ({"fc": 1, "neurons": [64, 64]}, "neurons has 2 values for 1 fc layers"),
        ({"fc": 1, "neurons": []}, "neurons has 0 values for 1 fc layers"),
        ({"padding": 5}, "conv1: padding 5 is not smaller than its kernel 5"),
        ({"tile": 4}, "conv1 has no pixels left: kernel 5 on 4×4"),
        ({"conv": 7}, "conv7 has no pixels left: kernel 5 on 4×4"),
        ({"conv": 2, "kernel": 3, "pool_before": 30}, "pool1 has no pixels left: window 30 on 26×26"),
        ({"tile": 5}, "pool1 has no pixels left: window 2 on 1×1"),
    ],
)
def test_refusals_name_the_knob_or_the_layer(knobs: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        net_spec(**knobs)
    assert caught.value.message.startswith(f"network: {says}")
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("knobs", "hint"),
    [
        ({"tile": 4}, "padding = 'same'"),
        ({"depht": 8}, "depth, kernel"),
        ({"depth": 0}, "whole numbers from 1"),
    ],
)
def test_the_hint_says_how_to_mend_it(knobs: dict[str, Any], hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        net_spec(**knobs)
    assert hint in caught.value.hint


def test_six_layers_of_the_family_fit_a_tile_of_28_pixels() -> None:
    # 28 → 24 → 20 → 16 → 12 → 8 → 4, pooled to 2: the most that kernel 5 leaves
    assert net_spec(conv=6).conv == 6


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    # by hand: ⌈size/stride⌉ pixels out, the odd one at the end (ONNX, operator Conv, auto_pad SAME_UPPER)
    [
        (28, 5, 1, (2, 2)),
        (28, 4, 1, (1, 2)),
        (28, 5, 2, (1, 2)),
        (27, 3, 2, (1, 1)),
        (28, 1, 3, (0, 0)),
        (7, 7, 7, (0, 0)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    net = net_spec(tile=size, kernel=kernel, stride=stride, padding="same", pool=1)
    assert net.pads(0, size) == pads
    assert (size + sum(pads) - kernel) // stride + 1 == -(-size // stride)


def test_pooling_comes_after_the_last_conv() -> None:
    net = net_spec(conv=3, kernel=3, pool=3, pool_before=2)
    assert [net.pool_after(i) for i in range(3)] == [2, 2, 3]


@pytest.mark.parametrize(
    ("knobs", "label"),
    [
        ({}, "conv 1×20 k5 · fc 1×1024"),
        ({"depth": [8, 16], "fc": 0}, "conv 2×8,16 k5 · no hidden fc"),
        ({"conv": 0, "fc": 2}, "no conv · fc 2×1024"),
        (
            {"tile": 32, "channels": 3, "stride": 2, "padding": "same", "pool": 3},
            "32×32×3 · conv 1×20 k5 s2 same pool 1,3 · fc 1×1024",
        ),
    ],
)
def test_labels(knobs: dict[str, Any], label: str) -> None:
    assert net_spec(**knobs).label() == label


numbers = st.integers(-2, 70) | st.integers() | st.sampled_from([65_536, 65_537, 10**30])
plain = (
    numbers
    | st.booleans()
    | st.floats()
    | st.none()
    | st.text(max_size=8)
    | st.sampled_from(["same", "valid"])
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=6,
)
layers = st.lists(st.integers(1, 6), max_size=4)
likely = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("tile", "channels", "classes", "pool", "pool_before"), st.integers(0, 40)),
        **dict.fromkeys(("conv", "fc"), st.integers(-1, 5)),
        **dict.fromkeys(("depth", "kernel", "stride", "neurons"), st.integers(0, 9) | layers),
        "padding": st.sampled_from(["same", "valid", "full", 0, 1, 2]),
    },
)
wild = st.dictionaries(st.sampled_from([*NetSpec.model_fields]) | st.text(max_size=6), values, max_size=5)


@steady
@given(likely | wild | st.tuples(likely, wild).map(lambda pair: {**pair[0], **pair[1]}))
@example({"depth": [[8, 16]]})
@example({"tile": float("nan")})
@example({"padding": "x" * 10_000})
def test_any_knobs_give_a_network_or_a_spec_error(knobs: dict[str, Any]) -> None:
    refused = None
    try:
        net = net_spec(**knobs)
    except SpecError as error:
        refused = error
    if refused:
        assert 0 < len(refused.message) < 300
        assert refused.hint
        return
    assert len(net.depth) == len(net.kernel) == len(net.stride) == len(net.padding) == net.conv
    assert len(net.neurons) == net.fc
    assert NetSpec.model_validate_json(net.model_dump_json()) == net
    assert net.label()


@pytest.mark.parametrize("knob", sorted(NetSpec.model_fields))
def test_a_number_of_more_digits_than_python_prints_is_refused(knob: str) -> None:
    with pytest.raises(SpecError, match=r"this int|'valid' or 'same'"):
        net_spec(**{knob: 1 << 20_000})
