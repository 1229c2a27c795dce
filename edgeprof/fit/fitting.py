"""Measurements × form → law, with cross-validated scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import FitError
from edgeprof.fit.clocks import over_clocks, ranges_of, setting_name, settings_of, told_apart
from edgeprof.fit.examples import (
    Example,
    at_highest,
    clean,
    machine_of,
    noise_pct,
    origin_of,
    owners_of,
    usable,
)
from edgeprof.fit.expressions import parse
from edgeprof.fit.features import columns, design, machine_constants
from edgeprof.fit.forms import CLOCKS, NET_VARIABLES, Form
from edgeprof.fit.intervals import half_widths, parted, strata
from edgeprof.fit.law import LEVEL, Law, LawGroup, Term
from edgeprof.fit.law_clocks import clocks_in
from edgeprof.fit.law_domain import domain_of
from edgeprof.fit.learning import learn
from edgeprof.fit.memory import fit_memory
from edgeprof.fit.prediction import group_prices
from edgeprof.fit.quanta import evidence_of
from edgeprof.fit.reach import reach_of
from edgeprof.fit.regress import fit_linear, fit_log, fit_short, redrawn
from edgeprof.fit.roofline import reached
from edgeprof.fit.rules import KernelRules
from edgeprof.fit.tables import Table, net_row, tables_of, totals_table
from edgeprof.fit.uncertainty import RESAMPLES, with_errors
from edgeprof.fit.validate import Row, Scores, judge, score
from edgeprof.timing.measurement import Measurement

FOLDS = 10
MANY = 1000  # networks of which one more or less does not move an interval
LEFT_OUT = 3  # settings, of which each is left out in turn to see how the law does at one it never saw
UNLIKE_PCT = 5.0  # bias of a setting, beside that of all: its clocks do not explain it


@dataclass(frozen=True)
class Fit:
    """A law with its cross-validated scores."""

    law: Law
    cv: Scores | None


def fit_law(
    measurements: Sequence[Measurement],
    form: Form,
    *,
    name: str = "law",
    sweeps: Sequence[Mapping[str, Any]] = (),
    launch: str | None = None,
    date: str = "",
    cross_validate: bool = True,
    seed: int = 0,
) -> Fit:
    """A law of ``form``, with standard errors by resampling networks and scores by cross-validation on whole networks
    (all batches of a network are held out together).

    :raises FitError: too little data, or data of several boards.
    """
    examples = usable(measurements, launch)
    form, constants = _prepared(examples, form)
    tables = _tables(examples, form, constants)
    everything = np.arange(len(examples))
    law = _assemble(examples, form, tables, constants, everything)
    rows = _held_out_rows(examples, form, tables, constants, seed) if cross_validate else []
    cv = score(with_intervals(rows), LEVEL) if rows else None
    held_out = log_errors(cv.rows) if cv else []
    law = law.model_copy(
        update={
            "name": name,
            "machine": machine_of(examples),
            "groups": with_errors(law.groups, tables, examples, form, seed),
            "overhead": _overhead_errors(law, tables, examples, form, seed),
            "conformal": tuple(held_out),
            "parted_ms": parted(held_out),
            "sweeps": tuple(sweeps),
            "family": _family(sweeps, law.domain),
            "date": date,
            "scores": scores_of(cv),
            "noise_pct": noise_pct(examples),
            "steps": tuple(quantum for one in evidence_of(at_highest(examples)) for quantum in one.found),
            "about": form.about,
            "memory": fit_memory(examples, seed),
            **_settings(examples, form, law, rows, tables, constants),
        }
    )
    return Fit(Law(**law.model_dump()), cv)


def _prepared(examples: Sequence[Example], form: Form) -> tuple[Form, dict[str, float]]:
    """The form that is fitted, over clocks where the examples are of several, and the constants of its terms: of the
    machine, and the clocks of the highest setting."""
    case = examples[0].measurement.case
    settings = settings_of([e.measurement for e in examples])
    if len(settings) > 1:
        form = over_clocks(form, settings)
    clocks = {name: settings[0][name] for name in form.clocks if name in settings[0]}
    return form, {**machine_constants(machine_of(examples), case.threads), **clocks}


def _settings(
    examples: Sequence[Example],
    form: Form,
    law: Law,
    rows: Sequence[Row],
    tables: Sequence[Table],
    constants: Mapping[str, float],
) -> dict[str, Any]:
    """The settings that a law over clocks was fitted on, each with the error on networks held out there, and that of a
    law which never saw the setting; and what the settings do not tell."""
    if not law.clocks:
        return {}
    settings = settings_of([e.measurement for e in examples])
    errors: dict[str | None, list[float]] = {}
    for row in rows:
        errors.setdefault(row.setting, []).append(row.predicted_ms / row.measured_ms - 1)
    told = []
    for setting in settings:
        off = np.array(errors.get(setting_name(setting["power_mode"], setting["clocks"]), []))
        mape, bias = (float(100 * v.mean()) if len(off) else None for v in (np.abs(off), off))
        told.append({**setting, "mape_pct": mape, "bias_pct": bias, "left_out_mape_pct": None})
    if rows and len(settings) >= LEFT_OUT:
        names = [setting_name(*e.measurement.case.setting) for e in examples]
        for setting in told:
            own = np.array([n == setting_name(setting["power_mode"], setting["clocks"]) for n in names])
            others = _again(_assemble(examples, form, tables, constants, np.flatnonzero(~own)))
            there = judge(others, [examples[i] for i in np.flatnonzero(own).tolist()])
            off = np.array([row.predicted_ms / row.measured_ms - 1 for row in there])
            setting["left_out_mape_pct"] = 100 * float(np.abs(off).mean())
    every = np.array([off for own in errors.values() for off in own])
    most = max(UNLIKE_PCT, 100 * float(np.abs(every).mean())) if len(every) else math.inf
    middle = 100 * float(every.mean()) if len(every) else 0.0
    unlike = any(abs((setting["bias_pct"] or 0.0) - middle) > most for setting in told)
    codes = [*(["clocks-together"] if told_apart(settings)[1] else []), *(["unlike"] if unlike else [])]
    return {"settings": tuple(told), "warnings": (*law.warnings, *codes)}


def _beyond(examples: Sequence[Example], form: Form) -> dict[str, Any]:
    """What a law of kernels says of networks of any kind: its reach and its roofline."""
    if form.scope != "kernel":
        return {}
    reach = reach_of((k.kind, e.dims(k)) for e in examples for k in e.kernels)
    fastest = at_highest(examples)
    measured = [(e, k) for e in fastest for k in e.kernels]
    by_name = {e.measurement.case: {op.name: op for op in e.operators} for e in fastest}
    done = (
        (by_name[e.measurement.case][name], k.ms)
        for e, k in measured
        if not k.glue and (name := e.leader(k)) is not None
    )
    return {"reach": reach, "roofline": reached(done)}


def sketch_law(measurements: Sequence[Measurement], form: Form) -> Law:
    """A law without errors and scores, in a moment: to choose what to measure next.

    :raises FitError: too little data.
    """
    examples = usable(measurements)
    form, constants = _prepared(examples, form)
    tables = tables_of(examples, form, constants)
    if not tables:
        raise FitError("nothing that was measured has a kernel of the form", "measure more networks")
    return _again(_assemble(examples, form, tables, constants, np.arange(len(examples))))


def _assemble(
    examples: Sequence[Example],
    form: Form,
    tables: Sequence[Table],
    constants: Mapping[str, float],
    use: NDArray[np.int64],
) -> Law:
    """The law fitted on the examples ``use``, without errors and scores."""
    chosen = [examples[i] for i in use]
    rules = learn(e.observed for e in chosen if e.kernels) if form.scope == "kernel" else KernelRules({}, {})
    coefficients: dict[str, NDArray[np.float64]] = {}
    shares: dict[str, float] = {}
    for table in tables:
        part = table.of(use)
        if len(part.y):
            fit = fit_short if form.terms == "needed" else fit_log
            coefficients[table.group.name] = fit(part.x, part.y, part.weight)
            shares[table.group.name] = float(part.weight.sum() / len(chosen))
    totals = coefficients.get("total") if tables[0].group.name == "total" else None
    groups, start = [], 0
    for group in form.group:
        found = coefficients.get(group.name)
        if totals is not None:
            found = totals[start : start + len(group.terms)]
            start += len(group.terms)
        note = "" if found is not None else "no such kernel was measured"
        values = found if found is not None else np.zeros(len(group.terms))
        terms = tuple(Term(text=t, coefficient=float(c)) for t, c in zip(group.terms, values, strict=True))
        groups.append(
            LawGroup(name=group.name, kinds=group.kinds, terms=terms, share=shares.get(group.name), note=note)
        )
    law = Law(
        name=form.name,
        **origin_of(chosen),
        form=form.name,
        scope=form.scope,
        unit=form.unit,
        define=dict(form.define),
        groups=tuple(groups),
        overhead=tuple(Term(text=t, coefficient=0.0) for t in form.overhead),
        rules={
            "operators": {k: r.as_dict() for k, r in rules.operators.items()},
            "between": {k: r.as_dict() for k, r in rules.between.items()},
        },
        constants=dict(constants),
        domain={
            **domain_of([(e.measurement.case.net, e.measurement.case.batch) for e in chosen]),
            **ranges_of([e.measurement for e in chosen], form.clocks),
        },
        warnings=("unpriced",) if _unpriced(chosen, form) else (),
        **_beyond(chosen, form),
    )
    overhead = totals[start:] if totals is not None else _overhead(chosen, form, law)
    terms = tuple(Term(text=t, coefficient=float(c)) for t, c in zip(form.overhead, overhead, strict=True))
    return law.model_copy(update={"overhead": terms})


def _unpriced(examples: Sequence[Example], form: Form) -> dict[str, float]:
    """Kernel kinds that no group covers, with their mean part of the time."""
    found: dict[str, float] = {}
    for e in examples:
        for k in e.kernels:
            if form.group_of(k.kind) is None:
                found[k.kind] = found.get(k.kind, 0.0) + k.share / len(examples)
    return found


def _overhead(
    examples: Sequence[Example], form: Form, law: Law, repeats: int = 0, seed: int = 0
) -> NDArray[np.float64]:
    """Coefficients of the overhead, on what the groups leave of the latency: [m]; on resampled
    networks [repeats, m].

    For a form of kernels that is the measured remainder, which may be negative, and the kernels without a group; for a
    form of networks the groups' own predictions are taken as given, as in the reference study.
    """
    if form.scope == "kernel":
        examples = [e for e, good in zip(examples, clean(examples), strict=True) if good]
    latency = np.array([e.latency_ms for e in examples])
    scale = np.array([e.measurement.case.batch if form.unit == "tile" else 1 for e in examples], np.float64)
    values = columns([net_row(e) for e in examples], law.constants)
    terms = [parse(t, NET_VARIABLES) for t in form.overhead]
    x = design(terms, {}, values, len(examples)) * scale[:, None]
    if form.scope == "kernel":
        priced = [sum(k.ms for k in e.kernels if form.group_of(k.kind)) for e in examples]
    else:
        nets = [(e.measurement.case.net, e.measurement.case.batch) for e in examples]
        clocks = [clocks_in(law, e.measurement.case, e.clocks) for e in examples]
        priced = [sum(k.ms for k in prices) for prices in group_prices(_again(law), nets, clocks)]
    known = np.array(priced)

    def solve(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        if form.scope == "kernel":
            return fit_linear(x[rows], latency[rows] - known[rows], 1 / latency[rows])
        return fit_log(x[rows], latency[rows], None, known[rows])

    if repeats:
        return np.array([solve(rows) for rows in redrawn(owners_of(examples), repeats, seed)])
    return solve(np.arange(len(examples)))


def _overhead_errors(
    law: Law, tables: Sequence[Table], examples: Sequence[Example], form: Form, seed: int
) -> tuple[Term, ...]:
    """The overhead's terms with standard errors."""
    if tables[0].group.name == "total":
        return law.overhead
    errors = _overhead(examples, form, law, RESAMPLES, seed).std(axis=0, ddof=1)
    return tuple(
        t.model_copy(update={"standard_error": float(e)}) for t, e in zip(law.overhead, errors, strict=True)
    )


