"""Answer: what laws say of a space of networks: the best of them, the front, counts, and what can be required of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeprof.nets.spec import NetSpec
from edgeprof.requirements import Quantity, exact, speeds


@dataclass(frozen=True)
class Found:
    """A network and what a law says of it. ``interval_ms`` is of the latency, ``interval`` of tiles/ms; both None where
    none is known, and ``interval_unknown`` tells why. The ``probability`` of meeting the goal is None there too, and
    where the goal is none of time or memory. ``memory_mib`` is the peak by the law's memory model, with its interval;
    without one (None) it is the least that is needed: parameters, and the largest input and output of one layer."""

    law: str
    net: NetSpec
    batch: int
    latency_ms: float
    tiles_per_ms: float
    interval_ms: tuple[float, float] | None
    interval: tuple[float, float] | None
    interval_unknown: str
    probability: float | None
    reaches: bool
    parameters: int
    macs_per_tile: int
    memory_mib: float
    memory_interval_mib: tuple[float, float] | None
    memory_interval_unknown: str
    in_domain: bool
    outside: tuple[Mapping[str, Any], ...]
    pareto: bool


@dataclass(frozen=True)
class LawAnswer:
    """What one law says: how many networks meet the goal, how many of those are outside its domain, how many of all are
    (``outside``), how many of these so far that no interval is known (``far_outside``; these meet no goal of time that
    asks for more than the prediction), and of how many it says nothing (``unpriced``). ``nets`` are the best that meet
    the goal, or the nearest to it if none does; ``front`` the Pareto front of those that do, best by the first axis
    first. If the front has more networks (``front_size``) than asked for, they are spread evenly over the first axis on
    a log scale. ``memory_fitted``: the law has a memory model; without one memory is a lower bound. ``room_mib`` is
    what a network could have there, None where nothing tells."""

    law: str
    board: str
    memory_fitted: bool
    room_mib: float | None
    reaching: int
    reaching_outside: int
    outside: int
    far_outside: int
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
    low, high = best.memory_interval_mib or (None if own.memory_fitted else best.memory_mib, None)
    return {
        "networks": exact(own.reaching),
        **speeds(best.latency_ms, best.interval_ms, best.batch, best.interval_unknown),
        "parameters": exact(best.parameters),
        "macs_per_tile": exact(best.macs_per_tile),
        "memory_mib": Quantity(best.memory_mib, low, high, best.memory_interval_unknown),
    }
