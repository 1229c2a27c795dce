"""A sweep in several power modes of a board: the mode is a dimension of its cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeprof.boards.power import Clocks, Power
from edgeprof.boards.sensors.nvpmodel import ModeDefinition
from edgeprof.errors import SpecError
from edgeprof.sweep import Target, alone, run_sweep
from edgeprof.sweeps.spec import SweepSpec
from edgeprof.timing.session import SweepResult

Setting = tuple[ModeDefinition | None, Clocks | None]


def settings(target: Target, names: Sequence[str], clocks: Clocks | None) -> list[Setting]:
    """The modes of these names (none: the present one alone) and how their clocks are held. Sets nothing.

    :raises BoardError: the target has no power modes, or not from here. :raises SpecError: it has not that mode.
    """
    if target.backend.simulated:
        raise SpecError("a simulated board has no power modes to set", "leave out --power-mode and --clocks")
    modes = target.place.power().modes(names) if names else [None]
    return [(mode, clocks) for mode in modes]


def in_setting(target: Target, setting: Setting) -> Target:
    """The target as its cases are told apart in this setting."""
    mode, clocks = setting
    return replace(target, power_mode=mode.name if mode else target.power_mode, clocks=clocks)


def run_modes(
    sweeps: Sequence[SweepSpec],
    db: Path,
    target: Target,
    wanted: Sequence[Setting],
    *,
    budget_s: float | None = None,
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> SweepResult:
    """:func:`~edgeprof.sweep.run_sweep` in one setting after another; mode and clocks are put back at the end, whatever
    it is. A budget is shared evenly.

    :raises EdgeprofError: the request is wrong or cannot be met here.
    """
    power: Power = target.place.power()
    share_s = None if budget_s is None else budget_s / len(wanted)
    results = []
    begin = time.monotonic()
    with alone(target, say), power.kept():
        for setting in wanted:
            power.use(*setting)
            there = in_setting(target, setting)
            say(f"power mode {there.power_mode}{', clocks held at their limits' if there.clocks else ''}")
            results.append(run_sweep(sweeps, db, there, budget_s=share_s, say=say, held=True, **options))
    return SweepResult(
        cases=sum(r.cases for r in results),
        measured=sum(r.measured for r in results),
        reused=sum(r.reused for r in results),
        failed=tuple(pair for r in results for pair in r.failed),
        wall_s=time.monotonic() - begin,
        measuring_s=sum(r.measuring_s for r in results),
        stopped=next((r.stopped for r in results if r.stopped), ""),
        warned=tuple(dict.fromkeys(pair for r in results for pair in r.warned)),
    )
