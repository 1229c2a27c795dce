"""``edgeprof query``: design-time questions to one or several laws."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import typer

from edgeprof.cli import options as o
from edgeprof.cli.answer import document, print_csv, show, show_why
from edgeprof.cli.output import duration, print_json, say, show_verdicts, verdict_rows, warn, working
from edgeprof.errors import SpecError

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
        told = document(found, goal, o.percent(level), why)
        if any(own.clocks for own in laws):
            told["clocks"] = {own.name: own.clocks for own in laws if own.clocks}
        judged = [{"law": law, **row} for law, own in verdicts.items() for row in verdict_rows(own)]
        print_json({**told, **({"requirements": judged} if wanted else {})})
    elif format_ == "csv":
        print_csv(rows)
    else:
        show(found, goal, rows, axes if front else None)
        if why:
            show_why(why)
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
