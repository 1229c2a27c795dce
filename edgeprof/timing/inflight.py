"""Runs in flight: the throughput of a network that is run several times at once, and the depth that is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from edgeprof.backends.base import InFlight
from edgeprof.errors import SpecError

DEEPEST = 64
TURNS = 8  # of each depth: so many pairs are behind a speed-up
TURN_S = 0.4
LEVEL = 0.95
SHORT_MS = 0.05  # of a run: below, Python's lock between two runs is what limits them
Speed = Callable[[float], str]
GAIN = 0.01  # a deeper one that is not shown to be so much faster gains nothing


def in_flight_s(depths: Sequence[int]) -> float:
    """How long depths are measured (s)."""
    return len(depths) * TURNS * TURN_S


def depths_of(asked: Sequence[int]) -> tuple[int, ...]:
    """Depths in order, and 1 among them, which the others are compared with.

    :raises SpecError: one is not between 1 and ``DEEPEST``.
    """
    wrong = next((depth for depth in asked if not 1 <= depth <= DEEPEST), None)
    if wrong is not None:
        raise SpecError(
            f"{wrong} runs in flight cannot be measured", f"take 1 to {DEEPEST}: --in-flight 1,2,4"
        )
    return tuple(sorted({1, *asked}))


def in_flight(batch: int, ran: Sequence[InFlight]) -> dict[str, Any]:
    """Telemetry of depths: throughput (tiles/ms), speed-up over one run at a time with its 95 % interval, durations of
    single runs (ms). ``enough`` is the least depth that no deeper one is shown to be faster than; absent where the
    deepest still is. ``python_lock`` tells that runs are so short that not the network limits them.
    """
    first = ran[0]
    at_depth = []
    for one in ran:
        speedup, low, high = gain(first.runs_per_s, one.runs_per_s)
        at_depth.append(
            {
                "depth": one.depth,
                "runs": one.runs,
                "tiles_per_ms": batch * fmean(one.runs_per_s) / 1e3,
                "speedup": speedup,
                "speedup_interval": [low, high],
                **{f"{name}_ms": value for name, value in one.percentiles_ms.items()},
            }
        )
    enough = next(
        (
            one.depth
            for i, one in enumerate(ran[:-1])
            if all(gain(one.runs_per_s, deeper.runs_per_s)[1] <= 1 + GAIN for deeper in ran[i + 1 :])
        ),
        None,
    )
    found = {
        "spent_s": sum(one.spent_s for one in ran),
        "python_lock": first.percentiles_ms["p50"] < SHORT_MS,
        "at_depth": at_depth,
    }
    return found if enough is None else {**found, "enough": enough}


def gain(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """How many times as fast ``other`` was as ``one``, and the interval of that: turns taken together are pairs, and
    the logarithms of their ratios follow Student's t."""
    from scipy.special import stdtrit  # plain sweeps do without SciPy

    logs = [math.log(b / a) for a, b in zip(one, other, strict=True)]
    middle = fmean(logs)
    t = float(stdtrit(len(logs) - 1, (1 + LEVEL) / 2))
    half = t * stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def tiles(tiles_per_ms: float) -> str:
    """A throughput for people, of networks of the family."""
    return f"{tiles_per_ms:.4g} tiles/ms"


def images(tiles_per_ms: float) -> str:
    """A throughput for people, of any model."""
    return f"{1e3 * tiles_per_ms:.4g} images/s"


def told(found: Mapping[str, Any], speed: Speed = tiles) -> str:
    """In a few words, for people."""
    depths = {one["depth"]: one for one in found["at_depth"]}
    best = found.get("enough", max(depths))
    if len(depths) == 1:
        return f"{speed(depths[1]['tiles_per_ms'])} one at a time"
    if found["python_lock"]:
        return "so short that Python's lock limits several at once, not the network"
    if best == 1:
        return f"{speed(depths[1]['tiles_per_ms'])} one at a time, and more are no faster"
    low, high = depths[best]["speedup_interval"]
    more = "more are no faster" if "enough" in found else "more may be faster"
    return f"{best} at once: {depths[best]['speedup']:.2f} [{low:.2f}, {high:.2f}] times as fast, {more}"


def lines(found: Mapping[str, Any], speed: Speed = tiles) -> list[str]:
    """For people, a line for each depth."""
    return [
        f"  {one['depth']:>2} at once  {speed(one['tiles_per_ms']):>18}"
        f"  p50 {one['p50_ms']:.4g} ms, p99 {one['p99_ms']:.4g} ms"
        for one in found["at_depth"]
    ]
