"""Query: laws × networks → which networks are fast enough, the best of them, and what speed costs (the Pareto front).

Networks stream by in chunks, and only what is asked for is kept, so that ten million need no more memory than one
chunk. Prices are those of :func:`edgeprof.fit.law.predict`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import DomainError, SpecError
from edgeprof.fit.intervals import half_widths, probabilities, widening
from edgeprof.fit.law import LEVEL, Law, clocks_widening, outside, predict, strange
from edgeprof.fit.memory import UNFITTED, Term, room_of
from edgeprof.nets.columns import (
    Bodies,
    Ints,
    head_largest,
    head_live,
    head_macs,
    head_parameters,
    head_results,
)
from edgeprof.nets.graph import MAX_BYTES
from edgeprof.nets.spec import NetSpec
from edgeprof.pricing import PER_BODY, pricer
from edgeprof.requirements import Quantity, exact, speeds
from edgeprof.space import HEAD, Heads, Slab, Space, parse_choice, space

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rank = Literal["macs", "parameters", "speed"]

AXES: Mapping[str, int] = {
    "speed": 1,
    "latency": -1,
    "macs": 1,
    "parameters": 1,
    "memory": -1,
}  # 1: more is better
RANKS: tuple[Rank, ...] = ("macs", "parameters", "speed")
ASSUMED_BATCH = 1024
CHUNK = 2**17  # networks priced at once
SLAB = 2**19  # conv layers held at once
FRONT = 1000  # networks of a front that are told unless fewer or more are asked for
MIB = 2**20


@dataclass(frozen=True)
class Goal:
    """What a network must meet. ``at_least`` is in tiles/ms; an ``image`` (width, height in pixels) is cut into tiles,
    the last of a row or column padded, ``fps`` times a second; ``at_most_ms`` is the latency of a run. All of them
    must be met with ``probability`` (0.5: by the prediction itself) by a law that has errors to judge by, else by its
    prediction; time and memory together."""

    at_least: float | None = None
    image: tuple[int, int] | None = None
    fps: float | None = None
    at_most_ms: float | None = None
    max_memory_mib: float | None = None
    max_parameters: float | None = None
    max_energy_mj: float | None = None
    probability: float = 0.9

    def __post_init__(self) -> None:
        if (self.image is None) != (self.fps is None):
            raise SpecError("an image and its rate belong together", "give both --image 784x784 and --fps 5")
        for name in ("at_least", "fps", "at_most_ms", "max_memory_mib", "max_parameters", "max_energy_mj"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                flag = f"--{name.removesuffix('_mib').removesuffix('_mj').replace('_', '-')}"
                raise SpecError(f"{flag} {value:g} is no limit", "give a number above 0")
        if not 0.5 <= self.probability < 1:
            raise SpecError(
                f"--probability {self.probability} is not from 0.5 to 1", "0.9 asks for nine chances in ten"
            )

    @property
    def timed(self) -> bool:
        """Whether it says anything about time."""
        return any(v is not None for v in (self.at_least, self.image, self.at_most_ms))

    def tiles_per_ms(self, tile: Any) -> Any:
        """The speed needed for tiles of this side; 0 where none is."""
        needed = tile * 0.0 + (self.at_least or 0.0)
        if self.image is not None and self.fps is not None:
            width, height = self.image
            needed = np.maximum(needed, -(-width // tile) * -(-height // tile) * self.fps / 1000)
        return needed

    def limit_ms(self, tile: Any, batch: Any) -> Any:
        """The latency of a run that meets it."""
        with np.errstate(divide="ignore"):
            return np.minimum(batch / self.tiles_per_ms(tile), self.at_most_ms or math.inf)


@dataclass(frozen=True)
class Found:
    """A network and what a law says of it. ``interval_ms`` is of the latency, ``interval`` of tiles/ms; both None where
    the law has no errors to judge by, as is the ``probability`` of meeting the goal, or where the goal is none of time
    or memory. ``memory_mib`` is the peak by the law's memory model, with its interval; without one (None) it is the
    least that is needed: parameters, and the largest input and output of one layer."""

    law: str
    net: NetSpec
    batch: int
    latency_ms: float
    tiles_per_ms: float
    interval_ms: tuple[float, float] | None
    interval: tuple[float, float] | None
    probability: float | None
    reaches: bool
    parameters: int
    macs_per_tile: int
    memory_mib: float
    memory_interval_mib: tuple[float, float] | None
    in_domain: bool
    outside: tuple[Mapping[str, Any], ...]
    pareto: bool


@dataclass(frozen=True)
class LawAnswer:
    """What one law says: how many networks meet the goal, how many of those are outside its domain, how many of all are
    (``outside``), and of how many it says nothing (``unpriced``). ``nets`` are the best that meet the goal, or the
    nearest to it if none does; ``front`` the Pareto front of those that do, best by the first axis first. If the front
    has more networks (``front_size``) than asked for, they are spread evenly over the first axis on a log scale.
    ``memory_fitted``: the law has a memory model; without one memory is a lower bound. ``room_mib`` is what a network
    could have there, None where nothing tells."""

    law: str
    board: str
    memory_fitted: bool
    room_mib: float | None
    reaching: int
    reaching_outside: int
    outside: int
    unpriced: int
    nets: tuple[Found, ...]
    front: tuple[Found, ...]
    front_size: int


@dataclass(frozen=True)
class Answer:
    """``considered`` networks; ``skipped`` combinations are none (no pixels left, or over 2 GiB of weights). ``nets``
    are one law's best, or with several laws the best of each by every law. ``target`` is the speed needed in tiles/ms,
    None where there is none or it depends on the tile."""

    considered: int
    skipped: int
    target: float | None
    nets: tuple[Found, ...]
    laws: tuple[LawAnswer, ...]
    elapsed_s: float


def quantities_of(own: LawAnswer) -> dict[str, Quantity | None]:
    """What can be required of a law's answer: numbers of its best network, and how many ``networks`` meet the goal."""
    if not own.nets:
        names = ("latency_ms", "ms_per_tile", "tiles_per_ms", "parameters", "macs_per_tile", "memory_mib")
        none = Quantity(None, why="no network is priced")
        return {"networks": exact(own.reaching), **dict.fromkeys(names, none)}
    best = own.nets[0]
    why = "" if best.interval_ms else "no errors in the law"
    low, high = best.memory_interval_mib or (best.memory_mib, None)
    least = "" if own.memory_fitted else UNFITTED
    return {
        "networks": exact(own.reaching),
        **speeds(best.latency_ms, best.interval_ms, best.batch, why),
        "parameters": exact(best.parameters),
        "macs_per_tile": exact(best.macs_per_tile),
        "memory_mib": Quantity(best.memory_mib, low, high, least),
    }


