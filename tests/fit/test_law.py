"""Laws: their intervals."""

from __future__ import annotations

import math

import pytest

from edgeprof.fit.law import Law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import net_spec

from .laws import SMALL, STUDY


def test_the_interval_is_the_conformal_quantile() -> None:
    law = Law(**SMALL)
    assert law.interval(10, 0.9) == pytest.approx(
        (10 / math.exp(0.1), 10 * math.exp(0.1))
    )  # rank ⌈11·0.9⌉ = 10
    assert law.interval(10, 0.5) == pytest.approx((10 / math.exp(0.06), 10 * math.exp(0.06)))
    beyond = 0.1 + 0.005 * math.log(1 / (11 * 0.05))  # eleven errors would be needed: the tail's mean excess
    assert law.interval(10, 0.95) == pytest.approx((10 / math.exp(beyond), 10 * math.exp(beyond)))
    assert STUDY.interval(10, 0.9) is None
    far = law.interval(
        10, 0.9, 1e6
    )  # from a law of three networks, say: beyond what a float's exponent takes
    assert far is not None
    assert 0 < far[0] < far[1] < math.inf
    found = predict(law, net_spec(depth=8), 16, 0.5)
    assert found.interval_ms == law.interval(found.latency_ms, 0.5)
    assert found.level == 0.5
