"""Tables: what each group of a form is fitted on, terms as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import FitError
from edgeprof.fit.composition import schedule
from edgeprof.fit.examples import Example, clean
from edgeprof.fit.expressions import parse
from edgeprof.fit.features import columns, design, net_values
from edgeprof.fit.forms import NET_VARIABLES, Form, Group
from edgeprof.nets.spec import NetSpec

SMALLEST_MS = 2e-4  # a kernel under the profiler's resolution counts as this long


@dataclass(frozen=True)
class Table:
    """Observations of one group: terms as columns, times, weights, and the example each row belongs to."""

    group: Group
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    owner: NDArray[np.int64]

    def of(self, examples: NDArray[np.int64]) -> Table:
        """The rows of some examples."""
        use = np.isin(self.owner, examples)
        return Table(self.group, self.x[use], self.y[use], self.weight[use], self.owner[use])


def tables_of(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[Table]:
    """Observations of every group that has any."""
    return (
        _kernel_tables(examples, form, constants)
        if form.scope == "kernel"
        else _net_tables(examples, form, constants)
    )


def _kernel_tables(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[Table]:
    rows: dict[str, list[tuple[int, float, float, Mapping[str, float]]]] = {}
    missing: set[str] = set()
    undisturbed = clean(examples)
    for i, example in enumerate(examples):
        for kernel in example.kernels if undisturbed[i] else ():
            group = form.group_of(kernel.kind)
            if group is None:
                continue
            own, ms = {**example.dims(kernel), **example.clocks}, max(kernel.ms, SMALLEST_MS)
            if form.needs[group.name] <= own.keys():
                rows.setdefault(group.name, []).append((i, ms, ms / example.latency_ms, own))
            else:
                missing |= form.needs[group.name] - own.keys()
    if missing and not rows:
        raise FitError(
            f"form '{form.name}': no value for {', '.join(sorted(missing))} in any kernel",
            "each group may use the dimensions that its kernels have",
        )
    found = []
    for group in form.group:
        if group.name not in rows:
            continue
        owner, ms_, share, dims = zip(*rows[group.name], strict=True)
        x = design(form.expressions[group.name], form.definitions, columns(dims, constants), len(dims))
        found.append(Table(group, x, np.array(ms_), np.array(share), np.array(owner)))
    return found


def _net_tables(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> list[Table]:
    _of_family(examples, form)
    values = columns([net_row(e) for e in examples], constants)
    scale = np.array([e.measurement.case.batch if form.unit == "tile" else 1 for e in examples], np.float64)
    found = []
    for group in form.group:
        sums = np.array([sum(k.ms for k in e.kernels if form.group_of(k.kind) is group) for e in examples])
        if not (sums > 0).any():
            continue
        x = design(form.expressions[group.name], form.definitions, values, len(examples))
        share = sums / np.array([e.latency_ms for e in examples])
        found.append(Table(group, x, sums / scale, np.maximum(share, 1e-6), np.arange(len(examples))))
    return found


def totals_table(examples: Sequence[Example], form: Form, constants: Mapping[str, float]) -> Table:
    """All terms of a form at once, overhead included, on the networks' latencies: for data without kernel times. Those
    of kernels are summed over the network, every operator taken to be one."""
    scale = np.array([e.measurement.case.batch if form.unit == "tile" else 1 for e in examples], np.float64)
    terms = tuple(t for g in form.group for t in g.terms)
    overhead = [parse(t, NET_VARIABLES) for t in form.overhead]
    if form.scope == "kernel":
        runs = [
            [(op.op_type, {**op.dims, **e.clocks} if e.clocks else op.dims) for op in e.operators]
            for e in examples
        ]
        rows = [{**net_row(e), "k": float(len(run))} for e, run in zip(examples, runs, strict=True)]
        fixed = design(overhead, {}, columns(rows, constants), len(examples))
        x = np.hstack([schedule(form, runs, constants).sums / scale[:, None], fixed])
    else:
        _of_family(examples, form)
        expressions = [t for g in form.group for t in form.expressions[g.name]]
        values = columns([net_row(e) for e in examples], constants)
        x = design([*expressions, *overhead], form.definitions, values, len(examples))
    y = np.array([e.latency_ms for e in examples]) / scale
    return Table(
        Group(name="total", kinds=(), terms=(*terms, *form.overhead)),
        x,
        y,
        np.ones(len(y)),
        np.arange(len(y)),
    )


def _of_family(examples: Sequence[Example], form: Form) -> None:
    """See that a form in the family's variables can say something of every example."""
    other = next((e for e in examples if not isinstance(e.measurement.case.net, NetSpec)), None)
    if other is not None:
        name = other.measurement.case.net.label()
        raise FitError(
            f"form '{form.name}' is in the family's variables, and {name} is not of the family",
            "take --form kernels, or a database of the family alone",
        )


def net_row(example: Example) -> dict[str, float]:
    """Variables of a network: its own, its clocks (MHz), and ``k``, the number of its kernels."""
    case = example.measurement.case
    return {**net_values(case.net, case.batch), **example.clocks, "k": float(len(example.kernels))}
