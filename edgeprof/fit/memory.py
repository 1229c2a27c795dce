"""Memory: what networks take at build and at run, as a short sum of their footprints.

MiB = base + a · weights + b · values, fitted with a law from the same measurements: non-negative, least error of the
logarithm. Which of the candidates a law takes is told by networks held out, all batches of one together; their errors
give the interval and the probability to fit (conformal prediction, one-sided: Vovk, Gammerman and Shafer, Algorithmic
Learning in a Random World, 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgeprof.fit.examples import Example, machine_of, owners_of
from edgeprof.fit.intervals import LARGEST, bounded, excess, quantile, unknown
from edgeprof.fit.regress import fit_log
from edgeprof.nets.footprint import Footprint, footprint

Vector = NDArray[np.float64]
Term = Literal["base", "weights", "live", "largest", "results"]
Sizes = Mapping[Term, Any]  # MiB by term, numbers or arrays; of the base 1
Where = Literal["process", "gpu", "board"]
Mib = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
LogError = Annotated[float, Field(ge=-100, le=100)]

BUILD: tuple[Term, ...] = ("base", "weights")
CANDIDATES: tuple[tuple[Term, ...], ...] = (
    BUILD,
    (*BUILD, "live"),
    (*BUILD, "largest"),
    (*BUILD, "results"),
    (*BUILD, "live", "largest"),
)
FEWEST = 10  # networks
FOLDS = 5
LEAST_MIB = 0.25  # what the counters of resident memory can tell
# Telemetry of the peak at build and in all, and of what there was to have; the first that enough networks know.
SOURCES: Mapping[Where, tuple[str, str, str]] = {
    "board": ("shared_build_mib", "shared_memory_mib", "room_mib"),
    "gpu": ("gpu_build_mib", "gpu_memory_mib", "gpu_free_mib"),
    "process": ("build_mib", "memory_mib", "room_mib"),
}


class MemoryModel(BaseModel):
    """What a network takes, beside what the runtime's process has without it, in MiB: at its peak while it is built
    (``build``) and in all (``most``), a coefficient by term. ``of``: the host's process, the GPU, or the board where
    both share the memory. Images have their channels in blocks of ``block`` (:mod:`edgeprof.nets.footprint`).
    ``errors`` are the log errors (measured over predicted, of ``most``) of networks held out, sorted; ``seen`` the
    least and greatest of each term; ``room_mib`` what there was to have when it was measured, and ``process_mib`` what
    the process had before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    of: Where
    block: Annotated[int, Field(ge=1, le=1024)] = 1
    build: Mapping[Term, Mib]
    most: Mapping[Term, Mib]
    errors: tuple[LogError, ...]
    seen: Mapping[Term, tuple[Mib, Mib]]
    networks: int
    process_mib: Mib | None = None
    room_mib: Mib | None = None
    scores: Mapping[str, Any] = {}

    @model_validator(mode="after")
    def _seen(self) -> MemoryModel:
        if strange := sorted({*self.build, *self.most} - {"base", *self.seen}):
            raise ValueError(f"no range of {strange[0]} was seen")
        if list(self.errors) != sorted(self.errors):
            raise ValueError("errors: they are not sorted")
        return self

    def build_mib(self, sizes: Sizes) -> Any:
        """The peak while a network is built."""
        return _sum(self.build, sizes)

    def most_mib(self, sizes: Sizes) -> Any:
        """The peak in all: the larger of what building and what running takes."""
        return np.maximum(self.build_mib(sizes), _sum(self.most, sizes))

    def widening(self, sizes: Sizes) -> Any:
        """How much wider an interval is for networks larger or smaller than all seen: by term, once more for every
        doubling beyond what was seen, to the nearest MiB; infinite far outside
        (:func:`edgeprof.fit.intervals.bounded`)."""
        found: Any = 1.0
        for name, (low, high) in self.seen.items():
            value = sizes[name]
            beyond = np.maximum(np.log2((value + 1) / (high + 1)), np.log2((low + 1) / (value + 1)))
            found = found * (1 + np.maximum(beyond, 0))
        return bounded(found, max(self._beyond(0.9)) if self.errors else 0.0)

    def chances(self, most_mib: Any, widening: Any, limit_mib: float) -> Vector:
        """The probability that networks of such a predicted peak take at most ``limit_mib``: the share of networks held
        out whose error would still let them, the tail beyond the largest extrapolated; nan far outside. By the
        prediction itself where there are no errors."""
        if not self.errors:
            return np.asarray(most_mib <= limit_mib, np.float64)
        with np.errstate(divide="ignore"):
            margin = np.log(limit_mib / most_mib) / widening
        n = len(self.errors)
        inside = np.searchsorted(self.errors, margin, side="right") / (n + 1)
        beyond = 1 - np.exp(-np.maximum(margin - self.errors[-1], 0) / excess(self.errors)) / (n + 1)
        found = np.where(margin > self.errors[-1], beyond, inside)
        return np.asarray(np.where(np.isinf(widening), np.nan, found))

    def _beyond(self, level: float) -> tuple[float, float]:
        """How far a log peak may be below and above the predicted one."""
        falling = tuple(-e for e in reversed(self.errors))
        return quantile(falling, (1 + level) / 2), quantile(self.errors, (1 + level) / 2)

    def unknown(self, widening: float) -> str:
        """Why no interval so much wider is known; empty where one is."""
        return unknown(self.errors, widening)

    def interval(self, most_mib: float, widening: float, level: float) -> tuple[float, float] | None:
        """The interval of a peak at ``level``: as likely to be above it as below. None where none is known
        (:meth:`unknown`)."""
        if self.unknown(widening):
            return None
        below, above = (min(end * widening, LARGEST) for end in self._beyond(level))
        return most_mib * math.exp(-below), most_mib * math.exp(above)


