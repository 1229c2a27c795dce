"""Steps: the blocks in which kernels work (:mod:`edgeprof.fit.quanta`), with the evidence for them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgeprof.fit.quanta import CLEAR, SMOOTH, Evidence, Pattern, curve
from edgeprof.report.figure import Axis, Figure, Guide, Series, key_of

PATTERNS: tuple[Pattern, ...] = ("blocks", "peaks")


def step_times(evidence: Evidence) -> Figure:
    """Time (ms per run) against size, of the longest series, with a smooth curve and the model that fits best."""
    series = max(evidence.series, key=lambda s: (len(np.unique(s.x)), s.ms.max()))
    sizes = np.unique(series.x).astype(np.float64)
    dense = sizes if evidence.model.peak else np.arange(sizes[0], sizes[-1] + 1)
    curves = [("smooth curve", SMOOTH, "dashed")]
    if evidence.model != SMOOTH:
        name = " and ".join(f"{q.pattern} of {q.quantum}" for q in evidence.found)
        curves.insert(0, (name, evidence.model, "curve"))
    first = evidence.found[0]
    fixed = ", ".join(f"{k} {v:g}" for k, v in series.others if isinstance(v, int | float))
    told = " ".join(f"{q.sentence()}." for q in evidence.found)
    return Figure(
        key=key_of("steps", first.kind, first.dimension),
        title=f"{first.kind}: time against {first.words}",
        caption=f"{told} The same in all: {fixed}." if fixed else told,
        x=Axis(first.words),
        y=Axis("ms per run", zero=True),
        series=(
            Series(name="measured", x=_floats(series.x), y=_floats(series.ms)),
            *(
                Series(
                    name=name,
                    x=_floats(dense),
                    y=_floats(curve(series, model, dense)),
                    mark="curve" if mark == "curve" else "dashed",
                )
                for name, model, mark in curves
            ),
        ),
        legend="times",
    )


def step_gains(evidence: Evidence) -> Figure | None:
    """By how much each quantum beats a smooth curve (BIC)."""
    quanta = sorted({q for _, q in evidence.scores})
    if not quanta:
        return None
    first = evidence.found[0]
    return Figure(
        key=key_of("gains", first.kind, first.dimension),
        title=f"{first.kind}, {first.words}: which quantum the times speak for",
        caption=f"How much better than a smooth curve each quantum fits, by the Bayesian information criterion. Above "
        f"{CLEAR:.0f} and the cost of the search it is told.",
        x=Axis("quantum", categories=tuple(map(str, quanta))),
        y=Axis("BIC better than smooth", zero=True),
        series=tuple(
            Series(
                name=pattern,
                x=tuple(float(i) for i in range(len(quanta))),
                y=tuple(max(evidence.scores.get((pattern, q), 0.0), 0.0) for q in quanta),
                mark="bars",
            )
            for pattern in PATTERNS
        ),
        legend="pattern",
        guides=(Guide("clear", level=CLEAR),),
    )


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
