"""The picture of the evidence: well formed, and with the numbers it claims to show."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeprof.errors import FitError, SpecError
from edgeprof.fit.quanta import weigh
from edgeprof.fit.series import Series
from edgeprof.report.steps import HEIGHT, round_values, steps_svg, write_steps

SVG = "{http://www.w3.org/2000/svg}"
X = np.arange(1, 161)


def series(kind: str, ms: np.ndarray) -> Series:
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(len(X)))
    return Series(kind, "M", (("N", 784), ("padding", "same")), X, ms * noise)


@pytest.fixture(scope="module")
def picture() -> ElementTree.Element:
    stairs = weigh([series("Gemm", 0.1 + 0.01 * np.ceil(X / 32) * 32)])
    smooth = weigh([series("Conv<&>", 0.1 + 0.01 * X)])
    return ElementTree.fromstring(steps_svg([stairs, smooth]))


def texts(element: ElementTree.Element) -> list[str]:
    return [t.text or "" for t in element.iter(f"{SVG}text")]


def test_a_panel_for_each_question(picture: ElementTree.Element) -> None:
    panels = picture.findall(f"{SVG}g")
    assert len(panels) == 2
    assert picture.get("viewBox") == f"0 0 860 {2 * HEIGHT}"
    first, second = (texts(panel) for panel in panels)
    assert first[0].startswith("Gemm: columns come in blocks of 32: 33 cost as much as 64 (BIC ")
    assert {"columns", "ms per run", "N 784", "blocks of 32", "smooth curve", "quantum"} <= set(first)
    assert second[0] == "Conv<&>: no clear blocks of output channels"
    assert "blocks of 32" not in second


def test_the_staircase_is_drawn_where_the_times_are(picture: ElementTree.Element) -> None:
    panel = picture.find(f"{SVG}g")
    assert panel is not None
    lines = {line.get("class"): line.get("points", "") for line in panel.iter(f"{SVG}polyline")}
    points = [tuple(map(float, p.split(","))) for p in lines["model"].split()]
    assert len(points) == len(X)
    heights = [y for _, y in points]
    jumps = [i for i in range(1, len(X)) if heights[i - 1] - heights[i] > 10]
    assert [X[i] for i in jumps] == [33, 65, 97, 129]
    circles = {round(float(c.get("cx", 0))): float(c.get("cy", 0)) for c in panel.iter(f"{SVG}circle")}
    off = [abs(circles[round(x)] - y) for x, y in points if round(x) in circles]
    assert len(off) > 100
    assert max(off) < 8  # pixels, of 180
    for shape in picture.iter():
        for key in ("cx", "x", "width"):
            assert 0 <= float(shape.get(key, "0")) <= 860


def test_the_right_quantum_has_the_tallest_bar(picture: ElementTree.Element) -> None:
    panel = picture.find(f"{SVG}g")
    assert panel is not None
    bars = [r for r in panel.iter(f"{SVG}rect") if r.get("class") == "blocks" and r.get("width") != "10"]
    tallest = max(bars, key=lambda r: float(r.get("height", 0)))
    labels = [t for t in panel.iter(f"{SVG}text") if (t.text or "").isdigit() and float(t.get("x", 0)) > 590]
    nearest = min(labels, key=lambda t: abs(float(t.get("x", 0)) - float(tallest.get("x", 0))))
    assert nearest.text == "32"


def test_it_suits_dark_pages_and_loads_nothing(picture: ElementTree.Element) -> None:
    style = picture.find(f"{SVG}style")
    assert style is not None
    assert "@media (prefers-color-scheme: dark)" in (style.text or "")
    assert not [e.tag for e in picture.iter() if e.tag.endswith(("image", "script", "use", "a"))]


@pytest.mark.parametrize(
    ("low", "high", "some"), [(0, 1, 0.2), (64, 1024, 200), (1, 3, 1.5), (0, 7e-4, 1e-4), (5, 5, 5)]
)
def test_ticks(low: float, high: float, some: float) -> None:
    values = list(round_values(low, high))
    assert any(v == pytest.approx(some) for v in values)
    assert len(values) <= 11
    assert all(low <= v <= high for v in values)


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(FitError) as caught:
        write_steps([], tmp_path / "s.svg")
    assert "edgeprof sweep neuron-fine" in caught.value.hint
    evidence = [weigh([series("Gemm", 0.1 + 0.01 * X)])]
    with pytest.raises(SpecError, match="cannot write"):
        write_steps(evidence, tmp_path / "no" / "s.svg")
    write_steps(evidence, tmp_path / "s.svg")
    assert ElementTree.parse(tmp_path / "s.svg").getroot().tag == f"{SVG}svg"
