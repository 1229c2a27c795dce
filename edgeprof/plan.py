"""Plan: the cases of sweeps on a target, in the order of its settings, and about how long they take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from edgeprof.backends.base import Stop
from edgeprof.boards.spec import Board
from edgeprof.nets.network import total_macs
from edgeprof.sweeps.case import Case, Workload
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import SweepSpec
from edgeprof.target import Target
from edgeprof.timing.session import turns

POOL = 5  # networks drawn for each one that the sample asks for, to choose from
CASE_S = 0.55  # a case and round beside its samples: build, load, profile
TELEMETRY_S = 1.6  # a case and round on a board with sensors of its own
SWITCH_S = 5.0  # to another power mode: nvpmodel, jetson_clocks, until the speed is steady, sentinels before and after
MACS_PER_S = 2e10  # of a thread: a cautious guess, until something was measured
PEAK_SHARE = 0.2  # of a GPU's datasheet: another


def cases_of(sweeps: Sequence[SweepSpec], target: Target, tiles: Path | None = None) -> tuple[Case, ...]:
    """Every case of several sweeps, once; where a sweep names no launch mode, in all those that the backend usually
    measures."""
    inputs = "noise" if tiles is None else f"tiles:{tiles.name}"
    works = (
        work for sweep in sweeps for work in launched(sweep, target.backend.launches[: target.backend.usual])
    )
    return tuple(dict.fromkeys(target.case(work, inputs) for work in works))


def launched(sweep: SweepSpec, launches: Sequence[str]) -> Iterator[Workload]:
    """The workloads of a sweep, each in every one of these launch modes where the sweep names none."""
    named = sweep.names("launch")
    for work in expand(sweep):
        for launch in () if named else launches:
            yield work.model_copy(update={"launch": launch})
        if named:
            yield work


def by_setting(cases: Iterable[Case], target: Target) -> tuple[Case, ...]:
    """Cases of a power mode (and of held clocks) together; those of the mode that the target is in come first."""
    here_first = sorted(cases, key=lambda case: case.power_mode != target.power_mode)
    return tuple(chain.from_iterable(turns(here_first, None)))


def pool_of(sweeps: Sequence[SweepSpec], target: Target, inputs: str) -> tuple[Case, ...] | None:
    """The cases that a design may choose from: five networks for each one that the only sweep's sample asks for. None
    where there are several sweeps, or the only one is no sample."""
    if len(sweeps) != 1 or sweeps[0].sample is None:
        return None
    drawn = expand(sweeps[0].resampled(sweeps[0].sample.nets * POOL, None))
    return by_setting((target.case(work, inputs) for work in drawn), target)


def parts_of(cases: Sequence[Case], beyond: Collection[str | None]) -> list[Sequence[Case]]:
    """Cases measured together: those that need no reboot first, then each power mode of ``beyond`` one."""
    near = [case for case in cases if case.power_mode not in beyond]
    far = turns([case for case in cases if case.power_mode in beyond], None)
    return [part for part in (near, *far) if part]


def not_done(cases: Sequence[Case], done: Collection[tuple[str, int]], rounds: int) -> list[Case]:
    """Those of which not every round is among ``done``: (key, round)."""
    return [case for case in cases if any((case.key(), n) not in done for n in range(1, rounds + 1))]


def estimate_s(cases: Iterable[Case], rounds: int, stop: Stop, board: Board | None = None) -> float:
    """A guess of the wall time (s) of measuring ``cases``, with telemetry where the board has it."""
    beside = CASE_S + (TELEMETRY_S if board and board.power and board.power.total else 0.0)
    total, settings = 0.0, set()
    for case in cases:
        settings.add(case.setting)
        rate = MACS_PER_S * max(case.threads, 1)
        if board and board.gpu and board.peaks and board.peaks.fp32_gflops and case.backend == board.backend:
            rate = PEAK_SHARE * board.peaks.fp32_gflops * 1e9 / 2
        run_s = total_macs(case.net, case.batch) / rate + 5e-5
        total += beside + min(max(stop.min_s, stop.min_runs * run_s), stop.max_s) * 1.5 + 20 * run_s
    switches = (len(settings) - 1) * rounds + 1 if len(settings) > 1 else 0
    return total * rounds + SWITCH_S * switches
