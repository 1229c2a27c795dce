"""Quanta: the blocks in which a kernel's time grows with a dimension, found by comparing models.

Along a series (:mod:`edgeprof.fit.series`) the logarithm of time is a smooth curve s of the logarithm of size. Three
models of size are compared by the Bayesian information criterion (Schwarz, Annals of Statistics 6, 1978):

- smooth: log t = s(log x);
- blocks of q: log t = s(log(x + a·(⌈x/q⌉·q − x))), a being the part of a block that its first unit pays for;
- peaks at q: log t = s(log x) + d where x is a multiple of q.

Residuals count by the pseudo-Huber loss of :mod:`edgeprof.fit.regress`, so single bad measurements weigh little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgeprof.fit.examples import Example
from edgeprof.fit.regress import SCALE
from edgeprof.fit.series import Series, series_of

Array = NDArray[np.float64]
Pattern = Literal["blocks", "peaks", "none"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

QUANTA = tuple(sorted({2**i for i in range(1, 10)} | {3 * 2**i for i in range(8)}))  # 2, 3, 4, 6 … 384, 512
SHARES = tuple(i / 10 for i in range(1, 11))
PAIRS = tuple((a / 5, b / 5) for a in range(1, 5) for b in range(1, 6 - a))  # shares of two quanta
LEAST_BLOCKS = 5  # the data span at least so many blocks of a quantum
KNOTS = 4
CLEAR = 20.0  # by how much the criterion must be better
ALIKE = 10.0  # quanta closer than this are not told apart
MOST_ALIKE = 2  # more of them say nothing
WHOLE = 0.85  # blocks whose first unit pays for more than this part are said to be paid for at once
LEAST_EFFECT = 0.01  # root mean square of the difference from the smooth curve, in log time
RESOLUTION = 0.003  # no log time is better known than this
ITERATIONS = 12


class Quantum(BaseModel):
    """What the data say of one kernel kind and dimension.

    ``pattern``: ``blocks``, ``peaks``, or ``none`` (``quantum`` 1). ``effect``: of blocks the part that their first
    unit pays for (1: whole blocks only); of peaks how much dearer multiples are than their neighbours (−0.14: 14 %
    cheaper). ``gain`` is the part of the loss about a smooth curve that the quantum explains, ``bic_difference`` by how
    much it beats that curve (a second quantum: the model with the first). ``alike`` are quanta that fit as well.
    ``sees_from`` is the step of the data; quanta that divide it cannot be seen. ``example``: a size just beyond a
    block and the next multiple. ``rows`` is the number of kernels looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, Field(min_length=1)]
    dimension: Annotated[str, Field(min_length=1)]
    pattern: Pattern
    quantum: Count = 1
    effect: Finite = 0.0
    gain: Finite = 0.0
    bic_difference: Finite = 0.0
    alike: tuple[Count, ...] = ()
    sees_from: Count = 1
    example: tuple[Count, Count] | None = None
    rows: Count

    @property
    def words(self) -> str:
        """The dimension for people: ``output channels``."""
        product = self.kind.partition(".")[0] in ("Gemm", "MatMul")
        return {
            "M": "columns" if product else "output channels",
            "C": "input channels",
            "N": "inputs" if product else "neurons",
            "R": "rows",
            "M=C": "channels",
            "M=N": "columns and inputs",
            "D": "channels of the conv layers",
        }.get(self.dimension, self.dimension)

    def sentence(self) -> str:
        """For people: ``Gemm: columns come in blocks of 32: 33 cost as much as 64 (BIC 412 better than smooth)``."""
        if self.pattern == "none":
            unseen = f"; blocks that divide {self.sees_from} cannot be seen" if self.sees_from > 1 else ""
            return f"{self.kind}: no clear blocks of {self.words}{unseen}"
        others = f" (or {', '.join(map(str, self.alike))})" if self.alike else ""
        better = f"(BIC {self.bic_difference:.0f} better than smooth)"
        if self.pattern == "peaks":
            word = "cheaper" if self.effect < 0 else "dearer"
            change = f"{100 * abs(self.effect):.0f} % {word}"
            found = f"multiples of {self.quantum}{others} are {change} than their neighbours"
            return f"{self.kind}, {self.words}: {found} {better}"
        shown = ""
        if self.effect < WHOLE:
            first = self.effect + (1 - self.effect) / self.quantum
            shown = f"; the first of a block costs {100 * first:.0f} % of it"
        elif self.example:
            shown = f": {self.example[0]} cost as much as {self.example[1]}"
        return f"{self.kind}: {self.words} come in blocks of {self.quantum}{others}{shown} {better}"