def _again(law: Law) -> Law:
    """A law made anew, so that what it derives from its terms is derived from the present ones."""
    return Law(**law.model_dump())


def held_out_rows(
    measurements: Sequence[Measurement], form: Form, seed: int = 0, folds: int = FOLDS
) -> list[Row]:
    """Measured against predicted, each network by a law of the others (all batches of a network are held out together);
    without those that a design has chosen. Empty where there are too few networks.

    :raises FitError: data that the form cannot be fitted on.
    """
    examples = usable(measurements)
    form, constants = _prepared(examples, form)
    tables = _tables(examples, form, constants)
    return _held_out_rows(examples, form, tables, constants, seed, folds)


def _held_out_rows(
    examples: Sequence[Example],
    form: Form,
    tables: Sequence[Table],
    constants: Mapping[str, float],
    seed: int,
    folds: int = FOLDS,
) -> list[Row]:
    owners = owners_of(examples)
    nets = int(owners.max()) + 1
    folds = min(folds, nets)
    if folds < 3:
        return []
    fold = np.random.default_rng(seed).permutation(nets) % folds
    rows: list[Row] = []
    for f in range(folds):
        held = np.flatnonzero(fold[owners] == f).tolist()
        law = _again(_assemble(examples, form, tables, constants, np.flatnonzero(fold[owners] != f)))
        rows.extend(judge(law, [examples[i] for i in held if not examples[i].measurement.designed]))
    return rows


