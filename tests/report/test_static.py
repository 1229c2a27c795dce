"""Pictures: PNG, SVG and PDF without a browser, the same data giving the same file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgeprof.errors import SpecError
from edgeprof.report.contents import build_report
from edgeprof.report.figure import Axis, Figure, Series
from edgeprof.report.static import COLOURS, draw, write_figures

from .samples import gridded_twice, hostile, kernel_law, sentinels

pytest.importorskip("matplotlib")
HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF-1"}


@pytest.fixture(scope="module")
def figures():
    found = build_report(gridded_twice(), kernel_law(), sentinels()).figures
    kinds = ("speed-batch", "kernel-shares", "measured-against", "drift")
    return tuple(next(f for f in found if f.key.startswith(kind)) for kind in kinds)


def test_each_figure_is_a_file_of_its_format(figures, tmp_path: Path) -> None:
    for format_, head in HEADS.items():
        paths = write_figures(figures[:2], tmp_path / "new" / format_, format_)
        assert [p.name for p in paths] == [f"{f.key}.{format_}" for f in figures[:2]]
        assert all(p.read_bytes().startswith(head) for p in paths)
    again = write_figures(figures[:1], tmp_path, "svg")[0].read_bytes()
    assert again == (tmp_path / "new" / "svg" / again_name(figures)).read_bytes()
    assert b"<dc:date>" not in again


def again_name(figures) -> str:
    return f"{figures[0].key}.svg"


def test_what_is_drawn_is_the_figure(figures) -> None:
    speed, shares, predicted, _ = (draw(f).axes[0] for f in figures)
    lines = [line for line in speed.get_lines() if line.get_label() in "123"]
    for line, series in zip(lines, figures[0].series, strict=True):
        assert list(line.get_xdata()) == list(series.x)
        assert list(line.get_ydata()) == list(series.y)
    assert (speed.get_xlabel(), speed.get_ylabel(), speed.get_xscale()) == (
        "batch (tiles)",
        "tiles/ms",
        "log",
    )
    assert [t.get_text() for t in shares.get_yticklabels()] == list(figures[1].y.categories)
    assert predicted.get_xscale() == predicted.get_yscale() == "log"


def test_names_are_text_and_no_formula(tmp_path: Path) -> None:
    (figure,) = (f for f in build_report(hostile()).figures if f.key == "kernel-shares")
    (path,) = write_figures([figure], tmp_path, "svg")
    ElementTree.parse(path)


def test_a_folder_that_cannot_be_is_refused(figures, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot write"):
        write_figures(figures, tmp_path / "file", "png")
    with pytest.raises(SpecError, match="'gif'"):
        write_figures(figures, tmp_path, "gif")


def test_colours_stand_out_from_white() -> None:
    assert min(1.05 / (luminance(c) + 0.05) for c in COLOURS) > 4.5


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_many_bars_and_long_names_have_room() -> None:
    bars = Figure(
        key="bars",
        title="Bars",
        caption="",
        x=Axis("%"),
        y=Axis("kind", categories=tuple(f"kind {i}" for i in range(30))),
        series=(Series("all", (1.0,) * 30, tuple(map(float, range(30))), mark="bars"),),
    )
    names = [f"a network of a very long name, number {i}" for i in range(8)]
    lines = Figure(
        key="lines",
        title="Lines",
        caption="",
        x=Axis("x"),
        y=Axis("y"),
        series=tuple(Series(name, (1.0, 2.0), (1.0, 2.0), mark="line") for name in names),
    )
    for figure in (bars, lines):
        canvas = draw(figure)
        canvas.draw_without_rendering()
        width, height = canvas.get_size_inches() * canvas.dpi
        (axes,) = canvas.axes
        inside = axes.get_window_extent()
        assert inside.width > 0.6 * width
        labels = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert all(a.y1 <= b.y0 or b.y1 <= a.y0 for a, b in pairwise(labels))
        for legend in canvas.legends:
            box = legend.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= width
            assert box.y1 <= inside.y0 < height
