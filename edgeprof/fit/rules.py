"""Kernel rules: which kernel an operator becomes, learnt from sweeps as short readable decisions.

Two kinds of decision. For each operator type: the kind of kernel it becomes, or none where it is merged into its
producer's. For each pair of neighbouring kernels: the kernel that the runtime puts between them, if any. Predictions
use rules alone, so that they need neither board nor runtime.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edgeprof.nets.operators import Operator

MERGED = "merged"  # the operator's work is done by its producer's kernel
NOTHING = "none"  # nothing stands between two kernels
MODULI = (64, 32, 16, 8, 4, 2)
MAX_DEPTH = 4
MIN_GAIN = 1e-9
SPLIT_COST = 0.5  # a further question must explain at least this many cases
FEATURES = ("C", "M", "N", "R", "B", "H", "W", "Hi", "Kh", "S", "P", "G")


@dataclass(frozen=True)
class Rule:
    """A decision: a leaf has ``kind`` (and how often it was ``seen``, and ``right``); else a question with two answers.

    ``ask`` is (feature, test, value), test one of ``<`` (number), ``%`` (multiple of) or ``=`` (word).
    """

    kind: str = ""
    seen: int = 0
    right: int = 0
    ask: tuple[str, str, Any] | None = None
    yes: Rule | None = None
    no: Rule | None = None

    def decide(self, facts: Mapping[str, Any]) -> str:
        """The kind for an operator with these ``facts``."""
        rule = self
        while rule.ask is not None:
            assert rule.yes and rule.no
            rule = rule.yes if holds(rule.ask, facts) else rule.no
        return rule.kind

    def text(self) -> str:
        """As people read it: ``Conv.nchw if C < 16, else …``."""
        if self.ask is None or self.yes is None or self.no is None:
            return self.kind
        name, test, value = self.ask
        asked = {"<": f"{name} < {value}", "%": f"{name} a multiple of {value}", "=": f"{name} is {value}"}[
            test
        ]
        yes = f"({self.yes.text()})" if self.yes.ask else self.yes.text()
        return f"{yes} if {asked}, else {self.no.text()}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a law's file."""
        if self.ask is None:
            return {"kind": self.kind, "seen": self.seen, "right": self.right}
        assert self.yes and self.no
        return {"if": list(self.ask), "then": self.yes.as_dict(), "else": self.no.as_dict()}

    @staticmethod
    def from_dict(data: Mapping[str, Any], depth: int = 0) -> Rule:
        """The inverse of :meth:`as_dict`; ValueError where it is no rule."""
        if depth > 20:
            raise ValueError("a rule nests deeper than 20 questions")
        if "if" not in data:
            return Rule(str(data["kind"]), int(data.get("seen", 0)), int(data.get("right", 0)))
        name, test, value = data["if"]
        if test not in ("<", "%", "=") or (test != "=" and name == "from"):
            raise ValueError(f"a rule cannot ask {data['if']!r}")
        if test == "%" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"a rule cannot ask {data['if']!r}")
        if test == "<" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"a rule cannot ask {data['if']!r}")
        yes, no = (Rule.from_dict(data[k], depth + 1) for k in ("then", "else"))
        return Rule(ask=(str(name), test, value), yes=yes, no=no)


@dataclass(frozen=True)
class Planned:
    """A kernel that a network is expected to run, with the dimensions its time depends on."""

    kind: str
    name: str
    operators: tuple[str, ...]
    dims: Mapping[str, float]


