"""Transfer: a law for a board from a few measurements, with another board's law as the prior.

The coefficients stay near those of the prior, all times one scale, unless the measurements ask for more: the ridge
penalty is on what a typical kernel costs, beside the mean of all kernels, so that a term that the prior lacks may come
in too. How strong the prior is, is found by leaving measurements out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from edgeprof.fit.regress import SCALE, redrawn

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

STRENGTHS = (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0)  # of the prior, beside one network's squared log error
ITERATIONS = 30
TOLERANCE = 1e-9
FOLDS = 10


@dataclass(frozen=True)
class Shrunk:
    """Coefficients, the scale between the boards, how strong the prior was, what is predicted for each measurement when
    it is left out (ms), and the mean absolute log error of that."""

    coefficients: Vector
    scale: float
    strength: float
    predicted: Vector
    left_out: float


def fit_shrunk(
    columns: Matrix,
    target: Vector,
    prior: Vector,
    typical: Vector,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Shrunk:
    """Coefficients near ``prior`` times a scale, as near as predicts best what is left out.

    :param columns: [n, m], non-negative. :param target: [n] ms, at least two. :param prior: [m], of the other board.
    :param typical: [m], the term in a run all of whose kernels had it: the unit in which terms are compared.
    """
    n = len(target)
    folds = np.random.default_rng(seed).permutation(n) % min(FOLDS, n)
    best: Shrunk | None = None
    for strength in strengths:
        predicted = np.zeros(n)
        for fold in range(folds.max() + 1):
            held = folds == fold
            found, _ = shrink(columns[~held], target[~held], prior, strength, typical)
            predicted[held] = np.maximum(columns[held] @ found, 1e-3 * target[held])
        error = float(np.abs(np.log(predicted / target)).mean())
        if best is None or error <= best.left_out:
            coefficients, scale = shrink(columns, target, prior, strength, typical)
            best = Shrunk(coefficients, scale, strength, predicted, error)
    assert best is not None
    return best


def resampled(
    columns: Matrix,
    target: Vector,
    prior: Vector,
    strength: float,
    typical: Vector,
    owners: NDArray[np.int64],
    repeats: int,
    seed: int,
) -> Matrix:
    """Coefficients of ``repeats`` fits on resampled networks, the prior taken as known: [repeats, m]."""
    return np.array(
        [
            shrink(columns[rows], target[rows], prior, strength, typical)[0]
            for rows in redrawn(owners, repeats, seed)
        ]
    )


def shrink(
    columns: Matrix, target: Vector, prior: Vector, strength: float, typical: Vector
) -> tuple[Vector, float]:
    """Coefficients c ≥ 0 and a scale s ≥ 0 that minimise Σ ρ(log(columnsᵢ·c) − log targetᵢ) plus ``strength`` times
    Σ (partⱼ·(cⱼ − s·priorⱼ))², partⱼ what a run would take if all its kernels cost this term alone, beside the target,
    per unit of the coefficient.

    Gauss–Newton steps, each a non-negative least-squares problem, shortened until the sum falls.
    """
    m = columns.shape[1]
    part = typical / np.median(target)
    known = (columns > 0).any(axis=0)
    size = np.where(known, part, 1.0)
    x, p = columns / size, prior * size
    penalty = np.sqrt(strength) * np.hstack([np.eye(m), -p[:, None]])[known]

    def loss(z: Vector) -> float:
        residual = np.log(np.maximum(x @ z[:m], 1e-9 * target) / target)
        robust = 2 * SCALE**2 * (np.sqrt(1 + (residual / SCALE) ** 2) - 1)
        return float(robust.sum() + ((penalty @ z) ** 2).sum())

    ratio = float(np.median(target / np.maximum(x @ p, 1e-9 * target)))
    z = np.append(ratio * p, ratio)
    least = loss(z)
    for _ in range(ITERATIONS):
        made = np.maximum(x @ z[:m], 1e-3 * target)
        residual = np.log(made / target)
        robust = 1 / (1 + (residual / SCALE) ** 2) ** 0.25
        rows = np.hstack([x / made[:, None] * robust[:, None], np.zeros((len(target), 1))])
        wanted = (1 - np.clip(residual, -0.5, 0.5)) * robust
        step = nnls(np.vstack([rows, penalty]), np.append(wanted, np.zeros(len(penalty))))[0] - z
        for _ in range(8):
            value = loss(z + step)
            if value < least:
                break
            step = step / 2
        else:
            break
        z, gain = z + step, least - value
        least = value
        if gain < TOLERANCE * max(least, 1e-6):
            break
    scale = float(z[m])
    return np.where(known, z[:m] / size, scale * prior), scale
