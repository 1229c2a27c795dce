"""Boost: gradient-boosted trees on what a readable law leaves. Opaque: no person reads a few hundred trees.

Trees are fitted by scikit-learn, kept as plain lists of numbers, and evaluated by NumPy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import FitError

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

TREES = 250
DEPTH = 5
RATE = 0.05
FEWEST = 8  # rows of a leaf
PART = 0.5  # of the rows for each tree, and of the features for each question
ROBUST = 0.9  # residuals beyond this quantile count linearly
SMALLEST = 40  # rows below which boosting learns noise
DIGITS = 9  # significant digits of what is kept


@dataclass(frozen=True)
class Tree:
    """A regression tree as arrays over its nodes. A node with ``feature`` −1 is a leaf of ``value``; from the others
    one goes to ``left`` where the feature is at most ``threshold``, else to ``right``."""

    feature: NDArray[np.int64]
    threshold: Vector
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Vector

    def predict(self, features: Matrix) -> Vector:
        """The leaf's value for each row of features [n, m]."""
        rows = np.arange(len(features))
        node = np.zeros(len(features), np.int64)
        while True:
            asked = self.feature[node]
            inner = asked >= 0
            if not inner.any():
                return self.value[node]
            below = features[rows, np.maximum(asked, 0)] <= self.threshold[node]
            node = np.where(inner, np.where(below, self.left[node], self.right[node]), node)


@dataclass(frozen=True)
class Boost:
    """A sum of trees over ``features`` columns: start + rate · Σ trees."""

    features: int
    start: float
    rate: float
    trees: tuple[Tree, ...]

    def predict(self, features: Matrix) -> Vector:
        """The log of what a law's prediction is to be multiplied by.

        :param features: [n, m]. :raises ValueError: not the number of columns that it was fitted on.
        """
        if features.ndim != 2 or features.shape[1] != self.features:
            raise ValueError(f"{features.shape} features, {self.features} columns needed")
        total = np.full(len(features), self.start)
        for tree in self.trees:
            total += self.rate * tree.predict(features)
        return total

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, for a law's file."""
        return {
            "features": self.features,
            "start": self.start,
            "rate": self.rate,
            "trees": [
                {
                    "feature": t.feature.tolist(),
                    "threshold": t.threshold.tolist(),
                    "left": t.left.tolist(),
                    "right": t.right.tolist(),
                    "value": t.value.tolist(),
                }
                for t in self.trees
            ],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Boost:
        """The inverse of :meth:`as_dict`; ValueError where the trees are none."""
        features = int(data["features"])
        trees = tuple(_tree(tree, features) for tree in data["trees"])
        start, rate = float(data["start"]), float(data["rate"])
        if not np.isfinite([start, rate]).all():
            raise ValueError("a number is not finite")
        return Boost(features, start, rate, trees)


def fit_boost(features: Matrix, log_residual: Vector, seed: int = 0) -> Boost:
    """Trees that predict ``log_residual`` (measured over predicted, its logarithm) from features, outliers weighed down
    (Friedman, Greedy function approximation, Annals of Statistics 29, 2001; and Stochastic gradient boosting, 2002).

    :param features: [n, m], finite. :param log_residual: [n].
    :raises FitError: too few rows, or scikit-learn is missing.
    """
    if len(log_residual) < SMALLEST:
        raise FitError(
            f"{len(log_residual)} measurements are too few to boost",
            f"measure {SMALLEST} or take a plain form",
        )
    try:
        from sklearn.ensemble import GradientBoostingRegressor
    except ImportError:
        raise FitError(
            "boosting needs scikit-learn", "pip install 'edgeprof[hybrid]', or take a plain form"
        ) from None
    model = GradientBoostingRegressor(
        loss="huber",
        alpha=ROBUST,
        n_estimators=TREES,
        learning_rate=RATE,
        max_depth=DEPTH,
        min_samples_leaf=FEWEST,
        subsample=PART,
        max_features=PART,
        random_state=seed,
    ).fit(features, log_residual)
    trees = tuple(_kept(estimator.tree_) for estimator in model.estimators_[:, 0])
    return Boost(features.shape[1], float(model.init_.constant_.ravel()[0]), RATE, trees)


def _kept(tree: Any) -> Tree:
    leaf = tree.children_left < 0
    return Tree(
        feature=np.where(leaf, -1, tree.feature).astype(np.int64),
        threshold=np.where(leaf, 0.0, _rounded(tree.threshold)),
        left=np.where(leaf, 0, tree.children_left).astype(np.int64),
        right=np.where(leaf, 0, tree.children_right).astype(np.int64),
        value=np.where(leaf, _rounded(tree.value[:, 0, 0]), 0.0),
    )


def _rounded(values: Vector) -> Vector:
    return np.array([float(f"{v:.{DIGITS}g}") for v in values])


def _tree(data: Mapping[str, Sequence[Any]], features: int) -> Tree:
    tree = Tree(
        np.array(data["feature"], np.int64),
        np.array(data["threshold"], np.float64),
        np.array(data["left"], np.int64),
        np.array(data["right"], np.int64),
        np.array(data["value"], np.float64),
    )
    count = len(tree.feature)
    if count == 0 or not all(
        part.shape == (count,) for part in (tree.threshold, tree.left, tree.right, tree.value)
    ):
        raise ValueError("a tree's lists are not of one length")
    inner = np.flatnonzero(tree.feature >= 0)
    for below in (
        tree.left[inner],
        tree.right[inner],
    ):  # children come after their parents: no way leads round
        if (below <= inner).any() or (below >= count).any():
            raise ValueError("a tree's node leads nowhere")
    if (tree.feature >= features).any() or not np.isfinite([*tree.threshold, *tree.value]).all():
        raise ValueError("a tree asks for a feature that there is not, or a number is not finite")
    return tree
