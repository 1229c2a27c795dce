"""Records: the rows of a table measured by somebody else, as operators with the latency of each run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from edgeprof.errors import FitError, SpecError
from edgeprof.fit.signatures import Signature, plain, signature_of
from edgeprof.nets.operators import Operator

BATCHES = ("batch", "b")  # what varies between runs of one network or layer
DEVICES = ("device", "board", "gpu", "hardware", "machine")
KERNELS = ("kernel_name", "kernel_names")
BATCH_MARK = "{batch}"
SHOWN = 4  # values that an error names


@dataclass(frozen=True)
class Record:
    """A row: its line in the file, the values of the signature's columns, its operators, the latency of a run where
    the table tells it, and the name of the kernel that ran where the table tells that."""

    line: int
    values: Mapping[str, Any]
    operators: tuple[Operator, ...]
    latency_ms: float | None
    kernel: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What is held out together: the same layer or network at every batch."""
        return tuple(v for k, v in self.values.items() if k not in BATCHES)


@dataclass(frozen=True)
class Records:
    """The rows of a file that were asked for, and what they are of."""

    source: str
    signature: Signature
    rows: tuple[Record, ...]
    device: str = ""
    target: str = ""
    where: Mapping[str, str] | None = None


def read_records(
    path: Path,
    target: str | None = None,
    where: Sequence[str] = (),
    batch: int | None = None,
    assumed: Sequence[Any] | None = None,
) -> Records:
    """The rows of a CSV file (``.csv``, ``.csv.gz``, …) with every ``KEY=VALUE`` of ``where``.

    :param target: the column of latencies in ms, or none. Where the batch is part of the columns' names,
        ``ms_{batch}`` stands for ``ms_1``, ``ms_32`` and so on: one record for each.
    :param batch: of all rows, where the table does not tell it. :param assumed: the least and greatest batch of a law,
        taken for the rows where nothing tells it, if they are one.
    :raises FitError: no such file, column or rows; a latency that is not positive; rows of several devices.
    :raises SpecError: a value that no layer or network can have.
    """
    table = _read(path)
    conditions = dict(_condition(text, table) for text in where)
    for column, value in conditions.items():
        known = table[column].map(_word)
        table = table[known == value]
        if table.empty:
            values = sorted(known.unique())
            more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
            raise FitError(
                f"no row of {path.name} has {column}={value}",
                f"{column} is one of: {', '.join(values[:SHOWN])}{more}",
            )
    if table.empty:
        raise FitError(f"{path} has no rows", "give a table with a row for each measurement")
    if target is not None:
        table, target = _with_target(table, target, path.name)
    signature = signature_of([str(c) for c in table.columns])
    untold = "batch" in signature.optional and "batch" not in signature.found([str(c) for c in table.columns])
    if batch is None and untold and assumed and assumed[0] == assumed[-1]:
        batch = int(assumed[0])
    if batch is not None:
        if not untold:
            raise FitError(f"{path.name} tells the batch of each row", "leave out --batch")
        table = table.assign(batch=batch)
    device = _one_device(table, path.name) if target is not None else ""
    rows = _records(table, signature, target)
    return Records(path.name, signature, rows, device, target or "", conditions)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, skipinitialspace=True, dtype={"cell": str})
    except FileNotFoundError:
        raise FitError(f"no table {path}", "give a CSV file, or one compressed: .csv.gz") from None
    except (OSError, ValueError, EOFError) as error:  # pandas' own are ValueErrors
        raise FitError(f"{path} is no table: {error}", "give a CSV file with a row of column names") from None
    table.columns = pd.Index([str(c).strip() for c in table.columns])
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def _condition(text: str, table: pd.DataFrame) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    columns = {plain(str(c)): str(c) for c in table.columns}
    if not equals or plain(key) not in columns:
        raise FitError(
            f"'{text}' is no condition", f"write COLUMN=VALUE, COLUMN one of {', '.join(columns.values())}"
        )
    return columns[plain(key)], value.strip()


def _word(value: Any) -> str:
    """A cell as people write it: 3 and 3.0 are the same."""
    return f"{value:.12g}" if isinstance(value, float) else str(value).strip()


def _with_target(table: pd.DataFrame, target: str, source: str) -> tuple[pd.DataFrame, str]:
    """The table with one column of latencies, and its name."""
    if BATCH_MARK not in target:
        if target in table.columns:
            return table, target
        raise FitError(
            f"{source} has no column {target}", f"--target is one of: {', '.join(map(str, table.columns))}"
        )
    before, _, after = target.partition(BATCH_MARK)
    pattern = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    batches = {str(c): int(m[1]) for c in table.columns if (m := pattern.fullmatch(str(c)))}
    if not batches or "batch" in table.columns:
        raise FitError(
            f"{source} has no columns {target}, or a column batch besides",
            f"columns: {', '.join(map(str, table.columns))}",
        )
    parts = [
        table.drop(columns=list(batches)).assign(batch=batch, **{target: table[column]})
        for column, batch in batches.items()
    ]
    return pd.concat(parts), target


def _one_device(table: pd.DataFrame, source: str) -> str:
    column = next((c for c in table.columns if plain(str(c)) in DEVICES), None)
    if column is None:
        return ""
    devices = sorted(table[column].map(_word).unique())
    if len(devices) > 1:
        raise FitError(
            f"{source} is of {len(devices)} devices: {', '.join(devices[:SHOWN])}",
            f"a law is of one: choose with --where '{column}={devices[0]}'",
        )
    return str(devices[0])


def _records(table: pd.DataFrame, signature: Signature, target: str | None) -> tuple[Record, ...]:
    columns = signature.found([str(c) for c in table.columns if c != target])
    kernels = next((c for c in table.columns if plain(str(c)) in KERNELS), None)
    lines = [int(i) for i in table.index]
    values: dict[str, list[Any]] = {}
    for column in signature.columns:
        if column.name not in columns:
            values[column.name] = [column.default] * len(table)
        else:
            values[column.name] = [
                column.read(v, f"line {line}, {columns[column.name]}")
                for line, v in zip(lines, table[columns[column.name]].tolist(), strict=True)
            ]
    latencies = (
        [_latency(v, line, target) for line, v in zip(lines, table[target].tolist(), strict=True)]
        if target
        else [None] * len(table)
    )
    names = table[kernels].fillna("").astype(str).tolist() if kernels is not None else [""] * len(table)
    found = []
    for i, line in enumerate(lines):
        row = {name: of[i] for name, of in values.items()}
        try:
            operators = signature.operators(row)
        except SpecError as error:
            raise SpecError(f"line {line}: {error.message}", error.hint) from None
        found.append(Record(line, row, operators, latencies[i], names[i]))
    return tuple(found)


def _latency(value: Any, line: int, target: str) -> float:
    ms = float(value) if isinstance(value, int | float) else float("nan")
    if not 0 < ms < float("inf"):
        raise FitError(
            f"line {line}: {target} is {value}, and a latency is a positive number of ms",
            "drop such rows, or name another column with --target",
        )
    return ms


def batch_of(row: Record) -> int:
    """The batch of a row; 1 where it does not tell."""
    return int(next((row.values[name] for name in BATCHES if name in row.values), 1))


def domain_of_rows(rows: Sequence[Record]) -> dict[str, tuple[Any, ...]]:
    """Per column of numbers the least and greatest value; for padding those seen."""
    found: dict[str, tuple[Any, ...]] = {}
    for name, value in rows[0].values.items():
        if isinstance(value, int):
            seen = sorted({row.values[name] for row in rows})
            found[name] = tuple(seen) if name == "padding" else (seen[0], seen[-1])
    return found
