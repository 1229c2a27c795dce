"""Measurements × form → law, with cross-validated scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof import catalogue
from edgeprof.errors import DomainError, FitError
from edgeprof.fit.expressions import parse
from edgeprof.fit.features import columns, design, machine_constants, net_values
from edgeprof.fit.forms import NET_VARIABLES, Form, Group, read_form, term_text
from edgeprof.fit.law import LEVEL, Law, LawGroup, Term, domain_of, group_prices, predict_many
from edgeprof.fit.regress import alike, fit_linear, fit_log, fit_short, redrawn, resample
from edgeprof.fit.rules import KernelRules, Observed, leader, learn, tensor_dims
from edgeprof.fit.validate import Row, Scores, score
from edgeprof.nets.operators import Operator, net_operators
from edgeprof.nets.spec import NetSpec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelMeasurement, Measurement

FOLDS = 10
RESAMPLES = 40
FEWEST = 6  # networks with a kernel, below which resampling says nothing
SMALLEST_MS = 2e-4  # a kernel under the profiler's resolution counts as this long
UNSURE = 0.5  # a standard error above this part of its coefficient: the data do not identify the term


@dataclass(frozen=True)
class Example:
    """A measurement made ready for fitting; ``latency_ms`` is known."""

    measurement: Measurement
    latency_ms: float

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """Operators of the network at its batch."""
        return net_operators(self.measurement.case.net, self.measurement.case.batch)

    @cached_property
    def observed(self) -> Observed:
        """What the rules are learnt from."""
        kernels = tuple((k.kind, k.operators, k.glue) for k in self.measurement.kernels)
        return Observed(self.operators, kernels)

    def dims(self, kernel: KernelMeasurement) -> Mapping[str, float]:
        """The dimensions that a kernel's time depends on."""
        by_name = {op.name: op for op in self.operators}
        if kernel.glue:
            op = by_name.get(kernel.operators[-1])
            return tensor_dims((op.outputs if op else self.operators[0].inputs)[0])
        name = leader(kernel.kind, kernel.operators, {o.name: o.op_type for o in self.operators})
        if name not in by_name:
            raise FitError(
                f"the kernel {kernel.name} is of no operator of its network",
                "use --form eq13, in a network's variables",
            )
        return by_name[name].dims


@dataclass(frozen=True)
class Fit:
    """A law with its cross-validated scores."""

    law: Law
    cv: Scores | None


@dataclass(frozen=True)
class _Table:
    """Observations of one group: terms as columns, times, weights, and the example each row belongs to."""

    group: Group
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    owner: NDArray[np.int64]

    def of(self, examples: NDArray[np.int64]) -> _Table:
        """The rows of some examples."""
        use = np.isin(self.owner, examples)
        return _Table(self.group, self.x[use], self.y[use], self.weight[use], self.owner[use])


def usable(measurements: Sequence[Measurement], launch: str = "blocking") -> list[Example]:
    """Measurements that a law can be fitted on: measured, of one launch mode where there are several, and of one board,
    machine, backend, runtime, precision and number of threads.

    :raises FitError: nothing measured, or several boards or settings in one.
    """
    good = [m for m in measurements if m.latency_ms is not None]
    if not good:
        raise FitError(
            "the database has no measurement to fit", "measure some networks first: edgeprof sweep"
        )
    launches = {m.case.launch for m in good}
    if len(launches) > 1:
        good = [m for m in good if m.case.launch == launch]
    for what in ("board", "machine", "backend", "runtime", "precision", "threads"):
        values = sorted({str(getattr(m.case, what)) for m in good})
        if len(values) > 1:
            raise FitError(
                f"the measurements are of several values of {what}: {', '.join(values[:4])}",
                f"a law is of one: fit a database of one, or choose with --where {what}={values[0]}",
            )
    return [Example(m, m.latency_ms) for m in good if m.latency_ms is not None]


