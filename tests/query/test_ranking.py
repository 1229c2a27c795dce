"""Ranking: what is kept of a stream is what sorting all of it finds."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprof.query.ranking import Best, Front

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)


def _offered(kept: Best | Front, pairs: list[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    """The pairs that are kept of those offered so many at a time."""
    for i in range(0, len(pairs), step):
        x, y = np.array(pairs[i : i + step], float).T
        kept.offer(np.full(len(x), True), x, y, np.ones(len(x)), np.arange(i, i + len(x)))
    return [pairs[place] for place in kept.places]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PAIRS, st.integers(1, 20), st.integers(0, 9))
def test_the_best_come_first_of_equals_the_one_that_came_first(
    pairs: list[tuple[int, int]], step: int, count: int
) -> None:
    best = Best(count)
    assert _offered(best, pairs, step) == sorted(pairs, reverse=True)[:count]
    assert best.places.tolist() == sorted(range(len(pairs)), key=lambda i: [-v for v in pairs[i]])[:count]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PAIRS, st.integers(1, 20))
def test_the_front_is_what_nothing_is_at_least_as_good_as(pairs: list[tuple[int, int]], step: int) -> None:
    wanted = {p for p in pairs if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in pairs)}
    assert _offered(Front(), pairs, step) == sorted(wanted, reverse=True)
