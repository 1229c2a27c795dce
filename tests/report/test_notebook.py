"""Laws and measurements in a notebook: whole, short, escaped, and without anything from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelMeasurement, Measurement

TRAP = "<script>alert('x')</script>&"
CPU = Path(__file__).resolve().parents[1] / "data" / "laws" / "cpu-kernels.json"


class Page(HTMLParser):
    """Tags must close in order; the text and the tags that there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def measurement(**changes) -> Measurement:
    case = Case(
        net=net_spec(conv=2, depth=8),
        batch=4,
        precision="fp32",
        threads=1,
        launch="blocking",
        board="cpu",
        machine=TRAP,
        backend="ort-cpu",
        runtime="onnxruntime 1.31.1",
    )
    kernels = tuple(KernelMeasurement("Conv.nchwc", f"conv{i}", ("conv1",), 0.1, 0.05) for i in range(10))
    known = dict(
        latency_ms=2.0, ci_ms=(1.9, 2.1), rounds_ms=(2.0, 2.05), kernels=kernels, unattributed_ms=1.0
    )
    return Measurement(case, "ok", "", False, "low-decile", **{**known, **changes})


def page(value: Law | Measurement) -> Page:
    return Page(value._repr_html_())


@pytest.mark.parametrize("name", ["gtx960-theano", str(CPU)])
def test_a_law_shows_its_formula(name):
    law = read_law(name)
    found = page(law)
    assert "ms per tile =" in found.text
    assert all(f"{group.name}" in found.text for group in law.groups)
    assert "depth 5–80" in found.text
    assert len(law._repr_html_()) < 6000


def test_a_measurement_shows_its_kernels():
    found = page(measurement())
    assert "conv 2×8 k5 · fc 1×1024 · batch 4" in found.text
    assert "2 ms per run [1.9, 2.1]" in found.text
    assert "2 tiles/ms" in found.text
    assert found.text.count("Conv.nchwc") == 8
    assert "2 more" in found.text
    assert "unattributed" in found.text


def test_a_failed_measurement_shows_why():
    found = page(Measurement(measurement().case, "failed", TRAP, True, "median"))
    assert f"failed: {TRAP}" in found.text.replace("\n", "")
    assert "simulated" in found.text


def test_what_disturbed_it_is_shown():
    assert "clock moved" in page(measurement(warnings=("clock-moved",))).text


@pytest.mark.parametrize(
    "value", [measurement(), read_law(str(CPU)).model_copy(update={"name": TRAP})], ids=["measurement", "law"]
)
def test_everything_is_escaped_and_nothing_is_loaded(value):
    found = page(value)
    assert TRAP in found.text.replace("\n", "")
    assert found.tags <= {
        "div",
        "strong",
        "pre",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert found.attributes == set()
