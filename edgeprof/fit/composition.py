"""Composition: how the kernels of a run make up its latency.

``sum``: one after the other. ``overlap``: the host launches kernels in order, at a cost each, while the device runs
those launched before: device_i = max(device_{i-1}, host_i) + d_i. Unrolled, the last kernel ends at the greatest, over
i, of host_i + d_i + … + d_n: all launches up to some kernel, and everything that the device does from there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeprof.fit.features import columns, design
from edgeprof.fit.forms import Form

Composition = Literal["sum", "overlap"]
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Kernels = Sequence[tuple[str, Mapping[str, float]]]  # of one run in order: kind and dimensions


@dataclass(frozen=True)
class Schedule:
    """The kernels of several runs, each distinct one described once.

    ``x`` has the form's terms of each distinct kernel, [u, m], ``group`` the number of its group in the form, [u];
    ``order`` for each run its kernels, as rows of ``x``. Kernels that no group covers are left out.
    """

    x: Matrix
    group: NDArray[np.int64]
    order: tuple[NDArray[np.int64], ...]

    @property
    def sums(self) -> Matrix:
        """Terms summed over the kernels of each run: [n, m]."""
        counts = [np.bincount(o, minlength=len(self.x)) for o in self.order]
        return np.asarray(np.array(counts, np.float64).reshape(len(self.order), len(self.x)) @ self.x)

    def launches(self, groups: int) -> Matrix:
        """Kernels of each group in each run: [n, groups]."""
        return np.array([np.bincount(self.group[o], minlength=groups) for o in self.order], np.float64)

    def of(self, runs: NDArray[np.int64]) -> Schedule:
        """Some of the runs."""
        return Schedule(self.x, self.group, tuple(self.order[i] for i in runs))

    def active(self, coefficients: Vector, host_ms: Vector) -> NDArray[np.int64]:
        """For each run the kernel before which the device waits last.

        :param coefficients: of the terms, [m]. :param host_ms: by group.
        """
        device, host = self.x @ coefficients, host_ms[self.group]
        return np.array([int(np.argmax(_ends(device[o], host[o]))) if len(o) else 0 for o in self.order])

    def overlapped(self, active: NDArray[np.int64], groups: int) -> Matrix:
        """Terms of the device from the active kernel on, and launches by group up to it: [n, m + groups]."""
        found = np.zeros((len(self.order), self.x.shape[1] + groups))
        for row, o, at in zip(found, self.order, active, strict=True):
            row[: self.x.shape[1]] = self.x[o[at:]].sum(axis=0)
            row[self.x.shape[1] :] = np.bincount(self.group[o[: at + 1]], minlength=groups)
        return found


def schedule(form: Form, runs: Sequence[Kernels], constants: Mapping[str, float]) -> Schedule:
    """The kernels of ``runs`` with the terms of ``form``."""
    numbers = {g.name: i for i, g in enumerate(form.group)}
    starts = np.cumsum([0, *(len(g.terms) for g in form.group)])
    rows: dict[tuple[str, int], int] = {}
    known: list[tuple[int, Mapping[str, float]]] = []
    kinds: dict[str, int | None] = {}
    order = []
    for run in runs:
        places: list[int] = []
        for kind, dims in run:
            if kind not in kinds:
                group = form.group_of(kind)
                kinds[kind] = None if group is None else numbers[group.name]
            number = kinds[kind]
            if number is None:
                continue
            place = rows.setdefault((kind, id(dims)), len(known))
            if place == len(known):
                known.append((number, dims))
            places.append(place)
        order.append(np.array(places, np.int64))
    x = np.zeros((len(known), starts[-1]))
    groups = np.array([g for g, _ in known], np.int64)
    for number, group in enumerate(form.group):
        use = np.flatnonzero(groups == number)
        if len(use):
            own = [known[i][1] for i in use]
            terms = design(form.expressions[group.name], form.definitions, columns(own, constants), len(own))
            x[use, starts[number] : starts[number + 1]] = terms
    return Schedule(x, groups, tuple(order))


def overlap_ms(device_ms: Vector, host_ms: Vector) -> float:
    """When the last kernel ends, by the recurrence.

    :param device_ms: what each kernel takes, in order. :param host_ms: what each launch takes.
    """
    return float(_ends(device_ms, host_ms).max(initial=0.0))


def _ends(device_ms: Vector, host_ms: Vector) -> Vector:
    return np.asarray(np.cumsum(host_ms) + np.cumsum(device_ms[::-1])[::-1])
