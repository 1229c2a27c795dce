"""Recipe: a law as functions and decisions that every language prints; the one description behind generated code.

A law of whole networks is a price per group in the network's own variables. A law of kernels is a walk over the
network's operators: each step decides by the law's rules which kernel runs, and the kernel's price says how long. It
gives what :func:`edgeprof.fit.prediction.predict` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from edgeprof.errors import SpecError
from edgeprof.fit.emit.decisions import (
    AFTER,
    BEFORE,
    INPUT,
    NO_PRICE,
    NONE,
    OUTPUT,
    Decision,
    Outcome,
    Word,
    conditions,
    decision,
    outcomes,
    question,
)
from edgeprof.fit.emit.names import identifiers, slugs
from edgeprof.fit.emit.walk import IMAGES, ROWS, WALK, Step, axes, image, inputs, size, vector, width
from edgeprof.fit.expressions import Expression
from edgeprof.fit.forms import CLOCKS, CONSTANTS, KERNEL_VARIABLES, NET_VARIABLES
from edgeprof.fit.functions import BoundedSum, Ceil, Floor, Root, Where
from edgeprof.fit.law import Law, Term
from edgeprof.fit.rules import FEATURES, MERGED, NOTHING, KernelRules, Mix, Rule

COLD = sp.Min(  # edgeprof.fit.features.columns
    sp.Max(4 * sp.Symbol("Z") / sp.Symbol("L3") - 1, 0, evaluate=False), 1, evaluate=False
)


@dataclass(frozen=True)
class Price:
    """Milliseconds as a sum of coefficient × term. ``arguments`` are the variables it needs, clocks among them;
    ``definitions`` (and constants) are worked out before its terms, in order. A term that is ``checked`` may turn out
    negative, where the law has nothing to say."""

    name: str
    title: str
    arguments: tuple[str, ...]
    definitions: tuple[tuple[str, sp.Expr], ...]
    terms: tuple[tuple[float, sp.Expr, bool], ...]


@dataclass(frozen=True)
class Recipe:
    """All of a law. ``groups`` prices whole networks or kernels, ``overhead`` a network. ``steps`` (by name) and
    ``between``, by the number of axes of the tensor that is moved (4 or 2), are of a law of kernels. ``names`` maps
    definitions to names that no language forbids."""

    law: Law
    groups: tuple[Price, ...]
    overhead: Price
    steps: Mapping[str, Step] = field(default_factory=dict)
    between: Mapping[int, Decision] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of kernel that a decision gives or asks for."""
        decisions = [*(s.decision for s in self.steps.values()), *self.between.values()]
        found = {o.kind: None for d in decisions for o in outcomes(d) if o.kind is not None}
        found |= {w.name: None for d in decisions for c in conditions(d) for w in c.atoms(Word)}
        return tuple(kind for kind in found if kind not in (INPUT, OUTPUT))

    @property
    def whole(self) -> bool:
        """True where a kernel's price depends on the bytes of the whole run."""
        decisions = [*(s.decision for s in self.steps.values()), *self.between.values()]
        return any("Z" in self.arguments(d) for d in decisions)

    def price(self, name: str) -> Price:
        """The group's price that is called ``name``."""
        return next(p for p in self.groups if p.name == name)

    def arguments(self, decision: Decision) -> tuple[str, ...]:
        """The variables that a decision and the prices in it need."""
        used = {s.name for c in conditions(decision) for s in c.free_symbols if not isinstance(s, Word)}
        for outcome in outcomes(decision):
            used |= {n for name, _ in outcome.prices if name for n in self.price(name).arguments}
        return tuple(n for n in (BEFORE, AFTER, *KERNEL_VARIABLES) if n in used)


def recipe(law: Law) -> Recipe:
    """The recipe of a law.

    :raises SpecError: a law that is no plain sum over kernels, or no law of networks.
    """
    if law.table:
        raise SpecError(
            f"law '{law.name}' is of the rows of a table, and generated code is of networks",
            "emit it as text or latex; edgeprof predict --table predicts rows",
        )
    if (how := law.composition) != "sum":
        raise SpecError(
            f"law '{law.name}' composes its kernels by '{how}', which generated code cannot do",
            "use edgeprof predict, or fit a law that is a sum over its kernels",
        )
    if law.boost:
        raise SpecError(
            f"law '{law.name}' has boosted trees, which generated code leaves out",
            "emit the law of the plain form, or use edgeprof predict",
        )
    if law.hybrids:
        raise SpecError(
            f"law '{law.name}' has boosted trees, which generated code has not",
            "emit it as text or latex, or fit it without them",
        )
    form = law.as_form
    names = identifiers(form.definitions)
    variables = KERNEL_VARIABLES if law.scope == "kernel" else NET_VARIABLES
    titles = slugs(g.name for g in law.groups)
    prices = {
        g.name: price_of(
            law,
            f"price_{titles[g.name]}",
            g.name,
            g.terms,
            form.expressions[g.name],
            form.definitions,
            variables,
        )
        for g in law.groups
    }
    overhead = price_of(law, "overhead", "overhead", law.overhead, law.parsed, {}, NET_VARIABLES)
    if law.scope == "net":
        return Recipe(law, tuple(p for p in prices.values() if p.terms), overhead, names=names)

    def priced(mix: Mix, dims: Collection[str]) -> tuple[tuple[str, float], ...]:
        weights: dict[str, float] = {}
        for kind, weight in mix:
            group = form.group_of(kind)
            price = prices[group.name] if group is not None else None
            if price is not None and price.terms and weight > 0:
                name = price.name if set(price.arguments) <= {*dims, *CLOCKS} else NO_PRICE
                weights[name] = weights.get(name, 0.0) + weight
        return tuple(weights.items())

    rules = law.kernel_rules
    steps = {s.name: replace(s, decision=_decision_of(s, rules, priced)) for s in WALK}
    between = _between(rules, steps.values(), priced)
    decisions = [*(s.decision for s in steps.values()), *between.values()]
    used = {name for d in decisions for o in outcomes(d) for name, _ in o.prices}
    return Recipe(law, tuple(p for p in prices.values() if p.name in used), overhead, steps, between, names)


