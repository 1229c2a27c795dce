"""Reach: which kernels a law was fitted on, and over which sizes; what of a network lies beyond."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from edgeprof.fit.forms import Form
from edgeprof.fit.rules import FEATURES, KernelRules, Planned
from edgeprof.nets.fusion import GROUPED

Reach = Mapping[str, Mapping[str, tuple[float, float]]]  # kind → dimension → least and greatest value
NATURE = ("G", "Dl")  # what makes another kernel of it where it was never other than this
SIZES = tuple(name for name in (*FEATURES, "Dl") if name != "I")
SLACK = 1.001


def reach_of(kernels: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    """The reach of kernels that were measured: kind and dimensions of each."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for kind, dims in kernels:
        own = found.setdefault(kind, {})
        for name in SIZES:
            if name in dims:
                low, high = own.get(name, (math.inf, -math.inf))
                own[name] = (min(low, float(dims[name])), max(high, float(dims[name])))
    return found


def fitted(kernel: Planned, reach: Reach, form: Form, rules: KernelRules, op_type: str) -> bool:
    """Whether a law has a price for a kernel: one of its kind was measured, and it has the dimensions that the price
    needs. Of a law that does not tell its reach, whether its rules know the operator; where it has no rules, its groups
    take every one."""
    for kind, _ in kernel.mix:
        group = form.group_of(kind)
        if group is None or not form.needs[group.name] <= kernel.dims.keys():
            return False
        seen = reach.get(kind)
        if reach and seen is None:
            return False
        if not reach and rules.operators and op_type and op_type.removesuffix(GROUPED) not in rules.operators:
            return False
        for name in NATURE if op_type != "MatMul" else ():
            greatest = (seen or {}).get(name, (1.0, 1.0))[1]
            if kernel.dims.get(name, 1.0) > greatest == 1.0:
                return False
    return True


def beyond(kernel: Planned, reach: Reach) -> dict[str, tuple[float, tuple[float, float]]]:
    """Dimensions of a kernel that are out of what was seen, each with its value and that range."""
    seen = reach.get(kernel.kind, {})
    found = {}
    for name, (low, high) in seen.items():
        value = kernel.dims.get(name)
        if value is not None and not low / SLACK <= value <= high * SLACK:
            found[name] = (float(value), (low, high))
    return found


def strangest(kernels: Iterable[tuple[Planned, float]], reach: Reach) -> tuple[Mapping[str, Any], ...]:
    """What of a network's kernels (with their ms) is out of reach: for each kind and dimension the farthest value, and
    the share of the time in all kernels that are out in it."""
    worst: dict[tuple[str, str], tuple[float, tuple[float, float]]] = {}
    time: dict[tuple[str, str], float] = {}
    total = 0.0
    for kernel, ms in kernels:
        total += ms
        for name, (value, seen) in beyond(kernel, reach).items():
            key = kernel.kind, name
            time[key] = time.get(key, 0.0) + ms
            if key not in worst or _doublings(value, seen) > _doublings(*worst[key]):
                worst[key] = value, seen
    return tuple(
        {
            "what": f"{kind} {name}",
            "value": value,
            "seen": list(seen),
            "share": time[kind, name] / (total or 1),
        }
        for (kind, name), (value, seen) in worst.items()
    )


def widening(kernels: Iterable[tuple[Planned, float]], reach: Reach) -> float:
    """How much wider the interval of these kernels (with their ms) is: for each, once more for every doubling beyond
    what was seen of a dimension; weighed by time."""
    total, wide = 0.0, 0.0
    for kernel, ms in kernels:
        total += ms
        wide += ms * math.prod(1 + _doublings(*found) for found in beyond(kernel, reach).values())
    return wide / total if total else 1.0


def _doublings(value: float, seen: tuple[float, float]) -> float:
    limit = seen[0] if value < seen[0] else seen[1]
    return abs(math.log2((max(value, 0) + 1) / (max(limit, 0) + 1)))
