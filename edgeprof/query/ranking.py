"""Ranking: of networks that stream by, the best by two keys, and the Pareto front of two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeprof.nets.columns import Ints

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Best:
    """The ``count`` networks with the largest keys, the first key first; of equals the one that came first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rows = np.empty((3, 0))  # two keys, latency
        self.places = np.empty(0, np.int64)

    def offer(self, mask: Mask, first: Vector, second: Vector, latency_ms: Vector, places: Ints) -> None:
        """Take those of ``mask`` that are among the best; all columns broadcast to its shape."""
        if self.count == len(self.places):
            if not self.count:
                return
            mask = mask & (first >= self.rows[0, -1])
        at = np.flatnonzero(mask)
        if not at.size:
            return
        new = np.stack([np.broadcast_to(v, mask.shape).ravel()[at] for v in (first, second, latency_ms)])
        rows = np.concatenate([self.rows, new], axis=1)
        found = np.concatenate([self.places, np.broadcast_to(places, mask.shape).ravel()[at]])
        order = np.lexsort((-rows[1], -rows[0]))[: self.count]
        self.rows, self.places = rows[:, order], found[order]


class Front:
    """The Pareto front of two keys of which more is better, the first key falling; of equals the first that came."""

    def __init__(self) -> None:
        self.rows = np.empty((3, 0))  # two keys, latency
        self.places = np.empty(0, np.int64)

    def offer(self, mask: Mask, first: Vector, second: Vector, latency_ms: Vector, places: Ints) -> None:
        """Take those of ``mask`` that no other is at least as good as; all columns broadcast to its shape."""
        at = np.flatnonzero(mask)
        x, y = (np.broadcast_to(v, mask.shape).ravel()[at] for v in (first, second))
        if self.places.size:  # drop what a network of the front is at least as good as
            better = np.searchsorted(-self.rows[0], -x, side="right") - 1
            kept = np.flatnonzero((better < 0) | (self.rows[1][better] < y))
            at, x, y = at[kept], x[kept], y[kept]
        if not at.size:
            return
        new = np.stack([x, y, np.broadcast_to(latency_ms, mask.shape).ravel()[at]])
        rows = np.concatenate([self.rows, new], axis=1)
        found = np.concatenate([self.places, np.broadcast_to(places, mask.shape).ravel()[at]])
        order = np.lexsort((-rows[1], -rows[0]))
        highest = np.maximum.accumulate(rows[1, order])
        order = order[np.flatnonzero(np.diff(highest, prepend=-np.inf) > 0)]
        self.rows, self.places = rows[:, order], found[order]

    def spread(self, count: int) -> NDArray[np.intp]:
        """At most ``count`` of the front, both ends among them, evenly over the logarithm of the first key."""
        if len(self.places) <= count:
            return np.arange(len(self.places))
        along = np.log(np.abs(self.rows[0]))
        share = (along - along[0]) / (along[-1] - along[0])
        return np.unique(np.searchsorted(share, np.linspace(0, 1, count)).clip(max=len(share) - 1))
