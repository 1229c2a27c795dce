"""Roofline: the least time for so much work, and the networks that measure it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeprof.nets.network import net_operators, total_macs
from edgeprof.roofline import Roofline, measure_roofline, roofline_nets, roofline_of
from edgeprof.target import open_target

LAW = Path(__file__).parent / "data" / "laws" / "cpu-kernels.json"


def test_the_longer_of_arithmetic_and_traffic() -> None:
    roof = Roofline(gflops=100.0, gbps=10.0, source="made up")
    assert roof.ms(macs=5e7, bytes_=1e6) == pytest.approx(1.0)
    assert roof.ms(macs=5e7, bytes_=2e7) == pytest.approx(2.0)
    assert roof.ms(0, 0) == 0
    assert roof.bound(5e7, 1e6) == "compute"
    assert roof.bound(0, 8) == "memory"


@pytest.mark.parametrize(("l3_kib", "mib"), [(None, 64), (4096, 64), (98_304, 192), (10**7, 512)])
def test_the_streaming_network_leaves_the_last_cache(l3_kib: int | None, mib: int) -> None:
    (compute, batch), (stream, one) = roofline_nets({"l3_kib": l3_kib})
    layer = max(net_operators(stream, one), key=lambda op: op.parameter_bytes)
    assert layer.parameter_bytes == pytest.approx(mib * 2**20, rel=0.01)
    assert one == 1
    assert total_macs(compute, batch) == pytest.approx(768 * 1024 * 1024, rel=0.02)


def test_it_is_what_a_law_says_where_a_law_is_the_board() -> None:
    with open_target(backend=f"simulated:{LAW}") as target:
        roof = measure_roofline(target)
    assert roof
    # 2.24e-7 ms for 12 multiply-accumulates is 107 GFLOP/s
    assert 80 < roof.gflops < 130
    assert 3 < roof.gbps < 60
    assert roof.source.startswith("simulated here: fp32")


def test_no_peaks_without_kernels() -> None:
    assert roofline_of([]) is None
    with open_target(backend="simulated:gtx960-theano") as target:
        assert measure_roofline(target) is None  # its kernels are of no operator
