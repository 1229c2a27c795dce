"""Boost: the same numbers as scikit-learn's, from plain lists; broken lists are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from edgeprof.errors import FitError
from edgeprof.fit import boost
from edgeprof.fit.boost import Boost, fit_boost


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (400, 3))
    return x, np.sin(3 * x[:, 0]) * x[:, 1] + rng.normal(0, 0.05, 400)


def test_scikit_learns_numbers(data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    found = fit_boost(x, y, seed=3)
    theirs = GradientBoostingRegressor(
        loss="huber",
        alpha=boost.ROBUST,
        n_estimators=boost.TREES,
        learning_rate=boost.RATE,
        max_depth=boost.DEPTH,
        min_samples_leaf=boost.FEWEST,
        subsample=boost.PART,
        max_features=boost.PART,
        random_state=3,
    ).fit(x, y)
    np.testing.assert_allclose(found.predict(x), theirs.predict(x), rtol=0, atol=1e-6)
    assert np.abs(found.predict(x) - y).mean() < 0.25 * np.abs(y).mean()


def test_a_file_and_back(data: tuple[np.ndarray, np.ndarray]) -> None:
    found = fit_boost(*data)
    again = Boost.from_dict(json.loads(json.dumps(found.as_dict())))
    np.testing.assert_array_equal(found.predict(data[0]), again.predict(data[0]))
    assert again.as_dict() == found.as_dict()


def test_the_same_seed_gives_the_same_trees(data: tuple[np.ndarray, np.ndarray]) -> None:
    assert fit_boost(*data, seed=1).as_dict() == fit_boost(*data, seed=1).as_dict()
    assert fit_boost(*data, seed=1).as_dict() != fit_boost(*data, seed=2).as_dict()


def test_too_few() -> None:
    with pytest.raises(FitError, match="too few to boost"):
        fit_boost(np.zeros((10, 2)), np.zeros(10))


STUMP: dict[str, Any] = {
    "feature": [0, -1, -1],
    "threshold": [0.5, 0, 0],
    "left": [1, 0, 0],
    "right": [2, 0, 0],
}


def test_a_stump() -> None:
    tree = {**STUMP, "value": [0, 1.0, 2.0]}
    found = Boost.from_dict({"features": 1, "start": 0.25, "rate": 0.5, "trees": [tree]})
    assert found.predict(np.array([[0.4], [0.5], [0.6]])).tolist() == [0.75, 0.75, 1.25]
    with pytest.raises(ValueError, match="1 columns needed"):
        found.predict(np.zeros((2, 2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"left": [0, 0, 0]},
        {"left": [3, 0, 0]},
        {"right": [-1, 0, 0]},
        {"feature": [1, -1, -1]},
        {"threshold": [0.5, 0]},
        {"threshold": [float("nan"), 0, 0]},
        {"feature": [], "threshold": [], "left": [], "right": [], "value": []},
    ],
)
def test_broken_trees(wrong: dict[str, Any]) -> None:
    tree = {**STUMP, "value": [0, 1.0, 2.0], **wrong}
    with pytest.raises(ValueError, match="a tree"):
        Boost.from_dict({"features": 1, "start": 0, "rate": 0.1, "trees": [tree]})
