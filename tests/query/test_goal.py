"""Goals: what a network must meet."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgeprof.errors import SpecError
from edgeprof.query.goal import Goal

TILE, BATCH = np.array(28.0), np.array(64.0)


def test_tiles_of_an_image_the_last_of_a_row_padded() -> None:
    goal = Goal(image=(785, 784), fps=5)
    assert goal.tiles_per_ms(np.array([28.0])) == pytest.approx(29 * 28 * 5 / 1000)
    assert goal.limit_ms(TILE, BATCH) == pytest.approx(64 / 4.06)


def test_the_harder_of_two_speeds_counts() -> None:
    assert Goal(at_least=10, at_most_ms=5).limit_ms(TILE, BATCH) == 5
    assert Goal(at_least=20, at_most_ms=5).limit_ms(TILE, BATCH) == pytest.approx(3.2)
    assert Goal().limit_ms(TILE, BATCH) == math.inf


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"image": (784, 784)}, "belong together"),
        ({"fps": 5.0}, "belong together"),
        ({"at_least": 0.0}, "--at-least"),
        ({"max_memory_mib": -1.0}, "--max-memory"),
        ({"at_most_ms": math.inf}, "--at-most-ms"),
        ({"probability": 0.2}, "--probability"),
    ],
)
def test_goals_that_are_none(goal: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Goal(**goal)
