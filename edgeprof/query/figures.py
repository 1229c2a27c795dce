"""Figures: numbers of many networks at once, worked out when a question to a law needs them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeprof.fit.intervals import half_widths, probabilities, widening
from edgeprof.fit.law import Law
from edgeprof.fit.law_clocks import between
from edgeprof.fit.law_domain import strange, strange_clocks
from edgeprof.fit.memory import Term
from edgeprof.nets.columns import Bodies, head_largest, head_live, head_macs, head_parameters, head_results
from edgeprof.query.goal import Goal
from edgeprof.query.pricing import PER_BODY
from edgeprof.query.space import HEAD, Heads, Slab, Space

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rank = Literal["macs", "parameters", "speed"]

MIB = 2**20


@dataclass(frozen=True)
class Question:
    """A question to one law."""

    law: Law
    space: Space
    goal: Goal
    rank: Rank
    axes: tuple[str, ...]
    top: int
    front: int
    level: float

    @cached_property
    def wide(self) -> dict[str, Vector]:
        """How much wider each choice of a knob makes an interval (1: it is in the domain)."""
        found = {}
        for knob, values in self.space.choices.items():
            found[knob] = np.array([widening(strange(self.law, {knob: (value,)})) for value in values])
        return found

    def wide_bodies(self, slab: Slab) -> Vector:
        """How much wider these bodies make an interval."""
        total = np.ones(len(slab.bodies))
        for knob, picks in slab.picks.items():
            own = self.wide[knob][picks]
            per_layer = knob in ("depth", "kernel", "stride", "padding")
            total *= np.where(slab.bodies.knobs["conv"] > 0, own, 1.0) if per_layer else own
        return total

    def wide_heads(self, heads: Heads) -> Vector:
        """How much wider these heads make it once more."""
        factors = {knob: self.wide[knob][heads.picks[knob]] for knob in HEAD}
        factors["neurons"] = np.where(heads.fc > 0, factors["neurons"], 1.0)
        return np.asarray(factors["fc"] * factors["neurons"] * factors["classes"])

    def widening(self, bodies: Vector, heads: Vector, latency_ms: Vector) -> Vector:
        """How much wider both, and the law's clocks, make the interval of a latency; infinite far outside."""
        beyond, settings = self._of_clocks
        found = bodies * heads * beyond
        return np.asarray(self.law.widened(latency_ms, found) if (found > 1).any() else found) * settings

    @cached_property
    def _of_clocks(self) -> tuple[float, float]:
        """How much wider the law's clocks make every interval: beyond the domain, and between settings."""
        clocks = self.law.clocks
        return widening(strange_clocks(self.law, clocks)), between(self.law, clocks)


