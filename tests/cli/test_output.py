"""What people see on a terminal, and programs in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

WARN = "from edgeprof.cli.output import warn; warn(['few-rounds', 'few-rounds', 'drift'])"


def printed(columns: int, descriptor: int) -> None:
    subprocess.run(
        [sys.executable, "-c", WARN],
        check=True,
        stderr=descriptor,
        env={**os.environ, "COLUMNS": str(columns)},
    )


def test_warnings_fit_a_terminal_and_are_a_line_each_in_a_pipe() -> None:
    ours, theirs = os.openpty()
    try:
        printed(60, theirs)
        on_terminal = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)
    reading, writing = os.pipe()
    printed(60, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        in_pipe = pipe.read()
    assert len(in_pipe.splitlines()) == 2
    assert max(len(line) for line in on_terminal.splitlines()) <= 60
    assert on_terminal.split() == in_pipe.split()