def query_nets(
    laws: Law | Sequence[Law],
    knobs: Mapping[str, Any],
    goal: Goal | None = None,
    *,
    rank: Rank = "macs",
    pareto: Sequence[str] = ("speed", "macs"),
    top: int = 20,
    front: int = FRONT,
    level: float = LEVEL,
) -> Answer:
    """All networks of a space, judged by one or several laws.

    :param knobs: choices by knob: a text as :func:`edgeprof.space.parse_choice` reads it, a value or several values.
    :param rank: what the best networks have most of. :param pareto: two of :data:`AXES`.
    :param top: how many of the best are told. :param front: how many of the front. :param level: of the intervals.
    :raises SpecError: a knob, goal or axis that is none; a law that cannot be queried.
    """
    begin = time.perf_counter()
    laws = [laws] if isinstance(laws, Law) else list(laws)
    if not laws:
        raise SpecError("no law to ask", "give one with --law")
    if len({law.name for law in laws}) < len(laws):
        raise SpecError("two laws of one name", "give each law once, or rename one")
    goal = goal or Goal()
    if goal.max_energy_mj is not None:
        raise SpecError(
            f"law '{laws[0].name}' knows latency, not energy",
            "leave --max-energy out; --at-least bounds the time",
        )
    axes = tuple(pareto)
    if len(axes) != 2 or len(set(axes)) != 2 or not set(axes) <= AXES.keys():
        raise SpecError(f"--pareto {','.join(axes)} is no pair of axes", f"name two of {', '.join(AXES)}")
    if rank not in RANKS:
        raise SpecError(f"--rank {rank} is nothing to rank by", f"choose from {', '.join(RANKS)}")
    nets = asked_space(laws, knobs)
    asked = [_Asked(law, nets, goal, rank, axes, top, front, level) for law in laws]
    streams = [_stream(own) for own in asked]
    answers = tuple(stream.answer for stream in streams)
    tiles = {float(goal.tiles_per_ms(np.array(float(tile)))) for tile in nets.choices["tile"]}
    return Answer(
        considered=streams[0].considered,
        skipped=streams[0].skipped,
        target=tiles.pop() or None if len(tiles) == 1 else None,
        nets=answers[0].nets if len(laws) == 1 else _side_by_side(asked, streams),
        laws=answers,
        elapsed_s=time.perf_counter() - begin,
    )


