"""Several runs at the same time: what they gain, by their number, with intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeprof.backends.base import InFlight
from edgeprof.report.contents import build_report
from edgeprof.report.figures.inflight import FEW, in_flight_gain, in_flight_table
from edgeprof.report.interactive import plotly_figure
from edgeprof.report.static import FAINT, draw
from edgeprof.timing.inflight import in_flight
from edgeprof.timing.measurement import Measurement

from ..samples import gridded


def ran(gains: tuple[float, ...], p50_ms: float = 2.0) -> tuple[InFlight, ...]:
    """Turns of 1, 2, 4 … runs at once, each so many times as fast as one, with some noise."""
    noise = (1.0, 1.02, 0.99, 1.01)
    return tuple(
        InFlight(
            depth=2**i,
            runs=100,
            runs_per_s=tuple(100 * gain * n for n in (noise if i else noise[::-1])),
            percentiles_ms={"p50": p50_ms, "p99": 2 * p50_ms * 2**i},
            spent_s=1.0,
        )
        for i, gain in enumerate(gains)
    )


def flown(count: int, **changes: Any) -> tuple[Measurement, ...]:
    return tuple(
        replace(m, telemetry={"in_flight": in_flight(m.case.batch, ran((1.0, 1.5, 1.6), **changes))})
        for m in gridded()[:count]
    )


def test_a_line_for_each_network_with_intervals() -> None:
    figure = in_flight_gain((*flown(3), gridded()[5]))
    assert figure is not None
    assert len(figure.series) == 3
    for series in figure.series:
        assert series.x == (1, 2, 4)
        assert series.y == pytest.approx((1.0, 1.5, 1.6), rel=0.01)
        assert all(
            low < y < high for low, y, high in zip(series.low[1:], series.y[1:], series.high[1:], strict=True)
        )
        assert (series.mark, series.muted) == ("line", False)
    assert figure.x.ticks == (1, 2, 4)
    assert "lock" not in figure.caption
    assert plotly_figure(figure)["data"][1]["error_y"]["array"]
    draw(figure)


def test_many_networks_are_a_median_and_points() -> None:
    figure = in_flight_gain(flown(FEW + 1))
    assert figure is not None
    assert [(s.name, s.muted, len(s.x)) for s in figure.series] == [
        ("median", False, 3),
        ("networks", True, 3 * (FEW + 1)),
    ]


def test_networks_that_pythons_lock_limits_are_grey_and_said() -> None:
    figure = in_flight_gain((*flown(1), *flown(2, p50_ms=0.01)[1:]))
    assert figure is not None
    assert [s.muted for s in figure.series] == [False, True]
    assert "Grey: 1 case so short that Python's lock limits them." in figure.caption
    (axes,) = draw(figure).axes
    assert FAINT in {line.get_color() for line in axes.get_lines() if line.get_marker() not in ("", "None")}


def test_the_section_stands_where_it_was_measured() -> None:
    table = in_flight_table(flown(2))
    assert table is not None
    assert len(table.rows) == 2
    assert table.rows[0][0] == gridded()[0].case.label()
    assert table.rows[0][2:4] == ("4", "16")
    assert table.rows[0][4].startswith("4 at once: 1.6")
    sections = {s.key: s for s in build_report(flown(2)).sections}
    assert [f.key for f in sections["in-flight"].figures] == ["in-flight-gain"]
    assert "in-flight" not in {s.key for s in build_report(gridded()).sections}
    assert in_flight_gain(gridded()) is None
    assert in_flight_table(gridded()) is None
