"""The page in a browser: drawn, silent, readable in both colour schemes and on a phone, and proof against names."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import lru_cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeprof.report.contents import Report, build_report
from edgeprof.report.page import page, write_page

from .conftest import PHONE, Opened
from .samples import (
    HOSTILE,
    grid,
    gridded_twice,
    hostile,
    hostile_law,
    kernel_law,
    played,
    sentinels,
    with_telemetry,
)

pytest.importorskip("plotly")
MANY = 1000


@lru_cache
def full() -> Report:
    """A report with figures of every kind."""
    sensed = with_telemetry(gridded_twice(), energy_mj_per_tile=0.5, power_mw=4000.0)
    return build_report(sensed, kernel_law(), (*sentinels(), *sentinels("memory")), "Two machines")


@lru_cache
def full_page() -> str:
    return page(full())


class Outline(HTMLParser):
    """Elements of a page in order, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


@lru_cache
def law_page() -> str:
    """A page with few figures."""
    return page(build_report([], kernel_law()))


def drawn(browser: Any) -> None:
    """Draws every figure, as printing does."""
    wait(browser, "return document.documentElement.dataset.ready")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")


def wait(browser: Any, script: str, seconds: float = 20) -> Any:
    """What a script gives, as soon as it gives something."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(script)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


# --- without a browser


def test_headings_tables_and_names_for_those_who_do_not_see() -> None:
    outline = Outline(full_page())
    levels = [int(tag[1]) for tag, _ in outline.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [a["id"] for _, a in outline.found if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {a["href"] for a in outline.all("a")} <= {f"#{i}" for i in ids}
    figures = outline.all("figure")
    assert [a["id"] for a in figures] == [f.key for f in full().figures]
    assert all(a["aria-labelledby"] in ids for a in figures)
    plots = [a for a in outline.all("div") if a.get("class", "").split()[:1] == ["plot"]]
    assert [a["data-figure"] for a in plots] == [f.key for f in full().figures]
    assert all(a["role"] == "img" and a["aria-label"] for a in plots)
    assert len(outline.all("details")) >= len(figures)
    scrolled = [a for a in outline.all("div") if a.get("class") == "table"]
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in scrolled)
    assert outline.all("html")[0]["lang"] == "en"
    assert all(a.get("scope") == "col" for a in outline.all("th"))


def test_nothing_is_fetched() -> None:
    outline = Outline(full_page())
    assert [
        a for a in (*outline.all("script"), *outline.all("img"), *outline.all("iframe")) if "src" in a
    ] == []
    assert [a["href"] for a in outline.all("link")] == ["data:,"]
    policy = next(a["content"] for a in outline.all("meta") if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_a_thousand_cases_are_under_8_mb(tmp_path: Path) -> None:
    vary = {"neurons": [32, 64, 96, 128, 160], "fc": [1, 2], "batch": [2**20 // 4**i for i in range(5, 10)]}
    some = played(kernel_law(), grid(vary))
    many = [
        replace(m, case=m.case.model_copy(update={"batch": m.case.batch + 7 * i}))
        for i in range(MANY // len(some))
        for m in some
    ]
    report = build_report(many, kernel_law(), sentinels(count=400))
    assert dict(report.facts)["cases measured"] == "1,000"
    size = write_page(report, tmp_path / "r.html")
    assert size == (tmp_path / "r.html").stat().st_size
    assert 2e6 < size < 6e6


def _grid_of_50() -> Any:
    from .samples import grid

    return grid(
        {"neurons": [32, 64, 96, 128, 160], "fc": [1, 2], "batch": [2**20 // 4**i for i in range(5, 10)]}
    )


# --- in a browser


def test_every_figure_is_drawn_and_says_its_numbers(opened: Opened) -> None:
    browser = opened(full_page())
    assert browser.title == "Two machines: edgeprof report"
    drawn(browser)
    counts = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map((p) => [p.dataset.figure,"
        " p.querySelectorAll('.trace, .bars .point').length, p.querySelector('.xtitle, .g-xtitle text')?.textContent])"
    )
    assert [key for key, *_ in counts] == [f.key for f in full().figures]
    for (key, marks, title), figure in zip(counts, full().figures, strict=True):
        assert marks >= len(figure.series), key
        assert title == figure.x.title, key
    figure = full().figures[0]
    browser.execute_script("document.getElementById(arguments[0]).scrollIntoView()", figure.key)
    x, y = browser.execute_script(
        "const plot = document.querySelector('.plot'), l = plot._fullLayout, box = plot.getBoundingClientRect();"
        "const {xaxis: a, yaxis: b} = l;"
        "return [box.left + a._offset + a.d2p(arguments[0]), box.top + b._offset + b.d2p(arguments[1])]",
        figure.series[0].x[1],
        figure.series[0].y[1],
    )
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x - 1, "y": y - 1})
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
    shown = wait(browser, "return document.querySelector('.plot .hoverlayer')?.textContent")
    assert "batch (tiles): 32" in shown
    near = [s for s in figure.series if f"tiles/ms: {s.y[1]:.4g}" in shown and s.notes[1] in shown]
    assert len(near) == 1  # lines may be closer than a pixel


def test_the_sliders_of_the_law_are_on_the_page(opened: Opened) -> None:
    browser = opened(law_page())
    speed = browser.find_element("css selector", "#design .epd-speed")
    before = speed.text
    assert float(before.replace(",", "")) > 0
    browser.find_element("css selector", "#design-depth-slider").send_keys("\ue010")
    assert float(speed.text.replace(",", "")) < float(before.replace(",", ""))
    assert [a.text for a in browser.find_elements("css selector", "nav a[href='#design']")] == ["Design"]


def test_both_colour_schemes_have_contrast(opened: Opened) -> None:
    for dark in (False, True):
        browser = opened(law_page(), dark=dark)
        seen = set()
        for _ in range(2):
            page_, ink, faint, paper, *series = colours(browser)
            seen.add(luminance(page_) > 0.5)
            assert min(contrast(ink, page_), contrast(faint, paper), contrast(faint, page_)) > 4.5
            assert min(contrast(one, paper) for one in series) > 3
            button = browser.switch_to.active_element
            while button.get_attribute("id") != "theme" and button.get_attribute("class") in ("", "skip"):
                button.send_keys("\ue004")  # past the link that skips to the report
                button = browser.switch_to.active_element
            assert button.get_attribute("id") == "theme"
            button.send_keys("\ue007")
        assert seen == {False, True}


@pytest.mark.parametrize("dark", [False, True])
def test_plots_keep_their_colours_where_the_system_forces_its_own(dark: bool, opened: Opened) -> None:
    browser = opened(law_page(), dark=dark)
    names = {"prefers-color-scheme": "dark" if dark else "light", "forced-colors": "active"}
    features = [{"name": name, "value": value} for name, value in names.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.refresh()
    drawn(browser)
    ink, paper = browser.execute_script(
        "const plot = document.querySelector('.plot'), style = (name) => getComputedStyle(plot.querySelector(name));"
        "return [style('.xtick text').fill, style('.main-svg').backgroundColor]"
    )
    rgb = [tuple(map(float, re.findall(r"[\d.]+", text)[:3])) for text in (ink, paper)]
    assert contrast(*rgb) > 4.5
    assert (luminance(rgb[1]) < 0.5) is dark


def colours(browser: Any) -> list[tuple[float, ...]]:
    names = ["page", "ink", "faint", "paper", *(f"series-{i}" for i in range(1, 10))]
    texts = browser.execute_script(
        "const probe = document.body.appendChild(document.createElement('i'));"
        "const read = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };"
        "return arguments[0].map(read)",
        names,
    )
    return [tuple(map(float, re.findall(r"[\d.]+", text)[:3])) for text in texts]


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Contrast of two colours (WCAG 2.2)."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def luminance(rgb: tuple[float, ...]) -> float:
    parts = [v / 255 for v in rgb]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_phone_scrolls_down_and_never_sideways(opened: Opened) -> None:
    browser = opened(full_page(), PHONE)
    drawn(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    wide = browser.execute_script(
        "return [...document.querySelectorAll('.plot .main-svg')].map((s) => s.getBoundingClientRect().right)"
    )
    assert max(wide) <= PHONE[0]
    names = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].flatMap((plot) => {"
        "const end = plot.getBoundingClientRect().right;"
        "return [...plot.querySelectorAll('.legendtext')].map((t) => t.getBoundingClientRect().right - end)})"
    )
    assert max(names) <= 0
    assert (
        browser.execute_script("return document.querySelector('#theme').getBoundingClientRect().height") >= 44
    )


def test_names_of_strangers_are_shown_and_do_nothing(opened: Opened) -> None:
    report = build_report(hostile(), hostile_law(), sentinels(HOSTILE), HOSTILE)
    browser = opened(page(report))
    drawn(browser)
    assert browser.execute_script("return typeof hacked") == "undefined"
    assert browser.find_elements("css selector", "img, iframe, a[href^=java]") == []
    assert browser.find_element("css selector", "h1").text == HOSTILE
    assert HOSTILE in browser.find_element("css selector", "#environment").text
    labels = browser.execute_script(
        "const ticks = document.querySelectorAll('[data-figure=kernel-shares] .ytick text');"
        "return [...ticks].map((tick) => tick.textContent)"
    )
    assert [label for label in labels if HOSTILE[:30] in label]
    assert browser.execute_script("return document.querySelectorAll('.plot[data-drawn]').length") == len(
        report.figures
    )
