"""Space: ranges → networks."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from edgeprof.errors import SpecError
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.query.space import KNOBS, Space, parse_choice, space


def _places(nets: Space, rows: int, heads: int) -> list[int]:
    found = [
        slab.places[:, None] * nets.head_count + own.places.ravel()
        for slab, _ in nets.slabs(rows)
        for own in nets.heads(heads)
    ]
    return np.concatenate([places.ravel() for places in found]).tolist()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5", (5,)),
        ("1..4", (1, 2, 3, 4)),
        ("128..512:128", (128, 256, 384, 512)),
        ("1..6:2", (1, 3, 5)),
        ("7, 3,3", (7, 3)),
        ("1..3,8", (1, 2, 3, 8)),
    ],
)
def test_ranges_and_choices(text: str, values: tuple[int, ...]) -> None:
    assert parse_choice("depth", text) == values


def test_paddings_are_words_or_pixels() -> None:
    assert parse_choice("padding", "valid,same,1..2") == ("valid", "same", 1, 2)


@pytest.mark.parametrize("text", ["", "5..", "9..5", "1..5:0", "same", "1,,2", "-3", "1.5", "1..99999999"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(SpecError, match="--pool-before"):
        parse_choice("pool_before", text)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("conv", 65),
        ("depth", 0),
        ("kernel", 0),
        ("tile", 70_000),
        ("batch", 0),
        ("padding", 1025),
        ("tile", 0),
    ],
)
def test_values_that_no_network_has(knob: str, value: int) -> None:
    with pytest.raises(SpecError, match=f"--{knob} {value}"):
        space({knob: (value,)}, 64)


@pytest.mark.parametrize("knob", ["kernel", "pool", "stride", "padding", "tile", "pool_before", "neurons"])
def test_every_value_of_a_knob_is_tried_in_a_roomy_network(knob: str) -> None:
    assert space({knob: (1, 1000)}, 64).choices[knob] == (1, 1000)


def test_an_unknown_knob_and_too_many_networks() -> None:
    with pytest.raises(SpecError, match="unknown knob 'width'"):
        space({"width": (1,)}, 64)
    many = tuple(range(1, 60_000))
    with pytest.raises(SpecError, match="too many"):
        space({"depth": many, "neurons": many, "tile": many[:1000]}, 64)


def test_every_network_comes_once() -> None:
    choices: dict[str, tuple[Any, ...]] = {
        "tile": (12, 28),
        "conv": (0, 1, 2, 3),
        "depth": (4, 5),
        "kernel": (3, 5),
        "padding": ("valid", "same", 2),
        "pool_before": (1, 2),
        "fc": (2, 0, 1),
        "neurons": (8, 9, 10),
        "classes": (10, 7),
        "batch": (16, 32),
    }
    nets = space(choices, 64)
    brute = set()
    refused = 0
    for values in product(*choices.values()):
        knobs = dict(zip(choices, values, strict=True))
        batch = knobs.pop("batch")
        try:
            net = NetSpec(**knobs)
        except ValueError:
            refused += 1
            continue
        plain = net.model_dump()
        plain["pool_before"] = net.pool_before if net.conv > 1 else None
        brute.add((str(plain), batch))
    for rows, heads in ((10_000, 10_000), (7, 3)):
        places = _places(nets, rows, heads)
        found = []
        for place in places:
            net, batch = nets.net(place)
            plain = net.model_dump()
            plain["pool_before"] = net.pool_before if net.conv > 1 else None
            found.append((str(plain), batch))
        assert len(found) == len(set(found)) == len(brute)
        assert set(found) == brute
    assert refused > 0


def test_networks_at_places_are_as_columns() -> None:
    nets = space(
        {"conv": (0, 2), "depth": (4, 9), "fc": (0, 3), "neurons": (8, 16), "padding": ("same", 1)}, 64
    )
    places = np.array(_places(nets, 3, 3))
    slab, heads = nets.at(places)
    for i, place in enumerate(places):
        net, batch = nets.net(int(place))
        assert batch == 64
        assert heads.fc[i] == net.fc
        assert heads.neurons[i] == (net.neurons[0] if net.fc else 0)
        assert slab.bodies.knobs["conv"][i] == net.conv
        if net.conv:
            assert nets.choices["padding"][slab.picks["padding"][i]] == net.padding[0]
            assert slab.bodies.knobs["depth"][i] == net.depth[0]


def test_defaults_are_those_of_networks() -> None:
    nets = space({}, 64)
    assert set(nets.choices) == set(KNOBS)
    assert nets.combinations == 1
    assert nets.net(0) == (net_spec(), 64)
