"""``edgeprof predict``: the latency of a network by a law, without a board."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import print_json, say, show_verdicts, verdict_rows, warn
from edgeprof.errors import SpecError

if TYPE_CHECKING:
    from edgeprof.fit.law import Law

ASSUMED_BATCH = 1024


def predict(
    law: o.Law,
    tile: o.Tile = None,
    channels: o.Channels = None,
    classes: o.Classes = None,
    conv: o.Conv = None,
    depth: o.Depth = None,
    kernel: o.Kernel = None,
    stride: o.Stride = None,
    padding: o.Padding = None,
    pool: o.Pool = None,
    pool_before: o.PoolBefore = None,
    fc: o.Fc = None,
    neurons: o.Neurons = None,
    batch: o.Batch = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Predict every row of this CSV file instead: layers or networks, told by its columns."
        ),
    ] = None,
    level: Annotated[str, typer.Option(help="Level of the interval.")] = "90%",
    require: o.Require = None,
    json_: o.Json = False,
) -> int:
    """Predict the latency of a network by a law: no board and no runtime are needed.

    Example: edgeprof predict --law gtx960-theano --conv 5 --fc 1 --batch 1024

    Example: edgeprof predict --law law.json --table layers.csv
    """
    from edgeprof.fit.law import predict as predicted
    from edgeprof.fit.law import read_law
    from edgeprof.nets.spec import net_spec
    from edgeprof.requirements import judge, parse_requirement, speeds

    wanted = [parse_requirement(text) for text in require or ()]
    knobs = o.given(
        dict(
            tile=tile,
            channels=channels,
            classes=classes,
            conv=conv,
            depth=depth,
            kernel=kernel,
            stride=stride,
        )
        | dict(padding=padding, pool=pool, pool_before=pool_before, fc=fc, neurons=neurons, batch=batch)
    )
    batches = knobs.pop("batch", None)
    if batches is not None and (len(batches) != 1 or not isinstance(batches[0], int) or batches[0] < 1):
        raise SpecError(f"--batch {batch} is no batch", "give one whole number from 1")
    if table is not None:
        if wanted:
            raise SpecError("--require is for one network, and --table has many", "give one of them")
        if knobs:
            raise SpecError(f"--table and --{next(iter(knobs))} are two questions", "give one of them")
        return _rows(read_law(law), table, int(batches[0]) if batches else None, o.percent(level), json_)
    net = net_spec(**{k: v[0] if len(v) == 1 else v for k, v in knobs.items()})
    found_law = read_law(law)
    if batches is None:
        say(f"batch {ASSUMED_BATCH} assumed: --batch gives another")
    found = predicted(found_law, net, int(batches[0]) if batches else ASSUMED_BATCH, o.percent(level))
    warn(found_law.warnings)
    why = "" if found.interval_ms else "no errors in the law"
    verdicts = judge(wanted, speeds(found.latency_ms, found.interval_ms, found.batch, why))
    status = 0 if all(v.outcome == "PASS" for v in verdicts) else o.NOT_MET
    if json_:
        print_json(
            {
                "net": net.model_dump(mode="json"),
                "batch": found.batch,
                "ms_per_tile": found.ms_per_tile,
                "tiles_per_ms": found.tiles_per_ms,
                "latency_ms": found.latency_ms,
                "interval_ms": found.interval_ms,
                "level": found.level if found.interval_ms else None,
                "kernels": [{"kind": k.kind, "name": k.name, "ms": k.ms} for k in found.kernels],
                "overhead_ms": found.overhead_ms,
                "in_domain": found.in_domain,
                "outside": found.outside,
                "law": found_law.name,
                **({"requirements": verdict_rows(verdicts)} if verdicts else {}),
            }
        )
        return status
    _show(found, found_law.name)
    show_verdicts(verdicts)
    return status


def _rows(law: Law, table: Path, batch: int | None, level: float, json_: bool) -> int:
    from edgeprof.fit.record_law import predict_records
    from edgeprof.fit.records import read_records

    records = read_records(table, batch=batch, assumed=law.domain.get("batch"))
    rows = records.rows
    found = predict_records(law, rows, level, records.signature)
    warn(law.warnings)
    if json_:
        print_json(
            {
                "latency_ms": [p.latency_ms for p in found],
                "interval_ms": [p.interval_ms for p in found],
                "level": level if law.conformal else None,
                "in_domain": [not p.outside for p in found],
                "law": law.name,
            }
        )
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*rows[0].values, "latency_ms", "low_ms", "high_ms", "in_domain"])
    for row, p in zip(rows, found, strict=True):
        low, high = p.interval_ms or (None, None)
        writer.writerow(
            [*row.values.values(), *(_digits(v) for v in (p.latency_ms, low, high)), not p.outside]
        )
    return 0


def _digits(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.5g}"


def _show(found: Any, law: str) -> None:
    print(f"{found.net.label()} · batch {found.batch} · law {law}")
    low_high = found.interval_ms
    interval = f"  [{low_high[0]:.4g}, {low_high[1]:.4g}] at {100 * found.level:.0f} %" if low_high else ""
    print(f"  latency     {found.latency_ms:.5g} ms per run{interval}")
    print(f"  speed       {found.tiles_per_ms:.6g} tiles/ms, {found.ms_per_tile:.4g} ms per tile")
    parts = [
        (k.name if k.name == k.kind else f"{k.name} ({k.kind})", k.ms) for k in found.kernels if k.ms > 0
    ]
    for name, ms in sorted([*parts, ("overhead", found.overhead_ms)], key=lambda part: -part[1]):
        print(f"    {name[:48]:<48} {ms:>10.4g} ms {100 * ms / found.latency_ms:>5.1f} %")
    for item in found.outside:
        seen = "–".join(str(v) for v in item["seen"])
        say(f"warning: {item['what']} {item['value']} is outside what the law has seen ({seen})")
