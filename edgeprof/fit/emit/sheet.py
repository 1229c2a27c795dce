"""Sheet: cells, texts and formulas, that become a CSV file which spreadsheets read as it is meant."""

from __future__ import annotations

import csv
import io
from typing import Any

from edgeprof.fit.emit.names import clean


class Formula(str):
    """The text of a formula, without its equals sign."""


class Sheet:
    """Cells that grow row by row."""

    def __init__(self) -> None:
        self.rows: list[dict[int, str]] = []

    @property
    def next(self) -> int:
        """The number of the row that comes next, from 1."""
        return len(self.rows) + 1

    def add(self, *cells: Any) -> int:
        """One more row; returns its number."""
        self.rows.append({i: _cell(c) for i, c in enumerate(cells)})
        return len(self.rows)

    def set(self, row: int, column: int, value: Any) -> None:
        """Change a cell of a row that is there."""
        self.rows[row - 1][column] = _cell(value)

    def text(self) -> str:
        """All of it as CSV."""
        width = 1 + max(max(row, default=0) for row in self.rows)
        out = io.StringIO()
        rows = [[row.get(i, "") for i in range(width)] for row in self.rows]
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()


def _cell(value: Any) -> str:
    """What a CSV file holds; text that a spreadsheet would take for a formula is marked as text."""
    if isinstance(value, Formula):
        return f"={value}"
    text = clean(str(value))
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@") else text


def place(row: int, column: int, fixed: bool = False) -> str:
    """A cell's name, such as ``C7`` or ``$C$7``; rows from 1, columns from 0."""
    letters, column = "", column + 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"${letters}${row}" if fixed else f"{letters}{row}"
