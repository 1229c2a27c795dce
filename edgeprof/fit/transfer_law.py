"""A law for a board from a few of its measurements, with another board's law as the prior, kernel by kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import FitError
from edgeprof.fit.clocks import ranges_of, settings_of
from edgeprof.fit.examples import Example, machine_of, noise_pct, origin_of, owners_of, usable
from edgeprof.fit.expressions import parse
from edgeprof.fit.features import columns, design, machine_constants
from edgeprof.fit.fitting import FOLDS, Fit, log_errors, scores_of, with_intervals
from edgeprof.fit.forms import NET_VARIABLES, Form
from edgeprof.fit.intervals import parted
from edgeprof.fit.law import LEVEL, Law, LawGroup, Term
from edgeprof.fit.law_domain import domain_of
from edgeprof.fit.learning import learn
from edgeprof.fit.memory import fit_memory
from edgeprof.fit.regress import fit_linear
from edgeprof.fit.tables import SMALLEST_MS, Table, net_row, tables_of
from edgeprof.fit.transfer import fit_shrunk, resampled
from edgeprof.fit.uncertainty import FEWEST as FEWEST_RESAMPLED
from edgeprof.fit.uncertainty import RESAMPLES
from edgeprof.fit.validate import Row, judge, score
from edgeprof.nets.network import net_key
from edgeprof.timing.measurement import Measurement

Vector = NDArray[np.float64]

FEWEST = 3  # networks that a law is transferred with
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the prior of one group, beside one kernel's squared log error


def first_measurements(
    measurements: Sequence[Measurement], networks: int, seed: int = 0
) -> list[Measurement]:
    """The measurements of the first ``networks`` networks of a seeded shuffle, at all their batches.

    :raises FitError: there are fewer.
    """
    keys = list(dict.fromkeys(net_key(m.case.net) for m in measurements if m.latency_ms is not None))
    if networks > len(keys):
        raise FitError(
            f"{len(keys)} networks were measured, not {networks}", f"--nets {len(keys)} takes all of them"
        )
    order = np.random.default_rng(seed).permutation(len(keys))[:networks]
    chosen = {keys[i] for i in order}
    return [m for m in measurements if net_key(m.case.net) in chosen]


def transfer_law(
    measurements: Sequence[Measurement],
    prior: Law,
    *,
    name: str = "law",
    launch: str | None = None,
    date: str = "",
    seed: int = 0,
) -> Fit:
    """A law of the prior's form for the board of ``measurements``: the coefficients of each group stay near the prior's
    times a scale of the group; groups of which no kernel was measured get the median scale. Kernel rules are the
    prior's, unless the measurements have kinds of kernels that it does not know; then those are learnt.

    :raises FitError: too few networks, no kernel times, or a prior that is no law of kernels.
    """
    examples = usable(measurements, launch)
    if prior.scope != "kernel" or prior.composition != "sum" or prior.execution:
        raise FitError(
            f"law '{prior.name}' is no prior for measured kernels",
            "give a law fitted on kernels: --form kernels",
        )
    _check_clocks(examples, prior)
    owners = owners_of(examples)
    if owners.max() + 1 < FEWEST:
        raise FitError(f"a prior needs {FEWEST} networks beside it", "measure some more")
    law = _transferred(examples, prior, seed, errors=True)
    rows: list[Row] = []
    fold = np.random.default_rng(seed).permutation(int(owners.max()) + 1) % FOLDS
    for f in range(int(fold.max()) + 1):
        held = [e for e, o in zip(examples, owners, strict=True) if fold[o] == f]
        rest = [e for e, o in zip(examples, owners, strict=True) if fold[o] != f]
        rows += judge(_transferred(rest, prior, seed), held)
    cv = score(with_intervals(rows), LEVEL)
    held_out = log_errors(rows)
    update = {
        "name": name,
        "date": date,
        "noise_pct": noise_pct(examples),
        "conformal": tuple(held_out),
        "parted_ms": parted(held_out),
        "scores": scores_of(cv),
        "memory": fit_memory(examples, seed),
    }
    return Fit(Law(**law.model_copy(update=update).model_dump()), cv)


def _check_clocks(examples: Sequence[Example], prior: Law) -> None:
    """See that the prior can tell settings apart, and that the clocks it needs were measured."""
    if not prior.clocks and len(settings_of([e.measurement for e in examples])) > 1:
        raise FitError(
            f"law '{prior.name}' names no clocks, and the measurements are of several settings",
            "choose one, such as --where power_mode=NAME",
        )
    if blind := [name for name in prior.clocks if not all(name in e.clocks for e in examples)]:
        raise FitError(
            f"law '{prior.name}' is over {', '.join(blind)}, and not every measurement's telemetry tells it",
            "measure where the board's sensors tell its clocks, or take a prior of one setting",
        )


@dataclass(frozen=True)
class _Near:
    """Coefficients of a group with their standard errors, if known, and their scale beside the prior's."""

    coefficients: Vector
    scale: float
    errors: Vector | None = None

    def terms(self, texts: Sequence[Term]) -> tuple[Term, ...]:
        """The terms with these coefficients."""
        errors = [None] * len(texts) if self.errors is None else self.errors.tolist()
        return tuple(
            Term(text=t.text, coefficient=float(c), standard_error=e)
            for t, c, e in zip(texts, self.coefficients, errors, strict=True)
        )


