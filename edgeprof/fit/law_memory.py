"""Memory by a law: what a network takes on the law's board, and whether that fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeprof.boards.spec import read_board
from edgeprof.errors import EdgeprofError
from edgeprof.fit.law import Law
from edgeprof.fit.memory import Where, sizes_of
from edgeprof.nets.footprint import footprint
from edgeprof.nets.network import Network

UNFITTED = "the least: no memory model"


@dataclass(frozen=True)
class Memory:
    """What a network takes in MiB: ``mib`` at its peak, ``build_mib`` while it is built. Where it is not ``fitted``, a
    lower bound, and ``why``. ``room_mib`` is what a network could have on the board, and ``fits`` the probability that
    it does; None where that is not known. ``why`` tells why there is no interval."""

    mib: float
    build_mib: float | None
    interval_mib: tuple[float, float] | None
    level: float
    of: Where | None
    room_mib: float | None
    fits: float | None = None
    widening: float = 1.0
    why: str = ""

    @property
    def fitted(self) -> bool:
        """Whether it is by a memory model."""
        return self.of is not None


def memory_of(law: Law, net: Network, batch: int, level: float = 0.9) -> Memory:
    """What ``net`` takes at ``batch`` by the law's memory model; the least that it needs where the law has none."""
    model, room = law.memory, room_of(law)
    if model is None:
        own = footprint(net, batch)
        return Memory(own.weights + own.live, None, None, level, None, room, why=UNFITTED)
    sizes = sizes_of(footprint(net, batch, model.block))
    most, wide = float(model.most_mib(sizes)), float(model.widening(sizes))
    fits = None if model.room_mib is None else float(model.chances(most, wide, model.room_mib))
    return Memory(
        mib=most,
        build_mib=float(model.build_mib(sizes)),
        interval_mib=model.interval(most, wide, level),
        level=level,
        of=model.of,
        room_mib=room,
        widening=wide,
        fits=None if fits is None or math.isnan(fits) else fits,
        why=model.unknown(wide),
    )


def room_of(law: Law) -> float | None:
    """What memory (MiB) a network could have on the law's board: what there was when it was measured; without that, all
    that the board's file or the machine's record tells, of which the system takes a part. None where neither does."""
    if law.memory is not None and law.memory.room_mib is not None:
        return law.memory.room_mib
    try:
        gib = read_board(law.board).memory_gib
    except EdgeprofError:
        gib = None
    found = law.machine.get("memory_mib") if gib is None else 1024 * gib
    return float(found) if isinstance(found, int | float) else None
