"""Tables: kernels as examples for a group, where several kernels do the work of one operator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeprof.fit.examples import Example, clean
from edgeprof.fit.forms import read_form
from edgeprof.fit.tables import SMALLEST_MS, tables_of
from edgeprof.nets.blocks import block
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelMeasurement, Measurement

CONSTANTS = {"V": 16.0, "T": 1.0, "L1": 2.0**15, "L2": 2.0**20, "L3": 2.0**25}


def example() -> Example:
    """An attention block whose splitting took two kernels, and whose layer normalisation has nine operators."""
    net = block(of="attention", size=6, channels=16, groups=2)
    case = Case(
        net=net,
        batch=1,
        precision="fp32",
        threads=1,
        launch="blocking",
        board="cpu",
        machine="made up",
        backend="ort-cpu",
        runtime="made up",
    )
    kernels = (
        KernelMeasurement("Reshape", "r", ("rows",), 0.001, 0.01),
        KernelMeasurement("LayerNormalization", "n", ("norm1_mean", "norm1_scaled", "norm1"), 0.02, 0.2),
        KernelMeasurement("Squeeze", "s", ("attention1_q",), 0.003, 0.03),
        KernelMeasurement("Gather", "g", ("attention1_q",), 0.004, 0.04),
        KernelMeasurement("Gemm", "q", ("attention1_qkv",), 0.05, 0.5),
    )
    measured = Measurement(case, "ok", "", True, "median", latency_ms=0.1)
    return Example(replace(measured, kernels=kernels), 0.1)


def test_kernels_of_one_operator_are_one() -> None:
    found = {k.operators: (k.kind, k.ms) for k in example().kernels}
    assert found[("attention1_q",)] == ("Gather", pytest.approx(0.007))
    assert found[("norm1",)] == ("LayerNormalization", 0.02)
    assert found[("attention1_qkv_add",)] == ("Gemm", 0.05)


def test_rows_have_the_dimensions_of_what_is_left() -> None:
    tables = {t.group.name: t for t in tables_of([example()], read_form("kernels"), CONSTANTS)}
    norm = dict(zip(tables["Normalisation"].group.terms, tables["Normalisation"].x[0], strict=True))
    assert (norm["Y"], norm["Y/M"]) == (96, 6)
    assert tables["Split"].y.tolist() == [pytest.approx(0.007)]
    assert min(t.y.min() for t in tables.values()) >= SMALLEST_MS


def test_kernels_that_take_longer_than_their_network_are_left_out() -> None:
    good = example()
    late = replace(good.measurement.kernels[-1], ms=0.09)
    bad = Example(replace(good.measurement, kernels=(*good.measurement.kernels[:-1], late)), 0.1)
    assert (good.disturbed, bad.disturbed) == (False, True)
    assert clean([good, bad, good]) == [True, False, True]
    assert clean([bad, bad, good]) == [True, True, True]  # there would be too little left
    gemm = next(t for t in tables_of([bad, good], read_form("kernels"), CONSTANTS) if t.group.name == "Gemm")
    assert gemm.owner.tolist() == [1]
