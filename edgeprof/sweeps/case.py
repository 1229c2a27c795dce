"""Case: what is measured once, and what identifies it in a database."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeprof.nets.network import Network

Launch = Literal["blocking", "async", "graph"]
MOST_TILES = 2**20  # in a batch
Precision = Literal["fp32", "tf32", "fp16", "int8"]


class Workload(BaseModel):
    """A network and how it is run; where it runs is not said. ``threads`` 0 means the board's physical cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    net: Network
    batch: Annotated[int, Field(strict=True, ge=1, le=MOST_TILES)] = 1024
    precision: Precision = "fp32"
    threads: Annotated[int, Field(strict=True, ge=0, le=1024)] = 0
    launch: Launch = "blocking"


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

    def label(self) -> str:
        """A line for people."""
        return f"{self.net.label()} · batch {self.batch}"