@dataclass(frozen=True)
class KernelRules:
    """All decisions: by operator type, and by pair of neighbouring kernels (``from → to``)."""

    operators: Mapping[str, Rule]
    between: Mapping[str, Rule]

    def plan(self, operators: Sequence[Operator]) -> tuple[Planned, ...]:
        """The kernels of a network in execution order. An operator type never seen becomes a kernel of its name."""
        planned: list[Planned] = []
        made: dict[str, str] = {}  # operator → kind of the kernel that holds its output
        last = {op.name for op in operators} - {p for op in operators for p in op.producers}
        for op in operators:
            facts = operator_facts(op, made)
            rule = self.operators.get(op.op_type)
            kind = rule.decide(facts) if rule else op.op_type
            if kind == MERGED and facts["from"] != "input":
                made[op.name] = facts["from"]
                continue
            source = op.producers[0] if op.producers else "input"
            planned.extend(self._between(facts["from"], kind, source, op.inputs[0] if op.inputs else ()))
            planned.append(Planned(kind, op.name, (op.name,), op.dims))
            made[op.name] = kind
        for op in operators:
            if op.name in last:
                planned.extend(
                    self._between(made[op.name], "output", op.name, op.outputs[0] if op.outputs else ())
                )
        return tuple(planned)

    def _between(self, before: str, after: str, source: str, shape: tuple[int, ...]) -> Iterable[Planned]:
        rule = self.between.get(f"{before} → {after}")
        dims = tensor_dims(shape)
        kind = rule.decide(dims) if rule else NOTHING
        if kind != NOTHING:
            yield Planned(kind, f"{kind} after {source}", (source,), dims)

    def lines(self) -> list[str]:
        """Each decision worth saying, as a line for people."""
        own = [f"{op} → {rule.text()}" for op, rule in sorted(self.operators.items()) if rule.text() != op]
        put = [
            f"{pair}: {rule.text()}" for pair, rule in sorted(self.between.items()) if rule.text() != NOTHING
        ]
        return own + put


def holds(ask: tuple[str, str, Any], facts: Mapping[str, Any]) -> bool:
    """The answer to a question; what is not known is answered with no."""
    name, test, value = ask
    fact = facts.get(name)
    if fact is None:
        return False
    if test == "=":
        return bool(fact == value)
    return bool(fact < value) if test == "<" else fact % value == 0


def operator_facts(op: Operator, made: Mapping[str, str]) -> dict[str, Any]:
    """What a rule may ask about an operator: its dimensions, and the kind of kernel its input comes ``from``."""
    source = made.get(op.producers[0], "input") if op.producers else "input"
    return {**{k: v for k, v in op.dims.items() if k in FEATURES}, "from": source}


def tensor_dims(shape: tuple[int, ...]) -> dict[str, float]:
    """Dimensions of a kernel that only moves a tensor: B, C = M, H, W and X = Y elements."""
    names = ("B", "C", "H", "W")[: len(shape)] if len(shape) == 4 else ("B", "C")[: len(shape)]
    dims: dict[str, float] = dict(zip(names, shape, strict=False))
    size = 1
    for d in shape:
        size *= d
    return {**dims, "M": dims.get("C", 1), "X": size, "Y": size}


@dataclass(frozen=True)
class Observed:
    """What one network did: its operators, and its kernels in order as (kind, operators, is it glue)."""

    operators: tuple[Operator, ...]
    kernels: tuple[tuple[str, tuple[str, ...], bool], ...]


def learn(observed: Iterable[Observed]) -> KernelRules:
    """Rules from networks whose kernels are known."""
    own: dict[str, list[tuple[dict[str, Any], str]]] = {}
    pairs: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for net in observed:
        kinds, glue = labels(net)
        made: dict[str, str] = {}
        last = {op.name for op in net.operators} - {p for op in net.operators for p in op.producers}
        for op in net.operators:
            facts = operator_facts(op, made)
            kind = kinds.get(op.name, MERGED)
            own.setdefault(op.op_type, []).append((facts, kind))
            made[op.name] = facts["from"] if kind == MERGED else kind
            if kind == MERGED:
                continue
            source = op.producers[0] if op.producers else "input"
            shape = op.inputs[0] if op.inputs else ()
            pairs.setdefault(f"{facts['from']} → {kind}", []).append(
                (tensor_dims(shape), glue.get((source, op.name), NOTHING))
            )
        for op in net.operators:
            if op.name in last:
                dims = tensor_dims(op.outputs[0] if op.outputs else ())
                pairs.setdefault(f"{made[op.name]} → output", []).append(
                    (dims, glue.get((op.name, ""), NOTHING))
                )
    return KernelRules({k: grow(v) for k, v in own.items()}, {k: grow(v) for k, v in pairs.items()})


