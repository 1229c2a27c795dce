"""Signatures: what a row of a table measured by somebody else is, told by the names of the columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprof.errors import FitError, SpecError
from edgeprof.nets.layers import conv_layer, linear_layer
from edgeprof.nets.nasbench201 import EXECUTIONS, cell_kernels
from edgeprof.nets.operators import Operator

LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Column:
    """A column that a signature reads: its name, what else it may be called, and the value where there is none.

    Whole numbers from ``least`` on; words where ``least`` is None.
    """

    name: str
    aliases: tuple[str, ...] = ()
    default: int | None = None
    least: int | None = 1

    def read(self, value: Any, place: str) -> Any:
        """A cell's value.

        :raises SpecError: it is not what the column holds; the message names the ``place``.
        """
        if self.least is None:
            return str(value).strip()
        whole = isinstance(value, int | float) and math.isfinite(value) and value == int(value)
        if not whole or not self.least <= value <= LARGEST:
            raise SpecError(f"{place}: {value} is not a whole number from {self.least}", "correct the table")
        return int(value)


@dataclass(frozen=True)
class Signature:
    """What a row is: the columns that tell it, and the operators that run. Of a whole network, which of its operators
    become kernels depends on the runtime: ``executions`` names the ways, and ``kernels`` has what runs in each."""

    name: str
    columns: tuple[Column, ...]
    operators: Callable[[Mapping[str, Any]], tuple[Operator, ...]]
    executions: tuple[str, ...] = ()
    kernels: Callable[[Mapping[str, Any], str], tuple[Operator, ...]] | None = None

    def run(self, row: Mapping[str, Any], execution: str) -> tuple[Operator, ...]:
        """What runs of a row, in order."""
        return self.operators(row) if self.kernels is None else self.kernels(row, execution)

    @property
    def optional(self) -> frozenset[str]:
        """Columns that a table may lack."""
        return frozenset(c.name for c in self.columns if c.default is not None)

    def found(self, names: Sequence[str]) -> dict[str, str]:
        """Column of the signature → column of the table, for those that the table has."""
        known = {plain(name): name for name in reversed(names)}
        pairs = ((c.name, (known[a] for a in (c.name, *c.aliases) if a in known)) for c in self.columns)
        return {name: first for name, matches in pairs if (first := next(matches, None)) is not None}

    def missing(self, names: Sequence[str]) -> list[str]:
        """Columns that the table would need besides."""
        found = self.found(names)
        return [c.name for c in self.columns if c.default is None and c.name not in found]


def plain(name: str) -> str:
    """A column's name in small letters, its parts joined by underscores."""
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())


BATCH = ("batch_size", "bs")
SIGNATURES = (
    Signature(
        "conv",
        (
            Column("batch", (*BATCH, "b", "n")),
            Column("in_ch", ("in_channels", "input_channels", "cin", "c_in", "ic")),
            Column("out_ch", ("out_channels", "output_channels", "cout", "c_out", "oc", "filters")),
            Column("kernel", ("kernel_size", "ksize", "filter_size")),
            Column("in_size", ("input_size", "image_size", "in_hw", "size", "hw")),
            Column("stride", ("strides",), default=1),
            Column("padding", ("pad", "pads"), default=0, least=0),
            Column("groups", ("group",), default=1),
        ),
        lambda row: conv_layer(
            row["batch"],
            row["in_ch"],
            row["out_ch"],
            row["kernel"],
            row["in_size"],
            row["stride"],
            row["padding"],
            row["groups"],
        ),
    ),
    Signature(
        "linear",
        (
            Column("b", ("batch", *BATCH), default=1),
            Column("m", ("rows",)),
            Column("n", ("columns", "out_features")),
            Column("k", ("inner", "in_features")),
        ),
        lambda row: linear_layer(row["b"] * row["m"], row["k"], row["n"]),
    ),
    Signature(
        "cell",
        (Column("cell", least=None), Column("batch", BATCH, default=1)),
        lambda row: cell_kernels(row["cell"], row["batch"]),
        tuple(EXECUTIONS),
        lambda row, execution: cell_kernels(row["cell"], row["batch"], execution),
    ),
)


def signature_of(names: Sequence[str]) -> Signature:
    """The signature that fits a table with these columns; the one that reads most of them where several do.

    :raises FitError: none does.
    """
    fitting = [s for s in SIGNATURES if not s.missing(names)]
    if fitting:
        return max(fitting, key=lambda s: len(s.found(names)))
    nearest = min(SIGNATURES, key=lambda s: len(s.missing(names)) / (len(s.columns) - len(s.optional)))
    needed = "; ".join(
        f"{s.name}: {', '.join(c.name for c in s.columns if c.default is None)}" for s in SIGNATURES
    )
    lacking = f", {nearest.name} lacks {', '.join(nearest.missing(names))}" if nearest.found(names) else ""
    raise FitError(
        f"the columns do not tell what a row is{lacking}",
        f"a table needs the columns of one of: {needed}",
    )
