"""A figure as plotly reads it: numbers, texts that it does not take for markup, and JSON that stays in its script."""

from __future__ import annotations

import json
import math

from edgeprof.report.figure import AROUND, Axis, Figure, Guide, Series
from edgeprof.report.figures import (
    every_network,
    kernel_shares,
    measured_against_predicted,
    residuals,
    throughput,
)
from edgeprof.report.figures.accuracy import judged
from edgeprof.report.grids import grids_of
from edgeprof.report.interactive import as_json, plotly_figure, table_rows, tick_text
from edgeprof.report.settings import settings_of

from .samples import HOSTILE, gridded, gridded_twice, hostile, kernel_law


def test_lines_with_intervals() -> None:
    figure = throughput(grids_of(gridded())[0])
    found = plotly_figure(figure)
    assert [t["name"] for t in found["data"]] == ["1", "2", "3"]
    trace, series = found["data"][0], figure.series[0]
    assert trace["x"] == [16, 32, 64, 128]
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(trace["y"], series.y, strict=True))
    assert len(trace["error_y"]["array"]) == len(trace["customdata"]) == 4
    assert found["layout"]["xaxis"]["tickvals"] == [16, 32, 64, 128]
    assert "interval" in trace["hovertemplate"]


def test_bars_and_guides() -> None:
    bars = plotly_figure(kernel_shares(settings_of(gridded_twice())))
    assert [t["orientation"] for t in bars["data"]] == ["h", "h"]
    assert bars["layout"]["showlegend"]
    lines = Figure(
        "k",
        "t",
        "c",
        Axis("x"),
        Axis("y"),
        (Series("s", (1.0, 3.0), (2.0, math.nan)),),
        guides=(Guide("g", slope=2.0),),
    )
    guide, trace = plotly_figure(lines)["data"]
    assert (guide["x"], guide["y"], guide["meta"]) == ([1, 3], [2, 6], "guide")
    assert trace["y"] == [2, None]


def test_texts_are_never_markup() -> None:
    figure = every_network(settings_of(hostile()))
    text = as_json({"f": plotly_figure(figure)})
    assert "<" not in text
    for found in (plotly_figure(figure), plotly_figure(kernel_shares(settings_of(hostile())))):
        for trace in found["data"]:
            assert "<script" not in json.dumps({**trace, "hovertemplate": ""})
            assert HOSTILE[:20] not in trace["hovertemplate"]
    assert json.loads(as_json({"a": f"{HOSTILE}\u2028"})) == {"a": f"{HOSTILE}\u2028"}


def test_the_table_has_every_point() -> None:
    figure = throughput(grids_of(gridded())[0])
    columns, rows = table_rows(figure)
    assert columns == ("FC layers", "what", "batch (tiles)", "tiles/ms", "from", "to")
    assert len(rows) == 12
    assert rows[0][:3] == ("1", gridded()[0].case.label(), "16")
    bars = kernel_shares(settings_of(gridded()))
    columns, rows = table_rows(bars)
    assert columns == ("share of the time (%)", "kind of kernel")
    assert {kind for _, kind in rows} == set(bars.y.categories)


def test_labels_of_axes_are_short() -> None:
    values = (0.001, 16, 4096, 10_000, 3e6, 2.5e9)
    assert [tick_text(v) for v in values] == ["0.001", "16", "4096", "10k", "3M", "2.5G"]


def test_guides_of_a_single_point_have_a_length_and_labels() -> None:
    one = judged(kernel_law(), gridded()[:1])
    ms = one[0].row.measured_ms
    sloping, level = measured_against_predicted(one), residuals(one)
    assert sloping is not None
    assert level is not None
    for figure, times in ((sloping, AROUND), (level, 10.0)):
        guide = plotly_figure(figure)["data"][0]
        assert guide["x"] == [ms / times, ms * times]
        assert sum(ms / times <= tick <= ms * times for tick in figure.x.ticks) >= 3
