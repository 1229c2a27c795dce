"""Laws of kernels from the latencies of whole networks alone, without the time of any kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import DomainError
from edgeprof.fit.composition import Composition, Schedule
from edgeprof.fit.expressions import parse
from edgeprof.fit.features import columns, design
from edgeprof.fit.forms import NET_VARIABLES
from edgeprof.fit.regress import alike, fit_log, fit_short

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

STARTS = (0.0, 0.25, 0.5, 0.75)  # parts of the runs taken as bound by launches at first
ROUNDS = 6
MANY = 300  # runs at most that the starts are tried on


@dataclass(frozen=True)
class Prices:
    """What a fit found: coefficients of the terms [m], cost of a launch by group [groups], of the overhead."""

    coefficients: Vector
    host_ms: Vector
    overhead: Vector

    def latency(self, of: Schedule, overhead: Matrix, composition: Composition) -> Vector:
        """Latency of each run, ms. :param overhead: its terms, [n, …]."""
        fixed = overhead @ self.overhead
        if composition == "sum":
            return np.asarray(of.sums @ self.coefficients + fixed)
        terms = of.overlapped(of.active(self.coefficients, self.host_ms), len(self.host_ms))
        return np.asarray(terms @ np.concatenate([self.coefficients, self.host_ms]) + fixed)


def fit_totals(
    of: Schedule,
    overhead: Matrix,
    latency_ms: Vector,
    groups: int,
    composition: Composition = "sum",
    short: bool = False,
) -> Prices:
    """The prices that come nearest to the latencies, by :func:`~edgeprof.fit.regress.fit_log`.

    With launches that overlap, a run's latency is linear in the prices once it is known where its device waits last;
    that is found in turns with the prices, from several starts.

    :param overhead: [n, …]. :param latency_ms: [n]. :param short: only terms that the data ask for.
    """
    if composition == "sum":
        terms = np.hstack([overhead, of.sums])
        found = _distinct(terms, latency_ms, short)
        o = overhead.shape[1]
        return Prices(found[o:], np.zeros(groups), found[:o])
    active = _waits(of, overhead, latency_ms, groups)
    return _overlapped(of, overhead, latency_ms, groups, active, short)


def _waits(of: Schedule, overhead: Matrix, latency_ms: Vector, groups: int) -> NDArray[np.int64]:
    """For each run the kernel before which the device waits last, by the best fit from any start."""
    n = len(latency_ms)
    some = np.random.default_rng(0).permutation(n)[:MANY] if n > MANY else np.arange(n)
    part, fixed, target = of.of(some), overhead[some], latency_ms[some]
    last = np.array([len(o) - 1 for o in part.order])
    work = part.sums @ (1 / np.maximum(part.sums.max(axis=0), 1e-300)) / np.maximum(last, 1)
    best: tuple[float, Prices] | None = None
    for start in STARTS:
        active = np.where(work <= np.quantile(work, start), last, 0)
        for _ in range(ROUNDS):
            prices = _overlapped(part, fixed, target, groups, active)
            moved = part.active(prices.coefficients, prices.host_ms)
            off = np.abs(np.log(prices.latency(part, fixed, "overlap") / target)).mean()
            if best is None or off < best[0]:
                best = float(off), prices
            if (moved == active).all():
                break
            active = moved
    assert best is not None
    return of.active(best[1].coefficients, best[1].host_ms)


def _overlapped(
    of: Schedule,
    overhead: Matrix,
    latency_ms: Vector,
    groups: int,
    active: NDArray[np.int64],
    short: bool = False,
) -> Prices:
    o, m = overhead.shape[1], of.x.shape[1]
    found = _distinct(np.hstack([overhead, of.overlapped(active, groups)]), latency_ms, short)
    return Prices(found[o : o + m], found[o + m :], found[:o])


def _distinct(terms: Matrix, target: Vector, short: bool) -> Vector:
    """A fit without columns that the data cannot tell from an earlier one."""
    same = {j for _, j in alike(terms, target)}
    use = [j for j in range(terms.shape[1]) if j not in same]
    found = np.zeros(terms.shape[1])
    found[use] = (fit_short if short else fit_log)(terms[:, use], target)
    return found


def overhead_columns(
    terms: Sequence[str], batches: Sequence[int], kernels: Sequence[int], constants: Mapping[str, float]
) -> Matrix:
    """Terms of the overhead for runs of such batches and numbers of kernels.

    :raises DomainError: a term is in a variable of NetSpec's family.
    """
    read = [parse(t, NET_VARIABLES) for t in terms]
    if unknown := sorted(set().union(*(t.names for t in read)) - {"k", "B", *constants}) if read else []:
        raise DomainError(
            f"the overhead is in {', '.join(unknown)} of a network, which a table does not have",
            "use a form or law whose overhead is in k and B",
        )
    values = [{"k": float(k), "B": float(b)} for b, k in zip(batches, kernels, strict=True)]
    return design(read, {}, columns(values, constants), len(values))


def typical_terms(of: Schedule) -> Vector:
    """What each term would be in a run all of whose kernels were of its kind: [m]."""
    counts = np.zeros(len(of.x))
    for order in of.order:
        counts += np.bincount(order, minlength=len(of.x))
    having = ((of.x > 0) * counts[:, None]).sum(axis=0)
    per_kernel = (of.x * counts[:, None]).sum(axis=0) / np.maximum(having, 1)
    return np.asarray(per_kernel * counts.sum() / max(len(of.order), 1))
