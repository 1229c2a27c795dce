"""Recipe: a law as functions and decisions that every language prints; the one description behind generated code.

A law of whole networks is a price per group in the network's own variables. A law of kernels is a walk over the
network's operators, as :mod:`edgeprof.nets.build` puts them: each :class:`Step` decides by the law's rules which kernel
runs, and the kernel's :class:`Price` says how long. It gives what :func:`edgeprof.fit.law.predict` gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from edgeprof.errors import SpecError
from edgeprof.fit.expressions import Expression
from edgeprof.fit.forms import CONSTANTS, KERNEL_VARIABLES, NET_VARIABLES
from edgeprof.fit.functions import BoundedSum, Ceil, Floor, Root, Where
from edgeprof.fit.law import Law, Term
from edgeprof.fit.rules import FEATURES, MERGED, NOTHING, KernelRules, Mix, Rule, holds

INPUT, OUTPUT = "input", "output"  # what stands before the first kernel and after the last
BEFORE, AFTER = "before", "after"  # names of the kinds that a decision asks for
NO_PRICE = ""  # of a kernel that its group cannot price
LARGEST = 10**300


@dataclass(frozen=True)
class Price:
    """Milliseconds as a sum of coefficient × term. ``arguments`` are the variables it needs, ``definitions`` (constants
    among them) are worked out before its terms, in order. A term that is ``checked`` may turn out negative, where the
    law has nothing to say."""

    name: str
    title: str
    arguments: tuple[str, ...]
    definitions: tuple[tuple[str, sp.Expr], ...]
    terms: tuple[tuple[float, sp.Expr, bool], ...]


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


@dataclass(frozen=True)
class Step:
    """An operator of the walk, in the walk's variables: its dimensions, those of the tensor that it reads, and the
    bytes of its weights and results; and what it becomes."""

    name: str
    title: str
    dims: Mapping[str, sp.Expr]
    tensor: Mapping[str, sp.Expr]
    bytes: sp.Expr
    decision: Decision = NONE


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


# --- the walk: variables of a network, and how its pixels shrink

(batch, inputs, size, depth, kernel, stride, padding, pads, out, pool, left, width, neurons, run_bytes) = (
    sp.symbols("batch inputs size depth kernel stride padding pads out pool left width neurons run_bytes")
)
FLOAT = 4  # bytes
SAME_PADS = sp.Max((Ceil(size, stride) - 1) * stride + kernel - size, 0, evaluate=False)
PADS = Where(sp.Lt(padding, 0), SAME_PADS, 2 * padding)  # both sides of a row; padding −1 is same
OUT = Floor(size + pads - kernel, stride) + 1
LEFT = Floor(out, pool)
WIDTH = inputs * size**2
COLD = sp.Min(  # edgeprof.fit.features.columns
    sp.Max(4 * sp.Symbol("Z") / sp.Symbol("L3") - 1, 0, evaluate=False), 1, evaluate=False
)
POSSIBLE = (sp.Lt(Floor(pads, 2), kernel), sp.Ge(size + pads, kernel), sp.Ge(out, pool))


def _maps(c: Any, hi: Any, m: Any, h: Any, k: Any = 1, s: Any = 1, p: Any = 0) -> dict[str, sp.Expr]:
    """Dimensions of an operator on images (edgeprof.nets.operators.dims)."""
    found = {"B": batch, "C": c, "M": m, "H": h, "W": h, "Hi": hi, "Wi": hi, "Kh": k, "Kw": k, "S": s, "P": p}
    found |= {"G": 1, "X": batch * c * hi**2, "Y": batch * m * h**2, "Z": run_bytes}
    return {n: sp.sympify(v) for n, v in found.items()}


def _rows(m: Any, **more: Any) -> dict[str, sp.Expr]:
    """Dimensions of an operator on rows of ``m`` numbers."""
    return {"B": batch, "M": m, "X": batch * m, "Y": batch * m, "Z": run_bytes, **more}


def _image(c: Any, h: Any) -> dict[str, sp.Expr]:
    """Dimensions of a kernel that moves images (edgeprof.fit.rules.tensor_dims)."""
    return {"B": batch, "C": c, "H": h, "W": h, **_rows(c, X=batch * c * h**2, Y=batch * c * h**2)}


def _vector(c: Any) -> dict[str, sp.Expr]:
    """Dimensions of a kernel that moves rows of ``c`` numbers."""
    return {"C": c, **_rows(c)}


_ROW = FLOAT * batch * neurons  # bytes
WALK = (
    Step(
        "conv",
        "Conv",
        _maps(inputs, size, depth, out, kernel, stride, pads),
        _image(inputs, size),
        FLOAT * (kernel**2 * inputs * depth + depth + batch * depth * out**2),
    ),
    Step("relu", "Relu", _maps(depth, out, depth, out), _image(depth, out), FLOAT * batch * depth * out**2),
    Step(
        "pool",
        "MaxPool",
        _maps(depth, out, depth, left, pool, pool),
        _image(depth, out),
        FLOAT * batch * depth * left**2,
    ),
    Step("flatten", "Flatten", _rows(width), _image(inputs, size), FLOAT * batch * width),
    Step(
        "gemm",
        "Gemm",
        _rows(neurons, R=batch, N=width, X=batch * width),
        _vector(width),
        FLOAT * (width * neurons + neurons) + _ROW,
    ),
    Step("relu_fc", "Relu", _rows(neurons), _vector(neurons), _ROW),
    Step("softmax", "Softmax", _rows(neurons), _vector(neurons), _ROW),
    Step("output", "output", {}, _vector(neurons), sp.Integer(0), Outcome(OUTPUT)),
)
IMAGES, ROWS = 4, 2  # axes of a tensor


def axes(step: Step) -> int:
    """Axes of the tensor that a step reads."""
    return IMAGES if "H" in step.tensor else ROWS


# --- law → recipe


def recipe(law: Law) -> Recipe:
    """The recipe of a law.

    :raises SpecError: a law that is no plain sum over kernels, or no law of networks.
    """
    if law.table:
        raise SpecError(
            f"law '{law.name}' is of the rows of a table, and generated code is of networks",
            "emit it as text or latex; edgeprof predict --table predicts rows",
        )
    if (how := getattr(law, "composition", "sum")) != "sum":
        raise SpecError(
            f"law '{law.name}' composes its kernels by '{how}', which generated code cannot do",
            "use edgeprof predict, or fit a law that is a sum over its kernels",
        )
    if law.boost:
        raise SpecError(
            f"law '{law.name}' has boosted trees, which generated code leaves out",
            "emit the law of the plain form, or use edgeprof predict",
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
                name = price.name if set(price.arguments) <= set(dims) else NO_PRICE
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
        return _question(BEFORE, INPUT, kernel, merged) if first else merged

    rule = rules.operators.get(step.title, Rule(step.title))
    return decision(rule, {n: v for n, v in step.dims.items() if n in FEATURES}, leaf)


def _between(rules: KernelRules, steps: Iterable[Step], priced: Pricing) -> dict[int, Decision]:
    """What runs between two kernels, for images and for rows."""
    found: dict[int, Decision] = {}
    for count, tensor in ((IMAGES, _image(inputs, size)), (ROWS, _vector(width))):
        possible = {o.kind for s in steps if axes(s) == count for o in outcomes(s.decision)}

        def leaf(rule: Rule, dims: Mapping[str, Any] = tensor) -> Decision:
            mix = tuple(part for part in rule.mix if part[0] != NOTHING)
            return Outcome(None, 1, priced(mix, dims)) if mix else NONE

        chains: dict[str, Decision] = {}  # by what stands before: decisions that ask what comes after
        for pair, rule in reversed(list(rules.between.items())):
            before, _, after = pair.partition(" → ")
            tree = decision(rule, tensor, leaf)
            if after in possible and tree != NONE:
                chains[before] = _question(AFTER, after, tree, chains.get(before, NONE))
        whole: Decision = NONE
        for before, chain in chains.items():
            whole = _question(BEFORE, before, chain, whole)
        found[count] = whole
    return found


def decision(rule: Rule, dims: Mapping[str, Any], leaf: Callable[[Rule], Decision]) -> Decision:
    """A rule as a decision, where ``dims`` are known (of others nothing is known: the answer is no)."""
    if rule.ask is None:
        return leaf(rule)
    assert rule.yes and rule.no
    yes, no = decision(rule.yes, dims, leaf), decision(rule.no, dims, leaf)
    name, test, value = rule.ask
    if name == "from":
        return _question(BEFORE, value, yes, no) if isinstance(value, str) else no
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


def _question(name: str, kind: str, yes: Decision, no: Decision) -> Decision:
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


# --- prices


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


# --- names

# What generated code calls, and words that one of the languages keeps for itself.
_WORDS = """
Math abs batch ceil checked floor fmax fmin fmod int log2 math max min modulo nan pow range sqrt sum and arguments
as assert async auto await break case catch char class const continue debugger def default del delete do double elif
else enum eval except export extends extern finally float for from function global goto if implements import in
inline instanceof interface is lambda let long new nonlocal not null or package pass private protected public raise
register restrict return short signed sizeof static struct super switch this throw true false try typedef typeof
union unsigned var void volatile while with yield False None True
"""
KEPT = frozenset(_WORDS.split())


def identifiers(definitions: Iterable[str]) -> dict[str, str]:
    """A name for each definition that is allowed in every language: its own, if it can be."""
    found: dict[str, str] = {}
    for i, name in enumerate(definitions):
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and not (name.isupper() and len(name) > 1)
        found[name] = name if plain and name not in KEPT else f"defined_{i + 1}_"
    return found


def slugs(texts: Iterable[str]) -> dict[str, str]:
    """A piece of an identifier for each text, no two alike: ``Conv, NCHWc`` becomes ``conv_nchwc``."""
    found: dict[str, str] = {}
    for text in texts:
        slug = base = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "x"
        count = 1
        while slug in found.values():
            count += 1
            slug = f"{base}_{count}"
        found[text] = slug
    return found


def clean(text: str) -> str:
    """A text that may stand in a comment of any language: one line, nothing invisible, no end of a comment."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line.replace("*/", "* /").replace("/*", "/ *")
