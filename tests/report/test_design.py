"""The design page of a law: in a browser it says what ``predict`` and ``query_nets`` say."""

from __future__ import annotations

import functools
import json
import math
import random
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.advice import ADVICE
from edgeprof.errors import SpecError
from edgeprof.fit.intervals import probabilities, widening
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law, read_law
from edgeprof.fit.prediction import Prediction, predict_many
from edgeprof.nets.network import net_operators
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.query import Goal, query_nets
from edgeprof.report.design import design_page, design_section, grid, knobs, round_numbers

from .conftest import DESK, PHONE, Opened

DATA = Path(__file__).resolve().parents[1] / "data" / "laws"
MANY = 250  # random networks
NAMES = ("study", "kernels", "awkward")
AWKWARD = '</script><img src="x" onerror="throw 1"><!-- <script> & \' "'
PAGE = "edgeprofDesign.pages.design"


def changed(law: Law, **changes: Any) -> Law:
    return parse_law(json.dumps({**json.loads(law_json(law)), **changes}), "changed")


@functools.lru_cache
def law_of(name: str) -> Law:
    """The study's law (of networks, without errors), one of kernels with two strata, and one with strange names, few
    errors, padding in pixels, unsure rules, and a price per tile."""
    if name == "study":
        return read_law("gtx960-theano")
    law = read_law(str(DATA / "cpu-kernels.json"))
    if name == "kernels":
        return law
    data = json.loads(law_json(law))
    mixed = {"kind": "Conv.nchw", "seen": 6, "others": {f"Conv.{AWKWARD}": 3, "merged": 1}}
    data["groups"][0]["name"] = AWKWARD
    return changed(
        law,
        name=AWKWARD,
        about=AWKWARD,
        unit="tile",
        groups=data["groups"],
        rules={**data["rules"], "operators": {**data["rules"]["operators"], "Conv": mixed}},
        conformal=[[5.0, 0.03], [6.0, -0.01], [7.0, 0.02]],
        parted_ms=None,
        domain={**data["domain"], "padding": ["valid", 1, 2]},
    )


@functools.lru_cache
def page_of(name: str) -> str:
    return design_page(law_of(name))


