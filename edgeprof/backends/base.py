"""Backend: a runtime that executes networks, as the rest of edgeprof sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Round


@dataclass(frozen=True)
class Stop:
    """When the sampling of one case in one round ends: at a relative half-width ``target_ci`` of the median's 95 %
    interval, after at least ``min_runs`` and ``min_s``; or after ``max_s`` (seconds). ``profile``: kernels too."""

    target_ci: float = 0.01
    min_runs: int = 10
    min_s: float = 0.1
    max_s: float = 2.0
    profile: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the worker."""
        return asdict(self)


Bins = tuple[tuple[int, float, float], ...]  # a second each: runs, time spent (s), longest run (ms)


@dataclass(frozen=True)
class Sustained:
    """What a network did when it ran on and on: runs, seconds that passed and that it ran, runs that began late, per
    second of it (runs, seconds, longest run in ms), and, at a rate, percentiles of the response time (ms)."""

    runs: int
    spent_s: float
    busy_s: float
    late: int = 0
    bins: Bins = ()
    percentiles_ms: Mapping[str, float] | None = None

    @property
    def run_ms(self) -> float:
        """Mean of what a run took."""
        return 1e3 * self.busy_s / max(self.runs, 1)


@dataclass(frozen=True)
class InFlight:
    """What a network did with ``depth`` runs at the same time: runs, runs a second in each turn, seconds that passed,
    percentiles of a run's duration (ms)."""

    depth: int
    runs: int
    runs_per_s: tuple[float, ...]
    spent_s: float
    percentiles_ms: Mapping[str, float]


class Backend(Protocol):
    """What executes a case. Errors of one case are WorkerError or BackendError; the sweep goes on."""

    name: str
    simulated: bool
    launches: tuple[str, ...]  # the first ``usual`` of them are measured where none is asked for
    usual: int
    precisions: tuple[str, ...]
    threads: int  # of a case that names none; 0: the board's physical cores

    def runtime(self) -> str:
        """The runtime's name and version, part of every case's identity. Raises BackendError when it is missing."""
        ...

    def facts(self) -> dict[str, Any]:
        """Versions and circumstances, kept with the session."""
        ...

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        """What the runtime is told for cases of this precision and launch mode: part of their identity."""
        ...

    def measure(self, case: Case, number: int, stop: Stop, tiles: Path | None) -> Round:
        """Round ``number`` of ``case``; ``tiles`` is an .npy file with a batch of inputs, or None for noise."""
        ...

    def sustain(
        self,
        case: Case,
        seconds: float,
        rate_hz: float,
        meanwhile: Callable[[], None],
        every_s: float,
        enough: Callable[[Bins], bool] | None = None,
    ) -> Sustained:
        """Run ``case`` on and on, ``rate_hz`` times a second (0: as fast as it goes); once it runs, ``meanwhile`` is
        called every ``every_s`` seconds, and it ends before its time where ``enough`` says so, which is asked each
        second with the seconds so far. Raises BackendError where nothing really runs."""
        ...

    def overlap(self, case: Case, depths: Sequence[int], turns: int, turn_s: float) -> tuple[InFlight, ...]:
        """Run ``case`` so many times at once, for each of ``depths`` in its ``turns`` of ``turn_s`` seconds. Raises
        BackendError where that cannot be done."""
        ...

    def try_out(self, case: Case) -> None:
        """Run ``case`` once, in the memory that is available there; OutOfMemory where it does not fit."""
        ...

    def restart(self) -> None:
        """Begin afresh: end whatever process executes networks."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...
