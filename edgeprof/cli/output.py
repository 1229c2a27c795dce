"""What people and programs see: JSON on standard output; progress, warnings and advice on standard error."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer

from edgeprof import advice

if TYPE_CHECKING:
    from edgeprof.requirements import Verdict
    from edgeprof.timing.result import Progress as SweepProgress
    from edgeprof.timing.result import SweepResult
    from edgeprof.tradeoff import ModeSummary

WIDTH = 80
QUIET_S = 2.0
LEADS = (
    "warning: ",
    "error: ",
    "hint: ",
    "failed: ",
)  # of lines; what is broken off stands below what follows


def json_text(value: Any) -> str:
    """One JSON document; what is not finite is unknown, hence null. Where standard output is not UTF-8, in ASCII."""
    plain = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    return json.dumps(_finite(value), ensure_ascii=plain, indent=1, allow_nan=False) + "\n"


def print_json(value: Any) -> None:
    """:func:`json_text` on standard output."""
    sys.stdout.write(json_text(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: str) -> None:
    """A line on standard error; one that is too long for a terminal is broken at blanks."""
    if sys.stderr.isatty():
        text = "\n".join(_fitting(line, shutil.get_terminal_size().columns) for line in text.split("\n"))
    print(text, file=sys.stderr, flush=True)


def _fitting(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    lead = next((word for word in LEADS if line.startswith(word)), "  ")
    indent = " " * len(lead)
    return fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


@contextmanager
def interruptible(db: Path | None, resumes: bool = False) -> Iterator[None]:
    """Ctrl-C is told with what is kept in ``db``, and whether the same command ``resumes`` it; the status is 130."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f": everything measured is kept in {db}" if db else ""
        say(f"\ninterrupted{kept}{'; the same command goes on from there' if resumes else ''}")
        raise typer.Abort from None


def show_trouble(result: SweepResult) -> None:
    """The cases that failed, and each kind of warning once."""
    for case, reason in result.failed:
        say(f"failed: {case.label()}: {reason}")
    warn(result.warnings)


def warn(codes: Iterable[str]) -> None:
    """Each kind of warning once, with its remedy."""
    for line in advice.summary(codes):
        say(f"warning: {line}")


@contextmanager
def watching(title: str) -> Iterator[Callable[[SweepProgress], None]]:
    """A bar with the time left on a terminal, once it takes over two seconds; nothing anywhere else."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    begin = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
        task = bar.add_task(title, total=None, visible=False)

        def watch(progress: SweepProgress) -> None:
            bar.update(
                task,
                description=f"{title}, round {progress.number}/{progress.rounds}",
                completed=progress.done,
                total=progress.total,
                visible=time.monotonic() - begin > QUIET_S,
            )

        yield watch


@contextmanager
def working(title: str) -> Iterator[None]:
    """What goes on, and for how long, on a terminal; nothing anywhere else. For work whose end cannot be foreseen."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(title, total=None)
        yield


def verdict_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts on requirements as JSON has them."""
    return [
        {
            "require": v.requirement.text(),
            "outcome": v.outcome,
            "value": v.quantity.value,
            "interval": [v.quantity.low, v.quantity.high],
            "why": v.quantity.why or None,
        }
        for v in verdicts
    ]


def show_verdicts(verdicts: Sequence[Verdict], lead: str = "", out: Callable[[str], None] = print) -> None:
    """A line for each requirement."""
    for v in verdicts:
        q = v.quantity
        ends = ["?" if end is None else f"{end:.4g}" for end in (q.low, q.high)]
        untold = q.why and q.low is None and q.high is None
        interval = "" if untold or (q.low is not None and q.low == q.high) else f" [{', '.join(ends)}]"
        value = "unknown" if q.value is None else f"{q.value:.4g}{interval}"
        why = f" ({q.why})" if q.why else ""
        out(f"{v.outcome:<12}  {lead}{v.requirement.text()}: {value}{why}")


def mode_lines(modes: Sequence[ModeSummary]) -> Iterator[str]:
    """A table of power modes; nothing where there are no two."""
    if len(modes) < 2:
        return
    networks = f"{modes[0].networks} network{'s' if modes[0].networks > 1 else ''}"
    yield f"power modes, medians over {networks}, and on how many a mode is"
    yield f"  {'':<22}{'ms/tile':>11}{'mJ/tile':>11}{'fastest':>9}{'least energy':>14}{'dominated':>11}"
    for mode in modes:
        ms, mj = (f"{v:.4g}" if v is not None else "–" for v in (mode.ms_per_tile, mode.mj_per_tile))
        fastest, least, worse = (
            "–" if n is None else n for n in (mode.fastest, mode.least_energy, mode.dominated)
        )
        yield f"  {mode.mode[:22]:<22}{ms:>11}{mj:>11}{fastest:>9}{least:>14}{worse:>11}"
    if modes[0].dominated is not None:
        yield "  dominated: another mode is as good in both, and better in one of them"


def counted(count: int, noun: str) -> str:
    """``1 case``, ``2 cases``, ``1,024 cases``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """``45 s`` or ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