@functools.lru_cache
def nets_of(name: str) -> tuple[tuple[NetSpec, int], ...]:
    """Random networks, layers differing, many of them outside the law's domain."""
    law, rng = law_of(name), random.Random(7)

    def draw(knob: str) -> Any:
        if knob == "padding":
            return rng.choice((*law.domain[knob], "valid", "same", 1))
        low, high = law.domain[knob]
        beyond = rng.random() < 0.1
        if knob in ("conv", "fc"):
            return rng.randint(max(low - beyond, 0), high + beyond)
        return rng.randint(max(low // (1 + beyond), 1), high * (1 + beyond))

    found: list[tuple[NetSpec, int]] = []
    while len(found) < MANY:
        layers = {"conv": draw("conv"), "fc": draw("fc")}
        own = {k: draw(k) for k in ("tile", "channels", "classes", "pool", "pool_before")}
        for knob, of in (
            ("depth", "conv"),
            ("kernel", "conv"),
            ("stride", "conv"),
            ("padding", "conv"),
            ("neurons", "fc"),
        ):
            own[knob] = tuple(draw(knob) for _ in range(layers[of]))
        try:
            found.append((net_spec(**layers, **own), draw("batch")))
        except SpecError:
            continue
    return tuple(found)


@functools.lru_cache
def predicted(name: str) -> tuple[Prediction, ...]:
    return tuple(predict_many(law_of(name), nets_of(name)))


def asked(browser: Any, expression: str, *values: Any) -> Any:
    return browser.execute_script(f"const page = {PAGE}, law = page.law; return {expression}", *values)


def strange(outside: Any) -> list[tuple[Any, ...]]:
    return sorted(((o["what"], o["value"], o["seen"]) for o in outside), key=str)


def beyond(law: Law, p: Prediction) -> float:
    """How much wider the interval of a prediction is."""
    return float(law.widened(p.latency_ms, widening(p.outside)))


def sent(nets: Any) -> list[dict[str, Any]]:
    return [{**net.model_dump(), "batch": batch} for net, batch in nets]


def by_id(browser: Any, name: str) -> Any:
    return browser.find_element("id", f"design-{name}")


def part(browser: Any, name: str) -> Any:
    return browser.find_element("css selector", f".epd-{name}")


# --- the same numbers


@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_what_predict_does(name: str, opened: Opened) -> None:
    law, nets = law_of(name), nets_of(name)
    browser = opened(page_of(name))
    for level in (0.5, 0.9, 0.99):
        call = "arguments[0].map((net) => edgeprofDesign.predict(law, net, arguments[1]))"
        found = asked(browser, call, sent(nets), level)
        for one, wanted in zip(found, predicted(name), strict=True):
            assert one["problem"] is None
            assert one["latency_ms"] == pytest.approx(wanted.latency_ms, rel=1e-9)
            assert one["speed"] == pytest.approx(wanted.tiles_per_ms, rel=1e-9)
            interval = law.interval(wanted.latency_ms, level, beyond(law, wanted))
            assert one["interval_ms"] == (pytest.approx(interval, rel=1e-9) if interval else None)
            assert strange(one["outside"]) == strange(wanted.outside)
            if level == wanted.level and interval:
                assert interval == wanted.interval_ms
    assert MANY > sum(not wanted.in_domain for wanted in predicted(name)) > MANY / 3


@pytest.mark.parametrize("name", ["kernels", "awkward"])
def test_the_chance_of_a_wanted_speed_is_that_of_a_query(name: str, opened: Opened) -> None:
    law, rng = law_of(name), random.Random(3)
    found = predicted(name)
    limits = [p.latency_ms * math.exp(rng.gauss(0, 0.06)) for p in found]
    wide = [beyond(law, p) for p in found]
    call = "arguments[0].map(([ms, limit, out]) => edgeprofDesign.chance(law, ms, limit, edgeprofDesign.widening(out)))"
    rows = [[p.latency_ms, limit, p.outside] for p, limit in zip(found, limits, strict=True)]
    told = asked(opened(page_of(name)), call, rows)
    latency = np.array([p.latency_ms for p in found])
    wanted = probabilities(law.strata, latency, np.array(limits), np.array(wide)).tolist()
    assert [one is None for one in told] == [math.isinf(w) for w in wide]
    assert {one is None for one in told} == {True, False}
    known = [one for one in told if one is not None]
    assert known == pytest.approx([one for one in wanted if not math.isnan(one)], rel=1e-9)
    assert min(known) < 0.1 < 0.9 < max(known)


def test_multiply_accumulates_and_parameters(opened: Opened) -> None:
    nets = nets_of("kernels")[:100]
    call = "arguments[0].map((net) => edgeprofDesign.figures(net))"
    found = asked(opened(page_of("kernels")), call, sent(nets))
    for one, (net, _) in zip(found, nets, strict=True):
        assert one["macs"] == sum(op.macs for op in net_operators(net, 1))
    alike = [net_spec(conv=c, depth=12, fc=f, neurons=99) for c in (0, 1, 3) for f in (0, 1, 4)]
    found = asked(opened(page_of("kernels")), call, sent((net, 1) for net in alike))
    for one, net in zip(found, alike, strict=True):
        own = {"conv": net.conv, "depth": 12, "fc": net.fc, "neurons": 99, "batch": 1}
        (wanted,) = query_nets(law_of("kernels"), own).nets
        assert (one["macs"], one["parameters"]) == (wanted.macs_per_tile, wanted.parameters)


def test_what_cannot_be_is_told_in_the_words_of_predict(opened: Opened) -> None:
    bad: list[dict[str, Any]] = [
        {"kernel": 29},
        {"conv": 3, "kernel": 7, "pool_before": 2},
        {"padding": 5},
        {"pool": 25},
        {"conv": 2, "depth": 8, "pool_before": 30},
    ]
    browser = opened(page_of("kernels"))
    base = asked(browser, "law.net")
    for knobs_ in bad:
        net = {**base, "conv": 1, "depth": 20, **knobs_}
        found = asked(browser, "edgeprofDesign.predict(law, arguments[0], 0.9)", net)
        with pytest.raises(SpecError) as refused:
            net_spec(**{k: v for k, v in net.items() if k != "batch"})
        assert str(refused.value.message).endswith(found["problem"])


@pytest.mark.parametrize("name", ["study", "kernels"])
def test_the_front_is_that_of_a_query(name: str, opened: Opened) -> None:
    law, browser = law_of(name), opened(page_of(name))
    net = asked(browser, "law.net")
    ranges = {k: v for k, v in net.items() if k not in grid(law)} | grid(law)
    answer = query_nets(law, ranges)
    call = "edgeprofDesign.networks(law, law.net)"
    assert asked(browser, f"{call}.found.length") == answer.considered
    found = asked(browser, f"edgeprofDesign.front({call}.found)")
    (own,) = answer.laws
    wanted = [(f.tiles_per_ms, f.macs_per_tile) for f in own.front]
    assert [one["macs"] for one in found] == [macs for _, macs in wanted]
    assert [one["speed"] for one in found] == pytest.approx([speed for speed, _ in wanted], rel=1e-9)
    target = float(np.median([speed for speed, _ in wanted]))
    reaching = query_nets(law, ranges, Goal(at_least=target, probability=0.9)).laws[0].reaching
    by_id(browser, "target").send_keys(repr(target))
    text = part(browser, "summary").text
    assert text.startswith(f"{reaching:,} of {answer.considered:,} networks reach")
    best = query_nets(law, ranges, Goal(at_least=target, probability=0.9), top=1).nets[0]
    assert f"fc {best.net.fc}×" in text
    assert f"conv {best.net.conv}×{best.net.depth[0]}" in text


# --- the page


def test_a_slider_moved_by_keys(opened: Opened) -> None:
    browser = opened(page_of("kernels"))
    slider, box = by_id(browser, "depth-slider"), by_id(browser, "depth")
    assert (box.get_attribute("value"), slider.get_attribute("aria-valuetext")) == ("20", "20")
    before = part(browser, "speed").text
    slider.send_keys("\ue014")  # arrow right
    assert (box.get_attribute("value"), slider.get_attribute("aria-valuetext")) == ("21", "21")
    assert part(browser, "speed").text != before
    assert by_id(browser, "along").get_attribute("value") == "depth"
    assert not part(browser, "strange").is_displayed()
    slider.send_keys("\ue010")  # end
    assert box.get_attribute("value") == "160"
    assert part(browser, "strange").text.startswith(
        "Outside what the law has seen: depth 160 (5–80). The interval is 1.99 times"
    )


def test_what_is_shown_is_the_prediction(opened: Opened) -> None:
    browser = opened(page_of("kernels"))
    box = by_id(browser, "neurons")
    box.send_keys("\ue009a\ue009\ue017")  # all of it deleted
    assert box.get_attribute("aria-invalid") == "true"
    box.send_keys("\ue004")  # on to the next field
    assert (box.get_attribute("value"), box.get_attribute("aria-invalid")) == ("1024", None)
    box.send_keys("\ue009a\ue0091000")
    assert box.get_attribute("aria-invalid") is None
    net = {knob.name: knob.start for knob in knobs(law_of("kernels"))} | {"neurons": 1000}
    batch = net.pop("batch")
    (wanted,) = predict_many(law_of("kernels"), [(net_spec(**net), batch)])
    assert wanted.interval_ms is not None
    assert float(part(browser, "speed").text) == pytest.approx(wanted.tiles_per_ms, rel=0.005)
    shown = [float(v) for v in re.findall(r"[\d.]+", part(browser, "run-interval").text)]
    assert shown == pytest.approx([90, *wanted.interval_ms], rel=0.005)
    assert part(browser, "run-interval").text.endswith(" ms")
    browser = opened(page_of("kernels"), address="#design?depth=800&batch=128")
    assert [part(browser, name).text.split()[-1] for name in ("run", "run-interval")] == ["s", "s"]


def test_a_wanted_speed(opened: Opened) -> None:
    browser = opened(page_of("kernels"))
    speed = asked(browser, "edgeprofDesign.predict(law, law.net, 0.9).speed")
    for factor, kind in ((0.5, "yes"), (1.0, "unsure"), (2.0, "no")):
        box = by_id(browser, "target")
        box.clear()
        box.send_keys(f"{speed * factor:.3f}")
        assert part(browser, "verdict").get_attribute("data-kind") == kind
    assert "the chance is" in part(browser, "verdict").text
    assert len(browser.find_elements("css selector", ".epd-pareto .epd-target")) == 1
    browser = opened(page_of("study"), address="#design?target=40")
    assert part(browser, "verdict").text in ("✓ reaches 40 tiles/ms", "✗ misses 40 tiles/ms")


def test_far_outside_no_interval_is_known(opened: Opened) -> None:
    browser = opened(page_of("kernels"))
    box = by_id(browser, "target")
    box.send_keys("0.001")
    for knob in ("depth", "neurons"):
        box = by_id(browser, knob)
        box.send_keys("\ue009a\ue0091")
    assert part(browser, "interval").text == "interval not known: far outside what the law has seen"
    assert part(browser, "run-interval").text == ""
    verdict = part(browser, "verdict")
    assert (verdict.get_attribute("data-kind"), "not known" in verdict.text) == ("unsure", True)
    assert not browser.find_elements("css selector", ".epd-along .epd-here-bar")
    assert "times as wide" not in part(browser, "strange").text


def test_the_address_holds_the_network(opened: Opened) -> None:
    browser = opened(page_of("kernels"))
    by_id(browser, "conv-slider").send_keys("\ue014")
    by_id(browser, "target").send_keys("12.5")
    wait(browser, "return location.hash.includes('target=12.5')")
    shared = browser.current_url.partition("#")[2]
    assert shared.startswith("design?conv=3&depth=20&")
    assert part(browser, "link").get_attribute("href").partition("#")[2] == shared
    wait(browser, "return document.querySelector('.epd-said').textContent.includes('tiles/ms')")
    text = part(browser, "speed").text
    browser = opened(page_of("kernels"), address=f"#{shared}")
    assert part(browser, "speed").text == text
    assert by_id(browser, "target").get_attribute("value") == "12.5"
    browser = opened(
        page_of("kernels"), address="#design?conv=-1&depth=1e3&padding=%3Cb%3E&level=2&along=x&target=x"
    )
    assert asked(browser, "[page.state.net, page.state.level, page.state.target]") == [
        asked(browser, "law.net"),
        0.9,
        None,
    ]


def wait(browser: Any, script: str) -> None:
    browser.set_script_timeout(5)
    browser.execute_async_script(
        f"const done = arguments[0], check = () => (() => {{ {script} }})() ? done() : setTimeout(check, 20); check();"
    )


def test_the_front_as_a_table_and_by_pointer(opened: Opened) -> None:
    browser = opened(page_of("kernels"))
    browser.find_element("css selector", ".epd-table summary").click()
    wait(browser, "return document.querySelector('.epd-table tbody tr')")
    rows = browser.find_elements("css selector", ".epd-table tbody tr")
    assert len(rows) == asked(browser, "page.grid().front.length")
    rows[-1].find_element("css selector", "button").send_keys("\ue007")  # enter
    net = asked(browser, "page.state.net")
    assert f"conv {net['conv']}×{net['depth']}" in rows[-1].text
    action = pytest.importorskip("selenium.webdriver").ActionChains(browser)
    action.move_to_element(browser.find_element("css selector", ".epd-pareto svg")).perform()
    assert re.match(r"conv \d", part(browser, "pareto-readout").text)
    action.click().perform()
    assert asked(browser, "page.state.net") != net
    by_id(browser, "along").send_keys("neurons")
    action.move_to_element(browser.find_element("css selector", ".epd-along svg")).perform()
    assert part(browser, "along-readout").text.startswith("neurons ")


def test_everything_has_a_name(opened: Opened) -> None:
    browser = opened(page_of("kernels"), address="#design?target=9")
    browser.find_element("css selector", ".epd-knobs summary").click()
    fields = browser.find_elements("css selector", "input, select, button, a, svg")
    assert len(fields) > 30
    assert [field.get_attribute("outerHTML")[:80] for field in fields if not field.accessible_name] == []
    names = [f.accessible_name for f in fields if f.tag_name in ("input", "select")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read(dark: bool, opened: Opened) -> None:
    browser = opened(page_of("kernels"), dark=dark, address="#design?depth=200&target=9")
    colours = browser.execute_script(
        "const of = (element, name) => getComputedStyle(element)[name];"
        "const below = (e) => { for (; e; e = e.parentElement) { const c = of(e, 'backgroundColor');"
        "  if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };"
        "return [...document.querySelectorAll('.epd label, .epd small, .epd dd, .epd dt, .epd p, .epd button, .epd a,"
        " .epd summary, .epd svg text')].filter((e) => e.textContent.trim()).map((e) =>"
        "  [of(e, e.closest('svg') ? 'fill' : 'color'), below(e), e.textContent])"
    )
    assert len(colours) > 40
    for ink, paper, text in colours:
        assert contrast(ink, paper) >= 4.5, (ink, paper, text)
    assert (
        luminance(browser.execute_script("return getComputedStyle(document.body).backgroundColor")) < 0.2
    ) is dark


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    shares = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("size", [PHONE, (320, 600), DESK])
def test_it_fits_the_screen(size: tuple[int, int], opened: Opened) -> None:
    browser = opened(page_of("kernels"), size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert min(svg.size["width"] for svg in browser.find_elements("css selector", ".epd svg")) >= 240


def test_strange_names_are_text(opened: Opened) -> None:
    browser = opened(page_of("awkward"))
    assert AWKWARD in browser.find_element("css selector", "h2").text
    assert browser.find_elements("css selector", "img") == []


def test_two_laws_on_one_page(opened: Opened) -> None:
    sections = design_section(law_of("awkward"), "one") + design_section(law_of("kernels"), "two")
    head = "<!DOCTYPE html><title>x</title><script>const before = new Set(Object.keys(window))</script>"
    browser = opened(head + sections)
    assert browser.execute_script("return Object.keys(window).filter((k) => !before.has(k))") == [
        "edgeprofDesign"
    ]
    assert browser.execute_script("return Object.keys(edgeprofDesign.pages)") == ["one", "two"]
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert all(re.match("(one|two)(-|$)", own) for own in ids)
    classes = browser.execute_script(
        "return [...document.querySelectorAll('[class]')].flatMap((e) => [...e.classList])"
    )
    assert all(re.match("epd(-|$)", own) for own in classes)


# --- without a browser


class Outline(HTMLParser):
    """What a page links to, and elements that are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_and_alone(name: str) -> None:
    text = page_of(name)
    outline = Outline(text)
    assert outline.open == []
    assert outline.links == ["data:,", "#design"]
    assert "@import" not in text
    assert not re.search(r"url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert len(text) < 200_000


def test_knobs_that_a_law_knows() -> None:
    shown = re.findall(r'<div class="epd-knob"><label for="design-(\w+?)(?:-slider)?">', page_of("study"))
    assert shown == ["conv", "depth", "fc", "neurons", "batch", "tile"]
    shown = re.findall(r'<div class="epd-knob"><label for="design-(\w+?)(?:-slider)?">', page_of("kernels"))
    assert len(shown) == 13
    for law in map(law_of, NAMES):
        start = {knob.name: knob.start for knob in knobs(law)}
        net_spec(**{k: v for k, v in start.items() if k != "batch"})
        for knob in knobs(law):
            assert knob.start in knob.values
            assert all(end in knob.values for end in law.domain[knob.name])
            if knob.name != "padding":
                assert list(knob.values) == sorted(set(knob.values))


def test_the_network_to_start_with_is_one() -> None:
    law = changed(law_of("kernels"), domain={"tile": [6, 7], "conv": [1, 4], "kernel": [5, 5]})
    start = {knob.name: knob.start for knob in knobs(law)}
    assert (start["tile"], start["conv"], start["kernel"]) == (7, 1, 5)


@pytest.mark.parametrize(
    ("low", "high", "per_octave", "wanted"),
    [
        (0, 5, 4, (0, 1, 2, 3, 4, 5)),
        (5, 40, 2, (6, 8, 12, 16, 24, 32)),
        (5, 40, 4, (5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40)),
        (784, 784, 4, (784,)),
        (64, 65, 16, (64,)),
    ],
)
def test_round_numbers(low: int, high: int, per_octave: int, wanted: tuple[int, ...]) -> None:
    assert round_numbers(low, high, per_octave) == wanted


def test_the_grid_is_of_a_size_that_a_browser_can_price() -> None:
    law = changed(
        law_of("kernels"),
        domain={k: [0 if k == "fc" else 1, 60_000] for k in ("conv", "depth", "fc", "neurons")},
    )
    values = grid(law)
    assert all(len(own) <= 10 for own in values.values())
    assert values["fc"][0] == 0


def test_the_grid_is_of_the_networks_that_a_law_is_meant_for() -> None:
    datasheet = read_law("datasheet:jetson-nano")
    assert datasheet.domain["depth"] == (3, 2048)
    assert grid(datasheet)["depth"] == (6, 8, 12, 16, 24, 32, 48, 64)
    for family in ({}, {"knobs": 3}, {"knobs": {"depth": "many"}}, {"knobs": {"depth": "900..999"}}):
        assert grid(changed(law_of("kernels"), family=family)) == grid(law_of("kernels"))


def test_warnings_of_the_law_stand_first() -> None:
    notice = 'class="epd-notice">'
    text = design_section(read_law("datasheet:jetson-nano"))
    assert notice + escape(ADVICE["datasheet"].text) in text[: text.index('class="epd-columns"')]
    unknown = changed(law_of("kernels"), warnings=["unheard-of"])
    assert design_section(unknown).count(notice) == text.count(notice) - 1


def test_laws_that_javascript_cannot_express_are_refused() -> None:
    for changes in ({"composition": "overlap"}, {"table": {"signature": "conv"}}):
        with pytest.raises(SpecError, match="generated code"):
            design_section(changed(law_of("kernels"), **changes))
