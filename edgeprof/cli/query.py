"""``edgeprof query``: design-time questions to one or several laws."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import WIDTH, duration, print_json, say, show_verdicts, verdict_rows, warn, working
from edgeprof.errors import SpecError

if TYPE_CHECKING:
    from edgeprof.query import Answer, Found, Goal, LawAnswer
    from edgeprof.query.explain import Explanation

SHORT = {"neurons": "neur", "channels": "chan", "classes": "cls", "padding": "pad", "pool_before": "pool<"}

MANY = 10**8  # networks from which a query says how many they are
PER_SECOND = 5e6  # networks that a law of kernels prices; one of a few terms is twice as fast


def _range(what: str) -> Any:
    return typer.Option(help=what, rich_help_panel=o.NETWORK, show_default=False)


def query(
    law: Annotated[
        list[str],
        typer.Option("--law", help="A law, a file or a name; may be repeated: which board is enough?"),
    ],
    at_least: Annotated[float | None, typer.Option(help="Tiles per ms that a network must reach.")] = None,
    image: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of an image that is cut into tiles.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Such images per second.")] = None,
    at_most_ms: Annotated[float | None, typer.Option(help="Latency of a run (one batch), at most.")] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(help="Memory at its peak, at most, such as 512MiB or 4GiB; a bare number is MiB."),
    ] = None,
    max_parameters: Annotated[float | None, typer.Option(help="Weights and biases, at most.")] = None,
    max_energy: Annotated[
        float | None, typer.Option(help="mJ per tile at most, where the law knows energy.")
    ] = None,
    probability: Annotated[
        float, typer.Option(help="A network must meet time and memory with this probability.")
    ] = 0.9,
    rank: Annotated[
        Literal["macs", "parameters", "speed"], typer.Option(help="The best networks have most of this.")
    ] = "macs",
    pareto: Annotated[
        str, typer.Option(help="Axes of the Pareto front: two of speed, latency, macs, parameters, memory.")
    ] = "speed,macs",
    front: Annotated[bool, typer.Option("--front", help="List the Pareto front, not the best.")] = False,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Networks to list.")] = 20,
    level: Annotated[str, typer.Option(help="Level of the intervals.")] = "90%",
    explain: Annotated[
        bool, typer.Option("--explain", help="Which kernel of the best costs what, and what to change.")
    ] = False,
    require: o.Require = None,
    format_: Annotated[Literal["table", "csv"], typer.Option("--format", help="What to print.")] = "table",
    tile: Annotated[str | None, _range("Pixels of a side of the input tile (28).")] = None,
    channels: Annotated[str | None, _range("Channels of the input (1).")] = None,
    classes: Annotated[str | None, _range("Classes (10).")] = None,
    conv: Annotated[str | None, _range("Conv layers (1): low..high[:step], or values with commas.")] = None,
    depth: Annotated[str | None, _range("Output channels of every conv layer (20).")] = None,
    kernel: Annotated[str | None, _range("Kernel size of every conv layer (5).")] = None,
    stride: Annotated[str | None, _range("Stride of every conv layer (1).")] = None,
    padding: Annotated[str | None, _range("valid, same or pixels, of every conv layer (valid).")] = None,
    pool: Annotated[str | None, _range("Pooling after the last conv layer (2).")] = None,
    pool_before: Annotated[str | None, _range("Pooling after each conv layer before it (1: none).")] = None,
    fc: Annotated[str | None, _range("Hidden FC layers (1).")] = None,
    neurons: Annotated[str | None, _range("Neurons of every hidden FC layer (1024).")] = None,
    batch: Annotated[
        str | None, _range("Tiles in one run (1024, or the most that the law has seen).")
    ] = None,
    core_mhz: o.CoreMhz = None,
    memory_mhz: o.MemoryMhz = None,
    cpu_mhz: o.CpuMhz = None,
    power_mode: o.LawPowerMode = None,
    json_: o.Json = False,
) -> int:
    """Which networks are fast enough, and which of those has most capacity: no board and no runtime are needed.

    Every layer of a network is alike. Networks outside the law's domain are ranked last. Requirements are of the best
    network by each law, and of the number of networks that meet the goal (networks>0).

    Example: edgeprof query --law gtx960-theano --at-least 40 --conv 1..5 --fc 1..5 --depth 5..80 --explain
    """
    from edgeprof.fit.clocks import told as told_clocks
    from edgeprof.fit.law_clocks import at_clocks_of
    from edgeprof.fit.law_file import read_law
    from edgeprof.query import Goal, query_nets
    from edgeprof.query.answer import quantities_of
    from edgeprof.query.explain import explain as explained
    from edgeprof.query.search import FRONT, asked_space, assumed_batch
    from edgeprof.requirements import all_met, judge, parse_requirement

    if explain and format_ == "csv" and not json_:
        raise SpecError("--format csv has no place for --explain", "leave one of them out, or take --json")
    wanted = [parse_requirement(text) for text in require or ()]
    every = dict(tile=tile, channels=channels, classes=classes, conv=conv, depth=depth, kernel=kernel)
    every |= dict(stride=stride, padding=padding, pool=pool, pool_before=pool_before, fc=fc, neurons=neurons)
    knobs = {name: text for name, text in {**every, "batch": batch}.items() if text is not None}
    goal = Goal(
        at_least=at_least,
        image=_size(image),
        fps=fps,
        at_most_ms=at_most_ms,
        max_memory_mib=None if max_memory is None else o.mebibytes(max_memory),
        max_parameters=max_parameters,
        max_energy_mj=max_energy,
        probability=probability,
    )
    asked_mhz = {"core_mhz": core_mhz, "memory_mhz": memory_mhz, "cpu_mhz": cpu_mhz}
    laws = at_clocks_of([read_law(name) for name in law], asked_mhz, power_mode)
    axes = [axis.strip() for axis in pareto.split(",")]
    table = format_ == "table" and not json_
    asked_for = asked_space(laws, knobs).combinations
    if asked_for > MANY:
        time = duration(asked_for * len(laws) / PER_SECOND)
        say(f"{asked_for:,} networks, about {time}: wider steps take less, such as --neurons 64..2048:64")
    with working("asking"):
        found = query_nets(
            laws,
            knobs,
            goal,
            rank=rank,
            pareto=axes,
            top=top,
            front=top if table else FRONT,
            level=o.percent(level),
        )
    if batch is None:
        say(f"batch {assumed_batch(laws)} assumed: --batch gives another, or a range")
    for own_law in laws:
        if own_law.clocks:
            say(f"law {own_law.name} at {told_clocks(own_law.clocks)}")
    warn({code for own in laws for code in own.warnings})
    best = next((own for own in found.laws if own.nets), None)
    why = None
    if explain and best:
        asked = next(own for own in laws if own.name == best.law)
        why = explained(asked, best.nets[0].net, best.nets[0].batch)
    verdicts = {own.law: judge(wanted, quantities_of(own)) for own in found.laws}
    rows = [net for own in found.laws for net in own.front] if front else list(found.nets)
    if json_:
        document = _document(found, goal, o.percent(level), why)
        if any(own.clocks for own in laws):
            document["clocks"] = {own.name: own.clocks for own in laws if own.clocks}
        told = [{"law": law, **row} for law, own in verdicts.items() for row in verdict_rows(own)]
        print_json({**document, **({"requirements": told} if wanted else {})})
    elif format_ == "csv":
        _csv(rows)
    else:
        _show(found, goal, rows, axes if front else None)
        if why:
            _show_why(why)
    for name, own_verdicts in verdicts.items() if not json_ else ():
        show_verdicts(own_verdicts, f"{name}: " if len(verdicts) > 1 else "", print if table else say)
    return 0 if all(map(all_met, verdicts.values())) else o.NOT_MET


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    size = re.fullmatch(r"([1-9]\d{0,6})[x×]([1-9]\d{0,6})", text.strip())
    if not size:
        raise SpecError(f"--image {text!r} is no size", "write it as 784x784, in pixels")
    return int(size[1]), int(size[2])


# --- for programs


def _document(found: Answer, goal: Goal, level: float, why: Explanation | None) -> dict[str, Any]:
    return {
        "nets": [_record(net) for net in found.nets],
        "considered": found.considered,
        "skipped": found.skipped,
        "target_tiles_per_ms": found.target,
        "probability": goal.probability,
        "level": level,
        "laws": [
            {
                "law": own.law,
                "board": own.board,
                "memory_fitted": own.memory_fitted,
                "room_mib": own.room_mib,
                "reaching": own.reaching,
                "reaching_outside": own.reaching_outside,
                "outside": own.outside,
                "far_outside": own.far_outside,
                "unpriced": own.unpriced,
                "best": _record(own.nets[0]) if own.nets else None,
                "front_size": own.front_size,
                "front": [_record(net) for net in own.front],
            }
            for own in found.laws
        ],
        "elapsed_s": found.elapsed_s,
        **({"explain": _reasons(why)} if why else {}),
    }


def _record(net: Found) -> dict[str, Any]:
    return {**vars(net), "net": net.net.model_dump(mode="json")}


def _reasons(why: Explanation) -> dict[str, Any]:
    told = why.prediction
    return {
        "net": told.net.model_dump(mode="json"),
        "batch": told.batch,
        "latency_ms": told.latency_ms,
        "kernels": [vars(kernel) for kernel in told.kernels],
        "overhead_ms": told.overhead_ms,
        "changes": [vars(change) for change in why.changes],
    }


def _csv(rows: Sequence[Found]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    for i, net in enumerate(rows):
        knobs = {
            k: (v[0] if v else "") if isinstance(v, tuple) else v for k, v in net.net.model_dump().items()
        }
        low_high = {
            f"{end}_{key}": (value[place] if value else "")
            for key, value in (
                ("ms", net.interval_ms),
                ("tiles_per_ms", net.interval),
                ("memory_mib", net.memory_interval_mib),
            )
            for place, end in enumerate(("low", "high"))
        }
        numbers = {
            k: "" if v is None else v
            for k, v in vars(net).items()
            if k not in ("net", "interval_ms", "interval", "memory_interval_mib", "outside")
        }
        flat = {**knobs, **numbers, **low_high, "outside": " ".join(item["what"] for item in net.outside)}
        if i == 0:
            table.writerow(flat)
        table.writerow(flat.values())


# --- for people


def _show(found: Answer, goal: Goal, rows: Sequence[Found], axes: Sequence[str] | None) -> None:
    wanted = _wanted(found, goal)
    for own in found.laws:
        room = f"fit in {goal.max_memory_mib:.4g} MiB" if goal.max_memory_mib else ""
        parts = [
            f"reach {wanted}" if wanted else "",
            room or ("fit" if goal.max_parameters and not wanted else ""),
        ]
        mark = "✓" if own.reaching else "✗"
        told = " and ".join(filter(None, parts)) or "priced"
        print(f"{mark} {own.law}: {own.reaching:,} of {found.considered:,} networks {told}"[:WIDTH])
        for line in _notes(own, goal):
            print(f"    {line}")
    if goal.image:
        print(
            f"  for an image of {goal.image[0]}×{goal.image[1]} pixels, cut in tiles, {goal.fps:g} times a second"
        )
    if found.skipped:
        print(f"  skipped {found.skipped:,} that are no networks: no pixels left, or over 2 GiB")
    names = [own.law for own in found.laws]
    if rows and axes:
        print(f"Pareto front of {' against '.join(axes)}:")
    elif rows and wanted and not any(own.reaching for own in found.laws):
        print("The nearest to it:")
    if rows and len(names) > 1 and not axes:
        _side_by_side(rows, names)
    elif rows:
        _table(rows)
    print(
        f"  {found.considered:,} networks × {len(names)} law{'s'[: len(names) - 1]} in {found.elapsed_s:.2f} s"
    )


def _wanted(found: Answer, goal: Goal) -> str:
    parts = []
    if found.target:
        parts.append(f"{found.target:.4g} tiles/ms")
    elif goal.image:
        parts.append(f"{goal.fps:g} images/s")
    if goal.at_most_ms:
        parts.append(f"{goal.at_most_ms:g} ms a run")
    return " and ".join(parts)


def _notes(own: LawAnswer, goal: Goal) -> list[str]:
    from edgeprof.fit.intervals import FAR_OUTSIDE, NO_ERRORS

    found = []
    chances = [net.probability for net in own.nets]
    if own.reaching and chances and chances[0] is None and own.nets[0].interval_unknown == NO_ERRORS:
        found.append("by point predictions: the law has no errors to judge by")
    if own.reaching_outside:
        found.append(f"{own.reaching_outside:,} of them are outside what the law has seen (?), ranked last")
    if own.far_outside:
        judged = "not known, not counted" if goal.timed and goal.probability > 0.5 else "no interval is known"
        found.append(f"{own.far_outside:,} are {FAR_OUTSIDE}: {judged}")
    if own.unpriced:
        found.append(f"{own.unpriced:,} networks get no finite time from this law")
    if goal.max_memory_mib and not own.memory_fitted:
        found.append("MiB is the least needed: the law has no memory model, so more may not fit")
    elif own.memory_fitted and own.nets and own.room_mib and not goal.max_memory_mib:
        fits = sum(
            net.memory_interval_mib is not None and net.memory_interval_mib[1] <= own.room_mib
            for net in own.nets
        )
        found.append(
            f"{fits} of the best {len(own.nets)} fit in the {own.room_mib:,.0f} MiB that the board had left"
        )
    return found


def _columns(rows: Sequence[Found]) -> tuple[list[str], list[list[str]], str]:
    """The knobs that differ as columns; what is common to all as a text."""
    knobs = [
        {k: v[0] if isinstance(v, tuple) and v else v for k, v in net.net.model_dump().items()}
        | {"batch": net.batch}
        for net in rows
    ]
    varied = [k for k in knobs[0] if len({str(own[k]) for own in knobs}) > 1]
    if "batch" in varied or len(rows) == 1:
        common = ""
    else:
        common = f"batch {rows[0].batch}"
    fixed = [
        f"{k.replace('_', '-')} {knobs[0][k]}"
        for k in ("conv", "depth", "kernel", "padding", "fc", "neurons")
        if k not in varied and knobs[0][k] != ()
    ]
    cells = [["–" if own[k] == () else str(own[k]) for k in varied] for own in knobs]
    return [SHORT.get(k, k) for k in varied], cells, " · ".join([*fixed, *([common] if common else [])])


def _table(rows: Sequence[Found]) -> None:
    heads, cells, common = _columns(rows)
    numbers: dict[str, list[str]] = {
        "tiles/ms": [f"{net.tiles_per_ms:.4g}" for net in rows],
        "interval": [
            f"[{net.interval[0]:.3g}, {net.interval[1]:.3g}]" if net.interval else "" for net in rows
        ],
        "P": ["" if net.probability is None else f"{net.probability:.2f}" for net in rows],
        "MMAC/tile": [f"{net.macs_per_tile / 1e6:.4g}" for net in rows],
        "params": [_thousands(net.parameters) for net in rows],
        "MiB": [f"{net.memory_mib:.3g}" for net in rows],
        "": [("*" if net.pareto else "") + ("" if net.in_domain else "?") for net in rows],
    }
    shown = {head: column for head, column in numbers.items() if any(column)}
    for least in ("MiB", "interval", "params", "P"):
        if sum(_widths([*heads, *shown], cells, shown)) > WIDTH:
            shown.pop(least, None)
    _print([*heads, *shown], [[*own, *(shown[h][i] for h in shown)] for i, own in enumerate(cells)])
    legend = ["* on the Pareto front"] if any(net.pareto for net in rows) else []
    legend += ["? outside the domain"] if any(not net.in_domain for net in rows) else []
    for line in (common, "; ".join(legend)):
        if line:
            print(f"  {line}"[:WIDTH])


def _widths(heads: Sequence[str], cells: Sequence[Sequence[str]], shown: dict[str, list[str]]) -> list[int]:
    rows = [[*own, *(shown[h][i] for h in shown)] for i, own in enumerate(cells)]
    return [2 + max(len(head), *(len(row[j]) for row in rows)) for j, head in enumerate(heads)]


def _side_by_side(rows: Sequence[Found], laws: Sequence[str]) -> None:
    """One line a network: tiles/ms by each law, ✓ where the goal is met."""
    nets: dict[tuple[str, int], dict[str, Found]] = {}
    for net in rows:
        nets.setdefault((net.net.model_dump_json(), net.batch), {})[net.law] = net
    firsts = [next(iter(own.values())) for own in nets.values()]
    heads, cells, common = _columns(firsts)
    for law in laws:
        for own, line in zip(nets.values(), cells, strict=True):
            told = own.get(law)
            mark = ("✓" if told.reaches else " ") + ("" if told.in_domain else "?") if told else ""
            line.append(f"{told.tiles_per_ms:.4g} {mark}" if told else "–")
    for first, line in zip(firsts, cells, strict=True):
        line.append(f"{first.macs_per_tile / 1e6:.4g}")
    _print([*heads, *(law if len(law) <= 16 else f"…{law[-15:]}" for law in laws), "MMAC/tile"], cells)
    if common:
        print(f"  {common}"[:WIDTH])
    print("  tiles/ms by law; ✓ meets the goal, ? outside the domain")


def _print(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    widths = [max(len(head), *(len(row[j]) for row in cells)) for j, head in enumerate(heads)]
    for row in (heads, *cells):
        line = "".join(f"  {text:>{width}}" for text, width in zip(row, widths, strict=True))
        print(line[:WIDTH].rstrip())


def _thousands(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} k"


def _show_why(why: Explanation) -> None:
    told = why.prediction
    print(f"\n{told.net.label()} · batch {told.batch}: {told.latency_ms:.4g} ms"[:WIDTH])
    parts = [(kernel.name, kernel.ms) for kernel in told.kernels if kernel.ms > 0]
    for name, ms in sorted([*parts, ("overhead", told.overhead_ms)], key=lambda part: -part[1])[:10]:
        print(f"  {name[:48]:<48} {ms:>10.4g} ms {100 * ms / told.latency_ms:>5.1f} %")
    for change in why.changes:
        print(f"  {change.text()}"[:WIDTH])
