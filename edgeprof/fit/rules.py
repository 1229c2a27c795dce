"""Kernel rules: which kernel an operator becomes, learnt from sweeps as short readable decisions.

Two kinds of decision. For each operator type: the kind of kernel it becomes, or none where it is merged into its
producer's. For each pair of neighbouring kernels: the kernel that the runtime puts between them, if any. Predictions
use rules alone, so that they need neither board nor runtime.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from edgeprof.nets.operators import Operator

MERGED = "merged"  # the operator's work is done by its producer's kernel
NOTHING = "none"  # nothing stands between two kernels
FEATURES = ("C", "M", "N", "R", "B", "H", "W", "Hi", "Kh", "S", "P", "G", "I")
BLOCKED = (".nchwc", ".depthwise", ".pointwise")  # kinds that read and write channels in blocks
BLOCKED_OUT = (*BLOCKED, ".nchw")
LAYOUTS = tuple(f"{made} → {read}" for made in ("blocked", "plain") for read in ("blocked", "plain"))
Mix = tuple[tuple[str, float], ...]  # kinds with their weights
Ask = tuple[str, str, Any]  # feature, test, value


@dataclass(frozen=True)
class Rule:
    """A decision: a leaf has ``kind``, how often that was ``seen``, and the ``others`` seen with it, how often; else it
    is a question with two answers.

    ``ask`` is (feature, test, value), test one of ``<`` (number), ``%`` (multiple of) or ``=`` (word); the feature may
    be a product, ``C*M``.
    """

    kind: str = ""
    seen: int = 0
    others: Mapping[str, int] = field(default_factory=dict)
    ask: Ask | None = None
    yes: Rule | None = None
    no: Rule | None = None

    def decide(self, facts: Mapping[str, Any]) -> Rule:
        """The leaf for an operator with these ``facts``."""
        rule = self
        while rule.ask is not None:
            assert rule.yes and rule.no
            rule = rule.yes if holds(rule.ask, facts) else rule.no
        return rule

    def questions(self) -> Iterable[Ask]:
        """Every question in it."""
        if self.ask is not None:
            assert self.yes and self.no
            yield self.ask
            yield from self.yes.questions()
            yield from self.no.questions()

    @property
    def mix(self) -> Mix:
        """Of a leaf: each kind with its part of what was seen, the most frequent first."""
        total = self.seen + sum(self.others.values())
        counted = {self.kind: self.seen, **self.others}
        return tuple((kind, count / total if total else 1.0) for kind, count in counted.items())

    def text(self) -> str:
        """As people read it: ``Conv.nchw if C < 16, else …``."""
        if self.ask is None or self.yes is None or self.no is None:
            return self.kind
        name, test, value = self.ask
        name = name.replace("*", "·")
        asked = {"<": f"{name} < {value}", "%": f"{name} a multiple of {value}", "=": f"{name} is {value}"}[
            test
        ]
        yes = f"({self.yes.text()})" if self.yes.ask else self.yes.text()
        return f"{yes} if {asked}, else {self.no.text()}"

    def paths(self) -> Iterator[tuple[Rule, str]]:
        """Each leaf with what leads to it: ``C < 16, M ≥ 64``."""
        if self.ask is None:
            yield self, ""
            return
        assert self.yes and self.no
        name, test, value = self.ask
        name = name.replace("*", "·")
        yes, no = {
            "<": (f"{name} < {value}", f"{name} ≥ {value}"),
            "%": (f"{name} a multiple of {value}", f"{name} no multiple of {value}"),
            "=": (f"{name} is {value}", f"{name} is not {value}"),
        }[test]
        for side, text in ((self.yes, yes), (self.no, no)):
            for leaf, further in side.paths():
                yield leaf, f"{text}, {further}" if further else text

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a law's file."""
        if self.ask is None:
            others = {"others": dict(self.others)} if self.others else {}
            return {"kind": self.kind, "seen": self.seen, **others}
        assert self.yes and self.no
        return {"if": list(self.ask), "then": self.yes.as_dict(), "else": self.no.as_dict()}

    @staticmethod
    def from_dict(data: Mapping[str, Any], depth: int = 0) -> Rule:
        """The inverse of :meth:`as_dict`; ValueError where it is no rule."""
        if depth > 20:
            raise ValueError("a rule nests deeper than 20 questions")
        if "if" not in data:
            others = {str(kind): int(count) for kind, count in dict(data.get("others", {})).items()}
            seen = int(data.get("seen", 0))
            if min(seen, *others.values(), 0) < 0:
                raise ValueError("a kind was seen less than never")
            return Rule(str(data["kind"]), seen, others)
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
    """A kernel that a network is expected to run, with the dimensions its time depends on.

    ``mix`` has each kind that it may be with its weight, so that a price can be averaged where the rules are not sure;
    what the weights leave of 1 is that there is no such kernel.
    """

    kind: str
    name: str
    operators: tuple[str, ...]
    dims: Mapping[str, float]
    mix: Mix


