"""Laws of kernels from a table of whole networks, whose latency alone is known; and such a law's predictions.

Which operators a runtime runs as kernels is not known either: each way that the networks' signature names is tried, and
the one with the least error on networks held out is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import EdgeprofError, FitError
from edgeprof.fit.composition import Composition, Kernels, Schedule, schedule
from edgeprof.fit.fitting import FOLDS, Fit, log_errors, scores_of, with_intervals
from edgeprof.fit.forms import Form, read_form
from edgeprof.fit.intervals import parted
from edgeprof.fit.law import LEVEL, Law, LawGroup, Term
from edgeprof.fit.prediction import WAIT, KernelPrice
from edgeprof.fit.records import Record, Records, batch_of, domain_of_rows
from edgeprof.fit.regress import alike, resample
from edgeprof.fit.totals import Prices, fit_totals, overhead_columns, typical_terms
from edgeprof.fit.transfer import fit_shrunk, resampled
from edgeprof.fit.uncertainty import FEWEST as FEWEST_RESAMPLED
from edgeprof.fit.uncertainty import RESAMPLES, UNSURE
from edgeprof.fit.validate import Row, score

CHOSEN_ON = 60  # networks at most that the execution is chosen on; half of them where launches overlap
CHOICE_FOLDS = 2
TINY_MS = 1e-9
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Networks made ready for fitting: kernels with their terms, terms of the overhead [n, o], latencies in ms [n], and
    the number of each run's network, which has several batches."""

    schedule: Schedule
    overhead: Matrix
    latency_ms: Vector
    owner: Rows

    def of(self, rows: Rows) -> Runs:
        """Some of the runs."""
        return Runs(self.schedule.of(rows), self.overhead[rows], self.latency_ms[rows], self.owner[rows])

    def fit(self, form: Form, composition: Composition, short: bool) -> Prices:
        """Prices of the terms of ``form``."""
        return fit_totals(self.schedule, self.overhead, self.latency_ms, len(form.group), composition, short)

    def predicted(self, prices: Prices, composition: Composition) -> Vector:
        """Latency of each run by ``prices``, ms."""
        return prices.latency(self.schedule, self.overhead, composition)

    @property
    def columns(self) -> Matrix:
        """Terms and overhead, summed over each run."""
        return np.hstack([self.schedule.sums, self.overhead])


def runs_of(
    records: Records,
    rows: Sequence[Record],
    form: Form,
    execution: str,
    constants: Mapping[str, float] = MappingProxyType({}),
) -> Runs:
    """The rows with what runs of them under ``execution``; ``constants`` are those of the form's terms."""
    numbers: dict[Any, int] = {}
    kernels = [kernels_of(records, row, execution) for row in rows]
    return Runs(
        schedule(form, kernels, constants),
        overhead_columns(
            form.overhead, [batch_of(row) for row in rows], [len(k) for k in kernels], constants
        ),
        np.array([row.latency_ms for row in rows], np.float64),
        np.array([numbers.setdefault(row.key, len(numbers)) for row in rows]),
    )


def kernels_of(records: Records, row: Record, execution: str) -> Kernels:
    """Kind and dimensions of the kernels of a row, in order."""
    run = records.signature.run(row.values, execution) if execution else row.operators
    return [(op.op_type, op.dims) for op in run]


def fit_networks(
    records: Records,
    form: Form,
    *,
    name: str = "law",
    date: str = "",
    cross_validate: bool = True,
    errors: bool = True,
    seed: int = 0,
) -> Fit:
    """A law of ``form``, with scores on networks held out in turn, at all their batches.

    :raises FitError: a form for single operators.
    """
    refuse(form)
    execution = choose_execution(records, form, seed)
    runs = runs_of(records, records.rows, form, execution)
    short = form.terms == "needed"
    prices = runs.fit(form, form.composition, short)
    law = network_law(records, form, execution, runs, prices, errors=errors, seed=seed)
    law = law.model_copy(update={"name": name, "date": date})
    return scored(law, records, runs, form, seed) if cross_validate else Fit(Law(**law.model_dump()), None)


