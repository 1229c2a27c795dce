"""Gaps: operators of a network that no kernel of a law was fitted on, priced from a roofline with a wide interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeprof.fit.forms import Form
from edgeprof.fit.reach import Reach, fitted
from edgeprof.fit.roofline import Roofline
from edgeprof.fit.rules import KernelRules, Planned
from edgeprof.nets.operators import Operator


@dataclass(frozen=True)
class Gap:
    """An operator without a fitted kernel: its type, its name, and about what it takes (ms per run) with the least and
    the most; None where nothing tells rates."""

    op_type: str
    name: str
    ms: float | None
    low_ms: float | None
    high_ms: float | None


def gaps_of(
    operators: Sequence[Operator],
    plan: Sequence[Planned],
    reach: Reach,
    form: Form,
    rules: KernelRules,
    roofline: Roofline | None,
) -> dict[int, Gap]:
    """The gaps among planned kernels, by their place in ``plan``."""
    by_name = {op.name: op for op in operators}
    found = {}
    for place, kernel in enumerate(plan):
        op = by_name.get(kernel.name)
        if fitted(kernel, reach, form, rules, op.op_type if op else ""):
            continue
        low, about, high = roofline.price(op) if roofline and op else (None, None, None)
        name = op.op_type.partition(".")[0] if op else kernel.kind  # as ONNX calls it
        found[place] = Gap(name, kernel.name, about, low, high)
    return found


def by_type(gaps: Sequence[Gap]) -> Mapping[str, tuple[int, float]]:
    """Operator types with their number and ms, the dearest first."""
    found: dict[str, tuple[int, float]] = {}
    for gap in gaps:
        count, ms = found.get(gap.op_type, (0, 0.0))
        found[gap.op_type] = count + 1, ms + (gap.ms or 0.0)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))
