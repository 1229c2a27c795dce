"""Pricing: what a law says of very many networks at once, the same as :mod:`edgeprof.fit.prediction` says of each.

Latency is a sum over kernels, so a body (conv layers) is priced once for all its heads (FC layers), the first FC layer
once for all heads of its width, and the rest of a head once for all bodies. Kernels are planned by the law's own
rules, asked once for all operators that answer their questions alike.

What a kernel costs may depend on the whole network in one way: by ``cold``, the part of a run's bytes that has left the
cache by the next run. Terms are linear in it, so kernels are added up twice, for 0 and for 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import SpecError
from edgeprof.fit.datasheet import instead_of
from edgeprof.fit.features import cold_part, weighted
from edgeprof.fit.functions import Where
from edgeprof.fit.law import Law
from edgeprof.fit.rules import Ask, Mix, asked, holds, tensor_dims
from edgeprof.nets.columns import (
    Bodies,
    Ints,
    Operators,
    Rows,
    elementwise,
    head_parameters,
    head_results,
    product,
)
from edgeprof.query.space import Heads

Vector = NDArray[np.float64]
Priced = Callable[[slice], Vector]  # some bodies → latency in ms per run: [body, fc, neurons, classes]
PER_BODY = (slice(None), None, None, None)


def pricer(law: Law) -> Callable[[Bodies], Callable[[Heads], Priced]]:
    """Prices bodies, then their heads, then the networks of both; nan (or 0, or inf) where the law has nothing to say.

    :raises SpecError: the law is of a table, or its kernels do not add up, are not linear in ``cold``, or have boosted
        trees.
    """
    if law.composition != "sum":
        raise SpecError(
            f"law '{law.name}' composes kernels by '{law.composition}', and a query adds them up",
            "edgeprof predict prices its networks one by one",
        )
    if law.table:
        raise SpecError(
            f"law '{law.name}' is of a table of {law.table.get('signature')}, not of networks of the family",
            f"predict --table prices such rows; {instead_of(law)}",
        )
    if law.boost:
        raise SpecError(
            f"law '{law.name}' has boosted trees, which a query cannot ask millions of times",
            "query the law of the plain form; edgeprof predict uses the trees",
        )
    if law.scope == "net":
        return lambda bodies: lambda heads: lambda part: _by_net(law, bodies[part], heads)
    levels = np.array([[0.0], [1.0]] if _degree(law) else [[0.0]])
    return lambda bodies: _ByKernel(law, bodies, levels).heads


def _degree(law: Law) -> float:
    """The degree of the law's terms in ``cold``: 0 or 1.

    :raises SpecError: they are not linear in it, or in the bytes of a run that it comes from.
    """
    form = law.as_form
    known: dict[str, float] = {"cold": 1, "Z": math.inf}

    def degree(tree: Any) -> float:
        if tree.is_Symbol:
            return known.get(tree.name, 0)
        parts = [degree(part) for part in tree.args]
        if not any(parts):
            return 0
        if isinstance(tree, Where) and parts[0] == 0:
            return max(parts)
        return sum(parts) if tree.is_Mul else max(parts) if tree.is_Add else math.inf

    for name, expression in form.definitions.items():
        known[name] = degree(expression.tree)
    terms = [term for group in form.expressions.values() for term in group]
    for term in terms:
        if degree(term.tree) > 1:
            raise SpecError(
                f"law '{law.name}': the term {term.text} is not linear in cold, and a query adds kernels up",
                "edgeprof predict prices its networks one by one",
            )
    return max((degree(term.tree) for term in terms), default=0)


def _by_net(law: Law, bodies: Bodies, heads: Heads) -> Vector:
    """For a law in the network's own variables."""
    form, values = law.as_form, _net_variables(law, bodies, heads)
    scale = values["B"] if law.unit == "tile" else 1.0
    total = _overhead(law, {**values, "k": float(len(law.groups))})
    for group in law.groups:
        coefficients = [t.coefficient for t in group.terms]
        total = total + weighted(form.expressions[group.name], coefficients, form.definitions, values)
    shape = (len(bodies), *heads.places.shape)
    return np.broadcast_to(total * scale, shape)


def _overhead(law: Law, values: Mapping[str, Any]) -> Vector:
    return weighted(law.parsed, [t.coefficient for t in law.overhead], {}, values)


def _net_variables(law: Law, bodies: Bodies, heads: Heads) -> dict[str, Any]:
    """What :func:`edgeprof.fit.features.net_values` gives, as columns."""
    own = {knob: column[PER_BODY].astype(float) for knob, column in bodies.knobs.items()}
    some = own["conv"] > 0
    return {
        **law.constants,
        "t": own["tile"],
        "C": own["conv"],
        "D": np.where(some, own["depth"], 0.0),
        "K": np.where(some, own["kernel"], 0.0),
        "F": heads.fc[None].astype(float),
        "N": heads.neurons[None].astype(float),
        "B": own["batch"],
    }


