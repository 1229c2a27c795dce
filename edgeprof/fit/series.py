"""Series: kernels of one kind that differ in one dimension alone, to look at time against that dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import FitError
from edgeprof.fit.examples import Example

NETWORK = "network"  # the kind of rows that are whole networks, where no kernel's dimensions are known
LEAST_VALUES = 12  # a series has at least so many values of its dimension
LEAST_MS = 0.002  # profilers count microseconds: shorter times have steps of their own
LEAST_SHARE = 0.01  # kinds of kernels below this part of their networks' time are not worth a word
# What shapes a kernel; elements, bytes and the like follow from it.
SHAPE = ("B", "C", "M", "H", "W", "Hi", "Wi", "Kh", "Kw", "S", "P", "G", "R", "N")
# Dimensions to look at, and pairs that a sweep of equal layers varies together.
DIMENSIONS = (("M", "C"), ("M", "N"), ("M",), ("C",), ("N",), ("R",), ("D",))


@dataclass(frozen=True)
class Series:
    """Times of kernels of one kind against one dimension; ``others`` are the dimensions that stay the same.

    ``dimension`` is a name of :func:`edgeprof.nets.operators.dims`, or two that are equal in all rows (``M=N``); for
    whole networks ``D`` channels of every conv layer or ``N`` neurons of every hidden layer. ``x`` and ``ms``: [n].
    """

    kind: str
    dimension: str
    others: tuple[tuple[str, Any], ...]
    x: NDArray[np.int64]
    ms: NDArray[np.float64]


def series_of(examples: Sequence[Example]) -> dict[tuple[str, str], tuple[Series, ...]]:
    """Every series in ``examples`` by (kind, dimension); those of one kind and dimension differ in ``others``."""
    by_kind: dict[str, list[tuple[Mapping[str, Any], float]]] = {}
    shares: dict[str, list[float]] = {}
    for example in examples:
        for kind, dims, ms in _timed(example):
            by_kind.setdefault(kind, []).append((dims, ms))
            shares.setdefault(kind, []).append(ms / example.latency_ms)
    found = {}
    for kind, rows in by_kind.items():
        if fmean(shares[kind]) < LEAST_SHARE:
            continue
        asked: set[frozenset[int]] = set()
        for names in DIMENSIONS:
            parts = _parts(rows, names)
            whole = frozenset(i for part in parts.values() for i in part)
            if not whole or whole in asked:  # the same rows under another name
                continue
            asked.add(whole)
            dimension = "=".join(names)
            found[kind, dimension] = tuple(
                Series(
                    kind,
                    dimension,
                    others,
                    np.array([rows[i][0][names[0]] for i in part], np.int64),
                    np.array([rows[i][1] for i in part]),
                )
                for others, part in parts.items()
            )
    return found


def _parts(
    rows: Sequence[tuple[Mapping[str, Any], float]], names: tuple[str, ...]
) -> dict[tuple[tuple[str, Any], ...], list[int]]:
    """Numbers of the rows in which the dimensions ``names`` are equal, by the values of the others; only parts with
    enough values."""
    use = [i for i, (d, _) in enumerate(rows) if all(n in d and d[n] == d[names[0]] for n in names)]
    if not use:
        return {}
    copies = {n for n in rows[use[0]][0] if all(rows[i][0].get(n) == rows[i][0][names[0]] for i in use)}
    left_out = {*names, *copies}
    parts: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for i in use:
        others = tuple(sorted((k, v) for k, v in rows[i][0].items() if k not in left_out))
        parts.setdefault(others, []).append(i)
    near = {others: _near(part, [rows[i][0][names[0]] for i in part]) for others, part in parts.items()}
    return {k: part for k, part in near.items() if len({rows[i][0][names[0]] for i in part}) >= LEAST_VALUES}


def _near(part: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The rows of the longest run of sizes each at most twice the one before it: a size far off tells nothing."""
    runs: list[list[int]] = [[]]
    for size in sorted(set(sizes)):
        if runs[-1] and size > 2 * runs[-1][-1]:
            runs.append([])
        runs[-1].append(size)
    longest = max(runs, key=len)
    return [i for i, size in zip(part, sizes, strict=True) if longest[0] <= size <= longest[-1]]


def _timed(example: Example) -> list[tuple[str, Mapping[str, Any], float]]:
    """(kind, dimensions, ms) of each kernel, or of the network where they are not known."""
    try:
        kernels = [(k.kind, _shape(example.dims(k)), k.ms) for k in example.kernels]
    except FitError:
        kernels = []
    if kernels:
        return [row for row in kernels if row[2] >= LEAST_MS]
    case = example.measurement.case
    dims = {**case.net.model_dump(), "batch": case.batch}
    for knob, name in (("depth", "D"), ("neurons", "N")):
        if len(set(dims.get(knob, ()))) == 1:
            dims[name] = dims.pop(knob)[0]
    return [(NETWORK, dims, example.latency_ms)]


def _shape(dims: Mapping[str, float]) -> dict[str, Any]:
    return {name: dims[name] for name in SHAPE if name in dims}
