"""Measurements made ready for fitting whose kernels a GPU told."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.errors import FitError
from edgeprof.fit.examples import machine_of, usable
from edgeprof.fit.learning import learn
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelTimes, Measurement, Round, measurement

SMALL, LARGE = "Conv.implicit-gemm.tf32.128x32x16", "Conv.winograd.fp32.128x128"


def measured(depth: int, told: bool = True) -> Measurement:
    """A network of one convolution, whose kernel is small below 64 channels; its layout is changed before."""
    net = net_spec(conv=1, depth=depth, fc=0)
    case = Case(
        net=net,
        batch=2,
        precision="tf32",
        threads=1,
        launch="async",
        board="discrete",
        machine="a GPU",
        backend="ort-cuda",
        runtime="onnxruntime 1.31.1",
    )
    kernels = (
        KernelTimes("layout", "conv1", ("conv1", "conv1_relu"), (20.0,) * 4),
        KernelTimes(SMALL if depth < 64 else LARGE, "conv1", ("conv1", "conv1_relu"), (80.0,) * 4),
        KernelTimes("MaxPool", "pool1", ("pool1",), (10.0,) * 4),
        KernelTimes("memset", "classifier", ("classifier",), (1.0,) * 4),
        KernelTimes("Gemm.gemv.fp32", "classifier", ("classifier",), (4.0,) * 4),
        KernelTimes("Softmax", "softmax", ("softmax",), (2.0,) * 4),
    )
    plain = tuple(KernelTimes(k.kind.partition(".")[0], k.name, k.operators, k.us) for k in kernels)
    one = Round(
        number=1,
        status="ok",
        runs_ns=np.full(10, 150_000, np.int64),
        kernels=kernels if told else plain,
        telemetry={"kernels_from": "CUPTI"} if told else {},
    )
    return measurement(case, [one], "median", 1, False)


def test_kernels_of_one_node_are_one_of_the_kind_of_the_one_that_works() -> None:
    (example,) = usable([measured(16)])
    assert [(k.kind, k.operators[0]) for k in example.kernels] == [
        (SMALL, "conv1"),
        ("MaxPool", "pool1"),
        ("Gemm.gemv.fp32", "classifier"),
        ("Softmax", "softmax"),
    ]
    assert [round(1e3 * k.ms) for k in example.kernels] == [100, 10, 5, 2]
    assert example.dims(example.kernels[0])["M"] == 16


def test_rules_learn_which_implementation_an_operator_gets() -> None:
    examples = usable([measured(depth) for depth in (8, 16, 24, 32, 48, 64, 80, 96, 128)])
    rules = learn(e.observed for e in examples)
    assert rules.operators["Conv"].text() == f"{SMALL} if M < 64, else {LARGE}"
    assert rules.operators["Flatten"].text() == "merged"  # it launches nothing


def test_a_law_is_of_kernels_that_the_gpu_told_or_of_the_profiles() -> None:
    told, plain = [measured(8), measured(16)], [measured(8, told=False), measured(16, told=False)]
    assert machine_of(usable(told)) == {"model": "a GPU", "kernels_from": "CUPTI"}
    assert machine_of(usable(plain)) == {"model": "a GPU"}
    with pytest.raises(FitError, match="the GPU told the kernels") as caught:
        usable([*told, *plain])
    assert "--fresh" in caught.value.hint
