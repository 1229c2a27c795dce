"""Features: the variables that terms are written in, as columns, for kernels and for whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import DomainError
from edgeprof.fit.expressions import Expression
from edgeprof.fit.forms import ACTIVATED, KERNEL_VARIABLES
from edgeprof.nets.network import Network
from edgeprof.nets.spec import NetSpec

Column = NDArray[np.float64]
WARP = 32.0  # threads that a GPU executes together (CUDA C++ Programming Guide, SIMT architecture)


def machine_constants(machine: Mapping[str, Any], threads: int) -> dict[str, float]:
    """``V`` float32 lanes, ``T`` threads, ``L1``, ``L2``, ``L3`` bytes of cache of a machine; a cache that is not known
    is taken as large as the one before it. Of a machine measured on its GPU the lanes of a warp, the cache that all
    multiprocessors share, and ``Q``, their number."""
    if machine.get("gpu_sms"):
        cache = 1024.0 * machine.get("gpu_l2_kib", 1024)
        shared = dict.fromkeys(("L1", "L2", "L3"), cache)
        return {"V": WARP, "T": float(threads), **shared, "Q": float(machine["gpu_sms"])}
    sizes = [machine.get(key) for key in ("l1d_kib", "l2_kib", "l3_kib")]
    known: list[float] = []
    for size in sizes:
        known.append(size * 1024.0 if size else (known[-1] if known else 32 * 1024.0))
    return {
        "V": float(machine.get("lanes", 4)),
        "T": float(threads),
        **dict(zip(("L1", "L2", "L3"), known, strict=True)),
    }


def net_values(net: Network, batch: int) -> dict[str, float]:
    """A network's own variables: ``t`` tile, ``C`` conv and ``F`` hidden FC layers, ``D`` depth, ``K`` kernel and ``N``
    neurons (means over layers; 0 where there are none), ``B`` batch. Networks of another kind have a batch alone."""
    if not isinstance(net, NetSpec):
        return {"B": batch}
    return {
        "t": net.tile,
        "C": net.conv,
        "F": net.fc,
        "D": fmean(net.depth) if net.depth else 0.0,
        "K": fmean(net.kernel) if net.kernel else 0.0,
        "N": fmean(net.neurons) if net.neurons else 0.0,
        "B": batch,
    }


def columns(rows: Sequence[Mapping[str, float]], constants: Mapping[str, float]) -> dict[str, Column]:
    """Variables of ``rows`` as columns; only those that every row has. Constants are columns of one value. ``cold`` is
    :func:`cold_part` where the bytes of a run are known."""
    names = [
        n for n in (*KERNEL_VARIABLES, "t", "D", "F", "K", "k") if rows and all(n in row for row in rows)
    ]
    found = {n: np.array([row[n] for row in rows], np.float64) for n in names}
    if "Kh" in found:  # others' tables do not tell of activations
        found |= {n: np.array([row.get(n, 0.0) for row in rows], np.float64) for n in ACTIVATED}
    if "Z" in found and "L3" in constants:
        found["cold"] = cold_part(found["Z"], constants["L3"])
    return {**found, **{n: np.full(len(rows), value) for n, value in constants.items() if n not in found}}


def cold_part(run_bytes: Column, cache_bytes: float) -> Column:
    """The part of a run's bytes that has left the last cache before the next run asks for it: none below a quarter of
    the cache, all above a half (least-recently-used replacement in a cache that others use too)."""
    return np.clip(4 * run_bytes / cache_bytes - 1, 0.0, 1.0)


def design(
    terms: Sequence[Expression],
    definitions: Mapping[str, Expression],
    values: Mapping[str, Column],
    count: int,
) -> NDArray[np.float64]:
    """Terms as columns: [count, number of terms].

    :raises DomainError: where a term is negative or not finite, which a latency cannot be.
    """
    known = _defined(terms, definitions, values)
    found = np.empty((count, len(terms)))
    for j, term in enumerate(terms):
        found[:, j] = term.evaluate(known)
        if not np.isfinite(found[:, j]).all() or (found[:, j] < 0).any():
            raise DomainError(f"the term {term.text} is negative or not finite here", "correct the form")
    return found


def weighted(
    terms: Sequence[Expression],
    coefficients: Sequence[float],
    definitions: Mapping[str, Expression],
    values: Mapping[str, Any],
) -> Column:
    """Σ coefficient · term, for variables whose shapes broadcast together; nan where :func:`design` would refuse."""
    known = _defined(terms, definitions, values)
    sums: dict[tuple[int, ...], Column] = {}  # by shape, so that what is alike along an axis is added up once
    for term, coefficient in zip(terms, coefficients, strict=True):
        value = term.evaluate(known)
        if not (value.min(initial=0.0) >= 0 and value.max(initial=0.0) < np.inf):
            value = np.where((value >= 0) & (value < np.inf), value, np.nan)
        value *= coefficient
        sums[value.shape] = sums[value.shape] + value if value.shape in sums else value
    return np.asarray(sum(sums.values()), np.float64)


def _defined(
    terms: Sequence[Expression], definitions: Mapping[str, Expression], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Of the values and definitions those that the terms need."""
    needed = set().union(*(t.names for t in terms)) if terms else set()
    for name, expression in reversed(list(definitions.items())):
        if name in needed:
            needed |= expression.names
    known = {name: values[name] for name in needed if name in values}
    for name, expression in definitions.items():
        if name in needed:
            known[name] = expression.evaluate(known)
    return known
