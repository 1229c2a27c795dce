"""``edgeprof sweep``: measure networks on a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import (
    counted,
    duration,
    interruptible,
    mode_lines,
    print_json,
    say,
    show_trouble,
    watching,
)


def sweep(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="Sweeps (quick).")
    ] = None,
    board: o.BoardName = "auto",
    backend: o.BackendName = "auto",
    device: o.Device = None,
    soak: Annotated[
        str | None,
        typer.Option(help="Warm the board up first until its temperature is steady, at most so long: 5m."),
    ] = None,
    sustained: o.Sustained = None,
    whole_time: o.WholeTime = False,
    rate: o.Rate = None,
    energy: o.Energy = False,
    in_flight: o.InFlight = None,
    power_mode: Annotated[
        str | None,
        typer.Option(
            help="Power modes of a Jetson, each network in all of them: MAXN,15W. As root; put back afterwards."
        ),
    ] = None,
    clocks: o.HeldClocks = None,
    yes: o.Yes = False,
    host: o.HostName = None,
    host_python: o.HostPython = None,
    db: o.Db = Path("edgeprof.db"),
    rounds: o.Rounds = 3,
    target_ci: o.TargetCi = "1%",
    budget: Annotated[str | None, typer.Option(help="Stop when this time is spent, such as 10m.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what the database has already.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the cases and guess the time; measure none.")
    ] = False,
    tiles: Annotated[
        Path | None,
        typer.Option(help="Real inputs: a folder in MNIST's format, or a picture (.png, .npy) to cut up."),
    ] = None,
    nets: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Networks to draw, for a random sweep.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draws, for a random sweep.")] = None,
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
    batch: Annotated[
        str | None,
        typer.Option(
            help="Tiles in one run (1024); max: the largest batch of each network that fits in memory.",
            rich_help_panel=o.NETWORK,
            show_default=False,
        ),
    ] = None,
    threads: Annotated[str | None, typer.Option(help="Threads of the runtime (the physical cores).")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Number format: fp32; on a GPU tf32; by TensorRT fp16, int8.")
    ] = None,
    launch: Annotated[
        str | None,
        typer.Option(
            help="Launch modes: blocking,async,graph (a GPU's first two; a CPU has blocking alone)."
        ),
    ] = None,
    json_: o.Json = False,
) -> int:
    """Measure networks on a board: latency, kernels, memory. What the database has already is not measured again.

    Flags of the network override the sweep's file. Ctrl-C keeps everything measured; the same command goes on.

    Example: edgeprof sweep group4 --batch 64 --db g4.db
    """
    from dataclasses import asdict
    from functools import partial

    from edgeprof.backends.base import Stop
    from edgeprof.closing import fit_command
    from edgeprof.errors import SpecError
    from edgeprof.plan import cases_of, estimate_s
    from edgeprof.store import check_store
    from edgeprof.sweep import check_long, images_for, modes_measured, run_sweep
    from edgeprof.sweeps.spec import read_sweep
    from edgeprof.target import open_target
    from edgeprof.timing.longrun import long_s

    if filling := o.fills_memory(batch):
        if dry_run or budget:
            raise SpecError("the largest batch is known once it is found", "leave out --dry-run and --budget")
        batch = "1"
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
        | dict(threads=threads, precision=precision, launch=launch)
    )
    knobs |= {
        knob: tuple(values)
        for knob, values in (("power_mode", o.words(power_mode)), ("clocks", o.clocks(clocks)))
        if values
    }
    sweeps = [read_sweep(name).override(knobs).resampled(nets, seed) for name in names or ["quick"]]
    stop = Stop(target_ci=o.percent(target_ci))
    budget_s = o.seconds(budget) if budget is not None else None
    soak_s = o.seconds(soak) if soak is not None else None
    long = o.long_run(sustained, whole_time, rate, energy, in_flight)
    check_store(db)
    with open_target(board, backend, place=o.place(host, host_python), device=device) as target:
        if dry_run or filling:
            check_long(target, long)
            images_for(cases_of(sweeps, target, tiles), tiles)
        if filling:
            from edgeprof.largest import fill_memory

            sweeps = fill_memory(sweeps, target, say)
        cases = cases_of(sweeps, target, tiles)
        guess = (
            estimate_s(cases, rounds, stop, target.spec)
            if not target.backend.simulated
            else 0.01 * len(cases) * rounds
        )
        guess += long_s(long) * len(cases)
        plan = f"{counted(len(cases), 'case')} × {counted(rounds, 'round')}, about {duration(guess)}"
        if dry_run:
            if json_:
                print_json({"cases": len(cases), "rounds": rounds, "estimate_s": guess, "db": str(db)})
            else:
                print(f"{plan} on {target.machine_title}")
            return 0
        wall = plan if budget_s is None else f"for {duration(budget_s)}"
        with interruptible(db, resumes=True):
            with watching("sweep") as watch:
                result = run_sweep(
                    sweeps,
                    db,
                    target,
                    rounds=rounds,
                    stop=stop,
                    budget_s=budget_s,
                    fresh=fresh,
                    soak_s=soak_s,
                    long=long,
                    tiles=tiles,
                    agree=partial(o.agreed, yes=yes),
                    begins=lambda: say(f"{target.machine_title} · {target.runtime} · {wall}"),
                    watch=watch,
                    say=say,
                )
            modes = modes_measured(db, target) if any(sweep.sets for sweep in sweeps) else ()
    show_trouble(result)
    if json_:
        print_json(
            {
                "cases": result.cases,
                "measured": result.measured,
                "reused": result.reused,
                "failed": [{"case": case.identity(), "reason": reason} for case, reason in result.failed],
                "wall_s": result.wall_s,
                "measuring_s": result.measuring_s,
                "stopped": result.stopped or None,
                "warnings": list(dict.fromkeys(result.warnings)),
                "power_modes": [asdict(mode) for mode in modes],
                "db": str(db),
            }
        )
    else:
        for line in mode_lines(modes):
            print(line)
        print(
            f"{result.measured} measured, {result.reused} reused, {len(result.failed)} failed"
            f" of {counted(result.cases, 'case')} in {duration(result.wall_s)} · {db}"
        )
        if result.stopped == "reboot":
            print(
                "the board reboots: the same command goes on from there"
                + (", without --fresh" if fresh else "")
            )
        elif result.stopped:
            print("the budget is spent: the same command with more goes on")
        print(f"try: {fit_command(db, cases[0])}")
    return 1 if result.failed else 0
