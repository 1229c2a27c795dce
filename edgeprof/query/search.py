"""Query: laws × networks → which networks are fast enough, the best of them, and what speed costs (the Pareto front).

Networks stream by in chunks, and only what is asked for is kept, so that ten million need no more memory than one
chunk. Prices are those of :func:`edgeprof.fit.prediction.predict`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprof.errors import DomainError, SpecError
from edgeprof.fit.law import LEVEL, Law
from edgeprof.fit.law_domain import outside, strange
from edgeprof.fit.law_memory import UNFITTED, room_of
from edgeprof.fit.prediction import predict
from edgeprof.nets.columns import Ints, head_parameters
from edgeprof.nets.graph import MAX_BYTES
from edgeprof.query.answer import Answer, Found, LawAnswer
from edgeprof.query.figures import Figures, Question, Rank, Vector
from edgeprof.query.goal import Goal
from edgeprof.query.pricing import PER_BODY, pricer
from edgeprof.query.ranking import Best, Front
from edgeprof.query.space import Space, parse_choice, space

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

    :param knobs: choices by knob: a text (:func:`edgeprof.query.space.parse_choice`), a value or several values.
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
    asked = [Question(law, nets, goal, rank, axes, top, front, level) for law in laws]
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
class _Streamed:
    considered: int
    skipped: int
    answer: LawAnswer
    places: Ints  # of answer.nets
    on_front: frozenset[int]


def _stream(asked: Question) -> _Streamed:
    """Every network past one law."""
    law, goal = asked.law, asked.goal
    best, near = ([Best(asked.top), Best(asked.top)] for _ in range(2))  # in the domain, outside
    front = [Front(), Front()]
    counts = dict.fromkeys(("considered", "skipped", "unpriced", "outside", "far_outside"), 0)
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
        if law.strata and not inside.all():
            counts["far_outside"] += int(np.count_nonzero(good & np.isinf(figures.widening)))
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
        far_outside=counts["far_outside"],
        unpriced=counts["unpriced"],
        nets=_found(asked, places, latency, on_front),
        front=_found(asked, edge.places[shown], edge.rows[2][shown], on_front),
        front_size=len(edge.places),
    )
    return _Streamed(counts["considered"], counts["skipped"], answer, places, on_front)


def _most(figures: Figures) -> float:
    """No head has more parameters than this."""
    heads = figures.heads
    return float(
        head_parameters(
            figures.bodies.flat.max(), heads.fc.max(), float(heads.neurons.max()), heads.classes.max()
        )
    )


def _chunks(asked: Question, counts: dict[str, int]) -> Iterator[tuple[Figures, Ints]]:
    """Every network priced, with its place, a chunk at a time."""
    price, nets = pricer(asked.law), asked.space
    all_heads = nets.heads(CHUNK)
    layers = max(int(c) for c in nets.choices["conv"]) or 1
    for slab, skipped in nets.slabs(max(SLAB // layers, 1)):
        counts["skipped"] += skipped * sum(heads.places.size for heads in all_heads)
        if not len(slab.places):
            continue
        priced, around = price(slab.bodies), asked.wide_bodies(slab)
        for heads in all_heads:
            latency_of, beyond = priced(heads), asked.wide_heads(heads)
            step = max(CHUNK // heads.places.size, 1)
            for i in range(0, len(slab.places), step):
                part = slice(i, i + step)
                with np.errstate(all="ignore"):
                    latency = latency_of(part)
                wide = asked.widening(around[part][PER_BODY], beyond, latency)
                figures = Figures(asked, slab.bodies, part, heads, latency, wide)
                counts["considered"] += latency.size
                yield figures, slab.places[part][PER_BODY] * nets.head_count + heads.places


def _found(asked: Question, places: Ints, latency_ms: Vector, on_front: frozenset[int]) -> tuple[Found, ...]:
    """Records of the networks at these places."""
    if not len(places):
        return ()
    law, goal, model = asked.law, asked.goal, asked.law.memory
    slab, heads = asked.space.at(places)
    widening = asked.widening(asked.wide_bodies(slab), asked.wide_heads(heads), latency_ms)
    figures = Figures(asked, slab.bodies, slice(None), heads, latency_ms, widening)
    known = figures.chance
    chance = [None] * len(places) if known is None else [None if p != p else p for p in known.tolist()]
    around = np.broadcast_to(figures.memory_widening, len(places))
    found = []
    for i, place in enumerate(places.tolist()):
        net, batch = asked.space.net(place)
        wide, wide_mib, memory_mib = (float(a[i]) for a in (figures.widening, around, figures.memory))
        interval = law.interval(float(latency_ms[i]), asked.level, wide)
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
                interval_unknown=law.unknown(wide),
                probability=chance[i],
                reaches=bool(figures.reach[i]) and _within(figures, goal, i),
                parameters=int(figures.parameters[i]),
                macs_per_tile=int(figures.macs[i]),
                memory_mib=memory_mib,
                memory_interval_mib=model.interval(memory_mib, wide_mib, asked.level) if model else None,
                memory_interval_unknown=model.unknown(wide_mib) if model else UNFITTED,
                in_domain=not beyond,
                outside=beyond,
                pareto=place in on_front,
            )
        )
    return tuple(found)


def _within(figures: Figures, goal: Goal, i: int) -> bool:
    return goal.max_parameters is None or bool(figures.parameters[i] <= goal.max_parameters)


def _side_by_side(asked: Sequence[Question], streams: Sequence[_Streamed]) -> tuple[Found, ...]:
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
