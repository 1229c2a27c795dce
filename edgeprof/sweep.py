"""A sweep on a board: cases from its specification, measured in a session, kept in a database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from edgeprof.backends.base import Stop
from edgeprof.boards.power import Rebooting
from edgeprof.boards.sensors.gauges import Gauges
from edgeprof.errors import BoardError, SpecError
from edgeprof.nets.network import of_family
from edgeprof.plan import by_setting, cases_of, not_done, parts_of, pool_of
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.spec import SweepSpec
from edgeprof.target import Target, alone, card_of, discrete, gauges_of, noticed, switched, total_of, warmth
from edgeprof.tiles import read_tiles
from edgeprof.timing.load import telemetry
from edgeprof.timing.longrun import LongRun, run_long
from edgeprof.timing.result import Progress, SweepResult, together
from edgeprof.timing.session import Images, run_session
from edgeprof.timing.soak import soak
from edgeprof.tradeoff import ModeSummary, summaries

POWER = frozenset(("rails_mw", "counter"))  # of a reading: what tells it


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
    soak_s: float | None = None,
    long: LongRun | None = None,
    agree: Callable[[str], bool] = lambda what: False,
    begins: Callable[[], None] = lambda: None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> SweepResult:
    """Measure what ``sweeps`` ask for and ``db`` does not have yet. Where they name power modes or clocks, these are
    set as the cases need them, and put back at the end, whatever it is.

    :param tiles: a folder or picture of real inputs, instead of noise. :param seed: of the order within rounds.
    :param soak_s: warm the board up first, and after each change of its power mode, until its temperature is steady, so
        long at most.
    :param long: what each case does beside its rounds: on and on, at a rate, several times at once.
    :param agree: asked before the board is rebooted for a power mode.
    :param begins: called once all that can be refused has been, and measuring begins.
    :raises EdgeprofError: the request is wrong or cannot be met here.
    """
    check_long(target, long)
    cases = by_setting(cases_of(sweeps, target, tiles), target)
    images = images_for(cases, tiles)
    sets = any(sweep.sets for sweep in sweeps)
    pool = None if budget_s is None or fresh else pool_of(sweeps, target, cases[0].inputs)
    results: list[SweepResult] = []
    warnings: tuple[str, ...] = ()
    try:
        with (
            alone(target, say),
            switched(target, sets, soak_s, say) as switch,
            gauges_of(target, say) as gauges,
            Store(db, create=True) as store,
        ):
            warnings = noticed(target)
            left = cases if fresh or long or pool is not None else not_done(cases, store.done(), rounds)
            parts = parts_of(cases, switch.behind_reboot(left, agree) if switch else ())
            begins()
            if soak_s and not sets and not target.backend.simulated:
                soaked = soak(cases[0], target.backend, warmth(target), soak_s)
                say(soaked.told() if soaked else "not warmed up: no temperature can be read, or nothing runs")
            for sweep in sweeps:
                store.add_sweep(sweep.model_dump(mode="json"))
            enter: Callable[[Case], None] = switch or (lambda case: None)
            measure = session_on(
                target,
                gauges,
                store,
                noticed=warnings,
                stop=stop,
                tiles=images,
                seed=seed,
                watch=watch,
                enter=enter,
            )
            begin = time.monotonic()
            for part in parts:
                left_s = None if budget_s is None else max(budget_s - time.monotonic() + begin, 0.0)
                if pool is not None and left_s is not None:
                    from edgeprof.budget import (
                        spend,  # it fits laws: SymPy and SciPy are of no use to other sweeps
                    )

                    now = {case.setting for case in part}
                    found = spend(
                        pool, store, target.backend, measure, rounds=rounds, budget_s=left_s, now=now
                    )
                else:
                    found = measure(part, rounds=rounds, budget_s=left_s, fresh=fresh)
                if long:
                    total = total_of(target)
                    ran = run_long(part, store, target.backend, gauges, total, long, watch, say, enter)
                    found = found.longer(*ran)
                results.append(found)
    except Rebooting as end:
        say(end.message)
        results.append(replace(together(()), stopped="reboot"))
    result = together(results)
    few = ["few-rounds"] * result.cases if rounds < 3 else []
    general = [(None, code) for code in (*warnings, *few)]
    return replace(result, warned=(*general, *result.warned))


def check_long(target: Target, wanted: LongRun | None) -> None:
    """See that ``target`` can do long runs.

    :raises SpecError: it is simulated. :raises BoardError: energy is wanted, and nothing tells its power.
    """
    if wanted and target.backend.simulated:
        raise SpecError(
            "a simulated board does not run on and on",
            "leave out --sustained, --rate, --energy and --in-flight",
        )
    if wanted and wanted.energy_s:
        with closing(target.place.gauges(card_of(target))) as gauges:
            if not any(source.gives & POWER for source in gauges.sources):
                raise BoardError(
                    f"nothing tells the power of {target.machine_title}: no energy can be measured",
                    "leave out --energy; a GPU's driver is asked through nvidia-ml-py (edgeprof doctor)",
                )


def images_for(cases: Sequence[Case], tiles: Path | None) -> Images | None:
    """Real inputs for ``cases`` from a folder or a picture; None where none are asked for.

    :raises SpecError: they are not for these networks. :raises EdgeprofError: they cannot be read.
    """
    if tiles is None:
        return None
    nets = [of_family(c.net, "real tiles are for square images") for c in cases]
    sizes = {(net.tile, net.channels) for net in nets}
    if len(sizes) > 1:
        raise SpecError(
            "real tiles need networks of one tile size and number of channels", "leave out --tiles"
        )
    return read_tiles(tiles, *next(iter(sizes)))


def session_on(
    target: Target,
    gauges: Gauges,
    store: Store,
    *,
    noticed: Sequence[str] = (),
    stop: Stop | None = None,
    tiles: Images | None = None,
    seed: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    enter: Callable[[Case], None] = lambda case: None,
) -> Callable[..., SweepResult]:
    """:func:`edgeprof.timing.session.run_session` on ``target``, with the circumstances that its measurements keep."""
    facts = {
        "machine": target.machine,
        "board": target.board,
        "backend": target.backend.name,
        "pid": os.getpid(),
        "noticed": noticed,
    }
    return partial(
        run_session,
        store=store,
        backend=target.backend,
        estimator=target.estimator,
        stop=stop,
        tiles=tiles,
        facts=facts,
        seed=Random().randrange(2**31) if seed is None else seed,
        watch=watch,
        sense=target.place.sense,
        observe=partial(_observed, target, gauges),
        enter=enter,
    )


def _observed(target: Target, gauges: Gauges, case: Case) -> dict[str, Any]:
    """Telemetry of a case, by the board's own sensors; a discrete GPU's are read by the process that uses it."""
    return {} if discrete(target) else telemetry(case, target.backend, gauges, total_of(target))


def modes_measured(db: Path, target: Target) -> tuple[ModeSummary, ...]:
    """The power modes of a target that a database has the same networks of."""
    with Store(db) as store:
        found = store.measurements()
    own = (target.board, target.machine_title, target.backend.name, target.runtime)
    return summaries(
        m for m in found if (m.case.board, m.case.machine, m.case.backend, m.case.runtime) == own
    )