def _tables(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[Table]:
    """What ``form`` is fitted on: kernels, or totals where none were measured.

    :raises FitError: a form of kernels, and none were measured; a form for totals, and they were; a form that needs
        constants which are not known.
    """
    if form.composition != "sum":
        raise FitError(
            f"form '{form.name}' is of launches that overlap: it takes a table of networks",
            "use --form kernels, or give --table",
        )
    if form.totals:
        if any(e.kernels for e in examples):
            raise FitError(
                f"form '{form.name}' is for networks whose latency alone is known", "use --form kernels"
            )
        return [totals_table(examples, form, constants)]
    if blind := [name for name in form.clocks if not all(name in e.clocks for e in examples)]:
        raise FitError(
            f"form '{form.name}' needs {', '.join(blind)}, and not every measurement's telemetry tells it",
            "measure where the board's sensors tell its clocks (edgeprof doctor), or use another form",
        )
    if unknown := sorted(form.constants - constants.keys()):
        raise FitError(
            f"form '{form.name}' needs {', '.join(unknown)}, which is not known of this machine",
            "use another form: edgeprof list forms",
        )
    tables = tables_of(examples, form, constants)
    if not tables and form.scope == "net":
        tables = [totals_table(examples, form, constants)]
    if not tables:
        raise FitError(
            f"form '{form.name}' needs kernel times, and the measurements have none",
            "use --form networks or eq13, fitted on totals",
        )
    return tables


def log_errors(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Predicted latency (ms) and log error of networks held out."""
    return [(r.predicted_ms, math.log(r.measured_ms / r.predicted_ms)) for r in rows]


def with_intervals(rows: Sequence[Row]) -> list[Row]:
    """Rows with the interval that the errors of the other rows give; of all rows where they are many."""
    if len(rows) < 2:
        return list(rows)
    held_out = log_errors(rows)
    parted_ms = parted(held_out)
    together = strata(held_out, parted_ms)
    few = len(rows) <= MANY
    found = []
    for i, row in enumerate(rows):
        others = strata([*held_out[:i], *held_out[i + 1 :]], parted_ms) if few else together
        ratio = math.exp(float(half_widths(others, np.array(row.predicted_ms), LEVEL)))
        found.append(replace(row, low_ms=row.predicted_ms / ratio, high_ms=row.predicted_ms * ratio))
    return found


def scores_of(cv: Scores | None) -> dict[str, Any]:
    """Scores as a law's file keeps them, without their rows."""
    if cv is None:
        return {}
    return {
        **{k: v for k, v in asdict(cv).items() if k != "rows"},
        "how": "cross-validated on whole networks",
    }


def _family(sweeps: Sequence[Mapping[str, Any]], domain: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """What ``validate`` draws networks from: the random sample where all sweeps of networks are of one, else the
    domain's ranges."""
    samples: list[dict[str, Any]] = []
    for sweep in (s for s in sweeps if not s.get("blocks")):
        drawn = {k: v for k, v in (sweep.get("sample") or {}).items() if k not in ("nets", "seed")}
        sample = {**drawn, "net": dict(sweep.get("net", {}))} if drawn else {}
        if sample not in samples:
            samples.append(sample)
    if len(samples) == 1 and samples[0]:
        return samples[0]
    knobs: dict[str, Any] = {}
    for knob, seen in domain.items():
        if knob.partition("/")[0] in CLOCKS:
            continue
        if knob in ("padding", "kernel", "tile", "channels", "classes", "stride", "pool", "pool_before"):
            knobs[knob] = list(dict.fromkeys(seen))
        else:
            log = " log" if knob in ("depth", "neurons", "batch") and seen[0] > 0 else ""
            knobs[knob] = f"{seen[0]}..{seen[1]}{log}"
    return {"knobs": knobs}