def _sum(part: Mapping[Term, float], sizes: Sizes) -> Any:
    found: Any = 0.0
    for name, coefficient in part.items():
        if coefficient:
            found = found + coefficient * sizes[name]
    return found


def sizes_of(footprint: Footprint) -> dict[Term, Any]:
    """A footprint (MiB) by term."""
    found: dict[Term, Any] = {"base": 1.0, "weights": footprint.weights, "live": footprint.live}
    return found | {"largest": footprint.largest, "results": footprint.results}


@dataclass(frozen=True)
class _Rows:
    """What was measured, a row a case: sizes in MiB with channels in blocks of ``block``, and the fold of its
    network."""

    block: int
    sizes: Mapping[Term, Vector]
    fold: NDArray[np.int64]

    def fitted(self, names: Sequence[Term], mib: Vector, use: Any = slice(None)) -> dict[Term, float]:
        """Coefficients of these terms for what was taken, on the rows ``use``."""
        x = np.stack([self.sizes[name][use] for name in names], axis=1)
        return dict(zip(names, fit_log(x, np.maximum(mib[use], LEAST_MIB)).tolist(), strict=True))

    def held_out(self, names: Sequence[Term], mib: Vector) -> Vector:
        """What is predicted of each network by a fit of others, in MiB."""
        found = np.empty(len(mib))
        for held in (self.fold == f for f in range(FOLDS)):
            if held.any():
                some = {name: column[held] for name, column in self.sizes.items()}
                found[held] = _sum(self.fitted(names, mib, ~held), some)
        return np.maximum(found, LEAST_MIB)


def fit_memory(examples: Sequence[Example], seed: int = 0) -> MemoryModel | None:
    """The memory model of what ``examples`` took; None where fewer than ten networks tell.

    The candidate is the one with the fewest terms within one standard error of the least error on networks held out
    (Breiman et al., Classification and Regression Trees, 1984, 3.4.3), judged by the peak in all.
    """
    found = _told(examples)
    if found is None:
        return None
    of, told = found
    nets, owners = [(e.measurement.case.net, e.measurement.case.batch) for e in told], owners_of(told)
    build, most, room = (_column(told, name) for name in SOURCES[of])
    drawn = np.array([not e.measurement.designed for e in told])
    count = int(owners.max()) + 1
    fold = (np.random.default_rng(seed).permutation(count) % FOLDS)[owners]
    lanes = machine_of(told).get("lanes") if of == "process" else None
    tried: list[tuple[_Rows, tuple[Term, ...], Vector]] = []
    building: Vector | None = None
    for block in dict.fromkeys((1, int(lanes or 1))):
        sizes = [sizes_of(footprint(net, batch, block)) for net, batch in nets]
        rows = _Rows(block, {name: np.array([one[name] for one in sizes]) for name in sizes[0]}, fold)
        building = rows.held_out(BUILD, build) if building is None else building
        for names in CANDIDATES:
            predicted = np.maximum(rows.held_out(names, most), building)
            tried.append((rows, names, np.log(np.maximum(most, LEAST_MIB) / predicted)[drawn]))
    scores = [_score(errors) for *_, errors in tried]
    near = [i for i, (mean, _) in enumerate(scores) if mean <= sum(min(scores))]
    rows, names, errors = tried[min(near, key=lambda i: (len(tried[i][1]), scores[i]))]
    used = [name for name in names if name != "base"]
    return MemoryModel(
        of=of,
        block=rows.block,
        build=rows.fitted(BUILD, build),
        most=rows.fitted(names, most),
        errors=tuple(np.sort(errors).tolist()),
        seen={name: (float(rows.sizes[name].min()), float(rows.sizes[name].max())) for name in used},
        networks=count,
        process_mib=_median(_column(told, "process_mib")),
        room_mib=_median(room),
        scores=_scores(errors),
    )


def _told(examples: Sequence[Example]) -> tuple[Where, list[Example]] | None:
    """Those that tell what they took, and of what. Before ``process_mib`` was told, what earlier networks had left hid
    what a process needed."""
    for of, (build, most, _) in SOURCES.items():
        needs = {build, most, *(("process_mib",) if of == "process" else ())}
        told = [e for e in examples if needs <= e.measurement.telemetry.keys()]
        drawn = [e for e in told if not e.measurement.designed]
        if drawn and owners_of(drawn).max() + 1 >= FEWEST:
            return of, told
    return None


def _column(examples: Sequence[Example], name: str) -> Vector:
    return np.array([e.measurement.telemetry.get(name, math.nan) for e in examples], np.float64)


def _median(values: Vector) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmedian(values))


def _score(errors: Vector) -> tuple[float, float]:
    """Mean error with its standard error."""
    off = np.abs(np.expm1(-errors))
    return float(off.mean()), float(off.std(ddof=1) / math.sqrt(len(off)))


def _scores(errors: Vector) -> dict[str, Any]:
    """Errors of networks held out: predicted over measured, less one."""
    off = 100 * np.abs(np.expm1(-errors))
    return {
        "mape_pct": float(off.mean()),
        "p95_pct": float(np.percentile(off, 95)),
        "bias_pct": float(100 * np.expm1(-errors).mean()),
        "how": "cross-validated on whole networks",
    }
