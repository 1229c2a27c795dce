"""Placeholder until the reader lands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_tiles(path: Path, tile: int, channels: int) -> NDArray[np.float32]:
    raise NotImplementedError


def batch_of(tiles: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.resize(tiles, (batch, *tiles.shape[1:])))
