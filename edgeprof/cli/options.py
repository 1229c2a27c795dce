"""What several verbs take: flags of a network and of a case, percentages, durations."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from edgeprof.errors import SpecError

if TYPE_CHECKING:
    from edgeprof.sweeps.case import Clocks
    from edgeprof.timing.longrun import LongRun
    from edgeprof.timing.place import Place

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Db = Annotated[Path, typer.Option("--db", help="The database of measurements.")]
Law = Annotated[str, typer.Option("--law", help="A law: a file, or a name (edgeprof list laws).")]
Emit = Annotated[
    str | None,
    typer.Option(
        "--emit",
        help="Print the law as text, latex, c, python, javascript, csv (a spreadsheet with formulas) "
        "or html (a page to design networks with).",
    ),
]
BoardName = Annotated[
    str,
    typer.Option(
        "--board",
        help="A board's name; auto is what this machine is, jetson or discrete the one it is of these.",
    ),
]
BackendName = Annotated[
    str, typer.Option("--backend", help="A runtime (edgeprof list backends); auto is the board's.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="With tensorrt: gpu, or dla0 of a Jetson; what a DLA cannot, the GPU runs."
    ),
]
HostName = Annotated[
    str | None,
    typer.Option("--host", metavar="USER@BOARD", help="Measure on this board, over ssh, instead of here."),
]
HostPython = Annotated[
    str | None,
    typer.Option("--host-python", metavar="CMD", help="The board's Python, 3.6 or newer (python3)."),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Agree beforehand to reboots that a power mode of a board needs.")
]
Rounds = Annotated[
    int, typer.Option(min=1, max=1000, help="How often each case is measured, in fresh random order.")
]
TargetCi = Annotated[
    str, typer.Option(help="Stop sampling at this half-width of the median's 95 % interval.")
]

Sustained = Annotated[
    str | None,
    typer.Option(
        help="On and on too until it is steady, so long at most, such as 10m: when does it throttle?"
    ),
]
WholeTime = Annotated[
    bool,
    typer.Option("--whole-time", help="With --sustained: all of its time, even if it is steady before."),
]
Rate = Annotated[
    float | None,
    typer.Option(min=0.01, max=1e5, help="So many times a second too: response times, up to the p99."),
]
Energy = Annotated[
    bool,
    typer.Option(
        "--energy",
        help="For 5 s more too, for the energy per tile, on a discrete GPU (a Jetson has it anyway).",
    ),
]
InFlight = Annotated[
    str | None,
    typer.Option(help="So many runs at once too: 1,2,4. What that gains, and how many are enough."),
]
HeldClocks = Annotated[
    str | None,
    typer.Option(
        "--clocks",
        help="max: hold clocks at their limits; base: a discrete GPU's at its base. As root; put back.",
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="NAME<NUMBER",
        help="A limit such as 'p99_ms<33', in quotes; may be repeated. Status 3 where it is not shown to be met.",
    ),
]

NETWORK = "The network"
SETTING = "The board's clocks, for a law over several"
NOT_MET = 3  # the status where a requirement is not shown to be met


def _knob(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel=NETWORK, show_default=False)


Tile = Annotated[str | None, _knob("Pixels of a side of the input tile (28).")]
Channels = Annotated[str | None, _knob("Channels of the input (1).")]
Classes = Annotated[str | None, _knob("Classes (10).")]
Conv = Annotated[str | None, _knob("Conv layers (1).")]
Depth = Annotated[str | None, _knob("Output channels, one value or one per conv layer (20).")]
Kernel = Annotated[str | None, _knob("Kernel size, one or one per conv layer (5).")]
Stride = Annotated[str | None, _knob("Stride, one or one per conv layer (1).")]
Padding = Annotated[str | None, _knob("valid, same or pixels, one or one per conv layer (valid).")]
Pool = Annotated[str | None, _knob("Pooling after the last conv layer (2).")]
PoolBefore = Annotated[str | None, _knob("Pooling after each conv layer before it (1: none).")]
Fc = Annotated[str | None, _knob("Hidden FC layers (1).")]
Neurons = Annotated[str | None, _knob("Neurons, one value or one per hidden FC layer (1024).")]
Batch = Annotated[str | None, _knob("Tiles in one run (1024).")]


def _clock(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel=SETTING, show_default=False, min=1.0, max=1e6)


CoreMhz = Annotated[float | None, _clock("Clock of what computes, MHz (the highest setting seen).")]
MemoryMhz = Annotated[float | None, _clock("Clock of its memory, MHz.")]
CpuMhz = Annotated[float | None, _clock("Clock of the processor that launches kernels, MHz.")]
LawPowerMode = Annotated[
    str | None,
    typer.Option(
        "--power-mode",
        help="The clocks that this power mode had when the law was fitted.",
        rich_help_panel=SETTING,
        show_default=False,
    ),
]


def values(name: str, text: str) -> tuple[int | str, ...]:
    """``1,2,same`` as numbers and words.

    :raises SpecError: an empty value.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise SpecError(
            f"--{name.replace('_', '-')} {text!r} has an empty value", "separate values by single commas"
        )
    return tuple(int(part) if re.fullmatch(r"[+-]?\d{1,12}", part) else part for part in parts)


