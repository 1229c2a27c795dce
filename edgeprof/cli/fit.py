"""``edgeprof fit``: a law from measurements."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import print_json, say, warn, working
from edgeprof.errors import SpecError


def fit(
    db: o.Db = Path("edgeprof.db"),
    form: Annotated[str, typer.Option(help="A form: a name, a file, or auto for the best of them.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the law to this file.")] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Fit this table, measured by somebody else, instead of a database: CSV, or .csv.gz."
        ),
    ] = None,
    target: Annotated[
        str, typer.Option(help="The table's column of latencies in ms; {batch} stands for a number.")
    ] = "latency_ms",
    batch: Annotated[
        int | None, typer.Option(min=1, help="The batch of a table's rows, where no column tells it.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option("--from", help="Another board's law as the prior, for a law from a few networks."),
    ] = None,
    nets: Annotated[
        int | None, typer.Option(min=1, help="Use only so many networks, the first of a seeded shuffle.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of that shuffle.")] = 0,
    launch: Annotated[
        Literal["blocking", "async", "graph"] | None,
        typer.Option(help="The launch mode that the law is of (blocking, where there are several)."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only cases (rows) with KEY=VALUE, such as threads=1; may be repeated."),
    ] = None,
    steps: Annotated[
        Path | None, typer.Option(help="Draw the blocks that kernels work in, and the evidence: an SVG file.")
    ] = None,
    emit: o.Emit = None,
    json_: o.Json = False,
) -> int:
    """Fit a law to a database and print it as a formula, with its error on whole networks held out in turn.

    Example: edgeprof fit --db edgeprof.db --out law.json

    Example: edgeprof fit --table conv.csv --target latency_ms --where device=X --out law.json

    Example: edgeprof fit --from board-a.json --nets 10 --db board-b.db --out board-b.json
    """
    from edgeprof.files import check_target
    from edgeprof.fit.emit import check_language, law_text, selection_lines
    from edgeprof.fit.emit import emit as emitted
    from edgeprof.fit.examples import at_highest, matching, usable
    from edgeprof.fit.law_file import law_json, read_law, write_law
    from edgeprof.fit.network_law import first_networks
    from edgeprof.fit.quanta import evidence_of
    from edgeprof.fit.record_law import select_for, transfer_records
    from edgeprof.fit.records import read_records
    from edgeprof.fit.select import Selection, select
    from edgeprof.fit.transfer_law import first_measurements, transfer_law
    from edgeprof.report.steps import write_steps
    from edgeprof.store import Store, now

    check_language(emit or "text")
    if prior is not None and form != "auto":
        raise SpecError("the form is that of the law given with --from", "leave out --form")
    if table is not None and steps is not None:
        raise SpecError("--steps draws what a sweep measured, not a table", "leave one of them out")
    if table is None and (batch is not None or target != "latency_ms"):
        raise SpecError("--batch and --target are of a table", "add --table FILE.csv, or leave them out")
    for path in (out, steps):
        if path is not None:
            check_target(path)
    name = out.stem if out else (table or db).name.partition(".")[0]
    with working("fitting"):
        if table is not None:
            records = read_records(table, target, where or [], batch)
            records = first_networks(records, nets, seed) if nets else records
            if prior is not None:
                selection = Selection(transfer_records(records, read_law(prior), name=name, date=now()))
            else:
                selection = select_for(records, form, name=name, date=now())
        else:
            with Store(db) as store:
                measurements, sweeps = matching(store.measurements(), where or []), store.sweeps()
            measurements = first_measurements(measurements, nets, seed) if nets else measurements
            if prior is not None:
                fitted = transfer_law(measurements, read_law(prior), name=name, launch=launch, date=now())
                selection = Selection(fitted)
            else:
                selection = select(measurements, form, name=name, sweeps=sweeps, launch=launch, date=now())
    best = selection.fit
    if out is not None:
        write_law(best.law, out)
    if steps is not None:
        write_steps(evidence_of(at_highest(usable(measurements, launch))), steps)
    warn([*best.law.warnings, *([] if best.law.conformal else ["untested"])])
    if json_:
        print_json(
            {
                "law": json.loads(law_json(best.law)),
                "cv": asdict(best.cv) if best.cv else None,
                "forms": [asdict(c) for c in selection.candidates],
                "nested_mape_pct": selection.nested_mape_pct,
                "out": str(out) if out else None,
                **({"emitted": emitted(best.law, emit, best.cv)} if emit else {}),
            }
        )
        return 0
    if emit not in (None, "text"):
        print(emitted(best.law, emit, best.cv), end="")
        say(f"{out} written" if out else "the law is not kept: give it a file with --out law.json")
        return 0
    print(law_text(best.law, best.cv))
    for line in selection_lines(selection):
        print(line)
    if out is None:
        say("the law is not kept: give it a file with --out law.json")
    else:
        network = f"--table {shlex.quote(str(table))}" if table else "--conv 2 --depth 20 --batch 32"
        print(f"  {out} written\n  try: edgeprof predict --law {shlex.quote(str(out))} {network}")
    return 0