def fit_law(
    measurements: Sequence[Measurement],
    form: Form,
    *,
    name: str = "law",
    sweeps: Sequence[Mapping[str, Any]] = (),
    launch: str = "blocking",
    date: str = "",
    cross_validate: bool = True,
    seed: int = 0,
) -> Fit:
    """A law of ``form``, with standard errors by resampling networks and scores by cross-validation on whole networks
    (all batches of a network are held out together).

    :raises FitError: too little data, or data of several boards.
    """
    examples = usable(measurements, launch)
    machine = _machine(examples)
    constants = machine_constants(machine, examples[0].measurement.case.threads)
    tables = _tables(examples, form, constants)
    if not tables:
        tables = [_totals(examples, form, constants)] if form.scope == "net" else []
    if not tables:
        raise FitError(
            f"form '{form.name}' needs kernel times, and the measurements have none",
            "use --form eq13, fitted on totals",
        )
    everything = np.arange(len(examples))
    law = _assemble(examples, form, tables, constants, everything)
    cv = _cross_validate(examples, form, tables, constants, seed) if cross_validate else None
    conformal = sorted(abs(math.log(r.predicted_ms / r.measured_ms)) for r in cv.rows) if cv else []
    law = law.model_copy(
        update={
            "name": name,
            "machine": machine,
            "groups": _with_errors(law.groups, tables, examples, form, seed),
            "overhead": _overhead_errors(law, tables, examples, form, seed),
            "conformal": tuple(conformal),
            "sweeps": tuple(sweeps),
            "family": _family(sweeps, law.domain),
            "date": date,
            "scores": _scores(cv),
            "noise_pct": _noise(examples),
            "about": form.about,
        }
    )
    if cv:
        cv = score(_with_intervals(cv.rows, law), LEVEL)
    return Fit(Law(**law.model_dump()), cv)


def net_key(net: NetSpec) -> str:
    """A short name of a network, the same for equal networks: 12 hexadecimal digits."""
    return hashlib.sha256(net.model_dump_json().encode()).hexdigest()[:12]


def _machine(examples: Sequence[Example]) -> dict[str, Any]:
    for example in examples:
        machine = example.measurement.environment.get("machine")
        if isinstance(machine, Mapping):
            return dict(machine)
    return {"model": examples[0].measurement.case.machine}