@dataclass(frozen=True)
class Figures:
    """Numbers of networks, worked out when they are needed: of [body, fc, neurons, classes], or one head a body."""

    asked: Question
    bodies: Bodies
    part: slice  # the bodies meant
    heads: Heads
    latency_ms: Vector
    widening: Vector

    def _per_body(self, column: NDArray[Any]) -> NDArray[Any]:
        return column[self.part][PER_BODY] if self.latency_ms.ndim == 4 else column[self.part]

    def _of_heads(self, figure: Any) -> Any:
        return figure(self._per_body(self.bodies.flat), self.heads.fc, self.heads.neurons, self.heads.classes)

    @property
    def batch(self) -> NDArray[Any]:
        """Tiles in a run."""
        return self._per_body(self.bodies.knobs["batch"])

    @cached_property
    def speed(self) -> Vector:
        """Tiles per ms."""
        return np.asarray(self.batch / self.latency_ms)

    @property
    def latency(self) -> Vector:
        """ms per run, under the name of its axis."""
        return self.latency_ms

    @cached_property
    def macs(self) -> Vector:
        """Multiply-accumulates per tile."""
        return np.asarray(self._per_body(self.bodies.macs) + self._of_heads(head_macs))

    @cached_property
    def parameters(self) -> Vector:
        """Weights and biases."""
        return np.asarray(self._per_body(self.bodies.parameters) + self._of_heads(head_parameters))

    @cached_property
    def sizes(self) -> dict[Term, Any]:
        """What :func:`edgeprof.nets.footprint.footprint` gives, as columns in MiB: those that the law asks for."""
        model = self.asked.law.memory
        found: dict[Term, Any] = {"base": 1.0, "weights": 4 * self.parameters / MIB}
        asked: Collection[Term] = {"live"} if model is None else model.seen.keys() - {"weights"}
        held, heads = self.bodies.held(model.block if model else 1), self.heads
        for name in asked:
            body = self._per_body(getattr(held, name))
            if name == "live":
                values = np.maximum(body, self._of_heads(head_live))
            elif name == "largest":
                values = np.maximum(body, self._of_heads(head_largest))
            else:
                values = body + head_results(heads.fc, heads.neurons, heads.classes)
            found[name] = 4 * self.batch * values / MIB
        return found

    @cached_property
    def memory(self) -> Vector:
        """The peak by the law's memory model, or else the least that is needed, MiB."""
        model = self.asked.law.memory
        return np.asarray(model.most_mib(self.sizes) if model else self.sizes["weights"] + self.sizes["live"])

    @cached_property
    def memory_widening(self) -> Vector:
        """How much wider the interval of the peak is than for networks like those seen."""
        model = self.asked.law.memory
        return np.asarray(model.widening(self.sizes) if model else 1.0)

    @cached_property
    def memory_chance(self) -> Vector | None:
        """The probability to keep within the goal's memory; None without such a limit or a memory model."""
        model, limit = self.asked.law.memory, self.asked.goal.max_memory_mib
        if model is None or limit is None:
            return None
        return model.chances(self.memory, self.memory_widening, limit)

    @cached_property
    def fits(self) -> Mask:
        """Which keep within the goal's memory; by a lower bound where the law has no memory model."""
        goal, chance = self.asked.goal, self.memory_chance
        if goal.max_memory_mib is None:
            return np.broadcast_to(True, self.latency_ms.shape)
        if chance is None:
            return np.asarray(self.memory <= goal.max_memory_mib)
        return np.asarray(chance >= goal.probability)

    @cached_property
    def chance(self) -> Vector | None:
        """The probability to meet the goal's time and memory; None where no errors tell. Of both together it is the
        least that it can be, however their errors go together: the sum of both less one (Fréchet's bound)."""
        law, goal, chance = self.asked.law, self.asked.goal, self.memory_chance
        if not goal.timed or not law.strata:
            return chance
        timed = probabilities(law.strata, self.latency_ms, self.limit_ms, self.widening)
        return timed if chance is None else np.maximum(timed + chance - 1, 0)

    @cached_property
    def limit_ms(self) -> Vector:
        """The latency of a run that meets the goal."""
        tile = self.bodies.knobs["tile"].astype(float)
        return self._per_body(self.asked.goal.limit_ms(tile, self.bodies.knobs["batch"]))

    @cached_property
    def reach(self) -> Mask:
        """Which meet the goal: latency · exp(half-width · widening) within the limit, the half-width being that beyond
        which the probability lies on one side (:func:`edgeprof.fit.intervals.probabilities`); with a limit of memory
        that is judged by errors too, by the probability of both."""
        law, goal = self.asked.law, self.asked.goal
        if not goal.timed:
            return self.fits
        if law.strata and self.memory_chance is not None and self.chance is not None:
            return np.asarray(self.chance >= goal.probability)
        limit, level = self.limit_ms, 2 * goal.probability - 1
        if law.strata and level > 0:
            with np.errstate(invalid="ignore"):  # nothing off by nothing, far outside
                limit = limit * np.exp(-half_widths(law.strata, self.latency_ms, level) * self.widening)
        return np.asarray(self.fits & (self.latency_ms <= limit))
