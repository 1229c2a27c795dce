"""Noise: what disturbed a measurement, from the worker's counters and the machine's, and from where on it counts.

Limits are from recorded rounds, quiet ones and others with a busy neighbour (docs/decisions/0014-limits-of-noise.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeprof.boards.sensors.host import Disturbance

STOLEN_PCT = 2.0  # of the time: taken by the hypervisor
CONTENDED_PCT = 10.0  # of the time: some task waited for a processor
SWITCHES_PER_S = (
    50.0  # involuntary: 99 % of quiet rounds have less than 36, a neighbour on the processor makes 82
)
FAULTS_PER_S = 5000.0  # 1 % of the time, at 1.8 µs each; quiet: 65
GROWTH_MIB = 16.0  # while sampled; edgeprof's own lists of runs stay below 10
CLOCK_PCT = 5.0  # more than one step of a turbo clock, 100 MHz in 3 GHz


@dataclass(frozen=True)
class SamplingNoise:
    """What happened to the worker while it took samples, warm-up left out: involuntary context switches and page faults
    in a second of running, faults that had to read a disk, and how much its memory grew."""

    switches_per_s: float
    faults_per_s: float
    disk_faults: int
    growth_mib: float


def sampling_noise(counters: Mapping[str, float], sampled_s: float) -> SamplingNoise:
    """The noise that a worker's ``counters`` tell of, over ``sampled_s`` seconds of running."""
    seconds = max(sampled_s, 1e-9)
    return SamplingNoise(
        switches_per_s=counters["involuntary_switches"] / seconds,
        faults_per_s=(counters["minor_faults"] + counters["major_faults"]) / seconds,
        disk_faults=int(counters["major_faults"]),
        growth_mib=counters["resident_kib"] / 1024,
    )


def of_sampling(noise: SamplingNoise) -> tuple[str, ...]:
    """Codes of the advice that the worker's noise calls for."""
    found = {
        "switched": noise.switches_per_s > SWITCHES_PER_S,
        "faulted": noise.faults_per_s > FAULTS_PER_S or noise.disk_faults > 0,
        "growing": noise.growth_mib > GROWTH_MIB,
    }
    return tuple(code for code, there in found.items() if there)


def of_machine(seen: Disturbance) -> tuple[str, ...]:
    """Codes of the advice that a disturbance of the machine calls for."""
    found = {
        "stolen": (seen.steal_pct or 0) > STOLEN_PCT,
        "contended": (seen.waited_pct or 0) > CONTENDED_PCT,
        "throttled": (seen.throttle_events or 0) > 0,
        "clock-moved": (seen.clock_moved_pct or 0) > CLOCK_PCT,
    }
    return tuple(code for code, there in found.items() if there)
