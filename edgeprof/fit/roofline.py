"""Roofline: what an operator costs at least, and about, by its arithmetic and its bytes alone.

For operators that no kernel of a law was fitted on (Williams, Waterman and Patterson, Roofline, CACM 52, 2009). Rates
are those that the calibration's own kernels reached, or else a board's datasheet peaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edgeprof.boards.spec import Board
from edgeprof.nets.operators import Operator

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rates = tuple[Rate, Rate, Rate]
QUANTILES = (5, 50, 95)  # percent of kernels that are slower
LEAST_MS = 0.01  # of a kernel that tells a rate: shorter ones are start-up
FEWEST = 5  # kernels that tell a rate
OF_PEAK = (0.02, 0.2, 1.0)  # of a datasheet's peak: seldom less, about, never more
VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")  # no byte is moved


class Roofline(BaseModel):
    """Rates that kernels reach: slow (5 % are slower), usual, and fast ones (5 % are faster); ``kernel_ms`` is what the
    smallest kernel takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    macs_per_ms: Rates
    bytes_per_ms: Rates
    kernel_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def price(self, op: Operator) -> tuple[float, float, float]:
        """Time (ms) of an operator: at least, about, at most."""
        moved = 0 if op.op_type in VIEWS else op.activation_bytes + op.parameter_bytes
        slow, usual, fast = (
            self.kernel_ms + max(op.macs / macs, moved / rate)
            for macs, rate in zip(self.macs_per_ms, self.bytes_per_ms, strict=True)
        )
        return fast - self.kernel_ms / 2, usual, slow


def reached(kernels: Iterable[tuple[Operator, float]]) -> Roofline | None:
    """The roofline of kernels that were measured: the operator that each does and its ms; None where there are too few.

    Arithmetic is judged by kernels that multiply, bytes by the others.
    """
    macs, moved, shortest = [], [], []
    for op, ms in kernels:
        shortest.append(ms)
        if ms < LEAST_MS or op.op_type in VIEWS:
            continue
        if op.macs:
            macs.append(op.macs / ms)
        else:
            moved.append((op.activation_bytes + op.parameter_bytes) / ms)
    if min(len(macs), len(moved)) < FEWEST:
        return None
    return Roofline(
        macs_per_ms=_quantiles(macs),
        bytes_per_ms=_quantiles(moved),
        kernel_ms=max(float(np.percentile(shortest, QUANTILES[0])), 0.0),
    )


def _quantiles(rates: list[float]) -> Rates:
    slow, usual, fast = (float(v) for v in np.percentile(rates, QUANTILES))
    return slow, usual, fast


def of_board(board: Board) -> Roofline | None:
    """The roofline of a board's datasheet; None where it states no peaks."""
    peaks = board.peaks
    if peaks is None or peaks.fp32_gflops is None or peaks.dram_gbps is None:
        return None
    macs, moved = peaks.fp32_gflops * 1e6 / 2, peaks.dram_gbps * 1e6
    rates = [(part * macs, part * moved) for part in OF_PEAK]
    return Roofline(
        macs_per_ms=(rates[0][0], rates[1][0], rates[2][0]),
        bytes_per_ms=(rates[0][1], rates[1][1], rates[2][1]),
    )
