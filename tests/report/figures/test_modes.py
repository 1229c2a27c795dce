"""Figures of power modes: what is on the front has its colour, what is dominated is grey."""

from __future__ import annotations

from edgeprof.report.contents import build_report
from edgeprof.report.figures.modes import always_dominated, front, mode_figures, mode_table, pareto
from edgeprof.report.interactive import plotly_figure
from edgeprof.report.static import FAINT, draw
from edgeprof.tradeoff import rivals

from ..samples import gridded, in_modes

MODES = in_modes(MAXN=(1.0, 10_000.0), MODE_15W=(2.0, 4000.0), MODE_10W=(3.0, 4000.0))


def test_the_front_and_what_is_dominated():
    points = [p for group in rivals(MODES) for p in group]
    best = pareto(points)
    for point in points:
        better = [
            p
            for p in points
            if p.tiles_per_ms > point.tiles_per_ms and (p.mj_per_tile or 0) < (point.mj_per_tile or 0)
        ]
        assert (point in best) == (not better)
    drawn = front(rivals(MODES))
    assert drawn is not None
    names = {s.name: s for s in drawn.series}
    assert {name for name, s in names.items() if s.muted} == {"front", "dominated"}
    assert "MODE_10W" not in names
    shown = {(x, y) for s in drawn.series if s.mark == "points" for x, y in zip(s.x, s.y, strict=True)}
    assert shown == {(p.tiles_per_ms, p.mj_per_tile) for p in points}


def test_both_renderers_draw_the_dominated_in_grey():
    drawn = front(rivals(MODES))
    assert drawn is not None
    traces = {trace["name"]: trace["meta"] for trace in plotly_figure(drawn)["data"]}
    assert traces["dominated"] == "muted"
    assert traces["MAXN"] == "series"
    colours = {line.get_label(): line.get_color() for line in draw(drawn).axes[0].lines}
    assert colours["dominated"] == FAINT != colours["MAXN"]


def test_a_line_for_each_of_few_networks_and_the_median_of_many():
    latency, energy, _ = mode_figures(MODES)
    assert latency.x.categories == ("MAXN", "MODE_15W", "MODE_10W")
    assert [s.name for s in latency.series] == ["median", "networks"]
    assert latency.series[0].y == tuple(sorted(latency.series[0].y))
    assert energy.y.title == "mJ/tile"
    few = [m for m in MODES if m.case.batch == 16]
    assert [s.mark for s in mode_figures(few)[0].series] == ["line"] * 3


def test_a_report_has_a_part_on_power_modes_where_there_are_several():
    section = next(s for s in build_report(MODES).sections if s.key == "power-modes")
    assert [figure.key for figure in section.figures] == ["mode-latency", "mode-energy", "mode-front"]
    assert section.tables[0].rows[0][0] == "MAXN"
    assert section.text == (
        "MODE_10W is dominated on every network: another mode is faster and takes less energy.",
    )
    assert "power-modes" not in {s.key for s in build_report(gridded()).sections}
    assert mode_table(gridded()) is None


def test_without_energy_there_is_the_latency_alone():
    measured = in_modes(MAXN=(1.0, None), MODE_15W=(2.0, None))
    assert [figure.key for figure in mode_figures(measured)] == ["mode-latency"]
    assert always_dominated(rivals(measured)) == ()
    table = mode_table(measured)
    assert table is not None
    assert table.rows[0][2:] == ("–", "12", "–", "–")