def _transferred(examples: Sequence[Example], prior: Law, seed: int, errors: bool = False) -> Law:
    """The law from ``examples``, without scores; with standard errors, if asked."""
    case, machine, form = examples[0].measurement.case, machine_of(examples), prior.as_form
    settings = settings_of([e.measurement for e in examples]) if prior.clocks else ()
    clocks = {name: settings[0][name] for name in prior.clocks}
    constants = {**prior.constants, **machine_constants(machine, case.threads), **clocks}
    tables = {t.group.name: t for t in tables_of(examples, form, constants)}
    if not tables:
        raise FitError(
            f"the measurements have no kernels of law '{prior.name}'",
            "measure with kernel times, or fit on a table",
        )
    owners = owners_of(examples) if errors else None
    found = {g.name: _near(g, tables[g.name], owners, seed) for g in prior.groups if g.name in tables}
    common = float(np.median([near.scale for near in found.values()]))
    groups = []
    for group in prior.groups:
        known = np.array([t.coefficient for t in group.terms])
        groups.append(
            LawGroup(
                name=group.name,
                kinds=group.kinds,
                terms=found.get(group.name, _Near(common * known, common)).terms(group.terms),
                share=_share(tables.get(group.name), len(examples)),
                note=""
                if group.name in found
                else "no such kernel was measured: the prior's, by the median scale",
            )
        )
    law = Law(
        name=prior.form,
        about=prior.about,
        **origin_of(examples),
        machine=machine,
        form=prior.form,
        scope="kernel",
        unit=prior.unit,
        define=dict(prior.define),
        groups=tuple(groups),
        overhead=_overhead(examples, form, prior, constants, common),
        rules=_rules(examples, prior),
        constants=constants,
        domain=_domain(examples, prior),
        family=prior.family,
        prior={"law": prior.name, "board": prior.board, "scale": common},
        settings=settings,
    )
    return law


def _near(group: LawGroup, table: Table, owners: NDArray[np.int64] | None, seed: int) -> _Near:
    """A group near the prior's. :param owners: the network of each example, where errors are asked for."""
    known = np.array([t.coefficient for t in group.terms])
    prior_ms = table.x @ known
    if not (prior_ms > 0).any():
        return _Near(known, 1.0)
    if len(table.y) < 2:
        scale = float(np.median(table.y / np.maximum(prior_ms, 1e-12)))
        return _Near(scale * known, scale)
    typical = table.x.sum(axis=0) / np.maximum((table.x > 0).sum(axis=0), 1)
    found = fit_shrunk(table.x, table.y, known, typical, STRENGTHS, seed)
    errors = None
    if owners is not None and len(np.unique(own := owners[table.owner])) >= FEWEST_RESAMPLED:
        drawn = resampled(table.x, table.y, known, found.strength, typical, own, RESAMPLES, seed)
        errors = drawn.std(axis=0, ddof=1)
    return _Near(found.coefficients, found.scale, errors)


def _share(table: Table | None, examples: int) -> float | None:
    return None if table is None else float(table.weight.sum() / examples)


def _overhead(
    examples: Sequence[Example], form: Form, prior: Law, constants: Mapping[str, float], common: float
) -> tuple[Term, ...]:
    """The overhead on what the kernels leave of the latency; the prior's by the common scale where that is nothing."""
    latency = np.array([e.latency_ms for e in examples])
    priced = [sum(max(k.ms, SMALLEST_MS) for k in e.kernels if form.group_of(k.kind)) for e in examples]
    x = design(
        [parse(t.text, NET_VARIABLES) for t in prior.overhead],
        {},
        columns([net_row(e) for e in examples], constants),
        len(examples),
    )
    found = fit_linear(x, latency - np.array(priced), 1 / latency)
    if not found.any():
        found = np.array([common * t.coefficient for t in prior.overhead])
    return tuple(Term(text=t.text, coefficient=float(c)) for t, c in zip(prior.overhead, found, strict=True))


def _rules(examples: Sequence[Example], prior: Law) -> dict[str, Any]:
    known = {kind for group in prior.rules.values() for rule in group.values() for kind in _kinds(rule)}
    seen = {k.kind for e in examples for k in e.kernels}
    if seen <= known:
        return {part: dict(rules) for part, rules in prior.rules.items()}
    learnt = learn(e.observed for e in examples if e.kernels)
    return {
        "operators": {
            **prior.rules.get("operators", {}),
            **{k: r.as_dict() for k, r in learnt.operators.items()},
        },
        "between": {**prior.rules.get("between", {}), **{k: r.as_dict() for k, r in learnt.between.items()}},
    }


def _kinds(rule: Mapping[str, Any]) -> set[str]:
    if "if" in rule:
        return _kinds(rule["then"]) | _kinds(rule["else"])
    return {str(rule["kind"]), *rule.get("others", {})}


def _domain(examples: Sequence[Example], prior: Law) -> dict[str, tuple[Any, ...]]:
    """What the prior has seen: the shape of the law is its, the measurements only scale it."""
    own = domain_of([(e.measurement.case.net, e.measurement.case.batch) for e in examples])
    own |= ranges_of([e.measurement for e in examples], list(prior.clocks))
    found: dict[str, tuple[Any, ...]] = dict(own)
    for knob, seen in prior.domain.items():
        if knob == "padding":
            found[knob] = tuple(dict.fromkeys((*seen, *own.get(knob, ()))))
        elif knob in own:
            found[knob] = (min(seen[0], own[knob][0]), max(seen[1], own[knob][1]))
        else:
            found[knob] = tuple(seen)
    return found