def refuse(form: Form) -> None:
    """:raises FitError: a form that whole networks tell nothing of."""
    if form.search or form.constants:
        raise FitError(
            f"form '{form.name}' asks more than the latency of whole networks tells",
            "use --form networks or --form launches",
        )


def choose_execution(records: Records, form: Form, seed: int = 0) -> str:
    """How the networks run, of the ways that their signature names: the one with the least error held out."""
    ways = records.signature.executions
    if len(ways) < 2:
        return ways[0] if ways else ""
    rows = sample(records.rows, CHOSEN_ON // (2 if form.composition == "overlap" else 1), seed)
    if len({row.key for row in rows}) < CHOICE_FOLDS:
        return ways[0]
    errors = {}
    for way in ways:
        runs = runs_of(records, rows, form, way)
        parts = _folds(runs.owner, CHOICE_FOLDS, seed)
        off = []
        for rest, held in parts:
            prices = runs.of(rest).fit(form, form.composition, short=False)
            predicted = runs.of(held).predicted(prices, form.composition)
            off.append(np.log(np.maximum(predicted, TINY_MS) / runs.latency_ms[held]))
        errors[way] = float(np.abs(np.concatenate(off)).mean())
    return min(ways, key=lambda way: errors[way])


def first_networks(records: Records, networks: int, seed: int = 0) -> Records:
    """The records of the first ``networks`` networks of a seeded shuffle, at all their batches.

    :raises FitError: there are fewer.
    """
    known = len({row.key for row in records.rows})
    if networks > known:
        raise FitError(f"{records.source} has {known} networks, not {networks}", f"--nets {known} takes all")
    return replace(records, rows=sample(records.rows, networks, seed))


def sample(rows: Sequence[Record], networks: int, seed: int = 0) -> tuple[Record, ...]:
    """The rows of the first ``networks`` networks of a shuffle."""
    keys = list(dict.fromkeys(row.key for row in rows))
    order = np.random.default_rng(seed).permutation(len(keys))[:networks]
    chosen = {keys[i] for i in order}
    return tuple(row for row in rows if row.key in chosen)


def _folds(owner: Rows, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """(rows that are fitted, rows held out), whole networks together."""
    nets = int(owner.max()) + 1
    fold = np.random.default_rng(seed).permutation(nets) % min(folds, nets)
    return [
        (np.flatnonzero(fold[owner] != f), np.flatnonzero(fold[owner] == f)) for f in range(fold.max() + 1)
    ]


def network_law(
    records: Records,
    form: Form,
    execution: str,
    runs: Runs,
    prices: Prices,
    *,
    errors: bool = True,
    deviation: Vector | None = None,
    seed: int = 0,
) -> Law:
    """The law of ``prices``, without scores; with standard errors by resampling networks, if asked, or those given as
    ``deviation``: of terms, launches and overhead."""
    m, groups = len(prices.coefficients), len(form.group)
    overlap = form.composition == "overlap"
    found = np.concatenate([prices.coefficients, prices.host_ms, prices.overhead])
    active = runs.schedule.active(prices.coefficients, prices.host_ms)
    terms = runs.schedule.overlapped(active, groups) if overlap else runs.schedule.sums
    columns = np.hstack(
        [terms, runs.overhead] if overlap else [terms, np.zeros((len(terms), groups)), runs.overhead]
    )
    deviation = _errors(columns, runs, found, seed) if errors else deviation
    notes = _notes(columns, runs.latency_ms, found, deviation, form)

    def term(text: str, j: int) -> Term:
        error = float(deviation[j]) if deviation is not None else None
        return Term(text=text, coefficient=float(found[j]), standard_error=error, note=notes[j])

    made, start = [], 0
    latency = runs.latency_ms
    for number, group in enumerate(form.group):
        own = range(start, start + len(group.terms))
        start = own.stop
        if not (runs.schedule.group == number).any():
            continue
        kept = [j for j in own if found[j] > 0] or list(own)
        share = float(np.mean(columns[:, list(own)] @ found[list(own)] / latency))
        made.append(
            LawGroup(
                name=group.name,
                kinds=group.kinds,
                terms=tuple(term(group.terms[j - own.start], j) for j in kept),
                host=term("1", m + number) if overlap else None,
                share=None if overlap else share,
            )
        )
    return Law(
        name=form.name,
        about=form.about,
        board=records.device or records.source.partition(".")[0],
        backend="table",
        runtime=records.source,
        launch="",
        form=form.name,
        scope="kernel",
        unit="run",
        composition=form.composition,
        execution=execution,
        define=dict(form.define),
        groups=tuple(made),
        overhead=tuple(term(text, m + groups + i) for i, text in enumerate(form.overhead)),
        domain=domain_of_rows(records.rows),
        networks=len({row.key for row in records.rows}),
        table={
            "file": records.source,
            "signature": records.signature.name,
            "target": records.target,
            "where": dict(records.where or {}),
            "rows": len(records.rows),
        },
    )


def _errors(columns: Matrix, runs: Runs, found: Vector, seed: int) -> Vector | None:
    """Standard errors by resampling networks; of terms that are kept."""
    if len(np.unique(runs.owner)) < FEWEST_RESAMPLED:
        return None
    kept = np.flatnonzero(found)
    drawn = resample(columns[:, kept], runs.latency_ms, None, runs.owner, RESAMPLES, seed)
    deviation = np.zeros(len(found))
    deviation[kept] = drawn.std(axis=0, ddof=1)
    return deviation


def _notes(
    columns: Matrix, latency_ms: Vector, found: Vector, deviation: Vector | None, form: Form
) -> list[str]:
    """What the data do not tell of each term that is kept."""
    notes = [""] * len(found)
    kept = np.flatnonzero(found)
    names = [f"{g.name}, {t}" for g in form.group for t in g.terms]
    names += [f"a launch of {g.name}" for g in form.group] + list(form.overhead)
    for i, j in alike(columns[:, kept], latency_ms):
        notes[kept[j]] = f"the data cannot tell it from {names[kept[i]]}"
    for j in kept.tolist():
        if deviation is not None and not notes[j] and deviation[j] > UNSURE * found[j]:
            notes[j] = "not identified: its error is large"
    return notes


def scored(law: Law, records: Records, runs: Runs, form: Form, seed: int) -> Fit:
    """The law with cross-validated scores and the intervals that they give."""
    if runs.owner.max() + 1 < 3:
        return Fit(Law(**law.model_dump()), None)
    predicted = np.zeros(len(runs.latency_ms))
    for rest, held in _folds(runs.owner, FOLDS, seed):
        prices = runs.of(rest).fit(form, form.composition, form.terms == "needed")
        predicted[held] = runs.of(held).predicted(prices, form.composition)
    return with_scores(law, records, predicted)


def with_scores(law: Law, records: Records, predicted_ms: Vector) -> Fit:
    """The law with the scores of predictions of networks held out."""
    rows = [
        Row(
            net=", ".join(f"{k} {v}" for k, v in row.values.items()),
            batch=batch_of(row),
            measured_ms=float(row.latency_ms or np.nan),
            predicted_ms=float(max(ms, TINY_MS)),
            low_ms=None,
            high_ms=None,
        )
        for row, ms in zip(records.rows, predicted_ms, strict=True)
    ]
    held_out = log_errors(rows)
    cv = score(with_intervals(rows), LEVEL)
    update = {"conformal": tuple(held_out), "parted_ms": parted(held_out), "scores": scores_of(cv)}
    return Fit(Law(**law.model_copy(update=update).model_dump()), cv)


# --- predictions


@dataclass(frozen=True)
class NetworkPrice:
    """What a law says of one run: a price for each group of kernels, one for the time that the device waits for
    launches, and the overhead; ms."""

    kernels: tuple[KernelPrice, ...]
    overhead_ms: float


def prices_of(law: Law) -> Prices:
    """The law's coefficients, in the order of its own form."""
    return Prices(
        np.array([t.coefficient for g in law.groups for t in g.terms]),
        np.array([g.host.coefficient if g.host else 0.0 for g in law.groups]),
        np.array([t.coefficient for t in law.overhead]),
    )


def price_networks(law: Law, runs: Sequence[Kernels], batches: Sequence[int]) -> list[NetworkPrice]:
    """The prices of runs by a law of kernels whose operators are those that run."""
    form, prices = law.as_form, prices_of(law)
    of = schedule(form, runs, law.constants)
    fixed = overhead_columns([t.text for t in law.overhead], batches, [len(r) for r in runs], law.constants)
    overhead = fixed @ prices.overhead
    ends = np.cumsum([len(g.terms) for g in law.groups])
    by_group = [
        of.sums[:, end - len(g.terms) : end] @ prices.coefficients[end - len(g.terms) : end]
        for g, end in zip(law.groups, ends, strict=True)
    ]
    device = np.array(by_group).T.reshape(len(runs), len(law.groups))
    whole = prices.latency(of, fixed, law.composition) - overhead
    found = []
    for own, total, extra in zip(device, whole, overhead, strict=True):
        kernels = [KernelPrice(g.name, g.name, float(ms)) for g, ms in zip(law.groups, own, strict=True)]
        if law.composition == "overlap":
            kernels.append(KernelPrice(WAIT, "waiting for launches", float(total - own.sum())))
        found.append(NetworkPrice(tuple(kernels), float(extra)))
    return found


# --- transfer


def transfer_networks(
    records: Records, prior: Law, *, name: str = "law", date: str = "", seed: int = 0
) -> Fit:
    """A law for the board of ``records`` with the law of another board as the prior
    (:func:`edgeprof.fit.transfer.fit_shrunk`); terms that the prior lacks may come in.

    :raises FitError: the prior's launches overlap, or it is no law of kernels.
    """
    if prior.scope != "kernel" or prior.composition != "sum":
        raise FitError(f"law '{prior.name}' cannot be a prior", "give a law of kernels that are summed")
    form = _widened(prior)
    ways = records.signature.executions or ("",)
    known = np.concatenate([_prior_terms(prior, form), [t.coefficient for t in prior.overhead]])
    best = None
    for way in ways:
        runs = runs_of(records, records.rows, form, way, prior.constants)
        typical = np.append(typical_terms(runs.schedule), np.ones(runs.overhead.shape[1]))
        found = fit_shrunk(runs.columns, runs.latency_ms, known, typical, seed=seed)
        if best is None or found.left_out < best[1].left_out:
            best = way, found, runs, typical
    assert best is not None
    way, found, runs, typical = best
    m, launches = len(known) - len(prior.overhead), np.zeros(len(form.group))
    prices = Prices(found.coefficients[:m], launches, found.coefficients[m:])
    deviation = None
    if len(np.unique(runs.owner)) >= FEWEST_RESAMPLED:
        drawn = resampled(
            runs.columns, runs.latency_ms, known, found.strength, typical, runs.owner, RESAMPLES, seed
        )
        terms, fixed = np.split(drawn.std(axis=0, ddof=1), [m])
        deviation = np.concatenate([terms, launches, fixed])
    law = network_law(records, form, way, runs, prices, errors=False, deviation=deviation)
    update = {
        "name": name,
        "constants": dict(prior.constants),
        "date": date,
        "prior": {
            "law": prior.name,
            "board": prior.board,
            "scale": found.scale,
            "strength": found.strength,
        },
    }
    return with_scores(law.model_copy(update=update), records, found.predicted)


def _widened(prior: Law) -> Form:
    """The prior's form, with the terms of the form of its name that it does not need."""
    try:
        form = read_form(prior.form)
        refuse(form)
    except EdgeprofError:
        return prior.as_form
    same = all(
        any({t.text for t in g.terms} <= set(f.terms) and g.name == f.name for f in form.group)
        for g in prior.groups
    )
    return (
        form.model_copy(update={"overhead": tuple(t.text for t in prior.overhead)}) if same else prior.as_form
    )


def _prior_terms(prior: Law, form: Form) -> Vector:
    known = {(g.name, t.text): t.coefficient for g in prior.groups for t in g.terms}
    return np.array([known.get((g.name, t), 0.0) for g in form.group for t in g.terms])