def numbers(name: str, text: str) -> tuple[int, ...]:
    """``1,2,4`` as whole numbers.

    :raises SpecError: something else.
    """
    found = values(name, text)
    wrong = next((value for value in found if isinstance(value, str)), None)
    if wrong is not None:
        raise SpecError(
            f"--{name.replace('_', '-')} {text!r}: '{wrong}' is no whole number", "write it as 1,2,4"
        )
    return tuple(int(value) for value in found)


def given(knobs: Mapping[str, str | None]) -> dict[str, tuple[int | str, ...]]:
    """The flags of ``knobs`` that were given, read."""
    return {name: values(name, text) for name, text in knobs.items() if text is not None}


def place(host: str | None, python: str | None) -> Place:
    """Where networks are executed: here, or on a board over ssh.

    :raises SpecError: an interpreter of no board.
    """
    from edgeprof.timing.place import Here
    from edgeprof.timing.ssh import Host

    if host == "":
        raise SpecError("--host names no board", "write it as --host USER@BOARD")
    if host:
        return Host(host, python or "python3")
    if python:
        raise SpecError("--host-python is the Python of a board", "name the board too: --host USER@BOARD")
    return Here(root())


def root() -> Path:
    """The root of the file system that says what this machine is: ``$EDGEPROF_ROOT``, to emulate a board.

    :raises SpecError: no such folder.
    """
    found = Path(os.environ.get("EDGEPROF_ROOT") or "/").resolve()
    if not found.is_dir():
        raise SpecError(
            f"EDGEPROF_ROOT: there is no folder {found}", "name the root of a board's files, or unset it"
        )
    return found


def words(text: str | None) -> list[str]:
    """``MAXN,15W`` as words.

    :raises SpecError: an empty one.
    """
    found = [word.strip() for word in text.split(",")] if text is not None else []
    if not all(found):
        raise SpecError(f"{text!r} has an empty name", "separate names by single commas")
    return found


def clocks(text: str | None) -> list[Clocks]:
    """How clocks are held; empty where that is not asked for.

    :raises SpecError: in a way that there is not.
    """
    if text not in (None, "base", "max"):
        raise SpecError(
            f"--clocks {text!r} is not known",
            "max holds them at their limits; base, on a discrete GPU, at what it keeps up within its power",
        )
    return [cast("Clocks", text)] if text else []


def long_run(
    sustained: str | None, whole_time: bool, rate: float | None, energy: bool, in_flight: str | None
) -> LongRun | None:
    """What networks are to do beside their rounds; None for nothing.

    :raises SpecError: no duration, no depths, or ``whole_time`` of nothing.
    """
    from edgeprof.timing.energy import STEADY_S
    from edgeprof.timing.inflight import depths_of
    from edgeprof.timing.longrun import LongRun

    if whole_time and sustained is None:
        raise SpecError("--whole-time is of --sustained", "give a time too: --sustained 10m")
    depths = depths_of(numbers("in_flight", in_flight)) if in_flight is not None else None
    sustained_s = seconds(sustained) if sustained is not None else None
    wanted = LongRun(sustained_s, rate, STEADY_S if energy else None, depths, whole_time)
    return wanted if wanted.asked() else None


def agreed(what: str, *, yes: bool) -> bool:
    """Whether the user agrees to a reboot: beforehand, or asked on a terminal. Elsewhere nobody is asked."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{what}, now and to put it back. Reboot?", err=True)


def fills_memory(batch: str | None) -> bool:
    """Whether the largest batch is asked for.

    :raises SpecError: beside other batches.
    """
    asked = "max" in [part.strip() for part in (batch or "").split(",")]
    if asked and batch != "max":
        raise SpecError(
            f"--batch {batch!r}: max stands alone",
            "measure the others by a second command, into the same database",
        )
    return asked


def percent(text: str) -> float:
    """``1%`` or ``0.01`` as a fraction.

    :raises SpecError: it is neither, or not between 0 and 1.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise SpecError(f"{text!r} is no share", "write it as 1% or 0.01, between 0 and 100 %")
    return value


def mebibytes(text: str) -> float:
    """``512``, ``512MiB``, ``4GiB`` or ``4GB`` in MiB; a bare number is MiB.

    :raises SpecError: it is none of these, or not above 0.
    """
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?) *((?:[KMGT]i?)?B)?", text.strip(), re.IGNORECASE)
    try:
        value = float(found[1]) if found else 0.0
    except ValueError:
        value = 0.0
    if found is None or not 0 < value < math.inf:
        raise SpecError(
            f"--max-memory {text} is no amount of memory", "write it as 512MiB or 4GiB; a bare number is MiB"
        )
    unit = (found[2] or "MiB").lower()
    power = "bkmgt".index(unit[0])
    return float(value * (1024.0 if "i" in unit else 1000.0) ** power / 2**20)


def seconds(text: str) -> float:
    """``90``, ``90s``, ``10m`` or ``2h`` in seconds.

    :raises SpecError: it is none of them.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found or float(found[1]) <= 0:
        raise SpecError(f"{text!r} is no duration", "write it as 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
