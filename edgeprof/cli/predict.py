"""``edgeprof predict``: the latency of a network by a law, without a board."""

from __future__ import annotations

import csv
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import WIDTH, counted, print_json, say, show_verdicts, verdict_rows, warn
from edgeprof.errors import SpecError

if TYPE_CHECKING:
    from edgeprof.fit.law import Law
    from edgeprof.fit.law_memory import Memory
    from edgeprof.fit.prediction import Prediction
    from edgeprof.nets.network import Network

ASSUMED_BATCH = 1024
KERNELS = 40  # shown at most; --json has all
GAPS = 12
NAME = 48  # letters of a kernel's name
OUTSIDE = 4
VALUES = 4  # of one knob that are outside


def predict(
    law: o.Law,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="An ONNX file, or a network of the zoo; else flags give a network."
        ),
    ] = None,
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
    core_mhz: o.CoreMhz = None,
    memory_mhz: o.MemoryMhz = None,
    cpu_mhz: o.CpuMhz = None,
    power_mode: o.LawPowerMode = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=1x3x224x224", help="Shape of a model's input with open axes; may be repeated."
        ),
    ] = None,
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

    Example: edgeprof predict --law law.json resnet18 --batch 4

    Example: edgeprof predict --law law.json model.onnx --shape image=4x3x16x16

    Example: edgeprof predict --law law.json --table layers.csv
    """
    from edgeprof.fit.clocks import flags, told
    from edgeprof.fit.law_clocks import at_clocks
    from edgeprof.fit.law_file import read_law
    from edgeprof.fit.law_memory import memory_of
    from edgeprof.fit.prediction import predict as predicted
    from edgeprof.nets.spec import net_spec
    from edgeprof.requirements import Quantity, all_met, judge, parse_requirement, speeds

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
    if model is not None and (knobs or table):
        other = f"--{next(iter(knobs)).replace('_', '-')}" if knobs else "--table"
        raise SpecError(f"the model {model} and {other} are two questions", "give one of them")
    if shape and model is None:
        raise SpecError("--shape is for a model's file", "give it: edgeprof predict --law LAW MODEL.onnx")
    if table is not None:
        if wanted:
            raise SpecError("--require is for one network, and --table has many", "give one of them")
        if knobs:
            raise SpecError(f"--table and --{next(iter(knobs))} are two questions", "give one of them")
        if any((core_mhz, memory_mhz, cpu_mhz, power_mode)):
            raise SpecError("clocks are for one network, and a table's law has none", "leave them out")
        return _rows(read_law(law), table, int(batches[0]) if batches else None, o.percent(level), json_)
    asked = {"core_mhz": core_mhz, "memory_mhz": memory_mhz, "cpu_mhz": cpu_mhz}
    found_law = at_clocks(read_law(law), asked, power_mode)
    size = int(batches[0]) if batches else None
    net: Network
    if model is not None:
        from edgeprof.nets.model import parse_shape
        from edgeprof.profile import find_network

        net, size = find_network(model, size, dict(parse_shape(text) for text in shape or ()))
    else:
        net = net_spec(**{k: v[0] if len(v) == 1 else v for k, v in knobs.items()})
    found = predicted(found_law, net, size or ASSUMED_BATCH, o.percent(level))
    if size is None and model is None:
        say(f"batch {ASSUMED_BATCH} assumed: --batch gives another")
    if found_law.clocks and power_mode is None and not any(asked.values()):
        say(f"clocks assumed: {told(found_law.clocks)}, the highest setting seen: {flags(found_law.clocks)}")
    warn(found_law.warnings)
    memory = memory_of(found_law, net, found.batch, o.percent(level))
    low, high = memory.interval_mib or (None if memory.fitted else memory.mib, None)
    quantities = speeds(found.latency_ms, found.interval_ms, found.batch, found.interval_unknown)
    quantities["memory_mib"] = Quantity(memory.mib, low, high, memory.why)
    verdicts = judge(wanted, quantities)
    if json_:
        print_json(
            {
                **_network(found),
                **_document(found, found_law.name),
                **({"clocks": found_law.clocks} if found_law.clocks else {}),
                **_memory(memory),
                **({"requirements": verdict_rows(verdicts)} if verdicts else {}),
            }
        )
    else:
        _show(found, found_law.name, told(found_law.clocks), memory)
        if found.gaps:
            _show_gaps(found)
        show_verdicts(verdicts)
    return 0 if all_met(verdicts) else o.NOT_MET


def _network(found: Prediction) -> dict[str, Any]:
    """What the network is; of one that is not of the family, the operators that the law has no kernel for too."""
    from edgeprof.nets.spec import NetSpec

    if isinstance(found.net, NetSpec):
        return {"net": found.net.model_dump(mode="json")}
    gaps = [
        {"operator": g.op_type, "name": g.name, "ms": g.ms, "low_ms": g.low_ms, "high_ms": g.high_ms}
        for g in found.gaps
    ]
    return {"network": found.net.label(), "unfitted": gaps, "unfitted_share": found.gap_share}


def _document(found: Prediction, law: str) -> dict[str, Any]:
    return {
        "batch": found.batch,
        "ms_per_tile": found.ms_per_tile,
        "tiles_per_ms": found.tiles_per_ms,
        "latency_ms": found.latency_ms,
        "interval_ms": found.interval_ms,
        "interval_unknown": found.interval_unknown,
        "level": found.level if found.interval_ms else None,
        "kernels": [{"kind": k.kind, "name": k.name, "ms": k.ms} for k in found.kernels],
        "overhead_ms": found.overhead_ms,
        "in_domain": found.in_domain,
        "outside": found.outside,
        "law": law,
    }


def _memory(memory: Memory) -> dict[str, Any]:
    return {
        "memory_mib": memory.mib,
        "memory_interval_mib": memory.interval_mib,
        "memory_interval_unknown": memory.why,
        "memory_build_mib": memory.build_mib,
        "memory_fitted": memory.fitted,
        "memory_of": memory.of,
        "room_mib": memory.room_mib,
        "fits_probability": memory.fits,
    }


def _rows(law: Law, table: Path, batch: int | None, level: float, json_: bool) -> int:
    from edgeprof.fit.intervals import FAR_OUTSIDE
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
                "interval_unknown": [p.interval_unknown for p in found],
                "level": level if law.conformal else None,
                "in_domain": [not p.outside for p in found],
                "law": law.name,
            }
        )
        return 0
    if far := sum(p.interval_unknown == FAR_OUTSIDE for p in found):
        say(f"warning: {counted(far, 'row')} far outside what the law has seen: no interval is known")
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


def _show_gaps(found: Prediction) -> None:
    """The operators that the law has no kernel for, with their part of the time."""
    from edgeprof.fit.gaps import by_type

    if found.gap_share is None:
        kinds = ", ".join(by_type(found.gaps))
        print(f"  without a price, so the latency is more than this: {kinds}"[:WIDTH])
        say("warning: neither the law nor its board tells what other kernels reach; fit the law again")
        return
    print(
        f"  no kernel of the law is like {len(found.gaps)} operators, {100 * found.gap_share:.1f} % of the time;"
    )
    print("  priced by arithmetic and bytes alone, widely:")
    for op_type, (count, ms) in list(by_type(found.gaps).items())[:GAPS]:
        print(f"    {f'{op_type} ×{count}':<48} {ms:>10.4g} ms {100 * ms / found.latency_ms:>5.1f} %")


def _show_memory(memory: Memory) -> None:
    if memory.fitted:
        interval = _interval(memory.interval_mib, memory.level)
        told = f"  memory      {memory.mib:.4g} MiB at its peak{interval}, {memory.build_mib:.4g} to build"
        print(textwrap.fill(told, WIDTH, subsequent_indent=" " * 14))
        _show_unknown(memory.why)
    else:
        print(f"  memory      {memory.mib:.4g} MiB at least: weights, and the most values alive at once")
    if memory.fits is not None:
        chance = "> 0.999" if memory.fits > 0.999 else f"{memory.fits:.3g}"
        print(f"              fits in the {memory.room_mib:,.0f} MiB that were left: P {chance}")
    elif memory.room_mib:
        print(f"              of {memory.room_mib:,.0f} MiB, less what system and runtime take")


def _show(found: Prediction, law: str, clocks: str, memory: Memory) -> None:
    from edgeprof.nets.spec import NetSpec

    title = f"{found.net.label()} · batch {found.batch} · law {law}{f' · {clocks}' if clocks else ''}"
    print(textwrap.fill(title, WIDTH, subsequent_indent="  "))
    print(f"  latency     {found.latency_ms:.5g} ms per run{_interval(found.interval_ms, found.level)}")
    _show_unknown(found.interval_unknown)
    if isinstance(found.net, NetSpec):
        print(f"  speed       {found.tiles_per_ms:.6g} tiles/ms, {found.ms_per_tile:.4g} ms per tile")
    else:
        print(f"  speed       {1e3 * found.tiles_per_ms:.6g} images/s, {found.ms_per_tile:.4g} ms per image")
    _show_memory(memory)
    parts = [(_kernel(k.name, k.kind), k.ms) for k in found.kernels if k.ms > 0]
    shown = sorted([*parts, ("overhead", found.overhead_ms)], key=lambda part: -part[1])
    for name, ms in shown[:KERNELS]:
        print(f"    {name[:NAME]:<{NAME}} {ms:>10.4g} ms {100 * ms / found.latency_ms:>5.1f} %")
    if others := shown[KERNELS:]:
        ms = sum(ms for _, ms in others)
        print(f"    {f'{len(others)} others':<{NAME}} {ms:>10.4g} ms {100 * ms / found.latency_ms:>5.1f} %")
    outside: dict[str, list[Mapping[str, Any]]] = {}
    for item in sorted(found.outside, key=lambda item: -item.get("share", 1.0)):
        outside.setdefault(item["what"], []).append(item)
    for what, items in list(outside.items())[:OUTSIDE]:
        say(_strange(what, items))
    if len(outside) > OUTSIDE:
        say(f"warning: and {len(outside) - OUTSIDE} more sizes are outside it; --json tells all")


def _interval(ends: tuple[float, float] | None, level: float) -> str:
    return f"  [{ends[0]:.4g}, {ends[1]:.4g}] at {100 * level:.5g} %" if ends else ""


def _show_unknown(why: str) -> None:
    if why:
        print(f"              interval not known: {why}")


def _kernel(name: str, kind: str) -> str:
    """A kernel's name with its kind, where there is room for it."""
    both = f"{name} ({kind})"
    return name if name == kind or len(both) > NAME else both


def _strange(what: str, items: Sequence[Mapping[str, Any]]) -> str:
    """A line on the values of one knob or dimension that the law has not seen."""
    seen = items[0]["seen"]
    share = f", {100 * items[0]['share']:.0f} % of the time" if "share" in items[0] else ""
    values = [_number(item["value"]) for item in items]
    are = "are" if len(values) > 1 else "is"
    told = ", ".join([*values[:VALUES], *(["…"] if len(values) > VALUES else [])])
    joint = ", " if isinstance(seen[0], str) else "–"
    return (
        f"warning: {what} {told} {are} outside what the law has seen"
        f" ({joint.join(dict.fromkeys(_number(v) for v in seen))}){share}"
    )


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
