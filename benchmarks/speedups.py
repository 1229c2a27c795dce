"""How often the interval of a speed-up holds the true one, on made-up rounds: ``python -m benchmarks.speedups``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edgeprof.timing.ratio import Ratio, Reading, mean_ratio, ratios

Vector = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int]], Vector]

LEVEL = 0.95
SPEEDUP = 1.25
SPREAD = 0.01  # of a round, the median network
FACTOR = 0.7  # standard deviation of the logarithm of that over networks
LIMIT = 0.05

NOISES: Mapping[str, Noise] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "one-sided (exponential)": lambda rng, size: rng.exponential(size=size),
    "normal, one round in ten disturbed": lambda rng, size: (
        rng.normal(size=size) + (rng.random(size) < 0.1) * rng.exponential(10.0, size)
    ),
}

CASES = (  # networks, rounds, whether the least of them counts, spread of what all networks of a round share
    (40, 3, True, 0.0),
    (40, 3, False, 0.0),
    (40, 2, True, 0.0),
    (40, 6, True, 0.0),
    (5, 3, True, 0.0),
    (40, 3, True, 0.01),
)


def drawn(
    rng: np.random.Generator, noise: Noise, networks: int, rounds: int, least: bool, common: float = 0.0
) -> tuple[list[Ratio], Ratio]:
    """Ratios of networks of which B is ``SPEEDUP`` times as fast, and their mean. ``common`` is the spread of what all
    networks of a round share."""
    spread = SPREAD * np.exp(FACTOR * rng.normal(size=networks))[:, None]
    sides = []
    for size in (SPEEDUP, 1.0):
        times = size * np.exp(spread * noise(rng, (networks, rounds)) + common * rng.normal(size=rounds))
        sides.append(
            [Reading(float(t.min() if least else np.median(t)), tuple(map(float, t)), least) for t in times]
        )
    found = ratios(*sides)
    return found, mean_ratio(found, range(networks), *sides)


def row(noise: Noise, networks: int, rounds: int, least: bool, common: float, times: int, seed: int) -> str:
    """One line: shares of intervals that hold, and their half-widths."""
    rng = np.random.default_rng(seed)
    held: list[bool] = []
    widths: list[float] = []
    mean_held: list[bool] = []
    mean_widths: list[float] = []
    for _ in range(times):
        found, overall = drawn(rng, noise, networks, rounds, least, common)
        for ratio, hold, width in (*((r, held, widths) for r in found), (overall, mean_held, mean_widths)):
            low, high = ratio.interval(LEVEL) or (0.0, math.inf)
            hold.append(low <= SPEEDUP <= high)
            width.append(50 * math.log(high / low))
    estimate = "least" if least else "median"
    return (
        f"{100 * common:.1f} % | {networks} | {rounds} | {estimate} | {100 * np.mean(held):.1f} % | "
        f"±{median(widths):.1f} % | {100 * np.mean(mean_held):.0f} % | ±{median(mean_widths):.2f} %"
    )


def false_failures(networks: int, times: int, seed: int) -> tuple[int, int]:
    """Comparisons without a difference that a gate of 5 % would fail, and that it would pass."""
    rng = np.random.default_rng(seed)
    failed = passed = 0
    worst = SPEEDUP / (1 + LIMIT)
    for _ in range(times):
        found, _ = drawn(rng, NOISES["normal"], networks, 3, True)
        bounds = [r.interval(1 - (1 - LEVEL) / networks) or (0.0, math.inf) for r in found]
        failed += any(high < worst for _, high in bounds)
        passed += all((r.interval(LEVEL) or (0.0, 0.0))[0] >= worst for r in found)
    return failed, passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| noise | shared | networks | rounds | estimate | held | half-width | mean held | half-width |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, noise in NOISES.items():
        for networks, rounds, least, common in CASES:
            print(f"| {name} | {row(noise, networks, rounds, least, common, given.times, given.seed)} |")
    failed, passed = false_failures(40, given.times, given.seed)
    print(f"gate of 5 %, 40 networks without a difference: {failed} of {given.times} fail, {passed} pass")


if __name__ == "__main__":
    main()