class _ByKernel:
    """For a law in the dimensions of kernels: bodies walked once; heads walked on from there."""

    def __init__(self, law: Law, bodies: Bodies, levels: Vector) -> None:
        self.law, self.bodies = law, bodies
        self.counted = any("k" in term.names for term in law.parsed)
        walk = _Walk(law, levels, len(bodies))
        for operators in bodies.operators():
            walk.step(operators)
        self.walk = walk
        self.batches, self.batch_of = np.unique(bodies.knobs["batch"], return_inverse=True)

    def heads(self, heads: Heads) -> Priced:
        """Prices of these heads on some of the bodies."""
        if not heads.fc.any():
            return lambda part: self._bare(heads, part)
        known: dict[
            int, tuple[Vector, Vector]
        ] = {}  # what follows the first FC layer, by the kernel that holds it
        return lambda part: self._hidden(heads, part, known)

    def _bare(self, heads: Heads, part: slice) -> Vector:
        """The classifier right after the body."""
        classes = heads.classes.ravel()
        walk, batch, flat = self._entering(part, len(classes))
        shape = (len(batch) // len(classes), 1, 1, len(classes))
        walk.classify(batch, flat, np.tile(classes, shape[0]))
        return self._total(part, heads, walk.ms.reshape(-1, *shape), walk.kernels.reshape(shape))

    def _entering(self, part: slice, times: int) -> tuple[_Walk, Ints, Ints]:
        """Some of the bodies at the door of the head, each several times: the walk, batch and values of one tile."""
        columns = self.bodies.knobs["batch"], self.bodies.flat
        batch, flat = (np.repeat(column[part], times) for column in columns)
        return self.walk.cross(part, times), batch, flat

    def _hidden(self, heads: Heads, part: slice, known: dict[int, tuple[Vector, Vector]]) -> Vector:
        """The first FC layer for each body and width, then the rest by batch and width."""
        neurons = heads.neurons.ravel()
        walk, batch, flat = self._entering(part, len(neurons))
        shape = (len(batch) // len(neurons), 1, len(neurons), 1)
        widths, rows = np.tile(neurons, shape[0]), np.arange(len(batch))
        walk.step(product(batch, flat, widths, rows))
        walk.step(elementwise("Relu", batch, widths, rows))
        at = self.batch_of[part] if len(self.batches) > 1 else slice(None)
        ms, kernels, held = walk.ms.reshape(-1, *shape), walk.kernels.reshape(shape), walk.held.reshape(shape)
        rest: tuple[Any, ...] = 0.0, 0.0
        for n, code in enumerate(_present(walk.held)):
            if code not in known:
                known[code] = self._rest(heads, code)
            own = known[code][0][:, at], known[code][1][at]
            both = zip(own, rest, strict=True)
            rest = own if n == 0 else tuple(np.where(held == code, a, b) for a, b in both)
        return self._total(part, heads, ms + rest[0], kernels + rest[1] if self.counted else None)

    def _rest(self, heads: Heads, code: int) -> tuple[Vector, Vector]:
        """All after the first FC layer: ms [cold, batch, fc, neurons, classes], kernels [batch, …]."""
        batches, neurons, classes = self.batches, heads.neurons.ravel(), heads.classes.ravel()
        layers = heads.fc.ravel()
        walk = _Walk(self.law, self.walk.levels, len(batches) * len(neurons), self.walk.kinds)
        walk.held[:] = code
        batch, widths = np.repeat(batches, len(neurons)), np.tile(neurons, len(batches))
        rows = np.arange(len(batch))
        shape = (len(batches), len(layers), len(neurons), len(classes))
        ms, kernels = np.empty((len(walk.ms), *shape)), np.empty(shape)
        for layer in range(1, int(layers.max()) + 1):
            if layer > 1:
                walk.step(product(batch, widths, widths, rows))
                walk.step(elementwise("Relu", batch, widths, rows))
            for i in np.flatnonzero(layers == layer):
                end = walk.cross(slice(None), len(classes))
                runs, inner = (np.repeat(column, len(classes)) for column in (batch, widths))
                end.classify(runs, inner, np.tile(classes, len(batch)))
                ms[:, :, i] = end.ms.reshape(-1, shape[0], *shape[2:])
                kernels[:, i] = end.kernels.reshape(shape[0], *shape[2:])
        return ms, kernels

    def _total(self, part: slice, heads: Heads, ms: Vector, kernels: Vector | None) -> Vector:
        """Both levels of ``cold`` in one, and the overhead."""
        values = _net_variables(self.law, self.bodies[part], heads)
        overhead = _overhead(self.law, {**values, "k": kernels})
        total = ms[0]
        if len(ms) > 1 and "L3" in self.law.constants:
            bodies = self.bodies
            flat, weights, outs = (
                column[part][PER_BODY] for column in (bodies.flat, bodies.parameters, bodies.results)
            )
            weights = weights + head_parameters(flat, heads.fc, heads.neurons, heads.classes)
            outs = outs + head_results(heads.fc, heads.neurons, heads.classes)
            run_bytes = 4 * (weights + values["B"] * outs)
            total = total + cold_part(run_bytes, self.law.constants["L3"]) * (ms[1] - total)
        return np.asarray(total + overhead * (values["B"] if self.law.unit == "tile" else 1.0))


class _Walk:
    """Networks on their way through the rules: what their kernels cost so far (ms, a row for each level of ``cold``),
    how many there are, and the kind of the kernel that holds the last output, as a number."""

    def __init__(self, law: Law, levels: Vector, count: int, kinds: dict[str, int] | None = None) -> None:
        self.law, self.levels = law, levels
        self.kinds = {"input": 0} if kinds is None else kinds
        self.ms, self.kernels = np.zeros((len(levels), count)), np.zeros(count)
        self.held = np.zeros(count, np.int64)

    def cross(self, part: slice, times: int) -> _Walk:
        """Some of these networks, each several times."""
        found = _Walk(self.law, self.levels, 0, self.kinds)
        found.ms = np.repeat(self.ms[:, part], times, axis=1)
        found.kernels, found.held = np.repeat(self.kernels[part], times), np.repeat(self.held[part], times)
        return found

    def step(self, operators: Operators) -> None:
        """On through one operator."""
        rules = self.law.kernel_rules
        rows = operators.rows
        entering = tensor_dims(operators.entering)
        for before, mine in self._by_kind(rows):
            own, between = rules.questions(operators.op_type, before)
            for some in _alike([(own, asked(operators.dims, before)), (between, entering)], mine):
                one = int(some[0])
                step = rules.step(operators.op_type, _row(operators.dims, one), _row(entering, one), before)
                self._pay(step.between, entering, rows, some)
                self._pay(step.own, operators.dims, rows, some)
                self.held[rows[some]] = self.kinds.setdefault(step.kind, len(self.kinds))

    def classify(self, batch: Ints, width: Ints, classes: Ints) -> None:
        """On through the classifier and softmax, to the end."""
        rules, rows = self.law.kernel_rules, np.arange(len(batch))
        self.step(product(batch, width, classes, rows))
        self.step(elementwise("Softmax", batch, classes, rows))
        leaving = tensor_dims((batch, classes))
        for before, mine in self._by_kind(rows):
            _, between = rules.questions("", before)
            for some in _alike([(between, leaving)], mine):
                mix = rules.put_between(before, "output", _row(leaving, int(some[0])))
                self._pay(mix, leaving, rows, some)

    def _by_kind(self, rows: Rows) -> list[tuple[str, Rows]]:
        """The kinds of kernel that hold the input of ``rows``, each with the places among them."""
        held = self.held[rows]
        names = {code: kind for kind, code in self.kinds.items()}
        present = _present(held)
        if len(present) == 1:
            return [(names[present[0]], np.arange(len(rows)))]
        return [(names[code], np.flatnonzero(held == code)) for code in present]

    def _pay(self, mix: Mix, dims: Mapping[str, Any], rows: Rows, some: Rows) -> None:
        """Add a kernel, which may be of several kinds, to ``some`` of the rows."""
        if not mix:
            return
        form = self.law.as_form
        at: Any = slice(None) if len(some) == self.ms.shape[1] else rows[some]
        self.kernels[at] += 1
        weights: dict[str, float] = {}
        for kind, weight in mix:
            group = form.group_of(kind)
            if group is not None:
                weights[group.name] = weights.get(group.name, 0.0) + weight
        values = {
            **self.law.constants,
            **dims,
            **({"cold": self.levels} if "L3" in self.law.constants else {}),
        }
        for own in self.law.groups:
            if own.name in weights:
                coefficients = [t.coefficient * weights[own.name] for t in own.terms]
                terms = form.expressions[own.name]
                self.ms[:, at] += weighted(terms, coefficients, form.definitions, _Some(values, some))


class _Some(Mapping[str, Any]):
    """Columns, of which some rows are taken, and made fractional, when they are asked for."""

    def __init__(self, columns: Mapping[str, Any], rows: Rows) -> None:
        self.columns, self.rows = columns, rows

    def __getitem__(self, name: str) -> Any:
        column = self.columns[name]
        if np.ndim(column) == 1 and len(self.rows) < len(column):
            column = column[self.rows]
        return np.asarray(column, np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def _alike(parts: Sequence[tuple[Sequence[Ask], Mapping[str, Any]]], rows: Rows) -> Iterator[Rows]:
    """Those of the rows that answer all questions alike, for each way to answer them."""
    codes = np.zeros(len(rows), np.int64)
    for asks, facts in parts:
        for ask in dict.fromkeys(asks):
            answers = np.asarray(holds(ask, facts))
            if answers.ndim and not (answers := answers[rows]).all() and answers.any():
                codes = 2 * codes + answers
                if codes.max() > 2**60:
                    codes = np.unique(codes, return_inverse=True)[1]
    if codes.any():
        yield from (rows[codes == code] for code in np.unique(codes))
    elif len(rows):
        yield rows


def _present(codes: Ints) -> list[int]:
    return [int(code) for code in np.flatnonzero(np.bincount(codes.ravel()))]


def _row(columns: Mapping[str, Any], row: int) -> dict[str, Any]:
    return {name: column[row] if np.ndim(column) else column for name, column in columns.items()}