@dataclass(frozen=True)
class Model:
    """How a dimension counts: ``blocks`` as pairs (quantum, part that the first unit pays for), and ``peak``, whose
    multiples have a price of their own (0: none)."""

    blocks: tuple[tuple[int, float], ...] = ()
    peak: int = 0

    def sizes(self, x: Array) -> Array:
        """The size that each of ``x`` is priced as: [n]."""
        return np.asarray(x + sum(a * (roundup(x, q) - x) for q, a in self.blocks), np.float64)

    def peaks(self, x: Array) -> Array:
        """1 where x is a multiple of ``peak``: [n]."""
        return np.asarray(x % self.peak == 0 if self.peak else x < 0, np.float64)

    @property
    def last(self) -> tuple[Pattern, int]:
        """Pattern and quantum of what was added last."""
        return ("peaks", self.peak) if self.peak else ("blocks", self.blocks[-1][0])


SMOOTH = Model()


@dataclass(frozen=True)
class Evidence:
    """Models compared on the series of one kernel kind and dimension: the best one, what it says, and by how much each
    (pattern, quantum) beats the smooth curve."""

    series: tuple[Series, ...]
    model: Model
    found: tuple[Quantum, ...]
    scores: Mapping[tuple[Pattern, int], float]


def evidence_of(examples: Sequence[Example]) -> list[Evidence]:
    """What the data say of each kernel kind and dimension that varies in small steps, the clearest first. What a pair
    of dimensions says is left out where one of the two says it already."""
    every = {key: weigh(series) for key, series in series_of(examples).items()}
    told = {(kind, name, q.quantum) for (kind, name), e in every.items() for q in e.found}
    kept = [
        e
        for (kind, pair), e in every.items()
        if "=" not in pair
        or not all(any((kind, n, q.quantum) in told for n in pair.split("=")) for q in e.found)
    ]
    return sorted(kept, key=lambda e: -e.found[0].bic_difference)


def weigh(series: Sequence[Series]) -> Evidence:
    """Compare all models on series of one kernel kind and dimension.

    A quantum is kept where its criterion is better than the smooth curve's by :data:`CLEAR` and the search's own cost
    (twice the logarithm of the number of models), also without the block that speaks most for it; where it
    changes times by :data:`LEAST_EFFECT`; and where few others fit as well. A second one is looked for on top of it.
    """
    model = SMOOTH
    found: list[Quantum] = []
    scores: dict[tuple[Pattern, int], float] = {}
    while len(found) < 2:
        models = [model, *_extended(model, series)]
        if len(models) == 1:
            break
        trial = _Trial(series, models)
        scores = scores or trial.scores()
        best = trial.best()
        quantum = trial.judge(best) if best else None
        if best is None or quantum is None:
            break
        model = models[best]
        shares = [share for _, share in model.blocks]
        found = [q.model_copy(update={"effect": a}) for q, a in zip(found, shares, strict=False)]
        found.append(quantum)
    nothing = Quantum(
        kind=series[0].kind,
        dimension=series[0].dimension,
        pattern="none",
        sees_from=step(series),
        rows=sum(len(s.x) for s in series),
    )
    return Evidence(tuple(series), model, tuple(found) or (nothing,), scores)


