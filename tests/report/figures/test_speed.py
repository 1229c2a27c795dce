"""Figures of speed hold the measurements' own numbers."""

from __future__ import annotations

import math
from dataclasses import replace

from edgeprof.nets.network import total_macs
from edgeprof.report.figures import every_network, throughput
from edgeprof.report.grids import grids_of
from edgeprof.report.settings import settings_of

from ..samples import gridded, gridded_twice


def test_throughput_is_that_of_each_cell_with_its_interval() -> None:
    (grid,) = grids_of(gridded())
    figure = throughput(grid)
    assert figure.title == "Tiles per ms against batch, by FC layers"
    assert (figure.x.title, figure.y.title, figure.legend) == ("batch (tiles)", "tiles/ms", "FC layers")
    assert figure.x.log
    assert figure.x.ticks == (16, 32, 64, 128)
    assert [s.name for s in figure.series] == ["1", "2", "3"]
    for series, fc in zip(figure.series, (1, 2, 3), strict=True):
        for x, y, low, high in zip(series.x, series.y, series.low, series.high, strict=True):
            m = grid.cells[x, float(fc)]
            assert y == m.case.batch / m.latency_ms
            assert (low, high) == (m.case.batch / m.ci_ms[1], m.case.batch / m.ci_ms[0])
            assert low < high
    assert "depth 8" in figure.caption
    assert throughput(grid, "here").key != figure.key


def test_a_latency_without_an_interval_has_a_point() -> None:
    bare = [replace(m, ci_ms=None) for m in gridded()]
    figure = throughput(grids_of(bare)[0])
    assert all(s.low == s.y == s.high for s in figure.series)


def test_every_network_is_drawn_against_its_work() -> None:
    figure = every_network(settings_of(gridded_twice()))
    assert [s.name for s in figure.series] == ["AMD EPYC", "slow machine"]
    fast, slow = figure.series
    expected = sorted(total_macs(m.case.net, m.case.batch) / m.case.batch for m in gridded())
    assert list(fast.x) == list(slow.x) == expected
    ratios = [a / b for a, b in zip(sorted(fast.y), sorted(slow.y), strict=True)]
    assert all(math.isclose(r, 2, rel_tol=0.1) for r in ratios)
