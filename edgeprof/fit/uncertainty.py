"""Uncertainty: standard errors by resampling networks, and notes on what the data do not tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeprof.fit.examples import Example, owners_of
from edgeprof.fit.forms import Form, term_text
from edgeprof.fit.law import LawGroup, Term
from edgeprof.fit.regress import alike, resample
from edgeprof.fit.tables import Table

RESAMPLES = 40
FEWEST = 6  # networks with a kernel, below which resampling says nothing
UNSURE = 0.5  # a standard error above this part of its coefficient: the data do not identify the term


def with_errors(
    groups: Sequence[LawGroup], tables: Sequence[Table], examples: Sequence[Example], form: Form, seed: int
) -> tuple[LawGroup, ...]:
    """Groups with standard errors, and notes on terms that the data cannot tell apart or do not identify."""
    owners = owners_of(examples)
    if tables[0].group.name == "total":
        return _merged(groups, tables[0], owners, form, seed)
    by_name = {t.group.name: t for t in tables}
    found = []
    for group in groups:
        table = by_name.get(group.name)
        if table is None:
            found.append(group)
            continue
        terms, covariance = judged(group.terms, table, owners, form, seed)
        found.append(group.model_copy(update={"terms": terms, "covariance": covariance}))
    return tuple(found)


def judged(
    terms: Sequence[Term], table: Table, owners: NDArray[np.int64], form: Form, seed: int
) -> tuple[tuple[Term, ...], tuple[tuple[float, ...], ...]]:
    """Terms with standard errors and notes, and their covariance; neither where too few networks have the kernel."""
    allowed = (*form.variables, *form.definitions)
    if len(np.unique(owners[table.owner])) < FEWEST:
        return tuple(t.model_copy(update={"note": "too few networks to tell its error"}) for t in terms), ()
    kept = [j for j, t in enumerate(terms) if form.terms == "all" or t.coefficient > 0]
    drawn = np.zeros((RESAMPLES, len(terms)))
    drawn[:, kept] = resample(table.x[:, kept], table.y, table.weight, owners[table.owner], RESAMPLES, seed)
    errors = drawn.std(axis=0, ddof=1)
    notes = ["" if j in kept else "not needed" for j in range(len(terms))]
    for i, j in alike(table.x, table.y):
        notes[j] = f"the data cannot tell it from {term_text(terms[i].text, allowed)}"
    for j, term in enumerate(terms):
        if not notes[j] and not (table.x[:, j] > 0).any():
            notes[j] = "the data do not vary it"
        elif not notes[j] and term.coefficient > 0 and errors[j] > UNSURE * term.coefficient:
            notes[j] = "not identified: its error is large"
    covariance = np.atleast_2d(np.cov(drawn.T))
    made = tuple(
        t.model_copy(update={"standard_error": float(e), "note": n})
        for t, e, n in zip(terms, errors, notes, strict=True)
    )
    return made, tuple(tuple(float(v) for v in row) for row in covariance)


def _merged(
    groups: Sequence[LawGroup], table: Table, owners: NDArray[np.int64], form: Form, seed: int
) -> tuple[LawGroup, ...]:
    flat = [t for g in groups for t in g.terms]
    extra = [Term(text=t, coefficient=0.0) for t in table.group.terms[len(flat) :]]
    flat_judged, _ = judged([*flat, *extra], table, owners, form, seed)
    found, start = [], 0
    for group in groups:
        found.append(group.model_copy(update={"terms": flat_judged[start : start + len(group.terms)]}))
        start += len(group.terms)
    return tuple(found)