class _Trial:
    """Models fitted to every series of one kind and dimension; the first model is the one to beat."""

    def __init__(self, series: Sequence[Series], models: Sequence[Model]) -> None:
        self.series = series
        self.models = models
        self.loss: list[Array] = []  # per series: [models, rows]
        self.log_ms: list[Array] = []
        self.heights: list[Array] = []  # per series: [models], what multiples of the peak have for themselves
        for s in series:
            x = s.x.astype(np.float64)
            design = _design(
                np.array([m.sizes(x) for m in models]), np.array([m.peaks(x) for m in models]), x
            )
            coefficients = _solve(design, np.log(s.ms))
            found = np.einsum("cnp,cp->cn", design, coefficients)
            self.log_ms.append(found)
            self.heights.append(coefficients[:, -1])
            self.loss.append(_loss(found - np.log(s.ms)))
        self.gains = self.criterion()[0] - self.criterion()

    def criterion(self, without: Sequence[NDArray[np.bool_]] | None = None) -> Array:
        """The information criterion of each model, less what all have in common; without some rows: [models]."""
        rows = sum(len(s.x) for s in self.series)
        total = math.log(rows) * np.array([len(m.blocks) for m in self.models], np.float64)
        for i, loss in enumerate(self.loss):
            kept = loss if without is None else loss[:, ~without[i]]
            n = kept.shape[1]
            if n == 0:
                continue
            total += n * np.log(kept.mean(axis=1)) + math.log(n) * np.array([m.peak > 0 for m in self.models])
        return np.asarray(total)

    def scores(self) -> dict[tuple[Pattern, int], float]:
        """By how much each (pattern, quantum) beats the first model, at its best share."""
        found: dict[tuple[Pattern, int], float] = {}
        for model, gain in zip(self.models[1:], self.gains[1:], strict=True):
            found[model.last] = max(found.get(model.last, -math.inf), float(gain))
        return found

    def best(self) -> int | None:
        """The number of the best model; blocks before peaks where both fit alike. None: the first is best."""
        best = int(np.argmax(self.gains))
        if self.models[best].peak:
            blocks = [i for i, m in enumerate(self.models) if i and not m.peak]
            rival = max(blocks, key=lambda i: self.gains[i], default=best)
            best = rival if self.gains[best] - self.gains[rival] < ALIKE else best
        return best or None

    def judge(self, best: int) -> Quantum | None:
        """What the model says, where it says it clearly."""
        pattern, quantum = self.models[best].last
        bar = CLEAR + 2 * math.log(len(self.models))
        if self.gains[best] < bar:
            return None
        difference = np.concatenate([f[best] - f[0] for f in self.log_ms])
        left = self.criterion([self._strongest(i, best, quantum) for i in range(len(self.series))])
        alike = tuple(
            q
            for (p, q), gain in self.scores().items()
            if p == pattern and q != quantum and self.gains[best] - gain < ALIKE
        )
        if left[0] - left[best] < bar or len(alike) > MOST_ALIKE:
            return None
        if math.sqrt(float(np.mean(difference**2))) < LEAST_EFFECT:
            return None
        weights = [len(s.x) for s in self.series]
        height = float(np.average([h[best] for h in self.heights], weights=weights))
        losses = [sum(float(loss[i].sum()) for loss in self.loss) for i in (best, 0)]
        return Quantum(
            kind=self.series[0].kind,
            dimension=self.series[0].dimension,
            pattern=pattern,
            quantum=quantum,
            effect=math.exp(height) - 1 if pattern == "peaks" else self.models[best].blocks[-1][1],
            gain=1 - losses[0] / losses[1],
            bic_difference=float(self.gains[best]),
            alike=alike,
            sees_from=step(self.series),
            example=_example(self.series, quantum) if pattern == "blocks" else None,
            rows=sum(weights),
        )

    def _strongest(self, i: int, best: int, quantum: int) -> NDArray[np.bool_]:
        """The rows of series ``i`` about the one multiple of ``quantum`` that speaks most for the best model."""
        place = np.rint(self.series[i].x / quantum).astype(np.int64)
        gain = np.bincount(place, self.loss[i][0] - self.loss[i][best])
        return np.asarray(place == int(np.argmax(gain)))


