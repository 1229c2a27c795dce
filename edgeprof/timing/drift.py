"""Drift: sentinels, networks measured again and again, which tell whether the machine is still what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeprof.backends.base import Stop
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Round

SENTINELS: Mapping[str, tuple[NetSpec, int]] = {  # name → network and batch
    "compute": (net_spec(conv=2, depth=32, fc=1, neurons=256), 8),
    "memory": (net_spec(conv=0, fc=1, neurons=2048), 1),  # each weight is read once
    "launch": (net_spec(conv=0, fc=3, neurons=8), 1),  # next to no work in a kernel
}
READING = Stop(target_ci=1.0, min_runs=5, min_s=0.06, max_s=0.2, profile=False)
PARTS = 5  # of a reading: the fastest counts
DRIFT = 0.03
LOUD = 0.10  # drift on the noisiest machine
NOISES = 6.0  # standard deviations between the best of many readings and one that counts as slow
FIRST = 5  # readings at the first look: they tell a sentinel's noise
CONFIRM = 2  # further readings where the first is slow: the fastest counts
RANGE_SD = {
    3: 1.69,
    5: 2.33,
}  # mean range of normal numbers, in standard deviations (Tippett, Biometrika 17, 1925)
CREEP = 0.005  # above the level to which a drift was mended: a look just before it, as slow as this, was part of it
CREEP_NOISES = 1.5  # standard deviations of one reading; a look's mean over the sentinels has fewer
LAPSES = 2  # looks in a row without creep: it began after them
TRIES = 2  # failures in a row after which a sentinel is given up


def reading_ms(measured: Round) -> float:
    """One reading of a sentinel: the least of its parts' means. Not medians: where a network shares its processor,
    most of its short runs are as fast as ever, and a long run is not."""
    return min(float(part.mean()) for part in np.array_split(measured.runs_ns, PARTS) if len(part)) / 1e6


class Sentinels:
    """Looks at the sentinels, and how slow each look found the machine.

    A reading is compared with the best of its own kind: of one network with one number of threads and the like. What
    the best is may be learnt late; earlier looks are then judged anew.

    :param read: one reading (ms) of the sentinel of a name; None where it failed.
    """

    def __init__(self, read: Callable[[str, Case], float | None]) -> None:
        self._read = read
        self._best: dict[Case, float] = {}
        self._noises: dict[
            Case, list[float]
        ] = {}  # standard deviations, of readings taken at once on a quiet machine
        self._failures: dict[Case, int] = {}
        self._looks: list[dict[Case, float]] = []
        self._bests: list[dict[Case, float]] = []  # as known at each look
        self._levels: dict[int, dict[Case, float]] = {}  # medians, of looks just after a drift
        self._level: dict[Case, float] = {}
        self._slow = False

    def __len__(self) -> int:
        """Looks so far."""
        return len(self._looks)

    def look(self, like: Case) -> float:
        """Look at every sentinel, run as the case ``like`` is: the slowness found, above 1 where there is drift."""
        found: dict[Case, float] = {}
        for name, (net, batch) in SENTINELS.items():
            sentinel = like.model_copy(update={"net": net, "batch": batch, "inputs": "noise"})
            if self._failures.get(sentinel, 0) < TRIES:
                found[sentinel] = self._reading(name, sentinel)
        self._looks.append(found)
        self._bests.append(dict(self._best))
        slowness = self._slowness(len(self._looks) - 1)
        if self._slow and slowness <= 1:
            self._levels[len(self._looks) - 1] = self._level
        self._slow = slowness > 1
        self._level = {}
        return slowness

    def drifting(self) -> set[int]:
        """Numbers of the looks, from 0, that found a drift, or that it was on its way."""
        slow = {i for i in range(len(self._looks)) if self._slowness(i) > 1}
        return slow.union(*(self._creep(i) for i in slow if i - 1 not in slow))

    def _creep(self, begin: int) -> set[int]:
        """Looks before the drift that was found by look ``begin`` which were on the way to it, as the level tells to
        which it was mended."""
        mended = next((i for i in sorted(self._levels) if i > begin), None)
        if mended is None:
            return set()
        found, lapses, level = begin, 0, self._levels[mended]
        for i in reversed(range(begin)):
            if self._slowness(i) > 1:
                break
            known = [s for s in self._looks[i] if s in level]
            excess = float(np.mean([self._looks[i][s] / level[s] - 1 for s in known])) if known else 0.0
            noise = float(np.mean([self._noise(s) for s in known])) if known else 0.0
            lapses = 0 if excess > max(CREEP, CREEP_NOISES * noise) else lapses + 1
            if lapses == LAPSES:
                break
            if not lapses:
                found = i
        return set(range(found, begin))

    def _reading(self, name: str, sentinel: Case) -> float:
        """The reading that counts; without end where there is none."""
        first = sentinel not in self._best
        values: list[float] = []
        while len(values) < (FIRST if first or self._slow else 1 + CONFIRM):
            value = self._read(name, sentinel)
            if value is None:
                self._failures[sentinel] = self._failures.get(sentinel, 0) + 1
                return float("inf")
            values.append(value)
            slow = not first and min(values) > self._best[sentinel] * (1 + self._limit(sentinel))
            if not first and (len(values) > CONFIRM if slow else not self._slow):
                break
        self._failures[sentinel] = 0
        if not slow and len(values) in RANGE_SD:
            noise = (max(values) / min(values) - 1) / RANGE_SD[len(values)]
            self._noises.setdefault(sentinel, []).append(noise)
            self._level[sentinel] = float(np.median(values))
        self._best[sentinel] = min([self._best.get(sentinel, float("inf")), *values])
        return min(values)

    def _noise(self, sentinel: Case) -> float:
        """Relative standard deviation of a reading."""
        return float(np.mean(self._noises[sentinel]))

    def _limit(self, sentinel: Case) -> float:
        """How much slower than the best is drift; more than noise does."""
        return min(max(DRIFT, NOISES * self._noise(sentinel)), LOUD)

    def _slowness(self, number: int) -> float:
        """How far above its best the slowest sentinel was in a look, in limits; given up ones do not count."""
        looked = self._looks[number].items()
        return max(
            (self._excess(number, s, r) for s, r in looked if self._failures.get(s, 0) < TRIES), default=0.0
        )

    def _excess(self, number: int, sentinel: Case, reading: float) -> float:
        """A reading above the best, in limits: the best as known then, unless it has fallen by more than noise."""
        best = self._best.get(sentinel)
        if best is None or reading == float("inf"):
            return reading
        then, limit = self._bests[number].get(sentinel, best), self._limit(sentinel)
        return (reading / (best if then / best - 1 > limit / 2 else then) - 1) / limit
