"""sympy's printers with a law's names."""

from __future__ import annotations

import pytest
import sympy as sp

from edgeprof.fit.emit.decisions import Word
from edgeprof.fit.emit.printers import C, Javascript, Named, Python, Spreadsheet
from edgeprof.fit.expressions import parse

NAMES = {"x": "$B$7", "double": "defined_1_"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-x**2", "-POWER($B$7,2)"),
        ("ceil(x/12)", "-INT(-$B$7/12)"),
        ("floor((x + 1)/12)", "INT((1 + $B$7)/12)"),
        ("x % 4", "MOD($B$7,4)"),
        ("where(x != 4, 1, 0)", "IF($B$7<>4,1,0)"),
        ("where(x == 4, 1, 0)", "IF($B$7=4,1,0)"),
        ("sqrt(x) + x**0.75", "POWER($B$7,0.75) + SQRT($B$7)"),
        ("0.12345678901234566*x", "0.12345678901234566*$B$7"),
        ("log2(x)", "LOG($B$7,2)"),
        ("max(x, 3)", "MAX(3,$B$7)"),
        ("min(x, 3)", "MIN(3,$B$7)"),
        ("sum(n, n, 1, x)", "IF($B$7>=1,(1/2)*$B$7 + (1/2)*POWER($B$7,2),0)"),
    ],
)
def test_formulas(text: str, wanted: str) -> None:
    found = Spreadsheet(NAMES).doprint(parse(text, ["x"]).tree)
    assert sorted(found.split(" + ")) == sorted(wanted.split(" + "))


@pytest.mark.parametrize(
    ("printer", "wanted"),
    [
        (C({}, {'a"b': "KIND_A_B"}), "before == KIND_A_B"),
        (Javascript({}), 'before == "a\\"b"'),
        (Python({}), "before == 'a\"b'"),
        (Spreadsheet({}), 'before="a""b"'),
    ],
)
def test_kinds(printer: Named, wanted: str) -> None:
    assert printer.doprint(sp.Eq(sp.Symbol("before"), Word('a"b'), evaluate=False)) == wanted


def test_names_and_helping_functions() -> None:
    tree = parse("double % 4", ["double"]).tree
    assert C(NAMES, prefix="law_").doprint(tree) == "law_modulo(defined_1_, 4)"
    assert Javascript(NAMES).doprint(tree) == "modulo(defined_1_, 4)"
    assert Python(NAMES).doprint(tree) == "defined_1_ % 4"
