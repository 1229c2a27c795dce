"""The largest batch of a network that fits in memory, found by trying: ``--batch max``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeprof.errors import BackendError, SpecError, WorkerError
from edgeprof.sweeps.case import MOST_TILES, Workload
from edgeprof.sweeps.expand import expand, sweep_of
from edgeprof.sweeps.spec import SweepSpec
from edgeprof.target import Target, alone

PARTS = 128  # of a batch: it is found to within one of them
REFUSALS = (WorkerError, BackendError, SpecError)


@dataclass(frozen=True)
class Largest:
    """The largest batch that fits (0: not even one tile), the least that did not, and what was said of that; None and
    nothing where any batch fits."""

    batch: int
    above: int | None = None
    reason: str = ""


def largest(fits: Callable[[int], str], most: int = MOST_TILES) -> Largest:
    """The largest batch for which ``fits`` gives no reason against it: doubled until there is one, then bisected.

    It is found exactly up to 128 tiles, and to within 1/128 above.
    """
    low, high, reason = 0, 1, ""
    while not (reason := fits(high)):
        low, high = high, min(2 * high, most)
        if low == most:
            return Largest(most)
    while high - low > max(low // PARTS, 1):
        middle = (low + high) // 2
        if said := fits(middle):
            high, reason = middle, said
        else:
            low = middle
    return Largest(low, high, reason)


def fill_memory(
    sweeps: Sequence[SweepSpec], target: Target, say: Callable[[str], None] = lambda text: None
) -> list[SweepSpec]:
    """The networks of ``sweeps``, each with the largest batch that fits on ``target``. One of which not even a tile
    fits stays, with that batch, so that the sweep tells why.

    :raises SpecError: a simulated board, which has no memory to fill.
    """
    if target.backend.simulated:
        raise SpecError("a simulated board has no memory to fill", "give --batch a number")
    works = dict.fromkeys(work for sweep in sweeps for work in expand(sweep.override({"batch": (1,)})))
    named = any(sweep.names("launch") for sweep in sweeps)
    found = []
    with alone(target, say):
        for work in works:
            one = largest(lambda batch, work=work: _refusal(target, work, batch))  # type: ignore[misc]
            above = f"; {one.above:,} does not: {one.reason}" if one.above else ""
            say(f"largest batch: {work.net.label()}: {one.batch:,} fits{above}")
            filled = work.model_copy(update={"batch": max(one.batch, 1)})
            found.append(sweep_of(filled, "largest batch", named))
    return found


def _refusal(target: Target, work: Workload, batch: int) -> str:
    """Why a batch does not fit; empty where it does."""
    try:
        target.backend.try_out(target.case(work.model_copy(update={"batch": batch})))
    except REFUSALS as error:
        return error.message
    return ""
