"""A sweep on a board: cases from its specification, measured in a session, kept in a database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from edgeprof.backends.base import Backend, Stop
from edgeprof.backends.open import open_backend
from edgeprof.backends.simulated import SimulatedBackend
from edgeprof.boards.detect import Machine, detect_board, detect_machine, load_1m
from edgeprof.boards.spec import Estimator, read_board
from edgeprof.errors import BackendError, SpecError
from edgeprof.nets.operators import total_macs
from edgeprof.store import Store
from edgeprof.sweeps.case import Case, Workload
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import SweepSpec
from edgeprof.tiles import read_tiles
from edgeprof.timing.session import Progress, SweepResult, device_lock, run_session

CASE_S = 0.55  # a case and round beside its samples: build, load, profile
MACS_PER_S = 2e10  # a cautious guess, until something was measured
BUSY = 0.5  # load per core from which the machine counts as busy before a sweep


@dataclass(frozen=True)
class Target:
    """Where a sweep runs: a board, an open backend, and what is known of both."""

    board: str
    machine_title: str
    machine: dict[str, Any]
    backend: Backend
    runtime: str
    estimator: Estimator
    threads: int

    def case(self, work: Workload, inputs: str = "noise") -> Case:
        """``work`` on this target.

        :raises BackendError: a launch mode that the backend does not have.
        """
        if work.launch not in self.backend.launches:
            raise BackendError(
                f"{self.backend.name} has no launch mode '{work.launch}'",
                f"it has {', '.join(self.backend.launches)}",
            )
        return Case(
            net=work.net,
            batch=work.batch,
            precision=work.precision,
            threads=work.threads or self.threads,
            launch=work.launch,
            board=self.board,
            machine=self.machine_title,
            backend=self.backend.name,
            runtime=self.runtime,
            inputs=inputs,
        )


@contextmanager
def open_target(board: str = "auto", backend: str = "auto") -> Iterator[Target]:
    """The board and backend of these names, ready to measure; ``auto`` is what the machine is.

    :raises CatalogueError: no such board. :raises BackendError: a backend that is missing or does not suit the board.
    """
    machine: Machine = detect_machine()
    spec = detect_board(machine) if board == "auto" else read_board(board)
    opened = open_backend(spec.backend if backend == "auto" else backend)
    try:
        if isinstance(opened, SimulatedBackend):
            law = opened.law
            title = str(law.machine.get("model", law.board))
            yield Target(
                law.board, title, dict(law.machine), opened, opened.runtime(), "median", law.threads or 1
            )
        else:
            yield Target(
                spec.name,
                machine.model,
                machine.as_dict(),
                opened,
                opened.runtime(),
                spec.estimator,
                machine.physical_cores,
            )
    finally:
        opened.close()


def estimate_s(cases: Iterable[Case], rounds: int, stop: Stop) -> float:
    """A guess of the wall time (s) of measuring ``cases``."""
    total = 0.0
    for case in cases:
        run_s = total_macs(case.net, case.batch) / MACS_PER_S / max(case.threads, 1) + 5e-5
        total += CASE_S + min(max(stop.min_s, stop.min_runs * run_s), stop.max_s) * 1.5 + 20 * run_s
    return total * rounds


def cases_of(sweeps: Sequence[SweepSpec], target: Target, tiles: Path | None = None) -> tuple[Case, ...]:
    """Every case of several sweeps, once."""
    inputs = "noise" if tiles is None else f"tiles:{tiles.name}"
    return tuple(dict.fromkeys(target.case(work, inputs) for sweep in sweeps for work in expand(sweep)))


def run_sweep(
    sweeps: Sequence[SweepSpec],
    db: Path,
    target: Target,
    *,
    rounds: int = 3,
    stop: Stop | None = None,
    budget_s: float | None = None,
    fresh: bool = False,
    tiles: Path | None = None,
    seed: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> SweepResult:
    """Measure what ``sweeps`` ask for and ``db`` does not have yet.

    :param tiles: a folder or picture of real inputs, instead of noise. :param seed: of the order within rounds.
    :raises EdgeprofError: the request is wrong or cannot be met here.
    """
    cases = cases_of(sweeps, target, tiles)
    images = None
    if tiles is not None:
        sizes = {(c.net.tile, c.net.channels) for c in cases}
        if len(sizes) > 1:
            raise SpecError(
                "real tiles need networks of one tile size and number of channels", "leave out --tiles"
            )
        images = read_tiles(tiles, *next(iter(sizes)))
    with _alone(target, say), Store(db, create=True) as store:
        facts = {
            "machine": target.machine,
            "board": target.board,
            "backend": target.backend.name,
            "pid": os.getpid(),
        }
        warnings = noticed(target)
        for sweep in sweeps:
            store.add_sweep(sweep.model_dump(mode="json"))
        result = run_session(
            cases,
            store,
            target.backend,
            target.estimator,
            rounds=rounds,
            stop=stop,
            budget_s=budget_s,
            fresh=fresh,
            tiles=images,
            facts={**facts, "noticed": warnings},
            seed=Random().randrange(2**31) if seed is None else seed,
            watch=watch,
        )
    few = ["few-rounds"] * result.cases if rounds < 3 else []
    return SweepResult(**{**result.__dict__, "warnings": (*warnings, *few, *result.warnings)})


def noticed(target: Target) -> tuple[str, ...]:
    """What about the machine will disturb a sweep, before it begins."""
    if target.backend.simulated:
        return ()
    found = []
    if load_1m() > BUSY * target.threads:
        found.append("busy")
    if target.machine.get("governor") not in (None, "performance"):
        found.append("governor")
    return tuple(found)


@contextmanager
def _alone(target: Target, say: Callable[[str], None]) -> Iterator[None]:
    """One sweep at a time on a real device."""
    if target.backend.simulated:
        yield
        return
    with device_lock(target.board, say):
        yield
