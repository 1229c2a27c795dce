"""The roofline of operators that no kernel was fitted on."""

from __future__ import annotations

import pytest

from edgeprof.boards.spec import read_board
from edgeprof.fit.roofline import Roofline, of_board, reached
from edgeprof.nets.blocks import block
from edgeprof.nets.network import net_operators

ROOF = Roofline(macs_per_ms=(1e6, 1e7, 1e8), bytes_per_ms=(1e6, 5e6, 2e7), kernel_ms=0.002)
OPERATORS = net_operators(block(of="conv", size=16, channels=16, depth=32), 1)


def test_the_dearer_of_arithmetic_and_bytes() -> None:
    conv, relu = OPERATORS
    low, about, high = ROOF.price(conv)
    assert conv.macs == 16 * 16 * 32 * 16 * 9
    assert about == pytest.approx(0.002 + conv.macs / 1e7)
    assert low == pytest.approx(0.001 + conv.macs / 1e8)
    assert high == pytest.approx(0.002 + conv.macs / 1e6)
    moved = 2 * 4 * 16 * 16 * 32
    assert ROOF.price(relu)[1] == pytest.approx(0.002 + moved / 5e6)


def test_a_view_moves_nothing() -> None:
    flatten = net_operators(block(of="linear", channels=8), 1)[0]
    assert flatten.op_type == "Flatten"
    assert ROOF.price(flatten) == (0.001, 0.002, 0.002)


def test_rates_are_those_of_the_kernels() -> None:
    conv, relu = OPERATORS
    rates = [1e6 * i for i in range(1, 101)]
    kernels = [(conv, conv.macs / rate) for rate in rates]
    kernels += [(relu, (relu.activation_bytes + relu.parameter_bytes) / rate) for rate in rates if rate < 5e6]
    assert reached(kernels) is None  # four kernels without arithmetic
    kernels += [(relu, (relu.activation_bytes + relu.parameter_bytes) / 2e6)]
    found = reached(kernels)
    assert found is not None
    assert found.macs_per_ms == pytest.approx((5.95e6, 50.5e6, 95.05e6))
    assert found.bytes_per_ms[1] == pytest.approx(2e6)


def test_a_board_without_peaks_has_none() -> None:
    assert of_board(read_board("cpu")) is None
    found = of_board(read_board("gtx-960"))
    assert found is not None
    slow, about, fast = found.macs_per_ms
    peaks = read_board("gtx-960").peaks
    assert peaks is not None
    assert peaks.fp32_gflops is not None
    assert fast == pytest.approx(peaks.fp32_gflops * 1e6 / 2)
    assert slow < about < fast
