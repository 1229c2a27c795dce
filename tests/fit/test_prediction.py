"""Predictions: the published law's numbers, and those of laws of kernels."""

from __future__ import annotations

import math

import pytest

from edgeprof.errors import DomainError
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import predict, predict_many
from edgeprof.nets.network import ZooNet
from edgeprof.nets.spec import net_spec

from .laws import SMALL, STUDY


@pytest.mark.parametrize(("conv", "fc", "tiles_per_ms"), [(5, 1, 35.7676), (1, 5, 87.7360), (3, 3, 41.4215)])
def test_the_study_s_table_2(conv: int, fc: int, tiles_per_ms: float) -> None:
    found = predict(STUDY, net_spec(conv=conv, fc=fc), 1024)
    assert f"{found.tiles_per_ms:.4f}" == f"{tiles_per_ms:.4f}"
    assert found.in_domain
    assert math.fsum([found.overhead_ms, *(k.ms for k in found.kernels)]) == found.latency_ms
    assert [k.kind for k in found.kernels] == ["Dot22", "Elemwise", "Alloc", "Pool", "Conv"]


def test_the_study_s_equations_one_by_one() -> None:
    t, n, d, c, f = 28, 512, 40, 3, 2
    squares = [(t - 4 * i) ** 2 for i in range(1, 6)]
    found = predict(STUDY, net_spec(conv=c, depth=d, fc=f, neurons=n), 1024)
    wanted = {
        "Dot22": (6.8e-6 + 6.6e-11 * n**2) * f,
        "Elemwise": (4.9e-5 + 1.9e-7 * n) * f + 2.4e-7 * d * sum(squares[1:c]),
        "Alloc": 3.5e-8 * d * sum(squares[: c - 1]),
        "Pool": 8.2e-8 * d * sum(squares[: c - 1]),
        "Conv": 3.03e-8 * d**2 * sum(squares[1:c]),
    }
    assert {k.kind: k.ms / 1024 for k in found.kernels} == pytest.approx(wanted, rel=1e-12)
    assert found.overhead_ms / 1024 == pytest.approx(9.8e-3)
    assert found.ms_per_tile == pytest.approx(sum(wanted.values()) + 9.8e-3)


def test_kernels_are_priced_one_by_one() -> None:
    law = Law(**SMALL)
    found = predict(law, net_spec(depth=8, neurons=64), 16)
    kinds = [k.kind for k in found.kernels]
    assert kinds == ["Conv.nchw", "MaxPool.nchwc", "ReorderOutput", "Flatten", "Gemm", "Gemm", "Softmax"]
    prices = [k.ms for k in found.kernels]
    assert prices[0] == pytest.approx(1e-6 * 16 * 24 * 24 * 25 + 0.002)
    assert prices[2] == pytest.approx(1e-6 * 16 * 8 * 12 * 12)
    assert prices[4] == pytest.approx(2e-8 * 16 * 1152 * 64)
    assert found.overhead_ms == pytest.approx(0.007)
    assert predict(law, net_spec(depth=9, neurons=64), 16).kernels[2].kind == "Flatten"


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    nets = [(net_spec(conv=c, depth=d, fc=f), 16) for c in (1, 2) for d in (5, 16) for f in (0, 2)]
    for law in (STUDY, Law(**SMALL)):
        many = predict_many(law, nets)
        one = [predict(law, *net) for net in nets]
        assert [p.latency_ms for p in many] == pytest.approx([p.latency_ms for p in one], rel=1e-12)
        assert [p.kernels for p in many] == [p.kernels for p in one]
        assert predict_many(law, []) == []


def test_a_law_that_says_nothing_is_refused() -> None:
    zero = {**SMALL, "groups": [{**g, "terms": [{"text": "1", "coefficient": 0}]} for g in SMALL["groups"]]}
    law = Law(**{**zero, "overhead": [{"text": "1", "coefficient": 0}]})
    with pytest.raises(DomainError, match="no time at all"):
        predict(law, net_spec(), 16)
    huge = Law(**{**zero, "overhead": [{"text": "k", "coefficient": 1.7e308}]})
    with pytest.raises(DomainError, match="no finite time"):
        predict(huge, net_spec(), 16)


def test_the_shipped_law_of_a_processor_predicts_what_it_never_saw() -> None:
    """ResNet-18 took 33.5 ms on the machine that the law is of (benchmarks/RESULTS.md)."""
    found = predict(read_law("amd-epyc-avx512"), ZooNet(name="resnet18"), 1)
    assert found.latency_ms == pytest.approx(33.5, rel=0.1)
    assert found.gaps == ()
    assert found.interval_ms is not None
    assert found.interval_ms[0] < 33.5 < found.interval_ms[1]
