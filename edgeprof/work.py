"""Work: what a kernel has to do, multiply-accumulates and bytes, from the operators that it covers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edgeprof.nets.operators import Operator

# Operators that look at values in another way, or not at all: they move nothing.
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Size"})
LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND", "EmbedLayerNormalization"})


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates and bytes of one run. Bytes are what must be read and written at least: weights, what comes
    from other kernels and what goes to them; what stays inside a kernel does not count."""

    macs: int = 0
    bytes: int = 0


def work_of(
    kernels: Sequence[tuple[str, Sequence[str], bool]], operators: Sequence[Operator]
) -> tuple[Work, ...]:
    """The work of each kernel, given as (kind, names of its operators, whether it only changes a layout).

    An operator's work counts once: where several kernels name it, for the first of its own type, else for the first
    that is no view. What does not depend on the network's inputs is there before a run: it counts as a weight.
    """
    by_name = {op.name: op for op in operators}
    consumers: dict[str, list[str]] = {}
    for op in operators:
        for producer in op.producers:
            consumers.setdefault(producer, []).append(op.name)
    constants = _constants(operators)
    owner: dict[str, int] = {}
    for index, (_, names, glue) in enumerate(kernels):
        for name in names if not glue else ():
            suits = _suits(kernels[index][0], by_name, name)
            if name not in owner or suits > _suits(kernels[owner[name]][0], by_name, name):
                owner[name] = index
    own: list[list[Operator]] = [[] for _ in kernels]
    for op in operators:
        if op.name in owner:
            own[owner[op.name]].append(op)
    found = []
    for (kind, names, glue), ops in zip(kernels, own, strict=True):
        if glue:
            found.append(Work(0, 2 * _rewritten(names, by_name, operators)))
        else:
            moved = 0 if kind in VIEWS else _bytes(ops, by_name, consumers, constants)
            found.append(Work(sum(op.macs for op in ops), moved))
    return tuple(found)


def _suits(kind: str, by_name: Mapping[str, Operator], name: str) -> int:
    """How well a kind of kernel suits an operator. What a GPU runs beside a node's work (``layout``, ``memset``) is no
    operator's type, and in small letters."""
    op_type = kind.partition(".")[0]
    if name in by_name and op_type == by_name[name].op_type:
        return 2
    return 0 if op_type in VIEWS or op_type[:1].islower() else 1


def _constants(operators: Sequence[Operator]) -> set[str]:
    """Operators that do not depend on the values of the network's inputs."""
    found: set[str] = set()
    for op in operators:
        of_operators = len(op.inputs) == len(op.producers)
        if op.op_type in ("Shape", "Size") or (op.known and of_operators and found.issuperset(op.producers)):
            found.add(op.name)
    return found


def _rewritten(names: Sequence[str], by_name: Mapping[str, Operator], operators: Sequence[Operator]) -> int:
    """Bytes of the value that a change of layout rewrites: an operator's result, or the network's input."""
    op = by_name.get(names[-1]) if names else None
    if op is not None:
        return op.output_bytes
    return operators[0].activation_bytes - operators[0].output_bytes if operators else 0


def _bytes(
    ops: Sequence[Operator],
    by_name: Mapping[str, Operator],
    consumers: Mapping[str, Sequence[str]],
    constants: Collection[str],
) -> int:
    inside = {op.name for op in ops if op.name not in constants}
    total = 0
    for op in ops:
        if op.name in constants or (op.op_type in VIEWS and len(inside) == 1):
            continue
        reads = op.activation_bytes - op.output_bytes
        reads -= sum(by_name[p].output_bytes for p in op.producers if p in inside)
        kept = consumers.get(op.name)
        written = 0 if kept and inside.issuperset(kept) else op.output_bytes
        weights = min(op.parameter_bytes, op.output_bytes) if op.op_type in LOOKUPS else op.parameter_bytes
        total += max(reads, 0) + written + weights
    return total