def curve(series: Series, model: Model, at: Array) -> Array:
    """Time (ms) by ``model``, fitted to ``series``, at the sizes ``at``: [n]."""
    x = series.x.astype(np.float64)
    design = _design(model.sizes(x)[None], model.peaks(x)[None], x)
    there = _design(model.sizes(at)[None], model.peaks(at)[None], x)
    return np.asarray(np.exp(there[0] @ _solve(design, np.log(series.ms))[0]))


def step(series: Sequence[Series]) -> int:
    """The step of the data: the greatest number that divides all differences of sizes."""
    return max(1, math.gcd(*(int(d) for s in series for d in np.diff(np.unique(s.x)))))


def roundup(x: Array, q: int) -> Array:
    """The least multiples of ``q`` that are no less than ``x``."""
    return np.asarray(np.ceil(x / q) * q)


def _extended(model: Model, series: Sequence[Series]) -> Iterator[Model]:
    """``model`` with one quantum more, of those that the data can show; shares of blocks are chosen anew. Peaks come
    last."""
    known = {q for q, _ in model.blocks}
    for q in QUANTA:
        if model.peak or q in known or not any(_shows(s, q) for s in series):
            continue
        yield Model(model.blocks, q)
        if not model.blocks:
            yield from (Model(((q, a),)) for a in SHARES)
        else:
            yield from (Model(((model.blocks[0][0], a), (q, b))) for a, b in PAIRS)


def _shows(series: Series, q: int) -> bool:
    """True where a quantum makes a difference in the data, over enough blocks."""
    padding = -series.x % q
    return bool((padding != padding[0]).any()) and len(np.unique(-(-series.x // q))) >= LEAST_BLOCKS


def _design(sizes: Array, peaks: Array, x: Array) -> Array:
    """Columns of a quadratic spline in log size, knots evenly over the data ``x``, and of the peak: [c, n, p]."""
    ends = math.log(x.min()), math.log(x.max())
    z = (2 * np.log(sizes) - sum(ends)) / (ends[1] - ends[0])
    knots = np.linspace(-1, 1, KNOTS + 2)[1:-1]
    bends = [np.maximum(z - k, 0) ** 2 for k in knots]
    return np.stack([np.ones_like(z), z, z**2, *bends, peaks], axis=-1)


def _solve(design: Array, y: Array) -> Array:
    """Coefficients that minimise the pseudo-Huber loss of ``design``·c − y, by iterated weights: [c, p]."""
    weights = np.ones(design.shape[:2])
    tiny = 1e-9 * design.shape[1] * np.eye(design.shape[2])  # for columns of zeros
    found = np.zeros((design.shape[0], design.shape[2]))
    for _ in range(ITERATIONS):
        weighted = design * weights[..., None]
        normal = np.einsum("cnp,cnq->cpq", weighted, design) + tiny
        found = np.linalg.solve(normal, np.einsum("cnp,n->cp", weighted, y)[..., None])[..., 0]
        residual = np.einsum("cnp,cp->cn", design, found) - y
        before, weights = weights, 1 / np.sqrt(1 + (residual / SCALE) ** 2)
        if np.abs(weights - before).max() < 1e-3:
            break
    return found


def _loss(residual: Array) -> Array:
    """Pseudo-Huber loss of log times, which are known to :data:`RESOLUTION` at best."""
    return np.asarray(np.sqrt(1 + (residual / SCALE) ** 2) - 1 + (RESOLUTION / SCALE) ** 2 / 2)


def _example(series: Sequence[Series], quantum: int) -> tuple[int, int] | None:
    """The least measured size that is just beyond a block, and the next multiple, which is no longer than the data."""
    sizes = np.unique(max(series, key=lambda s: len(np.unique(s.x))).x).tolist()
    for size in sizes:
        full = -(-size // quantum) * quantum
        if quantum < size <= full - quantum / 2 and full <= sizes[-1]:
            return size, full
    return None
