"""Which kernels a law knows, and what of a network lies beyond."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgeprof.fit.forms import read_form
from edgeprof.fit.reach import beyond, fitted, reach_of, strangest, widening
from edgeprof.fit.rules import KernelRules, Planned, Rule

CONV: dict[str, float] = {
    "B": 1,
    "C": 16,
    "M": 32,
    "H": 8,
    "W": 8,
    "Hi": 8,
    "Wi": 8,
    "Kh": 3,
    "Kw": 3,
    "S": 1,
}
CONV |= {"P": 2, "G": 1, "X": 1024, "Y": 2048}
RULES = KernelRules({"Conv": Rule("Conv.nchwc")}, {})


def planned(kind: str, **dims: float) -> Planned:
    return Planned(kind, "conv", ("conv",), {**CONV, **dims}, ((kind, 1.0),))


def known(
    kernel: Planned, reach: Mapping[str, Mapping[str, tuple[float, float]]], op_type: str = "Conv"
) -> bool:
    return fitted(kernel, reach, read_form("kernels"), RULES, op_type)


def test_the_reach_is_the_range_of_every_size() -> None:
    reach = reach_of([("Conv.nchwc", CONV), ("Conv.nchwc", {**CONV, "C": 64, "M": 8})])
    assert reach["Conv.nchwc"]["C"] == (16, 64)
    assert reach["Conv.nchwc"]["M"] == (8, 32)
    assert reach["Conv.nchwc"]["H"] == (8, 8)


def test_kinds_and_natures_that_were_never_measured_are_not_fitted() -> None:
    reach = reach_of([("Conv.nchwc", CONV)])
    assert known(planned("Conv.nchwc"), reach)
    assert known(planned("Conv.nchwc", C=1024), reach)  # far, but the same kernel
    assert not known(planned("Conv.depthwise"), reach)
    assert not known(planned("Conv.nchwc", G=4), reach)
    assert not known(planned("Conv.nchwc", Dl=2), reach)
    wide = reach_of([("Conv.nchwc", CONV), ("Conv.nchwc", {**CONV, "G": 8, "Dl": 2})])
    assert known(planned("Conv.nchwc", G=4), wide)


def test_a_price_needs_its_dimensions() -> None:
    reach = reach_of([("Conv.nchwc", CONV)])
    flat = Planned("Conv.nchwc", "conv", ("conv",), {"B": 1, "X": 8, "Y": 8}, (("Conv.nchwc", 1.0),))
    assert not known(flat, reach)


def test_a_law_without_a_reach_goes_by_its_rules() -> None:
    assert known(planned("Conv.nchwc"), {})
    assert not known(planned("Conv.nchwc", G=16), {})
    assert not known(planned("Conv.nchwc"), {}, "ConvTranspose")


def test_what_is_beyond_and_how_much_wider_that_makes_it() -> None:
    reach = reach_of([("Conv.nchwc", CONV)])
    inside, outside = planned("Conv.nchwc"), planned("Conv.nchwc", C=67, M=1)
    assert beyond(inside, reach) == {}
    assert beyond(outside, reach) == {"C": (67, (16, 16)), "M": (1, (32, 32))}
    assert widening([(inside, 1.0)], reach) == 1
    assert widening([(inside, 3.0), (outside, 1.0)], reach) == pytest.approx(
        (3 + 3 * (1 + 4.0444)) / 4, rel=1e-3
    )
    found = {item["what"]: item for item in strangest([(inside, 3.0), (outside, 1.0)], reach)}
    assert found["Conv.nchwc C"] == {
        "what": "Conv.nchwc C",
        "value": 67.0,
        "seen": [16.0, 16.0],
        "share": 0.25,
    }
