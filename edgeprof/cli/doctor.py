"""``edgeprof doctor``: what this machine can measure, and what is missing."""

from __future__ import annotations

import textwrap
from dataclasses import asdict

from edgeprof.cli import options as o
from edgeprof.cli.output import WIDTH, print_json

MARKS = {"ok": "✓", "warning": "!", "missing": "–"}
INDENT = 16


def doctor(json_: o.Json = False) -> int:
    """Tell what this machine can measure, what will disturb it, what is missing, and how to get it.

    Example: edgeprof doctor
    """
    from edgeprof.boards.sensors.nvml import gpus_here
    from edgeprof.doctor import examine

    root = o.root()
    findings = examine(root, gpus=gpus_here(root))
    if json_:
        print_json([asdict(finding) for finding in findings])
        return 0
    for finding in findings:
        head = f"{MARKS[finding.state]} {finding.name}"
        print(
            textwrap.fill(
                finding.detail, WIDTH, initial_indent=f"{head:<{INDENT}}", subsequent_indent=" " * INDENT
            )
        )
        if finding.remedy:
            print(
                textwrap.fill(
                    f"→ {finding.remedy}", WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT
                )
            )
    return 0
