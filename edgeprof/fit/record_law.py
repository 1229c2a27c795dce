"""Records × form → law, and a law's predictions for records.

Where every record is one operator, the operators of a type are parted in branches, each with coefficients of its own
(:mod:`edgeprof.fit.branches`); where records are whole networks, see :mod:`edgeprof.fit.network_law`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof import catalogue
from edgeprof.errors import DomainError, EdgeprofError, FitError
from edgeprof.fit.branches import branch, left_over, made_linear
from edgeprof.fit.features import columns, design
from edgeprof.fit.fitting import FOLDS, MANY, Fit, log_errors, scores_of, with_intervals
from edgeprof.fit.forms import Form, Group, read_form
from edgeprof.fit.hybrid import AUTO_BOOST, BOOST, HYBRID, fit_hybrid
from edgeprof.fit.intervals import parted, widening
from edgeprof.fit.law import LEVEL, Law, LawGroup, Term
from edgeprof.fit.law_domain import strange
from edgeprof.fit.network_law import fit_networks, price_networks, transfer_networks
from edgeprof.fit.prediction import KernelPrice, operator_prices
from edgeprof.fit.records import BATCHES, Record, Records, batch_of, domain_of_rows
from edgeprof.fit.regress import fit_log
from edgeprof.fit.rules import Rule, fact_of
from edgeprof.fit.select import Selection, simplest
from edgeprof.fit.signatures import Signature
from edgeprof.fit.tables import Table
from edgeprof.fit.totals import overhead_columns
from edgeprof.fit.trend import places, trend_ms, without
from edgeprof.fit.uncertainty import judged
from edgeprof.fit.validate import Row, Scores, score

STEP = 4  # between the values of a constant that are tried first
TRENDS = 3  # fits in which law and trend settle
FEWEST = 10  # records that a law is fitted on
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class RecordPrediction:
    """What a law says of one record; times in ms per run. ``interval_unknown`` tells why there is no interval."""

    latency_ms: float
    kernels: tuple[KernelPrice, ...]
    interval_ms: tuple[float, float] | None
    outside: tuple[Mapping[str, Any], ...]
    interval_unknown: str = ""


@dataclass(frozen=True)
class _Part:
    """Kernels priced alike: their kind, what they are fitted on, and the coefficients."""

    group: Group
    kind: str
    table: Table
    coefficients: Vector


def fit_records(
    records: Records,
    form: Form,
    *,
    name: str = "law",
    date: str = "",
    boost: bool = False,
    cross_validate: bool = True,
    errors: bool = True,
    seed: int = 0,
) -> Fit:
    """A law of ``form``, with boosted trees on its error where ``boost``, and with scores by cross-validation: all
    records of a layer or network are held out together.

    :raises FitError: too few records, or a form that is not of kernels or needs constants of a machine.
    """
    rows = records.rows
    if form.scope != "kernel":
        raise FitError(
            f"form '{form.name}' is in the variables of a network, which a table does not have",
            "use a form of kernels: --form gpu",
        )
    if len(rows) < FEWEST:
        raise FitError(f"{len(rows)} rows are too few for a law", f"give a table with {FEWEST} or more")
    if not _single(rows):
        if boost:
            raise FitError("boosting a table is for single layers", "take the plain form")
        return fit_networks(
            records,
            form,
            name=name,
            date=date,
            cross_validate=cross_validate,
            errors=errors,
            seed=seed,
        )
    if form.totals:
        raise FitError(
            f"form '{form.name}' is for whole networks, and a row is one operator", "use --form gpu"
        )
    unknown = sorted(form.constants - form.search.keys())
    if unknown:
        raise FitError(
            f"form '{form.name}' needs {', '.join(unknown)} of the machine, which a table does not tell",
            "use a form without them: --form gpu",
        )
    trend, calm = _without_trend(records, form)
    constants = searched(calm, form)
    law, parts = _assemble(records, calm, form, constants)
    if boost:
        law = boosted(law, calm, form, seed)
    cv = _cross_validate(records, calm, form, constants, boost, seed) if cross_validate else None
    held_out = log_errors(cv.rows) if cv else []
    law = law.model_copy(
        update={
            "name": name,
            "form": form.name + BOOST if boost else form.name,
            "groups": _with_errors(law.groups, parts, form, seed) if errors else law.groups,
            "conformal": tuple(held_out),
            "parted_ms": parted(held_out),
            "date": date,
            "scores": scores_of(cv),
            "about": form.about,
            "table": {**law.table, "trend_ms": trend},
        }
    )
    return Fit(Law(**law.model_dump()), cv)


def _without_trend(records: Records, form: Form) -> tuple[float, tuple[Record, ...]]:
    """What the last row took longer than the first (ms), and the rows as in the middle of the table."""
    rows, place = records.rows, places([r.line for r in records.rows])
    latency = np.array([r.latency_ms for r in rows], np.float64)
    trend, calm = 0.0, rows
    for _ in range(TRENDS):
        law, _ = _assemble(records, calm, form, searched(calm, form))
        made = predict_records(Law(**law.model_dump()), rows)
        trend = trend_ms(latency, np.array([p.latency_ms for p in made]), place)
        if trend == 0:
            return 0.0, rows
        steady = without(latency, place, trend).tolist()
        calm = tuple(replace(r, latency_ms=ms) for r, ms in zip(rows, steady, strict=True))
    return trend, calm


def predict_records(
    law: Law, rows: Sequence[Record], level: float = LEVEL, signature: Signature | None = None
) -> list[RecordPrediction]:
    """The latency of every record by ``law``.

    :param signature: of the rows, for a law from the latency of whole networks.
    :raises DomainError: the law is of whole networks, or of others, or gives no time.
    """
    if law.scope != "kernel":
        raise DomainError(f"law '{law.name}' is of whole networks", "a table needs a law of kernels")
    batches = [batch_of(row) for row in rows]
    if law.execution:
        if signature is None or law.execution not in signature.executions:
            raise DomainError(
                f"law '{law.name}' is of networks told by {law.table.get('signature')}, and these rows are not",
                "give a table with the columns that the law was fitted on",
            )
        runs = [[(op.op_type, op.dims) for op in signature.run(r.values, law.execution)] for r in rows]
        priced = price_networks(law, runs, batches)
        prices = [list(p.kernels) for p in priced]
        overhead = np.array([p.overhead_ms for p in priced])
    else:
        prices = operator_prices(law, [r.operators for r in rows])
        fixed = overhead_columns(
            [t.text for t in law.overhead], batches, [len(p) for p in prices], law.constants
        )
        overhead = fixed @ np.array([t.coefficient for t in law.overhead])
    found = []
    for row, kernels, extra in zip(rows, prices, overhead, strict=True):
        latency = math.fsum([float(extra), *(k.ms for k in kernels)])
        if not 0 < latency < math.inf:
            raise DomainError(
                f"line {row.line}: law '{law.name}' gives no time", "fit it on a table of such rows"
            )
        odd = strange(law, {k: (v,) for k, v in row.values.items()}) if law.table else ()
        wide = float(law.widened(latency, widening(odd)))
        interval = law.interval(latency, level, wide)
        found.append(RecordPrediction(latency, tuple(kernels), interval, odd, law.unknown(wide)))
    return found


def searched(rows: Sequence[Record], form: Form) -> dict[str, float]:
    """The constants of the form's search, each with the value that leaves least error."""
    found = {name: float(form.candidates(name)[len(form.candidates(name)) // 2]) for name in form.search}
    for name in form.search:
        linear = [made_linear(t.x, t.y, fit_log(t.x, t.y)) for t in _tables(rows, form, found)]
        errors: dict[int, float] = {}
        for step in (STEP, 1):  # roughly, then around the best
            near = min(errors, key=errors.__getitem__) if errors else None
            for value in form.candidates(name)[::step]:
                if near is None or (abs(value - near) < STEP and value not in errors):
                    tables = _tables(rows, form, {**found, name: float(value)})
                    errors[value] = sum(left_over(t.x, own) for t, own in zip(tables, linear, strict=True))
        found[name] = float(min(errors, key=errors.__getitem__))
    return found


# --- what is fitted


def _single(rows: Sequence[Record]) -> bool:
    return all(len(r.operators) == 1 for r in rows)


def _tables(rows: Sequence[Record], form: Form, constants: Mapping[str, float]) -> list[Table]:
    """One table per type of operator."""
    found = []
    for op_type in dict.fromkeys(r.operators[0].op_type for r in rows):
        group = _group(form, op_type)
        own = np.array([i for i, r in enumerate(rows) if r.operators[0].op_type == op_type])
        x = _design(form, group, [rows[i].operators[0].dims for i in own], constants)
        y = np.array([rows[i].latency_ms for i in own], np.float64)
        named = group.model_copy(update={"name": op_type})
        found.append(Table(named, x, y, np.ones(len(own)), own))
    return found


def _group(form: Form, op_type: str) -> Group:
    group = form.group_of(op_type)
    if group is None:
        raise FitError(f"form '{form.name}' has no group for {op_type}", "add one, or use --form gpu")
    return group


def _design(
    form: Form, group: Group, dims: Sequence[Mapping[str, float]], constants: Mapping[str, float]
) -> Matrix:
    return design(form.expressions[group.name], form.definitions, columns(dims, constants), len(dims))


# --- law


def _assemble(
    records: Records, rows: Sequence[Record], form: Form, constants: Mapping[str, float]
) -> tuple[Law, list[_Part]]:
    """The law fitted on ``rows``, without errors and scores, and what each of its groups was fitted on."""
    tables = _tables(rows, form, constants)
    rules: dict[str, Rule] = {}
    parts = [part for table in tables for part in _parted(table, rows, form, rules)]
    law = Law(
        name=form.name,
        board=records.device or records.source.partition(".")[0],
        backend="table",
        runtime=records.source,
        launch="",
        form=form.name,
        scope="kernel",
        unit="run",
        define=dict(form.define),
        groups=tuple(_law_group(part, len(rows)) for part in parts),
        overhead=tuple(Term(text=t, coefficient=0.0) for t in form.overhead),
        rules={"operators": {k: r.as_dict() for k, r in rules.items()}},
        constants=dict(constants),
        domain=domain_of_rows(rows),
        networks=len({r.key for r in rows}),
        table={
            "file": records.source,
            "signature": records.signature.name,
            "target": records.target,
            "where": dict(records.where or {}),
            "rows": len(rows),
        },
    )
    return law, parts


def _parted(table: Table, rows: Sequence[Record], form: Form, rules: dict[str, Rule]) -> list[_Part]:
    """The branches of one type of operator; their rule goes into ``rules``."""
    op_type = table.group.name
    group = _group(form, op_type)
    dims = [rows[i].operators[0].dims for i in table.owner]
    facts = {
        name: np.array([fact_of(name, d) for d in dims], np.float64)
        for name in group.ask
        if all(fact_of(name, d) is not None for d in dims)
    }
    found = branch(table.x, table.y, facts, op_type)
    if found.rule.ask is None:
        return [_Part(group, "", table, found.coefficients[op_type])]
    for kind in (op_type, *group.kinds):
        if kind.isidentifier():
            rules.setdefault(kind, found.rule)
    kinds = np.array([found.rule.decide(d).kind for d in dims])
    parts = []
    for kind, coefficients in found.coefficients.items():
        own = kinds == kind
        part = Table(table.group, table.x[own], table.y[own], table.weight[own], table.owner[own])
        parts.append(_Part(group, kind, part, coefficients))
    return parts


def _law_group(part: _Part, records: int) -> LawGroup:
    """The terms that a part needs, all of them where none is."""
    kept = _kept(part)
    terms = [Term(text=part.group.terms[j], coefficient=float(part.coefficients[j])) for j in kept]
    return LawGroup(
        name=part.kind or part.group.name,
        kinds=(part.kind,) if part.kind else part.group.kinds,
        terms=tuple(terms),
        share=len(part.table.y) / records,
    )


def _kept(part: _Part) -> list[int]:
    kept = np.flatnonzero(part.coefficients).tolist()
    return kept or list(range(len(part.coefficients)))


def _with_errors(
    groups: Sequence[LawGroup], parts: Sequence[_Part], form: Form, seed: int
) -> tuple[LawGroup, ...]:
    """Groups with standard errors by resampling records; not where groups were fitted together."""
    found = []
    for group, part in zip(groups, parts, strict=True):
        kept = _kept(part)
        table = replace(part.table, x=part.table.x[:, kept], owner=np.arange(len(part.table.y)))
        terms, covariance = judged(group.terms, table, table.owner, form, seed)
        found.append(group.model_copy(update={"terms": terms, "covariance": covariance}))
    return tuple(found)


def boosted(law: Law, rows: Sequence[Record], form: Form, seed: int) -> Law:
    """``law`` with trees on what it leaves of the latency of ``rows``, each one operator.

    :raises FitError: whole networks, too few rows, or scikit-learn is missing.
    """
    if not _single(rows):
        raise FitError("boosting a table is for single layers", "take the plain form")
    law = Law(**law.model_dump())
    found = {}
    for op_type in dict.fromkeys(r.operators[0].op_type for r in rows):
        own = [r for r in rows if r.operators[0].op_type == op_type]
        ms = np.array([p.latency_ms for p in predict_records(law, own)])
        measured = np.array([r.latency_ms for r in own], np.float64)
        ask = _group(form, op_type).ask
        found[op_type] = fit_hybrid(ask, [r.operators[0].dims for r in own], ms, measured, seed)
    return law.model_copy(update={"boost": {k: h.as_dict() for k, h in found.items()}})


def _cross_validate(
    records: Records,
    calm: Sequence[Record],
    form: Form,
    constants: Mapping[str, float],
    boost: bool,
    seed: int,
) -> Scores | None:
    """Scores on the records as they were measured, by laws of the others without their trend."""
    numbers: dict[Any, int] = {}
    owners = np.array([numbers.setdefault(r.key, len(numbers)) for r in records.rows])
    folds = min(FOLDS // 2 if boost or len(records.rows) > MANY else FOLDS, len(numbers))
    if folds < 3:
        return None
    fold = np.random.default_rng(seed).permutation(len(numbers)) % folds
    rows: list[Row] = []
    for f in range(folds):
        out = (fold[owners] == f).tolist()
        train = [r for r, own in zip(calm, out, strict=True) if not own]
        held = [r for r, own in zip(records.rows, out, strict=True) if own]
        law, _ = _assemble(records, train, form, constants)
        if boost:
            law = boosted(law, train, form, seed)
        rows.extend(judged_rows(Law(**law.model_dump()), held))
    return score(with_intervals(rows), LEVEL)


def judged_rows(law: Law, rows: Sequence[Record]) -> list[Row]:
    """Measured against predicted."""
    return [
        Row(
            net=", ".join(f"{k} {v}" for k, v in row.values.items()),
            batch=next((row.values[b] for b in BATCHES if b in row.values), 1),
            measured_ms=row.latency_ms or math.nan,
            predicted_ms=p.latency_ms,
            low_ms=None,
            high_ms=None,
        )
        for row, p in zip(rows, predict_records(law, rows), strict=True)
    ]


def select_for(records: Records, form: str, **settings: Any) -> Selection:
    """The law of the form called ``form`` (``NAME+boost`` for one with boosted trees on its error; ``hybrid`` is short
    for ``auto+boost``); for ``auto``, of the simplest of the catalogue's forms that a table can be fitted with
    (:func:`edgeprof.fit.select.simplest`).

    :raises FitError: none of them can be fitted.
    """
    wanted, boost, _ = (AUTO_BOOST if form == HYBRID else form).partition(BOOST)
    names = [wanted] if wanted != "auto" else [str(entry.path) for entry in catalogue.entries("forms")]
    fits: list[Fit] = []
    trouble: EdgeprofError | None = None
    for name in names:
        try:
            fits.append(fit_records(records, read_form(name), boost=bool(boost), **settings))
        except (FitError, DomainError) as error:
            trouble = error
    if not fits:
        raise trouble or FitError("there is no form to fit", "edgeprof list forms")
    return simplest(fits)


def transfer_records(records: Records, prior: Law, *, name: str = "law", date: str = "") -> Fit:
    """A law for the board of ``records``, with another board's law as the prior.

    :raises FitError: the records are single operators, or too few.
    """
    if _single(records.rows):
        raise FitError(
            "a law of single layers is not transferred",
            "fit it on its own: leave out --from, or give networks",
        )
    return transfer_networks(records, prior, name=name, date=date)
