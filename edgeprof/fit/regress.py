"""Robust regression with non-negative coefficients that minimises the error of the logarithm."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

SCALE = 0.05  # residuals of the logarithm beyond this are weighed down
ITERATIONS = 40
TOLERANCE = 1e-9
ALIKE = 0.999_999  # cosine of two columns that no data tell apart


def fit_log(
    columns: Matrix, target: Vector, weights: Vector | None = None, offset: Vector | None = None
) -> Vector:
    """Coefficients c ≥ 0 that minimise Σ wᵢ ρ(log(offsetᵢ + columnsᵢ·c) − log targetᵢ), ρ the pseudo-Huber loss.

    Gauss–Newton with iterated weights; each step is a non-negative least-squares problem (Lawson and Hanson, Solving
    Least Squares Problems, 1974, ch. 23, by SciPy). Rows whose columns are all zero tell nothing and are left out.

    :param columns: [n, m], non-negative. :param target: [n], positive. :param weights: [n] or None.
    :param offset: [n], what is known already, non-negative; or None.
    """
    use = (columns.max(axis=1, initial=0) > 0) & (target > 0)
    found = np.zeros(columns.shape[1])
    if not use.any():
        return found
    x, y = columns[use], target[use]
    w = np.ones(len(y)) if weights is None else weights[use]
    known = np.zeros(len(y)) if offset is None else offset[use]
    scale = np.array(
        [np.median((x[:, j] / y)[x[:, j] > 0]) if (x[:, j] > 0).any() else 1.0 for j in range(x.shape[1])]
    )
    x = x / scale
    w = np.sqrt(w / w.mean())
    c = nnls(x / y[:, None] * w[:, None], (1 - known / y) * w)[0]
    best, best_loss = c, np.inf
    for _ in range(ITERATIONS):
        p = np.maximum(known + x @ c, 1e-9 * y)
        residual = np.log(p / y)
        loss = float(np.sum(w**2 * (np.sqrt(1 + (residual / SCALE) ** 2) - 1)))
        if loss < best_loss:
            best, gain = c, best_loss - loss
            best_loss = loss
            if gain < TOLERANCE * max(best_loss, 1):
                break
        robust = w / (1 + (residual / SCALE) ** 2) ** 0.25
        step = nnls(
            x / p[:, None] * robust[:, None], (1 - known / p - np.clip(residual, -0.5, 0.5)) * robust
        )[0]
        c = c + (1.0 if loss <= best_loss else 0.5) * (step - c)
    found[:] = best / scale
    return found


def fit_short(columns: Matrix, target: Vector, weights: Vector | None = None) -> Vector:
    """:func:`fit_log` with as few terms as the data ask for: the least useful term is dropped for as long as that
    lowers the Bayesian information criterion (Schwarz, Annals of Statistics 6, 1978)."""
    use = (columns.max(axis=1, initial=0) > 0) & (target > 0)
    found = np.zeros(columns.shape[1])
    n = int(use.sum())
    if n == 0:
        return found
    x, y, w = columns[use], target[use], None if weights is None else weights[use]
    best: Vector = fit_log(x, y, w)
    keep: NDArray[np.intp] = np.flatnonzero(best)
    best, loss = best[keep], log_loss(x[:, keep], y, best[keep], w)
    while len(keep) > 1:
        trials = []
        for j in range(len(keep)):
            rest = np.delete(keep, j)
            c = fit_log(x[:, rest], y, w)
            trials.append((log_loss(x[:, rest], y, c, w), j, c))
        less, j, c = min(trials, key=lambda trial: trial[0])
        if n * (math.log(less) - math.log(loss)) >= math.log(n):
            break
        keep, best, loss = np.delete(keep, j), c, less
    found[keep] = best
    return found


def log_loss(columns: Matrix, target: Vector, coefficients: Vector, weights: Vector | None = None) -> float:
    """What :func:`fit_log` minimises, per unit of weight; never quite zero."""
    w = np.ones(len(target)) if weights is None else weights
    residual = np.log(np.maximum(columns @ coefficients, 1e-9 * target) / target)
    return float(np.average(np.sqrt(1 + (residual / SCALE) ** 2) - 1, weights=w)) + 1e-9


def fit_linear(columns: Matrix, target: Vector, weights: Vector) -> Vector:
    """Coefficients c ≥ 0 that minimise Σ wᵢ ρ(columnsᵢ·c − targetᵢ): for targets that may be negative."""
    c = np.zeros(columns.shape[1])
    robust = weights.copy()
    for _ in range(20):
        c = nnls(columns * robust[:, None], target * robust)[0]
        residual = (columns @ c - target) * weights
        robust = weights / (1 + (residual / SCALE) ** 2) ** 0.25
    return c


def resample(
    columns: Matrix,
    target: Vector,
    weights: Vector | None,
    owners: NDArray[np.int64],
    repeats: int,
    seed: int,
) -> Matrix:
    """Coefficients of ``repeats`` fits on resampled networks (all rows of an owner together): [repeats, m].

    Bootstrap by groups: Davison and Hinkley, Bootstrap Methods and their Application, 3.8.
    """
    return np.array(
        [
            fit_log(columns[rows], target[rows], None if weights is None else weights[rows])
            for rows in redrawn(owners, repeats, seed)
        ]
    )


def redrawn(owners: NDArray[np.int64], repeats: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of as many owners as there are, drawn with replacement, ``repeats`` times."""
    rng = np.random.default_rng(seed)
    unique = np.unique(owners)
    rows = {owner: np.flatnonzero(owners == owner) for owner in unique}
    for _ in range(repeats):
        yield np.concatenate([rows[owner] for owner in rng.choice(unique, len(unique))])


def alike(columns: Matrix, target: Vector) -> list[tuple[int, int]]:
    """Pairs of columns that the data cannot tell apart: they are proportional where it matters."""
    use = target > 0
    unit = columns[use] / target[use, None]
    norm = np.linalg.norm(unit, axis=0)
    unit = unit / np.where(norm > 0, norm, 1)
    cosines = unit.T @ unit
    m = columns.shape[1]
    return [(i, j) for i in range(m) for j in range(i + 1, m) if cosines[i, j] > ALIKE and norm[i] > 0]
