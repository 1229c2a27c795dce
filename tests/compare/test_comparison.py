"""Comparisons: what an interval of a speed-up amounts to."""

from __future__ import annotations

import pytest

from edgeprof.compare.comparison import verdict


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ((1.02, 1.03), "faster"),
        ((0.9, 0.99), "slower"),
        ((0.98, 1.04), "no difference"),
        ((1.002, 1.009), "no difference"),
        ((0.9, 1.1), "unclear"),
        ((0.99, 1.06), "unclear"),
        ((1.001, 1.2), "faster"),
        ((1.0, 1.0), "no difference"),
        (None, "unclear"),
    ],
)
def test_verdicts(interval, says):
    assert verdict(interval) == says
