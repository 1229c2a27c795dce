"""Decisions of generated code: a law's kernel rules as questions in sympy's relations, and what they end with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from edgeprof.fit.rules import Rule, holds

INPUT, OUTPUT = "input", "output"  # what stands before the first kernel and after the last
BEFORE, AFTER = "before", "after"  # names of the kinds that a decision asks for
NO_PRICE = ""  # of a kernel that its group cannot price
LARGEST = 10**300


@dataclass(frozen=True)
class Outcome:
    """What runs: a kernel of ``kind`` (None: nothing, or a part of the kernel before), how many kernels that counts as,
    and the names of its prices with their weights."""

    kind: str | None = None
    kernels: int = 0
    prices: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Question:
    """``condition`` is a sympy relation between variables and words."""

    condition: Any
    yes: Decision
    no: Decision


Decision = Outcome | Question
NONE = Outcome()


class Word(sp.Symbol):  # type: ignore[misc]
    """A kind of kernel inside an expression; every language has its own way of writing it."""


def decision(rule: Rule, dims: Mapping[str, Any], leaf: Callable[[Rule], Decision]) -> Decision:
    """A rule as a decision, where ``dims`` are known (of others nothing is known: the answer is no)."""
    if rule.ask is None:
        return leaf(rule)
    assert rule.yes and rule.no
    yes, no = decision(rule.yes, dims, leaf), decision(rule.no, dims, leaf)
    name, test, value = rule.ask
    if name == "from":
        return question(BEFORE, value, yes, no) if isinstance(value, str) else no
    parts = [name] if name in dims else name.split("*")
    if not all(part in dims for part in parts) or not isinstance(value, int | float) or value != value:
        return no
    if all(dims[part].is_Integer for part in parts):
        return yes if holds(rule.ask, {part: int(dims[part]) for part in parts}) else no
    number = (
        sp.Integer(int(value)) if abs(value) < 2**31 and value == int(value) else sp.Float(_bounded(value))
    )
    fact, relation = sp.Mul(*(sp.Symbol(part) for part in parts)), sp.Lt if test == "<" else sp.Eq
    if test == "%":
        fact, number = sp.Mod(fact, number, evaluate=False), sp.Integer(0)
    return _asked(relation(fact, number, evaluate=False), yes, no)


def _bounded(value: float) -> float:
    """A number that fits in a float; those beyond are as good as its ends."""
    return float(max(-LARGEST, min(LARGEST, value)))


def question(name: str, kind: str, yes: Decision, no: Decision) -> Decision:
    """Whether the kernel called ``name`` is of this kind."""
    return _asked(sp.Eq(sp.Symbol(name), Word(kind), evaluate=False), yes, no)


def _asked(condition: Any, yes: Decision, no: Decision) -> Decision:
    """A question, unless both answers are one; two in a row with one answer are joined by "or"."""
    if yes == no:
        return yes
    if isinstance(no, Question) and no.yes == yes and isinstance(yes, Outcome):
        return Question(sp.Or(condition, no.condition, evaluate=False), yes, no.no)
    return Question(condition, yes, no)


def outcomes(decision: Decision) -> Iterator[Outcome]:
    """Every end of a decision."""
    if isinstance(decision, Outcome):
        yield decision
    else:
        yield from outcomes(decision.yes)
        yield from outcomes(decision.no)


def conditions(decision: Decision) -> Iterator[Any]:
    """Every condition in a decision."""
    if isinstance(decision, Question):
        yield decision.condition
        yield from conditions(decision.yes)
        yield from conditions(decision.no)


def limited(decision: Decision, name: str, kinds: Collection[str | None]) -> Decision:
    """A decision where what ``name`` stands for (``before`` or ``after``) is one of ``kinds``."""
    if isinstance(decision, Outcome):
        return decision
    yes, no = limited(decision.yes, name, kinds), limited(decision.no, name, kinds)
    parts = decision.condition.args if isinstance(decision.condition, sp.Or) else (decision.condition,)
    left = [
        p for p in parts if sp.Symbol(name) not in p.args or p.atoms(Word) & {Word(str(k)) for k in kinds}
    ]
    if not left:
        return no
    return _asked(left[0] if len(left) == 1 else sp.Or(*left, evaluate=False), yes, no)
