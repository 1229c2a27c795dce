"""Soak: a board is warmed up by running a network until its temperature is steady, before anything is timed; or until
its speed is, where clocks have just been changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeprof.backends.base import Backend
from edgeprof.boards.sensors.host import HostReading, hottest_c
from edgeprof.errors import BackendError, WorkerError
from edgeprof.sweeps.case import Case
from edgeprof.timing.drift import SENTINELS

STEP_S = 10.0
STEADY_C = 0.5  # of the hottest sensor, in a step: sensors of a Jetson have steps of half a degree


SETTLE_STEP_S = 0.3
SETTLE_S = 10.0
STEADY_SPEED = 0.02  # between two steps


@dataclass(frozen=True)
class Soaked:
    """How a soak went: temperatures (°C) at its begin and end, its time (s), and whether they were steady at last."""

    start_c: float
    end_c: float
    spent_s: float
    steady: bool

    def told(self) -> str:
        """A line for people."""
        steady = "steady" if self.steady else "not steady yet"
        return f"warmed up for {self.spent_s:.0f} s: from {self.start_c:.0f} to {self.end_c:.0f} °C, {steady}"


def soak(
    like: Case,
    backend: Backend,
    sense: Callable[[], HostReading],
    longest_s: float,
    step_s: float = STEP_S,
    clock: Callable[[], float] = time.monotonic,
) -> Soaked | None:
    """Run the sentinel that computes most as the case ``like`` is run, in steps, until the hottest sensor rises no more
    or ``longest_s`` is over. None where there is no temperature, or nothing runs."""
    case = _load(like)
    begin, start = clock(), hottest_c(sense().temperature_c)
    before, steady = start, False
    while before is not None and not steady and (left := longest_s - (clock() - begin)) > 0:
        try:
            backend.sustain(case, min(step_s, left), 0.0, lambda: None, step_s)
        except (WorkerError, BackendError):
            return None
        now = hottest_c(sense().temperature_c)
        steady = now is not None and abs(now - before) <= STEADY_C and left >= step_s
        before = now
    if start is None or before is None:
        return None
    return Soaked(start, before, clock() - begin, steady)


def settle(
    like: Case,
    backend: Backend,
    longest_s: float = SETTLE_S,
    step_s: float = SETTLE_STEP_S,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Run the same sentinel in steps until two in a row are as fast as each other, or ``longest_s`` is over: whether
    they were."""
    begin, before = clock(), 0.0
    while clock() - begin < longest_s:
        try:
            now = backend.sustain(_load(like), step_s, 0.0, lambda: None, step_s).run_ms
        except (WorkerError, BackendError):
            return False
        if abs(now - before) <= STEADY_SPEED * before:
            return True
        before = now
    return False


def _load(like: Case) -> Case:
    net, batch = SENTINELS["compute"]
    return like.model_copy(update={"net": net, "batch": batch, "inputs": "noise"})
