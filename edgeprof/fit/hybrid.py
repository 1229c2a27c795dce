"""Hybrid: kernels priced by a readable law, times what boosted trees make of its error. The trees are opaque."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.fit.boost import Boost, fit_boost
from edgeprof.fit.rules import fact_of

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

BOOST = "+boost"  # after a form's name
HYBRID, AUTO_BOOST = "hybrid", f"auto{BOOST}"  # the one is short for the other
MODULI = (8, 128)  # what is left over of blocks


@dataclass(frozen=True)
class Hybrid:
    """Trees for kernels of one operator type; ``ask`` names the quantities that their features are made of."""

    ask: tuple[str, ...]
    boost: Boost

    def factors(self, dims: Sequence[Mapping[str, float]], ms: Vector) -> Vector:
        """What the law's prices ``ms`` of kernels with these dimensions are to be multiplied by."""
        found: Vector = np.exp(self.boost.predict(kernel_features(self.ask, dims, ms)))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a law's file."""
        return {"ask": list(self.ask), **self.boost.as_dict()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Hybrid:
        """The inverse of :meth:`as_dict`; KeyError, TypeError or ValueError where it is none."""
        ask = tuple(str(name) for name in data["ask"])
        found = Hybrid(ask, Boost.from_dict(data))
        if found.boost.features != _count(ask):
            raise ValueError("the trees are of other features")
        return found


def fit_hybrid(
    ask: Sequence[str], dims: Sequence[Mapping[str, float]], ms: Vector, measured_ms: Vector, seed: int = 0
) -> Hybrid:
    """Trees for what the prices ``ms`` leave of ``measured_ms``.

    :raises FitError: too few kernels, or scikit-learn is missing.
    """
    features = kernel_features(ask, dims, ms)
    return Hybrid(tuple(ask), fit_boost(features, np.log(measured_ms / ms), seed))


def kernel_features(ask: Sequence[str], dims: Sequence[Mapping[str, float]], ms: Vector) -> Matrix:
    """[n, m]: the logarithm of the price and of every quantity of ``ask``, and what is left over of each dimension cut
    in blocks."""
    values = [np.array([fact_of(name, d) or 0.0 for d in dims], np.float64) for name in ask]
    logs = [np.log(np.maximum(v, 1e-9)) for v in (ms, *values)]
    rests = [v % m for name, v in zip(ask, values, strict=True) if "*" not in name for m in MODULI]
    return np.column_stack([*logs, *rests])


def _count(ask: Sequence[str]) -> int:
    return 1 + len(ask) + len(MODULI) * sum("*" not in name for name in ask)
