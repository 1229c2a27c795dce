"""What people see on a terminal, and programs in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

from edgeprof.cli.output import mode_lines
from edgeprof.tradeoff import ModeSummary

WARN = (
    "from edgeprof.cli import complain; from edgeprof.cli.output import say, warn; "
    "warn(['few-rounds', 'few-rounds', 'drift']); say('a line ' * 20); complain('a word ' * 20, 'a hint ' * 20)"
)


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
    assert len(in_pipe.splitlines()) == 5
    assert max(len(line) for line in on_terminal.splitlines()) <= 60
    assert on_terminal.split() == in_pipe.split()


def test_a_table_of_power_modes_fits_a_terminal() -> None:
    modes = (
        ModeSummary("MODE_30W_ALL_THE_WAY, clocks max", 123, 1.234567, 12345.678, 123, 100, 0),
        ModeSummary("15W", 123, 2.5, None, 0, None, None),
    )
    first, _, *rows, last = mode_lines(modes)
    assert first.startswith("power modes, medians over 123 networks")
    assert rows[0].split() == ["MODE_30W_ALL_THE_WAY,", "1.235", "1.235e+04", "123", "100", "0"]
    assert rows[1].split() == ["15W", "2.5", "–", "0", "–", "–"]
    assert last.startswith("  dominated: ")
    assert max(map(len, mode_lines(modes))) <= 80
    assert list(mode_lines(modes[:1])) == []
