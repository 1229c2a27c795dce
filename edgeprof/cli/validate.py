"""``edgeprof validate``: score a law on networks that it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import counted, interruptible, print_json, say, show_trouble, watching

if TYPE_CHECKING:
    from edgeprof.fit.law import Law
    from edgeprof.target import Target

WORST = 5


def validate(
    law: o.Law,
    nets: Annotated[int, typer.Option(min=1, max=10_000, help="Networks to measure.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 7,
    board: o.BoardName = "auto",
    backend: o.BackendName = "auto",
    host: o.HostName = None,
    host_python: o.HostPython = None,
    db: o.Db = Path("validation.db"),
    rounds: o.Rounds = 3,
    target_ci: o.TargetCi = "1%",
    json_: o.Json = False,
) -> int:
    """Measure random networks of the law's family that it never saw, and score its predictions.

    The measurements stay in the database; the same command goes on after an interruption.

    Example: edgeprof validate --law law.json --nets 50 --seed 7
    """
    from edgeprof.backends.base import Stop
    from edgeprof.fit.law_file import read_law
    from edgeprof.store import check_store
    from edgeprof.target import open_target
    from edgeprof.validation import validate_law

    found_law = read_law(law)
    check_store(db)
    stop = Stop(target_ci=o.percent(target_ci))
    with open_target(board, backend, place=o.place(host, host_python)) as target:

        def begins() -> None:
            what = f"{counted(nets, 'network')} × {counted(rounds, 'round')}"
            say(f"{target.machine_title} · {target.runtime} · {what}")
            for difference in _differences(found_law, target):
                say(f"warning: the law is of {difference}: the scores tell how far it carries")

        with interruptible(db, resumes=True), watching("validate") as watch:
            scores, result = validate_law(
                found_law,
                target,
                db,
                nets=nets,
                seed=seed,
                rounds=rounds,
                stop=stop,
                begins=begins,
                watch=watch,
                say=say,
            )
    show_trouble(result)
    if json_:
        print_json(asdict(scores))
        return 1 if result.failed else 0
    w5, w10 = scores.within_5_pct, scores.within_10_pct
    covered = (
        "unknown"
        if scores.covered_pct is None
        else f"{scores.covered_pct:.0f} % at {100 * scores.level:.0f} %"
    )
    if scores.covered_pct is not None and (none := sum(row.low_ms is None for row in scores.rows)):
        covered += f", not known of {none}"
    print(f"{counted(scores.nets, 'network')} that law {found_law.name} never saw")
    print(
        f"  MAPE {scores.mape_pct:.2f} %, median {scores.mdape_pct:.2f} %, 95th percentile {scores.p95_ape_pct:.1f} %"
    )
    print(f"  within ±5 %   {w5.pct:.0f} % [{w5.low_pct:.0f}, {w5.high_pct:.0f}]")
    print(f"  within ±10 %  {w10.pct:.0f} % [{w10.low_pct:.0f}, {w10.high_pct:.0f}]")
    print(f"  bias {scores.bias_pct:+.2f} %, interval covers {covered}")
    if scores.noise_pct is not None and scores.floor_mape_pct is not None:
        floor = f"sum of measured kernels {scores.floor_mape_pct:.2f} % off"
        print(f"  noise between rounds {scores.noise_pct:.2f} %, {floor}")
    print("  furthest off:")
    for row in sorted(scores.rows, key=lambda r: -abs(r.predicted_ms / r.measured_ms - 1))[:WORST]:
        off = 100 * (row.predicted_ms / row.measured_ms - 1)
        print(f"    {off:+6.1f} %  {row.measured_ms:9.4g} ms  {row.net[:45]} · batch {row.batch}")
    return 1 if result.failed else 0


def _differences(law: Law, target: Target) -> Iterator[str]:
    """What of the target is other than where the law was fitted."""
    for what, fitted, here in (
        ("machine", law.machine.get("model", ""), target.machine.get("model", "")),
        ("runtime", law.runtime, target.runtime),
        ("power mode", law.machine.get("power_mode", target.power_mode), target.power_mode),
        ("clocks", law.machine.get("clocks", "free"), target.clocks or "free"),
    ):
        if law.clocks and what in ("power mode", "clocks"):  # one law is of several
            continue
        if fitted and fitted != here:
            yield f"{what} {fitted}, and this is {here}"
