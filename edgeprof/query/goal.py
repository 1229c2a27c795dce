"""Goal: what a network must meet in time, memory and size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprof.errors import SpecError


@dataclass(frozen=True)
class Goal:
    """What a network must meet. ``at_least`` is in tiles/ms; an ``image`` (width, height in pixels) is cut into tiles,
    the last of a row or column padded, ``fps`` times a second; ``at_most_ms`` is the latency of a run. All of them
    must be met with ``probability`` (0.5: by the prediction itself) by a law that has errors to judge by, else by its
    prediction; time and memory together."""

    at_least: float | None = None
    image: tuple[int, int] | None = None
    fps: float | None = None
    at_most_ms: float | None = None
    max_memory_mib: float | None = None
    max_parameters: float | None = None
    max_energy_mj: float | None = None
    probability: float = 0.9

    def __post_init__(self) -> None:
        if (self.image is None) != (self.fps is None):
            raise SpecError("an image and its rate belong together", "give both --image 784x784 and --fps 5")
        for name in ("at_least", "fps", "at_most_ms", "max_memory_mib", "max_parameters", "max_energy_mj"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                flag = f"--{name.removesuffix('_mib').removesuffix('_mj').replace('_', '-')}"
                raise SpecError(f"{flag} {value:g} is no limit", "give a number above 0")
        if not 0.5 <= self.probability < 1:
            raise SpecError(
                f"--probability {self.probability} is not from 0.5 to 1", "0.9 asks for nine chances in ten"
            )

    @property
    def timed(self) -> bool:
        """Whether it says anything about time."""
        return any(v is not None for v in (self.at_least, self.image, self.at_most_ms))

    def tiles_per_ms(self, tile: Any) -> Any:
        """The speed needed for tiles of this side; 0 where none is."""
        needed = tile * 0.0 + (self.at_least or 0.0)
        if self.image is not None and self.fps is not None:
            width, height = self.image
            needed = np.maximum(needed, -(-width // tile) * -(-height // tile) * self.fps / 1000)
        return needed

    def limit_ms(self, tile: Any, batch: Any) -> Any:
        """The latency of a run that meets it."""
        with np.errstate(divide="ignore"):
            return np.minimum(batch / self.tiles_per_ms(tile), self.at_most_ms or math.inf)
