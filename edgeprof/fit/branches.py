"""Branches: kernels of one kind, parted by short questions so that each part has a linear law of its own.

A tree whose leaves are linear models (Quinlan, Learning with continuous classes, AI '92; Wang and Witten, ECML 1997
posters): a runtime has several implementations of one operator and chooses by the dimensions; which one ran need not
be known. Questions are chosen by the error of the laws that they lead to, coefficients non-negative and outliers
weighed down throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from edgeprof.fit.learning import roundest
from edgeprof.fit.regress import fit_log
from edgeprof.fit.rules import Rule

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

SCALE = 0.1  # residuals of the logarithm beyond this are weighed down
FEWEST = 40  # rows of a branch
DEPTH = 6
QUESTIONS = 32  # thresholds tried of one quantity
RIDGE = 1e-8


@dataclass(frozen=True)
class Branches:
    """The rule that tells a kernel's branch, and each branch's coefficients."""

    rule: Rule
    coefficients: Mapping[str, Vector]


def branch(columns: Matrix, target: Vector, facts: Mapping[str, Vector], kind: str) -> Branches:
    """Laws for kernels of one kind, called ``kind`` where one is enough, else ``kind.1``, ``kind.2`` and so on.

    :param columns: [n, m], non-negative. :param target: [n] ms. :param facts: what may be asked, [n] each.
    """
    everything = np.arange(len(target))
    coefficients: dict[str, Vector] = {}
    rule = _grow(columns, target, facts, everything, 0, kind, coefficients)
    if rule.ask is None:
        return Branches(Rule(kind, rule.seen), {kind: coefficients[rule.kind]})
    return Branches(rule, coefficients)


def _grow(
    columns: Matrix,
    target: Vector,
    facts: Mapping[str, Vector],
    rows: NDArray[np.int64],
    depth: int,
    kind: str,
    coefficients: dict[str, Vector],
) -> Rule:
    own = fit_log(columns[rows], target[rows])
    ask = None
    if depth < DEPTH and len(rows) >= 2 * FEWEST:
        ask = _question(columns[rows], target[rows], {name: of[rows] for name, of in facts.items()}, own)
    if ask is None:
        leaf = f"{kind}.{len(coefficients) + 1}"
        coefficients[leaf] = own
        return Rule(leaf, len(rows))
    below = facts[ask[0]][rows] < ask[2]
    yes, no = (
        _grow(columns, target, facts, part, depth + 1, kind, coefficients)
        for part in (rows[below], rows[~below])
    )
    return Rule(ask=ask, yes=yes, no=no)


def _question(
    columns: Matrix, target: Vector, facts: Mapping[str, Vector], own: Vector
) -> tuple[str, str, int] | None:
    """The question that lowers the error most; None where that is less than its terms cost, by the Bayesian
    information criterion. Errors are those of the fit made linear at ``own``."""
    made, t, weight = made_linear(columns, target, own)
    x = columns / made[:, None]
    whole = float(weight @ t**2)
    gram, moment = x.T @ (x * weight[:, None]), x.T @ (weight * t)
    before = whole - _explained(gram, moment)
    best, ask = before, None
    for name, values in facts.items():
        order = np.argsort(values, kind="stable")
        xs, ws, ts = x[order], weight[order], t[order]
        left, left_moment, start = np.zeros_like(gram), np.zeros_like(moment), 0
        for threshold, at in _thresholds(values[order]):
            part = slice(start, at)
            left = left + xs[part].T @ (xs[part] * ws[part, None])
            left_moment = left_moment + xs[part].T @ (ws[part] * ts[part])
            start = at
            after = whole - _explained(left, left_moment) - _explained(gram - left, moment - left_moment)
            if after < best:
                best, ask = after, (name, "<", threshold)
    n, terms = len(target), int((own > 0).sum())
    gain = n * (math.log(max(before, 1e-300)) - math.log(max(best, 1e-300)))
    return ask if gain > 0.5 * terms * math.log(n) else None


def made_linear(columns: Matrix, target: Vector, own: Vector) -> tuple[Vector, Vector, Vector]:
    """The log error near the coefficients ``own``, as weighted least squares: (what they make in ms, target, weight),
    so that Σ weight·(columns/made · c − target)² has the same step."""
    made = np.maximum(columns @ own, 1e-9 * target)
    residual = np.log(made / target)
    return made, 1 - np.clip(residual, -0.5, 0.5), 1 / np.sqrt(1 + (residual / SCALE) ** 2)


def left_over(columns: Matrix, linear: tuple[Vector, Vector, Vector]) -> float:
    """The weighted squares that the best non-negative coefficients of ``columns`` leave, for a linear problem made
    with other columns (:func:`made_linear`)."""
    made, t, weight = linear
    x = columns / made[:, None]
    return float(weight @ t**2) - _explained(x.T @ (x * weight[:, None]), x.T @ (weight * t))


def _thresholds(values: Vector) -> Iterator[tuple[int, int]]:
    """(round number, rows below it) at about even distances of ``values``, which are sorted."""
    n, last = len(values), 0
    for place in np.linspace(FEWEST, n - FEWEST, QUESTIONS).astype(int):
        at = int(np.searchsorted(values, values[place], side="left"))
        if at <= last or at < FEWEST or n - at < FEWEST:
            continue
        last = at
        yield roundest(int(values[at - 1]), int(values[at])), at


def _explained(gram: Matrix, moment: Vector) -> float:
    """How much of Σ w t² the best non-negative coefficients explain."""
    size = np.sqrt(np.maximum(np.diag(gram), 0))
    use = size > 0
    if not use.any():
        return 0.0
    scaled = gram[np.ix_(use, use)] / np.outer(size[use], size[use])
    b = moment[use] / size[use]
    root = np.linalg.cholesky(scaled + RIDGE * len(b) * np.eye(len(b)))
    c = nnls(root.T, np.linalg.solve(root, b))[0]
    return float(2 * b @ c - c @ scaled @ c)
