"""Learning: kernel rules from what networks did, as decision trees grown question by question and judged by cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.fit.rules import (
    BLOCKED,
    MERGED,
    NOTHING,
    KernelRules,
    Rule,
    layouts,
    operator_facts,
    tensor_dims,
)
from edgeprof.nets.operators import Operator

MAX_DEPTH = 4
MIN_GAIN = 1e-9
SPLIT_COST = 0.5  # a further question must explain at least this many cases
MODULI = (64, 32, 16, 8, 4, 2)


@dataclass(frozen=True)
class Observed:
    """What one network did: its operators, and its kernels in order as (kind, operators, is it glue).

    ``shares`` has the part of the network's time of operators that lead a kernel: what a wrong guess may cost.
    """

    operators: tuple[Operator, ...]
    kernels: tuple[tuple[str, tuple[str, ...], bool], ...]
    shares: Mapping[str, float] = field(default_factory=dict)


def learn(observed: Iterable[Observed]) -> KernelRules:
    """Rules from networks whose kernels are known. An operator's decision is judged by the latency at stake, and half
    by number, so that small ones are learnt too."""
    own: dict[str, list[tuple[dict[str, Any], str]]] = {}
    stakes: dict[str, list[float]] = {}
    pairs: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for net in observed:
        kinds, glue = labels(net)
        made: dict[str, str] = {}
        shapes = {op.name: (op.outputs or ((),))[0] for op in net.operators}
        branched = any(len(op.producers) > 1 for op in net.operators)

        def meet(before: str, after: str, shape: Sequence[int], put: str, branched: bool = branched) -> None:
            names = [f"{before} → {after}", *([layouts(before, after)] if branched else [])]
            for name in names:
                pairs.setdefault(name, []).append((tensor_dims(shape), put))

        last = {op.name for op in net.operators} - {p for op in net.operators for p in op.producers}
        for op in net.operators:
            facts = operator_facts(op, made)
            kind = kinds.get(op.name, MERGED)
            own.setdefault(op.op_type, []).append((facts, kind))
            stakes.setdefault(op.op_type, []).append(net.shares.get(op.name, math.nan))
            made[op.name] = facts["from"] if kind == MERGED else kind
            source = op.producers[0] if op.producers else "input"
            if kind != MERGED:
                shape = op.inputs[0] if op.inputs else ()
                meet(facts["from"], kind, shape, glue.get((source, op.name), NOTHING))
            for other in op.producers[1:]:
                meet(made[other], made[op.name], shapes[other], glue.get((other, op.name), NOTHING))
        for op in net.operators:
            if op.name in last:
                shape = op.outputs[0] if op.outputs else ()
                meet(made[op.name], "output", shape, glue.get((op.name, ""), NOTHING))
    operators = {k: grow(v, _costs(stakes[k])) for k, v in own.items()}
    return KernelRules(operators, {k: grow(v) for k, v in pairs.items()})


def _costs(shares: Sequence[float]) -> list[float]:
    """Weights of mean 1; operators without a kernel of their own weigh as the mean."""
    known = [share for share in shares if not math.isnan(share)]
    mean = sum(known) / len(known) if known else 0.0
    return [0.5 + 0.5 * (1.0 if math.isnan(s) or mean == 0 else s / mean) for s in shares]


def labels(net: Observed) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """(operator → kind of the kernel it leads; the rest are merged), ((producer, consumer or "") → glue kernel)."""
    types = {op.name: op.op_type for op in net.operators}
    kinds: dict[str, str] = {}
    for kind, names, is_glue in net.kernels:
        lead = leader(kind, names, types)
        if not is_glue and (lead not in kinds or alike(kind, types[lead])):
            kinds[lead] = kind  # of several kernels of one operator that of its type, else the first
    glue: dict[tuple[str, str], str] = {}
    consumers: dict[str, list[str]] = {}
    holder: dict[str, str] = {}  # operator → the one that leads the kernel that holds its output
    for op in net.operators:
        source = op.producers[0] if op.producers else "input"
        holder[op.name] = op.name if op.name in kinds else holder.get(source, "")
        for each in op.producers or ("input",):
            consumers.setdefault(each, []).append(op.name)
    for kind, names, is_glue in net.kernels:
        if not is_glue:
            continue
        source = names[-1]
        after = consumers.get(source, [])
        while len(after) == 1 and after[0] not in kinds and holder[after[0]] == holder.get(source):
            source = after[0]  # the consumer was merged: look behind it
            after = consumers.get(source, [])
        into = [c for c in after if _wants(kind, kinds.get(holder[c], ""))] if len(after) > 1 else []
        for consumer in into or after[:1] or [""]:
            glue[source, consumer] = kind
    return kinds, glue


def _wants(glue: str, kind: str) -> bool:
    """Whether a change of layout is for a kernel of ``kind``."""
    return kind.endswith(BLOCKED) == (glue == "ReorderInput")


def leader(kind: str, names: Sequence[str], types: Mapping[str, str]) -> str:
    """The operator that gives a kernel its kind and dimensions: the one of its type, else the first."""
    return next((n for n in names if alike(kind, types.get(n, ""))), names[0])


def alike(kind: str, op_type: str) -> bool:
    """Whether a kernel's kind and an operator's type differ in what follows their first dot alone."""
    return kind.partition(".")[0] == op_type.partition(".")[0]


def grow(cases: Sequence[tuple[Mapping[str, Any], str]], weights: Sequence[float] | None = None) -> Rule:
    """A small decision tree: at each step the question that leaves least unexplained, simple ones first.

    :param weights: what a wrong guess of each case costs, beside the others; all alike if None.
    """
    labels_ = sorted({label for _, label in cases})
    known = np.array([labels_.index(label) for _, label in cases])
    cost = np.ones(len(cases)) if weights is None else np.asarray(weights, np.float64)
    facts = [facts for facts, _ in cases]
    return _grow(facts, labels_, known, cost, np.arange(len(cases)), 0)


def _grow(
    facts: Sequence[Mapping[str, Any]],
    kinds: Sequence[str],
    known: NDArray[np.int64],
    cost: NDArray[np.float64],
    use: NDArray[np.int64],
    depth: int,
) -> Rule:
    """The tree for the cases ``use``."""
    own, weight = known[use], cost[use]
    seen, total = np.bincount(own, minlength=len(kinds)), _by_kind(own, weight, len(kinds))
    order = sorted(np.flatnonzero(seen).tolist(), key=lambda i: (-total[i], -seen[i]))
    leaf = Rule(kinds[order[0]], int(seen[order[0]]), {kinds[i]: int(seen[i]) for i in order[1:]})
    if not leaf.others or depth == MAX_DEPTH:
        return leaf
    best: tuple[float, tuple[str, str, Any], NDArray[np.bool_]] | None = None
    for ask, holds_ in _questions([facts[i] for i in use]):
        yes_cost = _by_kind(own[holds_], weight[holds_], len(kinds))
        left = impurity(yes_cost) + impurity(total - yes_cost)
        if best is None or left < best[0] - MIN_GAIN:
            best = (left, ask, holds_)
    if best is None or impurity(total) - best[0] < SPLIT_COST * weight.mean():
        return leaf
    _, ask, holds_ = best
    if holds_.all() or not holds_.any():
        return leaf
    yes, no = (_grow(facts, kinds, known, cost, part, depth + 1) for part in (use[holds_], use[~holds_]))
    return Rule(ask=ask, yes=yes, no=no)


def _by_kind(own: NDArray[np.int64], weight: NDArray[np.float64], kinds: int) -> NDArray[np.float64]:
    return np.asarray(np.bincount(own, weight, kinds), np.float64)


def impurity(cost: NDArray[np.float64]) -> float:
    """Gini impurity times the weight of the cases, of weights by kind (Breiman et al., Classification and Regression
    Trees, 1984)."""
    total = float(cost.sum())
    return total - float(cost @ cost) / total if total > 0 else 0.0


def _questions(
    facts: Sequence[Mapping[str, Any]],
) -> Iterable[tuple[tuple[str, str, Any], NDArray[np.bool_]]]:
    """Every question worth asking with its answers: words first, then multiples, then thresholds at the roundest number
    of a gap. What is not known is answered with no."""
    names = list(dict.fromkeys(name for own in facts for name in own))
    if "from" in names:
        words = np.array([own.get("from", "") for own in facts])
        yield from ((("from", "=", word), words == word) for word in sorted(set(words.tolist()) - {""}))
    columns = {n: np.array([own.get(n, np.nan) for own in facts], np.float64) for n in names if n != "from"}
    for name, column in columns.items():
        yield from (((name, "%", modulus), np.mod(column, modulus) == 0) for modulus in MODULI)
    for name, column in columns.items():
        values = np.unique(column[~np.isnan(column)]).astype(np.int64).tolist()
        for a, b in pairwise(dict.fromkeys(values)):
            at = roundest(a, b)
            yield (name, "<", at), column < at


def roundest(low: int, high: int) -> int:
    """The number in (low, high] that the largest power of two divides: hardware's thresholds are such."""
    step = 1
    while high // (2 * step) > low // (2 * step):
        step *= 2
    return high // step * step
