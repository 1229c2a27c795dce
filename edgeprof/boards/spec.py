"""A board: a kind of machine. Reads ``boards/*.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgeprof import catalogue
from edgeprof.document import value_of

CARD = "card"  # the rail of a discrete GPU and its circuitry
Kind = Literal["cpu", "discrete", "jetson"]
Estimator = Literal["low-decile", "minimum", "median"]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$")]


def _listed(given: Any) -> Any:
    """One text or one table is a list of one."""
    return (given,) if isinstance(given, str | Mapping) else given


Patterns = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Clauses = Annotated[tuple[Mapping[str, Patterns], ...], BeforeValidator(_listed)]


class Section(BaseModel):
    """A table of a board file: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Peaks(Section):
    """Datasheet peaks, with the document that states them. ``fp32_gflops`` without tensor cores; ``fp16_gflops`` and
    ``int8_gops`` on tensor cores, dense, with the faster accumulator; ``dram_gbps`` in 10⁹ bytes a second."""

    fp32_gflops: Positive | None = None
    fp16_gflops: Positive | None = None
    int8_gops: Positive | None = None
    dram_gbps: Positive | None = None
    source: str


class Gpu(Section):
    """The GPU with nothing gated: power modes of a Jetson switch multiprocessors off and cap clocks. ``mhz`` is the
    reference boost clock, or a Jetson's highest."""

    architecture: str
    compute_capability: Version
    sms: Count | None = None
    cuda_cores: Count | None = None
    tensor_cores: Count | None = None
    mhz: Positive | None = None
    l2_mib: Positive | None = None


class Power(Section):
    """``budget_w``: of the card, or the top of the module's stated range. ``total``: the rails whose sum is all that
    the module takes in."""

    budget_w: Positive | None = None
    total: tuple[str, ...] = ()


class PowerMode(Section):
    """A mode of nvpmodel: its ``id`` (which means other modes on other boards), the GPU clock it caps at, and whether
    only the super configuration (JetPack 6.2 on) has it."""

    id: Count
    gpu_mhz: Positive | None = None
    super: bool = False


class JetPack(Section):
    """A release of NVIDIA's software for the board, and what comes with it."""

    l4t: Version
    cuda: Version | None = None
    cudnn: Version | None = None
    tensorrt: Version | None = None
    python: Version | None = None


class Board(Section):
    """A board file.

    ``match`` tells how the board is recognised: clauses of patterns, the surest first (:mod:`edgeprof.boards.match`);
    one table is one clause, and an empty one fits any machine. ``estimator`` tells which statistic of the samples is
    the latency: the ``low-decile`` (least of the rounds' 10th percentiles), the ``minimum`` or the ``median`` of the
    rounds' medians. What is not known is absent; ``sources`` are the documents behind everything but ``peaks``.
    """

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str = ""
    kind: Kind
    match: Clauses = ({},)
    backend: str
    estimator: Estimator
    memory_gib: Positive | None = None
    dla: Count | None = None
    gpu: Gpu | None = None
    peaks: Peaks | None = None
    power: Power | None = None
    power_modes: Mapping[str, PowerMode] = {}
    jetpack: Mapping[Version, JetPack] = {}
    sources: tuple[str, ...] = ()

    def total_mw(self, rails: Mapping[str, float]) -> float | None:
        """All the power that the module takes in (mW), from its rails; None where one of them is missing. A discrete
        GPU's is that of its card."""
        names = (CARD,) if self.kind == "discrete" else self.power.total if self.power else ()
        return sum(rails[name] for name in names) if names and all(name in rails for name in names) else None


def read_board(name: str) -> Board:
    """The board called ``name``, or in the file of that name.

    :raises CatalogueError: no such board. :raises SpecError: the file is wrong.
    """
    path = catalogue.find("boards", name)
    data = catalogue.parse_toml(catalogue.read_text(path), str(path))
    return value_of(Board, data, f"board {path}", "compare it with boards/cpu.toml")
