"""Selection: which form a law takes, by the error on networks held out; the simplest within one standard error wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof import catalogue
from edgeprof.errors import DomainError, EdgeprofError, FitError
from edgeprof.fit.examples import usable
from edgeprof.fit.fitting import Fit, fit_law, held_out_rows, sketch_law
from edgeprof.fit.forms import Form, read_form
from edgeprof.fit.hybrid import BOOST, HYBRID
from edgeprof.fit.law import Law
from edgeprof.fit.validate import Row, judge
from edgeprof.timing.measurement import Measurement

OUTER, INNER = 5, 5  # folds around the choice, and of the choice


@dataclass(frozen=True)
class Candidate:
    """A form that was tried: terms that its law kept, mean error on networks held out with its standard error."""

    form: str
    terms: int
    mape_pct: float
    standard_error_pct: float
    chosen: bool


@dataclass(frozen=True)
class Selection:
    """The chosen fit, the candidates it was chosen from (the best first), and the error (percent) of the whole
    procedure, on networks held out from the choice too: None where there was no choice, or too little to tell."""

    fit: Fit
    candidates: tuple[Candidate, ...] = ()
    nested_mape_pct: float | None = None


def select(measurements: Sequence[Measurement], form: str, seed: int = 0, **settings: Any) -> Selection:
    """The law of the form called ``form``; for ``auto``, of the simplest form of the catalogue whose error on networks
    held out is within one standard error of the least (Breiman et al., Classification and Regression Trees, 1984,
    3.4.3).

    :raises FitError: none of them can be fitted.
    """
    if form == HYBRID or form.endswith(BOOST):
        raise FitError(
            "boosted trees are fitted to tables, not to a sweep: they bring little there", "take --form auto"
        )
    names = [form] if form != "auto" else [str(entry.path) for entry in catalogue.entries("forms")]
    fits: list[Fit] = []
    trouble: EdgeprofError | None = None
    for name in names:
        try:
            fits.append(fit_law(measurements, read_form(name), seed=seed, **settings))
        except (FitError, DomainError) as error:
            trouble = error
    if not fits:
        raise trouble or FitError("there is no form to fit", "edgeprof list forms")
    chosen = simplest(fits)
    several = len(chosen.candidates) > 1
    nested = None
    if several:
        used = [e.measurement for e in usable(measurements, settings.get("launch"))]
        nested = _nested(used, [read_form(name) for name in names], seed)
    return replace(chosen, nested_mape_pct=nested)


def simplest(fits: Sequence[Fit]) -> Selection:
    """The fit with the fewest terms of those whose error on what was held out is within one standard error of the
    least; the first where none has been scored."""
    scored = [f for f in fits if f.cv is not None]
    if not scored:
        return Selection(fits[0], (), None)
    terms = [_terms(f.law) for f in scored]
    errors = [_errors(f.cv.rows) for f in scored if f.cv]
    chosen = _simplest(terms, errors)
    candidates = [
        Candidate(f.law.form, kept, *_mape(e), chosen=f is scored[chosen])
        for f, kept, e in zip(scored, terms, errors, strict=True)
    ]
    return Selection(scored[chosen], tuple(sorted(candidates, key=lambda c: c.mape_pct)), None)


def _terms(law: Law) -> int:
    """How many terms a law has kept."""
    return sum(t.coefficient > 0 for group in law.groups for t in group.terms) + sum(
        t.coefficient > 0 for t in law.overhead
    )


def _errors(rows: Sequence[Row]) -> NDArray[np.float64]:
    return np.array([abs(r.predicted_ms / r.measured_ms - 1) for r in rows])


def _mape(errors: NDArray[np.float64]) -> tuple[float, float]:
    """Mean error with its standard error, in percent."""
    spread = errors.std(ddof=1) / math.sqrt(len(errors)) if len(errors) > 1 else 0.0
    return float(errors.mean() * 100), float(spread * 100)


def _simplest(terms: Sequence[int], errors: Sequence[NDArray[np.float64]]) -> int:
    """The candidate with the fewest terms of those within one standard error of the best."""
    scores = [_mape(e) for e in errors]
    limit = sum(min(scores))
    near = [i for i, (mean, _) in enumerate(scores) if mean <= limit]
    return min(near, key=lambda i: (terms[i], scores[i]))


def _nested(measurements: Sequence[Measurement], forms: Sequence[Form], seed: int) -> float | None:
    """The mean error (percent) on networks held out from fit and choice alike."""
    examples = usable(measurements)
    nets = list(dict.fromkeys(e.measurement.case.net for e in examples))
    if len(nets) < 2 * OUTER:
        return None
    fold = dict(zip(nets, np.random.default_rng(seed).permutation(len(nets)) % OUTER, strict=True))
    errors: list[float] = []
    for f in range(OUTER):
        train = [e.measurement for e in examples if fold[e.measurement.case.net] != f]
        held = [e for e in examples if fold[e.measurement.case.net] == f and not e.measurement.designed]
        tried: list[tuple[Law, NDArray[np.float64]]] = []
        for form in forms:
            try:
                inner = held_out_rows(train, form, seed, INNER)
                tried.append((sketch_law(train, form), _errors(inner)))
            except (FitError, DomainError):
                continue
        if not held or not tried or not all(len(e) for _, e in tried):
            return None
        chosen = _simplest([_terms(law) for law, _ in tried], [e for _, e in tried])
        errors.extend(_errors(judge(tried[chosen][0], held)))
    return float(np.mean(errors) * 100)
