"""``edgeprof doctor``: what this machine can measure, and what is missing."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import WIDTH, print_json, say

MARKS = {"ok": "✓", "warning": "!", "missing": "–"}
INDENT = 16


def doctor(
    restore: Annotated[
        bool,
        typer.Option(
            "--restore", help="Put power mode and clocks back that a sweep left when it was killed."
        ),
    ] = False,
    yes: o.Yes = False,
    host: o.HostName = None,
    host_python: o.HostPython = None,
    json_: o.Json = False,
) -> int:
    """Tell what this machine can measure, what will disturb it, what is missing, and how to get it.

    Example: edgeprof doctor
    """
    from edgeprof.boards.sensors.gpu import gpu_here
    from edgeprof.boards.sensors.nvml import gpus_here
    from edgeprof.doctor import examine, said_once
    from edgeprof.errors import SpecError

    if restore:
        return _restore(host, host_python, yes, json_)
    if host is not None or host_python is not None or yes:
        raise SpecError(
            "--host, --host-python and --yes are of --restore",
            "on the board itself, edgeprof doctor tells more",
        )
    root = o.root()
    findings = examine(root, gpus=gpus_here(root), gpu=gpu_here(root))
    if json_:
        print_json([asdict(finding) for finding in findings])
        return 0
    indent = max(INDENT, *(len(finding.name) + 3 for finding in findings))
    for finding in said_once(findings):
        print(_hanging(f"{MARKS[finding.state]} {finding.name}", finding.detail, indent))
        if finding.remedy:
            print(_hanging("", f"→ {finding.remedy}", indent))
    return 0


def _hanging(head: str, text: str, indent: int) -> str:
    """``text`` in a column of its own; commands and names of packages stay whole."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{head:<{indent}}",
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _restore(host: str | None, python: str | None, yes: bool, json_: bool) -> int:
    from contextlib import closing

    from edgeprof.boards.power import Rebooting, RebootNeeded
    from edgeprof.timing.place import restoring

    with closing(o.place(host, python)) as place, restoring(place):
        locked = place.locks().restore()
        power = place.power()
        try:
            was = power.restore()
        except RebootNeeded as error:
            if not o.agreed(error.message, yes=yes):
                raise RebootNeeded(error.message, "--yes agrees to it") from None
            try:
                was = power.restore(reboot=True)
            except Rebooting as reboot:
                was = power.left()
                say(reboot.message)
    if json_:
        print_json({"restored": asdict(was) if was else None, "clocks": asdict(locked) if locked else None})
        return 0
    if locked:
        print(f"put back: {locked.title()}")
    if was or not locked:
        print(f"put back: power mode {was.title()}" if was else "nothing to put back")
    return 0