def asked_space(laws: Sequence[Law], knobs: Mapping[str, Any]) -> Space:
    """The networks that these choices span.

    :raises SpecError: a choice that is none, or too many of them.
    """
    return space({k: choice(k, v) for k, v in knobs.items()}, assumed_batch(laws))


def choice(knob: str, given: Any) -> tuple[int | str, ...]:
    """A knob's choices from a text, a value or several values."""
    if isinstance(given, str):
        return parse_choice(knob, given)
    return (given,) if isinstance(given, int) else tuple(given)


def assumed_batch(laws: Sequence[Law]) -> int:
    """The batch where none is given: 1024, or the greatest that the first law has seen if that is another."""
    law = laws[0]
    return int(law.domain["batch"][1]) if strange(law, {"batch": (ASSUMED_BATCH,)}) else ASSUMED_BATCH


# --- one law


@dataclass(frozen=True)
class _Asked:
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

    @cached_property
    def of_clocks(self) -> float:
        """How much wider the law's clocks make every interval."""
        return clocks_widening(self.law, self.law.clocks)


@dataclass(frozen=True)
class _Figures:
    """Numbers of networks, worked out when they are needed: of [body, fc, neurons, classes], or one head a body."""

    asked: _Asked
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
        return self._per_body(self.bodies.knobs["batch"])

    @cached_property
    def speed(self) -> Vector:
        return np.asarray(self.batch / self.latency_ms)

    @property
    def latency(self) -> Vector:
        return self.latency_ms

    @cached_property
    def macs(self) -> Vector:
        return np.asarray(self._per_body(self.bodies.macs) + self._of_heads(head_macs))

    @cached_property
    def parameters(self) -> Vector:
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
        model = self.asked.law.memory
        return np.asarray(model.most_mib(self.sizes) if model else self.sizes["weights"] + self.sizes["live"])

    @cached_property
    def memory_widening(self) -> Vector:
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
            limit = limit * np.exp(-half_widths(law.strata, self.latency_ms, level) * self.widening)
        return np.asarray(self.fits & (self.latency_ms <= limit))


