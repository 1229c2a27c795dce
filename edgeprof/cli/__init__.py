"""The command line: one module per verb; how errors and interruptions end is said here once."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from types import FrameType

import typer
from typer.exceptions import TyperException

from edgeprof import __version__
from edgeprof.cli import (
    catalogue,
    compare,
    doctor,
    export,
    fit,
    merge,
    predict,
    profile,
    query,
    report,
    sweep,
    validate,
)
from edgeprof.cli.output import say
from edgeprof.errors import EdgeprofError
from edgeprof.interrupt import INTERRUPTED, met

app = typer.Typer(
    name="edgeprof",
    help="Know how fast a network will run on a board before you train it.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb, about in (
    (sweep.sweep, "Measure networks on a board: latency, kernels, memory."),
    (fit.fit, "Fit a law to measurements and print it, with its error."),
    (predict.predict, "Predict the latency of a network by a law, without a board."),
    (query.query, "Tell which networks are fast enough, and the best of them."),
    (validate.validate, "Measure networks that a law never saw, and score it."),
    (compare.compare, "Compare two boards, backends, launch modes or versions."),
    (profile.profile, "Measure any ONNX model and take it apart, kernel by kernel."),
    (report.report, "Write a page with every figure of measurements and laws."),
    (doctor.doctor, "Tell what this machine can measure, and what is in the way."),
    (export.export, "Write the measurements of a database in another format."),
    (merge.merge, "Put the measurements of several databases into one."),
):
    app.command(short_help=about)(verb)
app.command("list", short_help="List the names of sweeps, boards, forms, laws and others.")(
    catalogue.list_names
)
app.command("show", short_help="Show a sweep, board, form, law or known network.")(catalogue.show)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgeprof {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Know how fast a network will run on a board before you train it."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """The ``edgeprof`` command: statuses 0 done, 1 some cases failed, 2 cannot be done as asked, 3 a
    requirement is not met, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _terminate)
    _open_streams()
    sys.exit(run(sys.argv[1:]))


def _open_streams() -> None:
    """Standard output that is closed takes everything and keeps nothing; letters that a terminal lacks become ``?``."""
    if sys.stdout is None:
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM, and a terminal that is closed, end edgeprof as Ctrl-C does: in order, with everything kept."""
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Carry out a command line; every error on purpose is two lines on standard error. ``help VERB`` is
    ``VERB --help``."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        status = app(arguments, prog_name="edgeprof", standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:  # typer's answer to Ctrl-C
            print("\ninterrupted", file=sys.stderr)
            return met()
        return status if isinstance(status, int) else 0
    except EdgeprofError as error:
        return complain(error.message, error.hint)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        verb = [word for word in arguments[:1] if not word.startswith("-")]
        path = getattr(context, "command_path", " ".join(["edgeprof", *verb]))
        return complain(
            error.format_message().replace("Value error, ", ""), f"{path} --help tells what it takes"
        )
    except typer.Exit as done:
        return int(done.exit_code)
    except (BrokenPipeError, SystemExit):  # typer's answer to a broken pipe is the latter
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return complain(
            f"{where}{error.strerror or error}", "what was measured before is kept in the database"
        )
    except typer.Abort:  # a verb has said what is kept
        return met()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return met()


def complain(message: str, hint: str) -> int:
    """The two lines of an error; the status that goes with them."""
    say(f"error: {' '.join(message.split())}\nhint: {hint}")
    return 2