@dataclass(frozen=True)
class Step:
    """What the rules make of an operator: the kernel put ``between`` (none: no kernel), its ``own`` (none: merged), and
    the ``kind`` of the kernel that holds its output."""

    between: Mix
    own: Mix
    kind: str


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
        run_bytes = operators[0].dims.get("Z", 0) if operators else 0
        shapes = {op.name: (op.outputs or ((),))[0] for op in operators}
        there: set[tuple[str, str]] = set()  # what was put behind a tensor serves all who read it
        for op in operators:
            source = op.producers[0] if op.producers else "input"
            entering = tensor_dims(op.inputs[0] if op.inputs else ())
            step = self.step(op.op_type, op.dims, entering, made.get(source, "input"))
            put = [(source, entering, step.between)]
            for other in op.producers[1:]:
                dims = tensor_dims(shapes[other])
                put.append((other, dims, self.put_between(made[other], step.kind, dims)))
            for behind, dims, between in put:
                if between and (behind, between[0][0]) not in there:
                    there.add((behind, between[0][0]))
                    planned.extend(_put(between, behind, {**dims, "Z": run_bytes}))
            if step.own:
                planned.append(Planned(step.own[0][0], op.name, (op.name,), op.dims, step.own))
            made[op.name] = step.kind
        for op in operators:
            if op.name in last:
                leaving = tensor_dims(op.outputs[0] if op.outputs else ())
                mix = self.put_between(made[op.name], "output", leaving)
                planned.extend(_put(mix, op.name, {**leaving, "Z": run_bytes}))
        return tuple(planned)

    def step(self, op_type: str, dims: Mapping[str, Any], entering: Mapping[str, Any], before: str) -> Step:
        """What an operator with these ``dims`` becomes, whose input, of dimensions ``entering``, is held by a kernel of
        the kind ``before``."""
        rule = self.operators.get(op_type)
        leaf = rule.decide(asked(dims, before)) if rule else Rule(op_type)
        own = tuple((kind, weight) for kind, weight in leaf.mix if kind != MERGED)
        if leaf.kind == MERGED and before != "input":
            return Step((), own, before)
        return Step(self.put_between(before, leaf.kind, entering), own or ((leaf.kind, 1.0),), leaf.kind)

    def put_between(self, before: str, after: str, entering: Mapping[str, Any]) -> Mix:
        """The kernel that the runtime puts between two others, if any."""
        rule = self.between.get(f"{before} → {after}") or self.between.get(layouts(before, after))
        return tuple(part for part in rule.decide(entering).mix if part[0] != NOTHING) if rule else ()

    def pairs(self, kinds: Collection[str]) -> list[tuple[str, str, Rule]]:
        """What stands between two kernels, by pair: those seen, and those that only a rule of layouts tells."""
        found = []
        for pair, rule in self.between.items():
            if pair not in LAYOUTS:
                before, _, after = pair.partition(" → ")
                found.append((before, after, rule))
        for before, after in product(sorted(kinds), repeat=2):
            rule_ = self.between.get(layouts(before, after))
            if rule_ is not None and f"{before} → {after}" not in self.between:
                found.append((before, after, rule_))
        return found

    def questions(self, op_type: str, before: str) -> tuple[tuple[Ask, ...], tuple[Ask, ...]]:
        """All that :meth:`step` and :meth:`put_between` may ask of the operator, and of the tensor entering it."""
        own = self.operators[op_type].questions() if op_type in self.operators else ()
        starts = (
            f"{before} → ",
            *(layouts(before, kind).partition("→")[0] + "→ " for kind in ("", BLOCKED[0])),
        )
        pairs = [rule for pair, rule in self.between.items() if pair.startswith(starts)]
        return tuple(own), tuple(ask for rule in pairs for ask in rule.questions())

    def lines(self) -> list[str]:
        """Each decision worth saying, as a line for people."""
        own = [f"{op} → {rule.text()}" for op, rule in sorted(self.operators.items()) if rule.text() != op]
        put = [
            f"{pair}: {rule.text()}" for pair, rule in sorted(self.between.items()) if rule.text() != NOTHING
        ]
        return own + put


def layouts(before: str, after: str) -> str:
    """The pair of layouts of two neighbouring kernels, for pairs that were never seen."""
    made = "blocked" if before.endswith(BLOCKED_OUT) else "plain"
    return f"{made} → {'blocked' if after.endswith(BLOCKED) else 'plain'}"


def _put(mix: Mix, source: str, dims: Mapping[str, float]) -> Iterable[Planned]:
    """A kernel between two others, where there is one."""
    if mix:
        yield Planned(mix[0][0], f"{mix[0][0]} after {source}", (source,), dims, mix)


def holds(ask: Ask, facts: Mapping[str, Any]) -> Any:
    """The answer to a question, element by element where the fact is an array; no where it is not known."""
    name, test, value = ask
    fact = fact_of(name, facts)
    if fact is None:
        return False
    if test == "=":
        return fact == value
    return fact < value if test == "<" else fact % value == 0


def fact_of(name: str, facts: Mapping[str, Any]) -> Any:
    """A fact, or a product of several such as ``C*M``; None where it is not known."""
    if name in facts or "*" not in name:
        return facts.get(name)
    parts = [facts.get(part) for part in name.split("*")]
    return None if any(part is None for part in parts) else math.prod(parts)


def operator_facts(op: Operator, made: Mapping[str, str]) -> dict[str, Any]:
    """What a rule may ask about an operator: its dimensions, and the kind of kernel its input comes ``from``."""
    return asked(op.dims, made.get(op.producers[0], "input") if op.producers else "input")


def asked(dims: Mapping[str, Any], before: str) -> dict[str, Any]:
    """:func:`operator_facts` of an operator with these dimensions."""
    return {**{k: v for k, v in dims.items() if k in FEATURES}, "from": before}


def tensor_dims(shape: Sequence[Any]) -> dict[str, Any]:
    """Dimensions of a kernel that only moves a tensor: B, C = M, H, W and X = Y elements. Sizes may be arrays."""
    names = ("B", "C", "H", "W")[: len(shape)] if len(shape) == 4 else ("B", "C")[: len(shape)]
    dims = dict(zip(names, shape, strict=False))
    size = math.prod(shape)
    return {**dims, "M": dims.get("C", 1), "X": size, "Y": size}