Pricing = Callable[[Mix, Collection[str]], tuple[tuple[str, float], ...]]


def _decision_of(step: Step, rules: KernelRules, priced: Pricing) -> Decision:
    """What an operator becomes (:meth:`KernelRules.plan`)."""
    if step.name == OUTPUT:
        return step.decision

    def leaf(rule: Rule) -> Decision:
        mix = tuple((kind, weight) for kind, weight in rule.mix if kind != MERGED)
        kernel = Outcome(rule.kind, 1, priced(mix or ((rule.kind, 1.0),), step.dims))
        if rule.kind != MERGED:
            return kernel
        merged = Outcome(None, 1 if mix else 0, priced(mix, step.dims))
        first = step.name in ("conv", "flatten")  # with nothing before it to be merged with
        return question(BEFORE, INPUT, kernel, merged) if first else merged

    rule = rules.operators.get(step.title, Rule(step.title))
    return decision(rule, {n: v for n, v in step.dims.items() if n in FEATURES}, leaf)


def _between(rules: KernelRules, steps: Iterable[Step], priced: Pricing) -> dict[int, Decision]:
    """What runs between two kernels, for images and for rows."""
    found: dict[int, Decision] = {}
    steps = tuple(steps)
    kinds = {INPUT, *(o.kind for s in steps for o in outcomes(s.decision) if o.kind)}
    for count, tensor in ((IMAGES, image(inputs, size)), (ROWS, vector(width))):
        possible = {o.kind for s in steps if axes(s) == count for o in outcomes(s.decision)}

        def leaf(rule: Rule, dims: Mapping[str, Any] = tensor) -> Decision:
            mix = tuple(part for part in rule.mix if part[0] != NOTHING)
            return Outcome(None, 1, priced(mix, dims)) if mix else NONE

        chains: dict[str, Decision] = {}  # by what stands before: decisions that ask what comes after
        for before, after, rule in reversed(rules.pairs(kinds)):
            tree = decision(rule, tensor, leaf)
            if after in possible and tree != NONE:
                chains[before] = question(AFTER, after, tree, chains.get(before, NONE))
        whole: Decision = NONE
        for before, chain in chains.items():
            whole = question(BEFORE, before, chain, whole)
        found[count] = whole
    return found


def price_of(
    law: Law,
    name: str,
    title: str,
    terms: Iterable[Term],
    expressions: Iterable[Expression],
    definitions: Mapping[str, Expression],
    variables: Collection[str],
) -> Price:
    """The terms that cost something, with what they need."""
    kept = [(t.coefficient, e) for t, e in zip(terms, expressions, strict=True) if t.coefficient > 0]
    needed = {n for _, e in kept for n in e.names}
    for own, expression in reversed(list(definitions.items())):
        needed |= expression.names if own in needed else set()
    if "cold" in needed and "L3" in law.constants:
        needed |= {"Z", "L3"}
    constants = {n: law.constants[n] for n in CONSTANTS if n in needed and n in law.constants}
    made = [(n, sp.Integer(int(v)) if v == int(v) else sp.Float(repr(v), 17)) for n, v in constants.items()]
    if "cold" in needed and "L3" in constants:
        made.append(("cold", COLD))
    made += [(n, e.tree) for n, e in definitions.items() if n in needed]
    positive = set(variables) - constants.keys()
    for own, tree in made:
        positive |= {own} if never_negative(tree, positive) else set()
    return Price(
        name,
        title,
        tuple(n for n in variables if n in needed and n not in [own for own, _ in made]),
        tuple(made),
        tuple((c, e.tree, not never_negative(e.tree, positive)) for c, e in kept),
    )


def never_negative(tree: Any, positive: Collection[str]) -> bool:
    """True where an expression cannot be negative if the ``positive`` variables are not; False where it is unclear."""
    sure = [never_negative(arg, positive) for arg in tree.args]
    match tree:
        case sp.Number():
            return bool(tree >= 0)
        case sp.Symbol():
            return tree.name in positive
        case sp.Pow():
            return sure[0] or bool(tree.exp.is_Integer and tree.exp % 2 == 0)
        case sp.Max():
            return any(sure)
        case sp.Mod():
            return sure[1]
        case Where():
            return all(sure[1:])
        case BoundedSum():
            return never_negative(tree.args[0].expr, positive)
        case sp.Add() | sp.Mul() | sp.Min() | Ceil() | Floor() | Root():
            return all(sure)
    return False