def _tables(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[_Table]:
    """Observations of every group that has any."""
    return (
        _kernel_tables(examples, form, constants)
        if form.scope == "kernel"
        else _net_tables(examples, form, constants)
    )


def _kernel_tables(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[_Table]:
    rows: dict[str, list[tuple[int, float, float, Mapping[str, float]]]] = {}
    for i, example in enumerate(examples):
        for kernel in example.measurement.kernels:
            group = form.group_of(kernel.kind)
            if group is not None:
                ms = max(kernel.ms, SMALLEST_MS)
                rows.setdefault(group.name, []).append((i, ms, ms / example.latency_ms, example.dims(kernel)))
    found = []
    for group in form.group:
        if group.name not in rows:
            continue
        owner, ms_, share, dims = zip(*rows[group.name], strict=True)
        x = design(form.expressions[group.name], form.definitions, columns(dims, constants), len(dims))
        found.append(_Table(group, x, np.array(ms_), np.array(share), np.array(owner)))
    return found


def _net_tables(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[_Table]:
    values = columns([_net_row(e) for e in examples], constants)
    scale = np.array([e.measurement.case.batch if form.unit == "tile" else 1 for e in examples], np.float64)
    found = []
    for group in form.group:
        sums = np.array(
            [sum(k.ms for k in e.measurement.kernels if form.group_of(k.kind) is group) for e in examples]
        )
        if not (sums > 0).any():
            continue
        x = design(form.expressions[group.name], form.definitions, values, len(examples))
        share = sums / np.array([e.latency_ms for e in examples])
        found.append(_Table(group, x, sums / scale, np.maximum(share, 1e-6), np.arange(len(examples))))
    return found


def _totals(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> _Table:
    """All terms of a form at once, overhead included, on the networks' latencies: for data without kernel times."""
    values = columns([_net_row(e) for e in examples], constants)
    scale = np.array([e.measurement.case.batch if form.unit == "tile" else 1 for e in examples], np.float64)
    terms = tuple(t for g in form.group for t in g.terms)
    expressions = [t for g in form.group for t in form.expressions[g.name]]
    everything = [*expressions, *(parse(t, NET_VARIABLES) for t in form.overhead)]
    x = design(everything, form.definitions, values, len(examples))
    y = np.array([e.latency_ms for e in examples]) / scale
    return _Table(
        Group(name="total", kinds=(), terms=(*terms, *form.overhead)),
        x,
        y,
        np.ones(len(y)),
        np.arange(len(y)),
    )


def _net_row(example: Example) -> dict[str, float]:
    case = example.measurement.case
    return {**net_values(case.net, case.batch), "k": float(len(example.measurement.kernels))}


def _assemble(
    examples: Sequence[Example],
    form: Form,
    tables: Sequence[_Table],
    constants: Mapping[str, float],
    use: NDArray[np.int64],
) -> Law:
    """The law fitted on the examples ``use``, without errors and scores."""
    chosen = [examples[i] for i in use]
    case = chosen[0].measurement.case
    rules = (
        learn(e.observed for e in chosen if e.measurement.kernels)
        if form.scope == "kernel"
        else KernelRules({}, {})
    )
    coefficients: dict[str, NDArray[np.float64]] = {}
    shares: dict[str, float] = {}
    for table in tables:
        part = table.of(use)
        if len(part.y):
            fit = fit_short if form.terms == "needed" else fit_log
            coefficients[table.group.name] = fit(part.x, part.y, part.weight)
            shares[table.group.name] = float(part.weight.sum() / len(chosen))
    totals = coefficients.get("total") if form.scope == "net" and tables[0].group.name == "total" else None
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
        board=case.board,
        backend=case.backend,
        runtime=case.runtime,
        threads=case.threads,
        precision=case.precision,
        launch=case.launch,
        simulated=any(e.measurement.simulated for e in chosen),
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
        domain=domain_of([(e.measurement.case.net, e.measurement.case.batch) for e in chosen]),
        networks=len({e.measurement.case.net for e in chosen}),
        seen=tuple(sorted({net_key(e.measurement.case.net) for e in chosen})),
        warnings=("unpriced",) if _unpriced(chosen, form) else (),
    )
    overhead = totals[start:] if totals is not None else _overhead(chosen, form, law)
    terms = tuple(Term(text=t, coefficient=float(c)) for t, c in zip(form.overhead, overhead, strict=True))
    return law.model_copy(update={"overhead": terms})


def _unpriced(examples: Sequence[Example], form: Form) -> dict[str, float]:
    """Kernel kinds that no group covers, with their mean part of the time."""
    found: dict[str, float] = {}
    for e in examples:
        for k in e.measurement.kernels:
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
    latency = np.array([e.latency_ms for e in examples])
    scale = np.array([e.measurement.case.batch if form.unit == "tile" else 1 for e in examples], np.float64)
    values = columns([_net_row(e) for e in examples], law.constants)
    terms = [parse(t, NET_VARIABLES) for t in form.overhead]
    x = design(terms, {}, values, len(examples)) * scale[:, None]
    if form.scope == "kernel":
        priced = [sum(k.ms for k in e.measurement.kernels if form.group_of(k.kind)) for e in examples]
    else:
        nets = [(e.measurement.case.net, e.measurement.case.batch) for e in examples]
        priced = [sum(k.ms for k in prices) for prices in group_prices(_again(law), nets)]
    known = np.array(priced)

    def solve(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        if form.scope == "kernel":
            return fit_linear(x[rows], latency[rows] - known[rows], 1 / latency[rows])
        return fit_log(x[rows], latency[rows], None, known[rows])

    if repeats:
        return np.array([solve(rows) for rows in redrawn(_owners(examples), repeats, seed)])
    return solve(np.arange(len(examples)))


def _again(law: Law) -> Law:
    """A law made anew, so that what it derives from its terms is derived from the present ones."""
    return Law(**law.model_dump())


def _with_errors(
    groups: Sequence[LawGroup], tables: Sequence[_Table], examples: Sequence[Example], form: Form, seed: int
) -> tuple[LawGroup, ...]:
    """Groups with standard errors, and notes on terms that the data cannot tell apart or do not identify."""
    owners = _owners(examples)
    if form.scope == "net" and tables[0].group.name == "total":
        return _merged(groups, tables[0], owners, form, seed)
    by_name = {t.group.name: t for t in tables}
    found = []
    for group in groups:
        table = by_name.get(group.name)
        if table is None:
            found.append(group)
            continue
        terms, covariance = _judge(group.terms, table, owners, form, seed)
        found.append(group.model_copy(update={"terms": terms, "covariance": covariance}))
    return tuple(found)


def _overhead_errors(
    law: Law, tables: Sequence[_Table], examples: Sequence[Example], form: Form, seed: int
) -> tuple[Term, ...]:
    """The overhead's terms with standard errors."""
    if form.scope == "net" and tables[0].group.name == "total":
        return law.overhead
    errors = _overhead(examples, form, law, RESAMPLES, seed).std(axis=0, ddof=1)
    return tuple(
        t.model_copy(update={"standard_error": float(e)}) for t, e in zip(law.overhead, errors, strict=True)
    )


def _judge(
    terms: Sequence[Term], table: _Table, owners: NDArray[np.int64], form: Form, seed: int
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
    groups: Sequence[LawGroup], table: _Table, owners: NDArray[np.int64], form: Form, seed: int
) -> tuple[LawGroup, ...]:
    flat = [t for g in groups for t in g.terms]
    extra = [Term(text=t, coefficient=0.0) for t in table.group.terms[len(flat) :]]
    judged, _ = _judge([*flat, *extra], table, owners, form, seed)
    found, start = [], 0
    for group in groups:
        found.append(group.model_copy(update={"terms": judged[start : start + len(group.terms)]}))
        start += len(group.terms)
    return tuple(found)


def _owners(examples: Sequence[Example]) -> NDArray[np.int64]:
    """The number of each example's network: all batches of one network have the same."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(e.measurement.case.net, len(numbers)) for e in examples])


def _cross_validate(
    examples: Sequence[Example],
    form: Form,
    tables: Sequence[_Table],
    constants: Mapping[str, float],
    seed: int,
) -> Scores | None:
    """Scores on networks held out in turn; None where there are too few to hold any out."""
    owners = _owners(examples)
    nets = int(owners.max()) + 1
    folds = min(FOLDS, nets)
    if folds < 3:
        return None
    fold = np.random.default_rng(seed).permutation(nets) % folds
    rows: list[Row] = []
    for f in range(folds):
        held = np.flatnonzero(fold[owners] == f).tolist()
        law = _again(_assemble(examples, form, tables, constants, np.flatnonzero(fold[owners] != f)))
        rows.extend(judge(law, [examples[i] for i in held]))
    return score(rows, LEVEL)


def judge(law: Law, examples: Sequence[Example], level: float = LEVEL) -> list[Row]:
    """Measured against predicted."""
    nets = [(e.measurement.case.net, e.measurement.case.batch) for e in examples]
    rows = []
    for e, p in zip(examples, predict_many(law, nets, level), strict=True):
        m = e.measurement
        rows.append(
            Row(
                net=m.case.net.label(),
                batch=m.case.batch,
                measured_ms=e.latency_ms,
                predicted_ms=p.latency_ms,
                low_ms=p.interval_ms[0] if p.interval_ms else None,
                high_ms=p.interval_ms[1] if p.interval_ms else None,
                noise_pct=spread_pct(m.rounds_ms),
                floor_ms=sum(k.ms for k in m.kernels) or None,
            )
        )
    return rows


def spread_pct(rounds: Sequence[float]) -> float | None:
    """How far a network's rounds lie apart: median over the least, less one, in percent; None for one round."""
    return (float(np.median(rounds)) / min(rounds) - 1) * 100 if len(rounds) > 1 else None


def _with_intervals(rows: Sequence[Row], law: Law) -> list[Row]:
    found = []
    for row in rows:
        low, high = law.interval(row.predicted_ms, LEVEL) or (None, None)
        found.append(Row(**{**asdict(row), "low_ms": low, "high_ms": high}))
    return found


def _scores(cv: Scores | None) -> dict[str, Any]:
    if cv is None:
        return {}
    return {
        **{k: v for k, v in asdict(cv).items() if k != "rows"},
        "how": "cross-validated on whole networks",
    }


def _noise(examples: Sequence[Example]) -> float | None:
    known = [n for e in examples if (n := spread_pct(e.measurement.rounds_ms)) is not None]
    return float(np.median(known)) if known else None


def _family(sweeps: Sequence[Mapping[str, Any]], domain: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """What ``validate`` draws networks from: the random sample where all sweeps are of one, else the
    domain's ranges."""
    samples: list[dict[str, Any]] = []
    for sweep in sweeps:
        drawn = {k: v for k, v in (sweep.get("sample") or {}).items() if k not in ("nets", "seed")}
        sample = {**drawn, "net": dict(sweep.get("net", {}))} if drawn else {}
        if sample not in samples:
            samples.append(sample)
    if len(samples) == 1 and samples[0]:
        return samples[0]
    knobs: dict[str, Any] = {}
    for knob, seen in domain.items():
        if knob in ("padding", "kernel", "tile", "channels", "classes", "stride", "pool", "pool_before"):
            knobs[knob] = list(dict.fromkeys(seen))
        else:
            log = " log" if knob in ("depth", "neurons", "batch") and seen[0] > 0 else ""
            knobs[knob] = f"{seen[0]}..{seen[1]}{log}"
    return {"knobs": knobs}


def matching(measurements: Sequence[Measurement], where: Sequence[str]) -> list[Measurement]:
    """Measurements whose case has every ``KEY=VALUE`` of ``where``.

    :raises FitError: no such key, or nothing left.
    """
    left = list(measurements)
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals or key not in Case.model_fields or key == "net":
            keys = ", ".join(k for k in Case.model_fields if k != "net")
            raise FitError(f"'{condition}' is no condition", f"write KEY=VALUE, KEY one of {keys}")
        values = sorted({str(getattr(m.case, key)) for m in left})
        left = [m for m in left if str(getattr(m.case, key)) == value]
        if not left:
            raise FitError(f"no measurement has {condition}", f"{key} is one of: {', '.join(values)}")
    return left


def choose(measurements: Sequence[Measurement], form: str, **settings: Any) -> list[Fit]:
    """Fits of the form called ``form``; of every form of the catalogue for ``auto``, the best on held-out
    networks first.

    :raises FitError: none of them can be fitted.
    """
    if form != "auto":
        return [fit_law(measurements, read_form(form), **settings)]
    fits, trouble = [], None
    for entry in catalogue.entries("forms"):
        try:
            fits.append(fit_law(measurements, read_form(str(entry.path)), **settings))
        except (FitError, DomainError) as error:
            trouble = error
    if not fits:
        raise trouble or FitError("there is no form to fit", "edgeprof list forms")
    return sorted(fits, key=lambda f: f.cv.mape_pct if f.cv else math.inf)
