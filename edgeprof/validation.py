"""Validation: measure random networks of a law's family that it never saw, and score its predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeprof.backends.base import Stop
from edgeprof.errors import FitError, SpecError
from edgeprof.fit.clocks import told
from edgeprof.fit.examples import usable
from edgeprof.fit.law import LEVEL, Law
from edgeprof.fit.validate import Scores, judge, score
from edgeprof.nets.network import net_key
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.case import Workload
from edgeprof.sweeps.expand import expand, sweep_of
from edgeprof.sweeps.spec import SweepSpec, parse_sweep
from edgeprof.target import Target
from edgeprof.timing.result import Progress, SweepResult

SPARE = 4  # networks drawn for each one wanted, so that those which the law saw can be left out


def family_sweep(law: Law, nets: int, seed: int) -> SweepSpec:
    """A sample of ``nets`` networks of the family that ``law`` was fitted on, as a sweep.

    :raises SpecError: the law does not say what its family is.
    """
    if law.table:
        raise SpecError(
            f"law '{law.name}' is of a table of {law.table.get('signature')}, not of networks of the family",
            "its own error was found on rows held out: edgeprof show NAME --emit text",
        )
    if not law.family.get("knobs") or not isinstance(law.family.get("net", {}), dict):
        raise SpecError(
            f"law '{law.name}' does not say which networks it is of", "fit it again with edgeprof fit"
        )
    fixed = {**law.family.get("net", {}), "launch": law.launch, "precision": law.precision}
    if law.threads:
        fixed["threads"] = law.threads
    sample = {**{k: v for k, v in law.family.items() if k != "net"}, "nets": nets, "seed": seed}
    data = {"name": f"validate {law.name}", "net": fixed, "sample": sample}
    return parse_sweep(data, f"the family of law '{law.name}'")


def unseen(law: Law, nets: int, seed: int) -> tuple[Workload, ...]:
    """``nets`` networks of the law's family, none of them among those it was fitted on.

    :raises FitError: the family has too few others.
    """
    seen = set(law.seen)
    try:
        drawn = (
            expand(family_sweep(law, nets * SPARE, seed)) if seen else expand(family_sweep(law, nets, seed))
        )
    except SpecError:
        drawn = expand(family_sweep(law, nets, seed))
    new = [work for work in drawn if net_key(work.net) not in seen][:nets]
    if not new:
        raise FitError(
            f"law '{law.name}' has seen every network of its family",
            "fit it on a random sample: sweep family",
        )
    return tuple(new)


def validate_law(
    law: Law,
    target: Target,
    db: Path,
    *,
    nets: int = 50,
    seed: int = 7,
    rounds: int = 3,
    stop: Stop | None = None,
    level: float = LEVEL,
    begins: Callable[[], None] = lambda: None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Scores, SweepResult]:
    """Measure ``nets`` networks of the family of ``law`` that it never saw and score it on them.

    The measurements go into ``db`` and stay there; the same command resumes. ``begins`` is called once nothing is
    refused any more.
    """
    works = unseen(law, nets, seed)
    sweep = [sweep_of(work, "validate") for work in works]
    result = run_sweep(sweep, db, target, rounds=rounds, stop=stop, begins=begins, watch=watch, say=say)
    keys = {target.case(work).key() for work in works}
    with Store(db) as store:
        measured = [m for m in store.measurements() if m.case.key() in keys]
    examples = usable(measured, law.launch)
    settings = {(s.get("power_mode"), s.get("clocks")) for s in law.settings}
    unknown = sum(
        not law.clocks.keys() <= e.clocks.keys() and e.measurement.case.setting not in settings
        for e in examples
    )
    if unknown:
        say(f"warning: no sensor told the clocks of {unknown} cases: predicted at {told(law.clocks)}")
    return score(judge(law, examples, level), level), result
