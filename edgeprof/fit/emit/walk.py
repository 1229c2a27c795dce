"""The walk of generated code over a network: operators in the order of :mod:`edgeprof.nets.build`, their dimensions as
expressions in the walk's variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from edgeprof.fit.emit.decisions import NONE, OUTPUT, Decision, Outcome
from edgeprof.fit.functions import Ceil, Floor, Where

(batch, inputs, size, depth, kernel, stride, padding, pads, out, pool, left, width, neurons, run_bytes) = (
    sp.symbols("batch inputs size depth kernel stride padding pads out pool left width neurons run_bytes")
)
FLOAT = 4  # bytes
SAME_PADS = sp.Max((Ceil(size, stride) - 1) * stride + kernel - size, 0, evaluate=False)
PADS = Where(sp.Lt(padding, 0), SAME_PADS, 2 * padding)  # both sides of a row; padding −1 is same
OUT = Floor(size + pads - kernel, stride) + 1
LEFT = Floor(out, pool)
WIDTH = inputs * size**2
POSSIBLE = (sp.Lt(Floor(pads, 2), kernel), sp.Ge(size + pads, kernel), sp.Ge(out, pool))


@dataclass(frozen=True)
class Step:
    """An operator of the walk, in the walk's variables: its dimensions, those of the tensor that it reads, and the
    bytes of its weights and results; and what it becomes."""

    name: str
    title: str
    dims: Mapping[str, sp.Expr]
    tensor: Mapping[str, sp.Expr]
    bytes: sp.Expr
    decision: Decision = NONE


def _maps(c: Any, hi: Any, m: Any, h: Any, k: Any = 1, s: Any = 1, p: Any = 0) -> dict[str, sp.Expr]:
    """Dimensions of an operator on images (edgeprof.nets.operators.dims)."""
    found = {"B": batch, "C": c, "M": m, "H": h, "W": h, "Hi": hi, "Wi": hi, "Kh": k, "Kw": k, "S": s, "P": p}
    found |= {"G": 1, "X": batch * c * hi**2, "Y": batch * m * h**2, "A": 0, "E": 0, "Z": run_bytes}
    return {n: sp.sympify(v) for n, v in found.items()}


def _rows(m: Any, **more: Any) -> dict[str, sp.Expr]:
    """Dimensions of an operator on rows of ``m`` numbers."""
    return {"B": batch, "M": m, "X": batch * m, "Y": batch * m, "Z": run_bytes, **more}


def image(c: Any, h: Any) -> dict[str, sp.Expr]:
    """Dimensions of a kernel that moves images (edgeprof.fit.rules.tensor_dims)."""
    return {"B": batch, "C": c, "H": h, "W": h, **_rows(c, X=batch * c * h**2, Y=batch * c * h**2)}


def vector(c: Any) -> dict[str, sp.Expr]:
    """Dimensions of a kernel that moves rows of ``c`` numbers."""
    return {"C": c, **_rows(c)}


_ROW = FLOAT * batch * neurons  # bytes
WALK = (
    Step(
        "conv",
        "Conv",
        _maps(inputs, size, depth, out, kernel, stride, pads),
        image(inputs, size),
        FLOAT * (kernel**2 * inputs * depth + depth + batch * depth * out**2),
    ),
    Step("relu", "Relu", _maps(depth, out, depth, out), image(depth, out), FLOAT * batch * depth * out**2),
    Step(
        "pool",
        "MaxPool",
        _maps(depth, out, depth, left, pool, pool),
        image(depth, out),
        FLOAT * batch * depth * left**2,
    ),
    Step("flatten", "Flatten", _rows(width), image(inputs, size), FLOAT * batch * width),
    Step(
        "gemm",
        "Gemm",
        _rows(neurons, R=batch, N=width, X=batch * width),
        vector(width),
        FLOAT * (width * neurons + neurons) + _ROW,
    ),
    Step("relu_fc", "Relu", _rows(neurons), vector(neurons), _ROW),
    Step("softmax", "Softmax", _rows(neurons), vector(neurons), _ROW),
    Step("output", "output", {}, vector(neurons), sp.Integer(0), Outcome(OUTPUT)),
)
IMAGES, ROWS = 4, 2  # axes of a tensor


def axes(step: Step) -> int:
    """Axes of the tensor that a step reads."""
    return IMAGES if "H" in step.tensor else ROWS
