"""Case: what is measured once, and what identifies it in a database."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edgeprof.nets.network import Network

Launch = Literal["blocking", "async", "graph"]
MOST_TILES = 2**20  # in a batch
Precision = Literal["fp32", "tf32", "fp16", "int8"]
Clocks = Literal["base", "max"]
Setting = tuple[str | None, str | None]


class Workload(BaseModel):
    """A network and how it is run; where it runs is not said. ``threads`` 0 means the board's physical cores, a
    ``power_mode`` of None the one that the board is in. A mode goes by name or number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    net: Network
    batch: Annotated[int, Field(strict=True, ge=1, le=MOST_TILES)] = 1024
    precision: Precision = "fp32"
    threads: Annotated[int, Field(strict=True, ge=0, le=1024)] = 0
    launch: Launch = "blocking"
    power_mode: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    clocks: Clocks | None = None

    @field_validator("power_mode", mode="before")
    @classmethod
    def _name(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


class Case(BaseModel):
    """A network × batch × precision × threads × launch mode × power mode × provider options, on one board (a
    machine of that kind) and one version of a backend's runtime. The sweep that asked for it is no part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    net: Network
    batch: int
    precision: str
    threads: int
    launch: str
    power_mode: str | None = None
    provider_options: tuple[tuple[str, str], ...] = ()
    board: str
    machine: str
    backend: str
    runtime: str
    inputs: str = "noise"
    clocks: str | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that tells this case from another, as plain values. ``clocks`` is there where they are held."""
        return self.model_dump(mode="json", exclude=None if self.clocks else {"clocks"})

    def key(self) -> str:
        """A short name of the identity: the first 20 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:20]

    @property
    def setting(self) -> Setting:
        """Power mode and how clocks are held: what is set on the board before the case can be measured."""
        return self.power_mode, self.clocks

    def label(self) -> str:
        """A line for people."""
        return f"{self.net.label()} · batch {self.batch}"