class _Best:
    """The ``count`` networks with the largest keys, the first key first; of equals the one that came first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rows = np.empty((3, 0))  # two keys, latency
        self.places = np.empty(0, np.int64)

    def offer(self, mask: Mask, first: Vector, second: Vector, latency_ms: Vector, places: Ints) -> None:
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


class _Front:
    """The Pareto front of two keys of which more is better, the first key falling; of equals the first that came."""

    def __init__(self) -> None:
        self.rows = np.empty((3, 0))  # two keys, latency
        self.places = np.empty(0, np.int64)

    def offer(self, mask: Mask, first: Vector, second: Vector, latency_ms: Vector, places: Ints) -> None:
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


@dataclass(frozen=True)
class _Streamed:
    considered: int
    skipped: int
    answer: LawAnswer
    places: Ints  # of answer.nets
    on_front: frozenset[int]


def _stream(asked: _Asked) -> _Streamed:
    """Every network past one law."""
    law, goal = asked.law, asked.goal
    best, near = ([_Best(asked.top), _Best(asked.top)] for _ in range(2))  # in the domain, outside
    front = [_Front(), _Front()]
    counts = dict.fromkeys(("considered", "skipped", "unpriced", "outside", "inside"), 0)
    reaching = [0, 0]
    for figures, places in _chunks(asked, counts):
        good = (figures.latency_ms > 0) & (figures.latency_ms < math.inf)
        if float(figures.bodies.parameters.max()) + _most(figures) > MAX_BYTES / 4:
            fits = figures.parameters <= MAX_BYTES / 4
            counts["skipped"] += int((~fits).sum())
            counts["considered"] -= int((~fits).sum())
            counts["unpriced"] += int((fits & ~good).sum())
            good &= fits
        else:
            counts["unpriced"] += int(good.size - np.count_nonzero(good))
        inside = np.broadcast_to(figures.widening == 1.0, good.shape)
        counts["outside"] += int(np.count_nonzero(good & ~inside))
        if goal.max_parameters is not None:
            good &= figures.parameters <= goal.max_parameters
        if goal.max_memory_mib is not None:
            good &= figures.fits
        reach = good & figures.reach if goal.timed else good
        tiers = [reach] if inside.all() else [reach & inside, reach & ~inside]
        for tier, mask in enumerate(tiers):
            reaching[tier] += int(np.count_nonzero(mask))
            first = getattr(figures, asked.rank)
            second = figures.speed if asked.rank != "speed" else figures.macs
            best[tier].offer(mask, first, second, figures.latency_ms, places)
            x, y = (AXES[axis] * getattr(figures, axis) for axis in asked.axes)
            front[tier].offer(mask, x, y, figures.latency_ms, places)
        if goal.timed and not any(reaching):
            ratio = figures.limit_ms / figures.latency_ms
            for tier, mask in enumerate([good & inside, good & ~inside]):
                near[tier].offer(mask, ratio, figures.speed, figures.latency_ms, places)
    chosen = best if any(reaching) else near
    places = np.concatenate([b.places for b in chosen])[: asked.top]
    latency = np.concatenate([b.rows[2] for b in chosen])[: asked.top]
    edge = front[0] if front[0].places.size else front[1]
    shown, on_front = edge.spread(asked.front), frozenset(edge.places.tolist())
    answer = LawAnswer(
        law=law.name,
        board=law.board,
        memory_fitted=law.memory is not None,
        room_mib=room_of(law),
        reaching=sum(reaching),
        reaching_outside=reaching[1],
        outside=counts["outside"],
        unpriced=counts["unpriced"],
        nets=_found(asked, places, latency, on_front),
        front=_found(asked, edge.places[shown], edge.rows[2][shown], on_front),
        front_size=len(edge.places),
    )
    return _Streamed(counts["considered"], counts["skipped"], answer, places, on_front)


def _most(figures: _Figures) -> float:
    """No head has more parameters than this."""
    heads = figures.heads
    return float(
        head_parameters(
            figures.bodies.flat.max(), heads.fc.max(), float(heads.neurons.max()), heads.classes.max()
        )
    )


def _chunks(asked: _Asked, counts: dict[str, int]) -> Iterator[tuple[_Figures, Ints]]:
    """Every network priced, with its place, a chunk at a time."""
    price, wide, nets = pricer(asked.law), asked.wide, asked.space
    all_heads = nets.heads(CHUNK)
    layers = max(int(c) for c in nets.choices["conv"]) or 1
    for slab, skipped in nets.slabs(max(SLAB // layers, 1)):
        counts["skipped"] += skipped * sum(heads.places.size for heads in all_heads)
        if not len(slab.places):
            continue
        priced, around = price(slab.bodies), _of_bodies(wide, slab) * asked.of_clocks
        for heads in all_heads:
            latency_of, beyond = priced(heads), _of_heads(wide, heads)
            step = max(CHUNK // heads.places.size, 1)
            for i in range(0, len(slab.places), step):
                part = slice(i, i + step)
                with np.errstate(all="ignore"):
                    latency = latency_of(part)
                figures = _Figures(asked, slab.bodies, part, heads, latency, around[part][PER_BODY] * beyond)
                counts["considered"] += latency.size
                yield figures, slab.places[part][PER_BODY] * nets.head_count + heads.places


# --- the domain, knob by knob


def _of_bodies(wide: Mapping[str, Vector], slab: Slab) -> Vector:
    total = np.ones(len(slab.bodies))
    for knob, picks in slab.picks.items():
        own = wide[knob][picks]
        meant = slab.bodies.knobs["conv"] > 0 if knob in ("depth", "kernel", "stride", "padding") else True
        total *= np.where(meant, own, 1.0)
    return total


def _of_heads(wide: Mapping[str, Vector], heads: Heads) -> Vector:
    factors = {knob: wide[knob][heads.picks[knob]] for knob in HEAD}
    factors["neurons"] = np.where(heads.fc > 0, factors["neurons"], 1.0)
    return np.asarray(factors["fc"] * factors["neurons"] * factors["classes"])


# --- what is kept


def _found(asked: _Asked, places: Ints, latency_ms: Vector, on_front: frozenset[int]) -> tuple[Found, ...]:
    """Records of the networks at these places."""
    if not len(places):
        return ()
    law, goal, wide = asked.law, asked.goal, asked.wide
    slab, heads = asked.space.at(places)
    widening = _of_bodies(wide, slab) * _of_heads(wide, heads) * asked.of_clocks
    figures = _Figures(asked, slab.bodies, slice(None), heads, latency_ms, widening)
    known = figures.chance
    chance: list[float] | list[None] = [None] * len(places) if known is None else known.tolist()
    around = np.broadcast_to(figures.memory_widening, len(places))
    found = []
    for i, place in enumerate(places.tolist()):
        net, batch = asked.space.net(place)
        interval = law.interval(float(latency_ms[i]), asked.level, float(figures.widening[i]))
        beyond = outside(law, net, batch)
        found.append(
            Found(
                law=law.name,
                net=net,
                batch=batch,
                latency_ms=float(latency_ms[i]),
                tiles_per_ms=batch / float(latency_ms[i]),
                interval_ms=interval,
                interval=(batch / interval[1], batch / interval[0]) if interval else None,
                probability=chance[i],
                reaches=bool(figures.reach[i]) and _within(figures, goal, i),
                parameters=int(figures.parameters[i]),
                macs_per_tile=int(figures.macs[i]),
                memory_mib=float(figures.memory[i]),
                memory_interval_mib=law.memory.interval(
                    float(figures.memory[i]), float(around[i]), asked.level
                )
                if law.memory
                else None,
                in_domain=not beyond,
                outside=beyond,
                pareto=place in on_front,
            )
        )
    return tuple(found)


def _within(figures: _Figures, goal: Goal, i: int) -> bool:
    return goal.max_parameters is None or bool(figures.parameters[i] <= goal.max_parameters)


def _side_by_side(asked: Sequence[_Asked], streams: Sequence[_Streamed]) -> tuple[Found, ...]:
    """The best networks of each law by every law, those with most capacity first."""
    rank, top = asked[0].rank, asked[0].top
    each = max(top // len(asked), 1)
    chosen = {
        int(place): net
        for stream in streams
        for place, net in zip(stream.places[:each], stream.answer.nets[:each], strict=True)
    }
    keys = {
        "macs": lambda net: net.macs_per_tile,
        "parameters": lambda net: net.parameters,
        "speed": lambda net: net.tiles_per_ms,
    }
    order = sorted(chosen, key=lambda place: -keys[rank](chosen[place]))[:top]
    found: list[Found] = []
    for place in order:
        for own, stream in zip(asked, streams, strict=True):
            net = chosen[place]
            try:
                latency = predict(own.law, net.net, net.batch).latency_ms
            except DomainError:
                continue
            found += _found(own, np.array([place]), np.array([latency]), stream.on_front)
    return tuple(found)
