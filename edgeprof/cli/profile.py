"""``edgeprof profile``: one network, measured and taken apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import (
    WIDTH,
    counted,
    duration,
    interruptible,
    print_json,
    say,
    show_verdicts,
    verdict_rows,
    warn,
    watching,
)
from edgeprof.errors import SpecError

if TYPE_CHECKING:
    from edgeprof.profile import Profile, ProfiledKernel
    from edgeprof.requirements import Quantity, Verdict

ABOVE = 1.05  # of the roofline: more needs a word


def profile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or a network of the zoo.")],
    batch: Annotated[
        int | None, typer.Option(min=1, max=2**20, help="Size of an open first axis (1 for the zoo).")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1x3x224x224", help="Shape of an input with open axes; may be repeated."),
    ] = None,
    board: o.BoardName = "auto",
    backend: o.BackendName = "auto",
    device: o.Device = None,
    host: o.HostName = None,
    host_python: o.HostPython = None,
    precision: Annotated[
        Literal["fp32", "tf32", "fp16", "int8"],
        typer.Option(help="Number format: fp32; on a GPU tf32; by TensorRT fp16, int8."),
    ] = "fp32",
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Threads of the runtime (the physical cores).")
    ] = 0,
    launch: Annotated[
        Literal["blocking", "async", "graph"], typer.Option(help="Launch mode; a CPU has blocking alone.")
    ] = "blocking",
    power_mode: Annotated[
        str | None, typer.Option(help="A power mode of a Jetson, such as 15W. As root; put back afterwards.")
    ] = None,
    clocks: o.HeldClocks = None,
    rounds: o.Rounds = 3,
    target_ci: o.TargetCi = "1%",
    sustained: o.Sustained = None,
    whole_time: o.WholeTime = False,
    rate: o.Rate = None,
    energy: o.Energy = False,
    in_flight: o.InFlight = None,
    deadline: Annotated[
        float | None, typer.Option(min=0, help="Count runs that take longer than this (ms).")
    ] = None,
    require: o.Require = None,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Kernels to list.")] = 15,
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace that Perfetto and chrome://tracing open.")
    ] = None,
    db: Annotated[Path | None, typer.Option("--db", help="Keep the measurement in this database.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what the database has already.")
    ] = False,
    json_: o.Json = False,
) -> int:
    """Measure any ONNX model and take it apart: kernels, what they compute and move, and how near the board's peaks.

    Status 3 where a requirement is not shown to be met.

    Example: edgeprof profile resnet18 --batch 4 --trace trace.json

    Example: edgeprof profile model.onnx --batch 1 --deadline 33 --require 'latency_ms<33'
    """
    from edgeprof.backends.base import Stop
    from edgeprof.files import check_target
    from edgeprof.nets.model import parse_shape
    from edgeprof.profile import QUANTITIES, TAILS, find_network, profile_model
    from edgeprof.requirements import all_met, check_names, judge, parse_requirement
    from edgeprof.store import check_store
    from edgeprof.target import open_target
    from edgeprof.timing.longrun import long_s

    wanted = [parse_requirement(text) for text in require or ()]
    check_names(wanted, QUANTITIES)
    if any(one.name == "missed_pct" for one in wanted) and deadline is None:
        raise SpecError("missed_pct needs a deadline", "give one in ms: --deadline 33")
    if trace is not None:
        check_target(trace)
    if db is not None:
        check_store(db)
    stop = Stop(target_ci=o.percent(target_ci))
    modes, held = o.words(power_mode), o.clocks(clocks)
    if len(modes) > 1:
        raise SpecError("a profile is of one power mode", "profile once for each, with --db FILE to keep all")
    long = o.long_run(sustained, whole_time, rate, energy, in_flight)
    net, size = find_network(model, batch, dict(parse_shape(text) for text in shape or ()))
    with open_target(board, backend, place=o.place(host, host_python), device=device) as target:
        plan = f"{net.label()}, batch {size}, {counted(rounds, 'round')}"
        if long:
            plan += f", then {duration(long_s(long))} more"
        with interruptible(db), watching("profile") as watch:
            found = profile_model(
                net,
                target,
                batch=size,
                precision=precision,
                threads=threads,
                launch=launch,
                power_mode=modes[0] if modes else None,
                clocks=held[0] if held else None,
                rounds=rounds,
                stop=stop,
                deadline_ms=deadline,
                tails=any(one.name in TAILS for one in wanted),
                long=long,
                db=db,
                fresh=fresh,
                begins=lambda: say(f"{target.machine_title} · {target.runtime} · {plan}"),
                watch=watch,
                say=say,
            )
    quantities = found.quantities()
    verdicts = judge(wanted, quantities)
    if found.measurement.reason:
        say(f"warning: not every round was measured: {found.measurement.reason}")
    for reason in found.failed:
        say(f"failed: {reason}")
    warn(found.warnings)
    if trace is not None:
        from edgeprof.report.trace import write_trace

        write_trace(found, trace)
        say(f"{trace} written: open it in ui.perfetto.dev or chrome://tracing")
    if json_:
        print_json(_document(found, quantities, verdicts))
    else:
        _show(found, quantities, top)
        show_verdicts(verdicts)
    if not all_met(verdicts):
        return o.NOT_MET
    return 1 if found.failed else 0


def _document(
    found: Profile, quantities: dict[str, Quantity | None], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    from edgeprof.export import as_dict

    roof = found.roofline
    return {
        "network": found.net.label(),
        **as_dict(found.measurement),
        "macs": found.work.macs,
        "bytes": found.work.bytes,
        "parameters": found.parameters,
        "gflops": found.gflops,
        "gbps": found.gbps,
        "roofline": asdict(roof) if roof else None,
        "kernels": [
            {
                "kind": k.kernel.kind,
                "name": k.kernel.name,
                "operators": [{"name": name, "op_type": op_type} for name, op_type in k.operators],
                **k.figures(roof),
                "bound": roof.bound(k.work.macs, k.work.bytes) if roof and k.work.bytes else None,
                **({"device": asdict(k.kernel.device)} if k.kernel.device else {}),
            }
            for k in found.kernels
        ],
        "by_kind": [{"kind": kind, "kernels": n, "ms": ms} for kind, n, ms in found.by_kind()],
        "quantities": {
            name: q and {"value": q.value, "low": q.low, "high": q.high} for name, q in quantities.items()
        },
        "worst_ms": max(float(runs.max()) for runs in found.runs_ms),
        "runs": sum(len(runs) for runs in found.runs_ms),
        "deadline": asdict(found.deadline) if found.deadline else None,
        "requirements": verdict_rows(verdicts),
        "failed": found.failed,
        "operators_of_unknown_shape": found.unknown,
        "operators_without_kernel": found.removed,
        "warnings": found.warnings,
    }


def _show(found: Profile, quantities: dict[str, Quantity | None], top: int) -> None:
    m, roof = found.measurement, found.roofline
    low, high = m.ci_ms or (found.latency_ms, found.latency_ms)
    simulated = " · simulated" if m.simulated else ""
    print(
        f"{found.net.label()} · batch {m.case.batch} · {m.case.precision}, threads {m.case.threads}{simulated}"
    )
    speed = f"{1e3 * m.case.batch / found.latency_ms:.4g} images/s"
    print(f"  latency   {found.latency_ms:.5g} ms  [{low:.4g}, {high:.4g}] at 95 %, {speed}")
    runs = sum(len(r) for r in found.runs_ms)
    worst = max(float(r.max()) for r in found.runs_ms)
    tails = "  ".join(f"{name[:3]} {q.value:.4g}" for name in _tails() if (q := quantities[name]))
    print(f"  tails     {tails} ms")
    print(f"            worst {worst:.4g} ms of {runs} runs")
    if d := found.deadline:
        share = f"{d.share.pct:.2g} % [{d.share.low_pct:.2g}, {d.share.high_pct:.2g}]"
        print(f"  deadline  {d.ms:g} ms missed by {d.missed} of {d.runs} runs, {share}")
    work = found.work
    size = f"{found.parameters / 1e6:.4g} M parameters, {work.bytes / 1e6:.4g} MB to move"
    print(f"  work      {work.macs / 1e6:,.4g} MMAC, {size}")
    if roof:
        print(
            f"  achieved  {found.gflops:.3g} of {roof.gflops:.3g} GFLOP/s, {found.gbps:.3g} of {roof.gbps:.3g} GB/s"
        )
        print(f"            (peaks {roof.source})"[:WIDTH])
    else:
        print(f"  achieved  {found.gflops:.3g} GFLOP/s, {found.gbps:.3g} GB/s")
    once = {"load": m.load_ms, "first run": m.first_run_ms, "with copies": m.host_to_host_ms}
    if times := [f"{name} {ms:.4g} ms" for name, ms in once.items() if ms is not None]:
        print(f"  besides   {', '.join(times)}")
    if memory := quantities["memory_mib"]:
        print(f"  memory    {memory.value:.4g} MiB")
    if (energy := quantities["energy_mj"]) and "energy" not in m.telemetry:
        print(f"  energy    {energy.value:.4g} mJ a run")
    _show_long(m.telemetry)
    if found.kernels:
        _show_kernels(found, top)
    else:
        print("  kernels   not known")
    if found.unknown:
        print(f"{len(found.unknown)} operators of unknown shape, their work is not counted:")
        print(f"  {', '.join(found.unknown)}"[:WIDTH])


LONG = {"sustained": "on and on", "at_rate": "at a rate", "energy": "energy", "in_flight": "at once"}


def _show_long(telemetry: Mapping[str, Any]) -> None:
    """What it did beside its rounds, a paragraph each."""
    from edgeprof.timing.inflight import images
    from edgeprof.timing.longrun import told

    for name, title in LONG.items():
        if name in telemetry:
            first, *below = told({name: telemetry[name]}, images).split("\n")
            print(fill(first, WIDTH, initial_indent=f"  {title:<10}", subsequent_indent=" " * 12))
            for line in below:
                print(f"{'':10}{line}")


def _tails() -> Sequence[str]:
    from edgeprof.profile import TAILS

    return tuple(TAILS)


def _show_kernels(found: Profile, top: int) -> None:
    """A line a kernel, the most time first. The printed times add up to the printed latency: what rounding leaves is in
    the line of the other kernels, or in what is not attributed."""
    digits = max(0, min(6, 4 - math.floor(math.log10(found.latency_ms))))
    ordered = sorted(found.kernels, key=lambda k: -k.kernel.ms)
    latency = round(found.latency_ms, digits)
    rest = round(found.measurement.unattributed_ms or 0.0, digits)
    shown, others = ordered[:top], ordered[top:]
    listed = [round(k.kernel.ms, digits) for k in shown]
    left = latency - sum(listed) - rest
    if not others:
        rest, left = rest + left, 0.0
    print()
    print(f"  {'ms':>9} {'%':>6} {'GFLOP/s':>8} {'GB/s':>6} {'of peak':>8}  kernel")
    for k, ms in zip(shown, listed, strict=True):
        print(_line(k, ms, digits, found)[:WIDTH])
    if others:
        share = math.fsum(k.kernel.share for k in others)
        print(_total(left, share, digits, f"{len(others)} more kernels"))
    share = (found.measurement.unattributed_ms or 0.0) / found.latency_ms
    print(_total(rest, share, digits, "not attributed to a kernel"))
    print(_total(latency, 1.0, digits, "latency"))
    line = "  by kind:"
    for kind, _, ms in found.by_kind():
        part = f" {kind} {100 * ms / found.latency_ms:.1f} %,"
        if len(line) + len(part) > WIDTH:
            break
        line += part
    print(line.rstrip(","))
    if any((k.of_roof(found.roofline) or 0) > ABOVE for k in shown):
        print("  over 100 %: bytes came from a cache, or the peaks were taken beside load")


def _line(k: ProfiledKernel, ms: float, digits: int, found: Profile) -> str:
    rates = [f"{rate:>{width}.3g}" if rate else " " * width for rate, width in ((k.gflops, 8), (k.gbps, 6))]
    of_roof = k.of_roof(found.roofline)
    roof = f"{100 * of_roof:>6.0f} %" if of_roof else " " * 8
    names = " + ".join(name for name, _ in k.operators)
    return f"  {ms:>9.{digits}f} {100 * k.kernel.share:>6.1f} {rates[0]} {rates[1]} {roof}  {k.kernel.kind} {names}"


def _total(ms: float, share: float, digits: int, text: str) -> str:
    return f"  {ms + 0.0:>9.{digits}f} {100 * share:>6.1f} {'':>24}  {text}"