def labels(net: Observed) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """(operator → kind of the kernel it leads; the rest are merged), ((producer, consumer or "") → glue kernel)."""
    types = {op.name: op.op_type for op in net.operators}
    kinds: dict[str, str] = {}
    for kind, names, is_glue in net.kernels:
        if not is_glue:
            kinds[leader(kind, names, types)] = kind
    glue: dict[tuple[str, str], str] = {}
    consumers: dict[str, list[str]] = {}
    for op in net.operators:
        consumers.setdefault(op.producers[0] if op.producers else "input", []).append(op.name)
    for kind, names, is_glue in net.kernels:
        if not is_glue:
            continue
        source = names[-1]
        after = consumers.get(source, [])
        while len(after) == 1 and after[0] not in kinds:  # the consumer was merged: look behind it
            source = after[0]
            after = consumers.get(source, [])
        glue[source, after[0] if after else ""] = kind
    return kinds, glue


def leader(kind: str, names: Sequence[str], types: Mapping[str, str]) -> str:
    """The operator that gives a kernel its kind and dimensions: the one of its type, else the first."""
    return next((n for n in names if types.get(n) == kind.partition(".")[0]), names[0])


def grow(cases: Sequence[tuple[Mapping[str, Any], str]], depth: int = 0) -> Rule:
    """A small decision tree: at each step the question that leaves fewest cases unexplained, simple ones first."""
    counted = Counter(label for _, label in cases)
    kind, right = counted.most_common(1)[0]
    leaf = Rule(kind, len(cases), right)
    if right == len(cases) or depth == MAX_DEPTH:
        return leaf
    best: tuple[float, tuple[str, str, Any]] | None = None
    for ask in questions(cases):
        sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for facts, label in cases:
            sides[holds(ask, facts)][label] += 1
        cost = sum(impurity(side) for side in sides)
        if best is None or cost < best[0] - MIN_GAIN:
            best = (cost, ask)
    if best is None or impurity(counted) - best[0] < SPLIT_COST:
        return leaf
    ask = best[1]
    yes = [case for case in cases if holds(ask, case[0])]
    no = [case for case in cases if not holds(ask, case[0])]
    if not yes or not no:
        return leaf
    return Rule(ask=ask, yes=grow(yes, depth + 1), no=grow(no, depth + 1))


def impurity(counted: Counter[str]) -> float:
    """Gini impurity times the number of cases (Breiman et al., Classification and Regression Trees, 1984)."""
    total = counted.total()
    return total - sum(n * n for n in counted.values()) / total if total else 0.0


def questions(cases: Sequence[tuple[Mapping[str, Any], str]]) -> Iterable[tuple[str, str, Any]]:
    """Every question worth asking: words first, then multiples, then thresholds at the roundest number of a gap."""
    names = list(dict.fromkeys(name for facts, _ in cases for name in facts))
    for name in names:
        if name == "from":
            yield from ((name, "=", word) for word in sorted({facts[name] for facts, _ in cases}))
    numbers = [name for name in names if name != "from"]
    for name in numbers:
        yield from ((name, "%", modulus) for modulus in MODULI)
    for name in numbers:
        values = sorted({int(facts[name]) for facts, _ in cases if name in facts})
        yield from ((name, "<", roundest(a, b)) for a, b in pairwise(values))


def roundest(low: int, high: int) -> int:
    """The number in (low, high] that the largest power of two divides: hardware's thresholds are such."""
    step = 1
    while high // (2 * step) > low // (2 * step):
        step *= 2
    return high // step * step
