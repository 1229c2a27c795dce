"""The description behind generated code: the walk's dimensions are those of the operators, and names are safe."""

from __future__ import annotations

import json

import pytest

from edgeprof.errors import SpecError
from edgeprof.fit.emit.recipe import never_negative, recipe
from edgeprof.fit.expressions import parse
from edgeprof.fit.law_file import law_json, parse_law

from .conftest import TREES, law_of


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("B*ceil(C/8) + max(B - 3, 0)", True),
        ("(B - 3)**2 + sqrt(C)", True),
        ("sum((B - 4*n)**2, n, 2, C)", True),
        ("where(B < 3, C, 2)*(B % 5)", True),
        ("B - 3", False),
        ("max(B - 3, C - 2)", False),
        ("log2(B)", False),
        ("min(B, C - 1)", False),
    ],
)
def test_what_cannot_be_negative(text: str, sure: bool) -> None:
    assert never_negative(parse(text, ["B", "C"]).tree, {"B", "C"}) is sure


def test_laws_that_generated_code_cannot_be() -> None:
    data = json.loads(law_json(law_of("kernel")))
    law = parse_law(json.dumps({**data, "table": {"file": "x.csv"}}), "law")
    with pytest.raises(SpecError, match="rows of a table"):
        recipe(law)

    boosted = parse_law(json.dumps({**data, "boost": {"Conv": TREES}}), "law")
    with pytest.raises(SpecError, match="has boosted trees"):
        recipe(boosted)

    overlapping = parse_law(json.dumps({**data, "composition": "overlap"}), "law")
    with pytest.raises(SpecError, match="composes its kernels by 'overlap'"):
        recipe(overlapping)
