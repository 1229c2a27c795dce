"""Speed-ups of a machine that is known to be twice as fast."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from edgeprof.report.figures import grid_ratio, kernel_ratio, kernel_ratios, network_ratios
from edgeprof.report.figures.ratios import in_both, slower_first, speed_ups
from edgeprof.report.grids import grids_of
from edgeprof.report.settings import Setting, settings_of

from ..samples import gridded_twice, random_nets


@pytest.fixture
def settings() -> tuple[Setting, Setting]:
    fast, slow = settings_of(gridded_twice())
    return slower_first(fast, slow)


def test_the_slower_one_comes_first(settings: tuple[Setting, Setting]) -> None:
    assert [s.label for s in settings] == ["slow machine", "AMD EPYC"]
    assert slower_first(*settings) == settings


def test_every_network_is_twice_as_fast(settings: tuple[Setting, Setting]) -> None:
    figure = network_ratios(*settings)
    assert figure is not None
    assert figure.title == "Speed-up of every network: AMD EPYC over slow machine"
    (series,) = figure.series
    assert len(series.x) == 12
    assert np.median(series.y) == pytest.approx(2, rel=0.02)
    assert all(low < y < high for low, y, high in zip(series.low, series.y, series.high, strict=True))
    assert sorted(series.y) == pytest.approx(sorted(one.speedup for one in speed_ups(in_both(*settings))))
    assert "between 1.9" in figure.caption or "between 2" in figure.caption


def test_over_the_grid_and_by_kind(settings: tuple[Setting, Setting]) -> None:
    slow, fast = (grids_of(s.measurements)[0] for s in settings)
    labels = (settings[0].label, settings[1].label)
    for figure in (grid_ratio(slow, fast, labels), kernel_ratio(slow, fast, "Gemm", labels)):
        assert figure is not None
        values = list(chain.from_iterable(s.y for s in figure.series))
        assert len(values) == 12
        assert np.median(values) == pytest.approx(2, rel=0.05)
        assert [g.level for g in figure.guides] == [1.0]
    assert kernel_ratio(slow, fast, "Dot22", labels) is None
    bars = kernel_ratios(*settings)
    assert bars is not None
    assert dict(zip(bars.y.categories, bars.series[0].x, strict=True))["Gemm"] == pytest.approx(2, rel=0.05)


def test_nothing_in_common_is_no_figure(settings: tuple[Setting, Setting]) -> None:
    (other,) = settings_of(random_nets())
    assert network_ratios(settings[0], other) is None
    assert kernel_ratios(settings[0], other) is None
