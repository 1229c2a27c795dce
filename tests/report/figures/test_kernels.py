"""Figures of kernels add up to the latency."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgeprof.report.figures import kernel_shares, kernel_speed
from edgeprof.report.figures.kernels import REST, kind_ms, kind_shares, main_kinds
from edgeprof.report.grids import grids_of
from edgeprof.report.settings import settings_of

from ..samples import gridded, gridded_twice


def test_the_time_of_all_kinds_and_the_rest_is_the_latency() -> None:
    for m in gridded():
        kinds = {k.kind for k in m.kernels}
        assert math.fsum([*(kind_ms(m, k) for k in kinds), kind_ms(m, REST)]) == pytest.approx(m.latency_ms)
    shares = kind_shares(gridded())
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert kind_shares([replace(m, kernels=()) for m in gridded()]) == {}


def test_a_kind_over_a_grid_is_per_tile() -> None:
    (grid,) = grids_of(gridded())
    kinds = main_kinds(grid)
    assert "Gemm" in kinds
    figure = kernel_speed(grid, "Gemm", "here")
    assert figure.title == "Gemm: ms per tile against batch, by FC layers on here"
    for series, (line, points) in zip(figure.series, grid.lines(), strict=True):
        assert series.name == f"{line:g}"
        for y, (_, m) in zip(series.y, points, strict=True):
            assert y == math.fsum(k.ms for k in m.kernels if k.kind == "Gemm") / m.case.batch
    assert all(a < b for a, b in zip(figure.series[0].y, figure.series[2].y, strict=True))


def test_shares_are_bars_of_percents() -> None:
    figure = kernel_shares(settings_of(gridded_twice()))
    assert figure is not None
    assert len(figure.series) == 2
    for series in figure.series:
        assert series.mark == "bars"
        assert sum(series.x) == pytest.approx(100)
        assert list(series.y) == list(range(len(figure.y.categories)))
    assert kernel_shares(settings_of([replace(m, kernels=()) for m in gridded()])) is None
