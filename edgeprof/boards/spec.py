"""A board: a kind of machine. Reads ``boards/*.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeprof import catalogue
from edgeprof.errors import SpecError
from edgeprof.nets.spec import first_problem

Estimator = Literal["low-decile", "minimum", "median"]


class Peaks(BaseModel):
    """Datasheet peaks, with the document that states them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fp32_gflops: float | None = Field(default=None, gt=0)
    fp16_gflops: float | None = Field(default=None, gt=0)
    int8_gops: float | None = Field(default=None, gt=0)
    dram_gbps: float | None = Field(default=None, gt=0)
    source: str


class Board(BaseModel):
    """A board file. ``match`` tells how the board is recognised; ``estimator`` which statistic of the samples
    is the latency: the ``low-decile`` (least of the rounds' 10th percentiles), the ``minimum`` or the ``median`` of the
    rounds' medians."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str = ""
    kind: Literal["cpu", "discrete", "jetson"]
    match: Mapping[str, str] = {}
    backend: str
    estimator: Estimator
    peaks: Peaks | None = None


def read_board(name: str) -> Board:
    """The board called ``name``, or in the file of that name.

    :raises CatalogueError: no such board. :raises SpecError: the file is wrong.
    """
    path = catalogue.find("boards", name)
    try:
        return Board(**catalogue.parse_toml(catalogue.read_text(path), str(path)))
    except (ValidationError, TypeError) as error:
        text = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise SpecError(f"board {path}: {text}", "compare it with boards/cpu.toml") from None
