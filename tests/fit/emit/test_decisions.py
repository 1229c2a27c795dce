"""Rules as decisions."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp

from edgeprof.fit.emit.decisions import Outcome, Question, decision, limited, outcomes
from edgeprof.fit.emit.recipe import recipe
from edgeprof.fit.rules import Rule

from .conftest import law_of

DIMS = {**{n: sp.Symbol(n.lower()) for n in "BCM"}, "G": sp.Integer(1)}


def asked(*ask: Any) -> Any:
    rule = Rule.from_dict({"if": list(ask), "then": {"kind": "yes"}, "else": {"kind": "no"}})
    found = decision(rule, DIMS, lambda leaf: Outcome(leaf.kind))
    return str(found.condition) if isinstance(found, Question) else found.kind


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [
        (("C", "<", 16), "C < 16"),
        (("C*M", "<", 300), "C*M < 300"),
        (("C", "%", 4), "Eq(Mod(C, 4), 0)"),
        (("C", "=", 3), "Eq(C, 3)"),
        (("from", "=", "Conv.a"), "Eq(before, Conv.a)"),
        (("from", "=", 3), "no"),
        (("C", "=", "x"), "no"),
        (("H", "<", 16), "no"),  # not known
        (("H*C", "<", 16), "no"),
        (("G", "<", 2), "yes"),  # known beforehand
        (("G", "%", 2), "no"),
        (("C", "<", float("nan")), "no"),
        (("C", "<", 10**400), "C < 1.0e+300"),
    ],
)
def test_a_question(ask: tuple[Any, ...], wanted: str) -> None:
    assert asked(*ask) == wanted


def test_answers_that_are_one() -> None:
    rule = Rule.from_dict({"if": ["C", "<", 16], "then": {"kind": "a"}, "else": {"kind": "a"}})
    assert decision(rule, DIMS, lambda leaf: Outcome(leaf.kind)) == Outcome("a")
    tail = {"if": ["from", "=", "q"], "then": {"kind": "a"}, "else": {"kind": "b"}}
    rule = Rule.from_dict({"if": ["from", "=", "p"], "then": {"kind": "a"}, "else": tail})
    found = decision(rule, DIMS, lambda leaf: Outcome(leaf.kind))
    assert isinstance(found, Question)
    assert isinstance(found.condition, sp.Or)
    assert (found.yes, found.no) == (Outcome("a"), Outcome("b"))


def test_a_decision_of_kinds_that_cannot_be_is_left_out() -> None:
    between = recipe(law_of("kernel")).between[4]
    assert {o.prices for o in outcomes(between)} == {(), (("price_reorder", 1.0),)}
    assert {o.kernels for o in outcomes(limited(between, "after", {"Softmax"}))} == {0}
    assert (
        limited(between, "before", {"Conv.nchw", "Conv.nchwc", "Conv.im2col", "MaxPool", "MaxPool.nchwc"})
        == between
    )
