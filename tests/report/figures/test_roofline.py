"""The roofline: what kernels achieved, and where the roof bends."""

from __future__ import annotations

import pytest

from edgeprof.nets.network import net_operators
from edgeprof.report.figures import roofline
from edgeprof.report.figures.roofline import MOST_POINTS
from edgeprof.report.settings import settings_of
from edgeprof.roofline import Roofline

from ..samples import grid, gridded, played, random_nets, study_law


def test_points_are_what_the_kernels_achieved() -> None:
    (setting,) = settings_of(gridded())
    figure = roofline(setting)
    assert figure is not None
    assert "no roof is drawn" in figure.caption
    products = next(s for s in figure.series if s.name == "Gemm")
    m = gridded()[0]
    one = next(k for k in m.kernels if k.kind == "Gemm")
    (product,) = (op for op in net_operators(m.case.net, m.case.batch) if op.name == one.operators[0])
    flops, moved = 2 * product.macs, product.parameter_bytes + product.activation_bytes
    place = products.notes.index(f"{one.name} of {m.case.label()}")
    assert products.x[place] == flops / moved
    assert products.y[place] == pytest.approx(flops / (one.ms / 1e3) / 1e9)
    assert all(len(s.x) <= MOST_POINTS for s in figure.series)


def test_the_roof_bends_where_memory_and_arithmetic_meet() -> None:
    (setting,) = settings_of(random_nets())
    figure = roofline(setting, Roofline(1000, 50, "a datasheet"))
    assert figure is not None
    roof = figure.series[-1]
    assert (roof.name, roof.mark) == ("roof", "curve")
    assert dict(zip(roof.x, roof.y, strict=True))[20.0] == 1000
    assert all(y == min(1000, 50 * x) for x, y in zip(roof.x, roof.y, strict=True))
    assert "a datasheet" in figure.caption


def test_kernels_of_no_operator_make_no_roofline() -> None:
    (setting,) = settings_of(played(study_law(), grid()))
    assert roofline(setting) is None
