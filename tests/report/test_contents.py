"""Contents: a figure for what there is, a line for what there is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeprof.errors import FitError, SpecError
from edgeprof.nets.blocks import Block
from edgeprof.nets.model import ModelFile
from edgeprof.report.contents import Report, build_report, only

from .samples import (
    changed,
    failed,
    gridded,
    gridded_twice,
    kernel_law,
    random_nets,
    sentinels,
    study_law,
    with_telemetry,
)


def sections(report: Report) -> dict[str, list[str]]:
    return {s.key: [f.key for f in s.figures] for s in report.sections}


def test_everything_where_everything_is_there() -> None:
    sensed = with_telemetry(gridded_twice(), energy_mj_per_tile=0.5, power_mw=4000.0)
    report = build_report(sensed, kernel_law(), sentinels(), "title")
    found = sections(report)
    assert all(
        found[key]
        for key in ("speed", "kernels", "speed-ups", "accuracy", "law", "roofline", "energy", "drift")
    )
    assert found["environment"] == []
    assert len([key for key in found["speed"] if key.startswith("speed-batch-fc")]) == 2
    assert any(key.startswith("kernel-gemm-batch-fc") for key in found["kernels"])
    assert {"measured-against-predicted", "residuals", "held-out-errors"} == set(found["accuracy"])
    assert report.missing == (
        "No steps: no dimension of a kernel varies alone in small steps. Measure one: edgeprof sweep neuron-fine.",
    )
    assert len({f.key for f in report.figures}) == len(report.figures)
    assert dict(report.facts)["cases measured"] == "24"
    assert 'id="design"' in report.design
    law = next(s for s in report.sections if s.key == "law")
    assert [title for title, _ in law.listings] == ["The law", "The law in LaTeX"]
    assert "\\begin{align*}" in law.listings[1][1]


@pytest.mark.parametrize(
    ("measurements", "law", "missing"),
    [
        (gridded(), False, {"No speed-ups", "No energy", "No drift", "No steps"}),
        (random_nets(), False, {"No figure against two variables", "No speed-ups", "No energy", "No drift"}),
        (
            (failed("no memory"),),
            False,
            {"No figure of kernels", "No roofline", "No environment", "No speed against"},
        ),
        (tuple(replace(m, kernels=()) for m in gridded()), False, {"No figure of kernels", "No roofline"}),
    ],
    ids=["grid", "random", "failed", "no kernels"],
)
def test_what_is_missing_is_named_in_a_line(measurements, law, missing) -> None:
    report = build_report(measurements)
    assert all(any(line.startswith(text) for line in report.missing) for text in missing)
    assert all("\n" not in line and len(line) < 160 for line in report.missing)
    assert all(s.shows for s in report.sections)


def test_a_law_alone_is_a_report() -> None:
    found = sections(build_report([], kernel_law()))
    assert found == {"accuracy": ["held-out-errors"], "law": ["law-shares"]}
    bare = build_report([], study_law())
    assert list(sections(bare)) == ["law"]
    assert any(line.startswith("No interval") for line in bare.missing)
    with pytest.raises(FitError, match="nothing measured"):
        build_report([])


def test_some_figures_alone() -> None:
    report = build_report(gridded(), kernel_law())
    found = only(report, ["speed-*", "law-shares"])
    assert {f.key.partition("-")[0] for f in found.figures} == {"speed", "law"}
    assert {s.key for s in report.sections} - {s.key for s in found.sections} == {"kernels", "roofline"}
    with pytest.raises(SpecError, match=r"no figure is called x or y-\*"):
        only(report, ["x", "y-*"])


def test_a_law_is_judged_on_its_own_machine_and_else_says_whose_it_is() -> None:
    own = build_report(gridded_twice(), kernel_law())
    accuracy = next(s for s in own.sections if s.key == "accuracy")
    assert len(accuracy.figures[0].series[0].x) == len(gridded())
    assert accuracy.text == ()
    other = build_report(gridded(), changed(kernel_law(), machine={"model": "Tegra X1"}))
    accuracy = next(s for s in other.sections if s.key == "accuracy")
    assert "The law is of machine Tegra X1, and this is AMD EPYC" in accuracy.text[0]
    overlapping = changed(kernel_law(), composition="overlap")
    assert any(line.startswith("No sliders") for line in build_report([], overlapping).missing)
    wrong = build_report(gridded(), changed(kernel_law(), threads=7))
    assert any(line.startswith("Nothing predicted is compared") for line in wrong.missing)


def test_networks_that_lie_elsewhere_are_measured_too() -> None:
    file = ModelFile(name="net.onnx", sha256="0" * 64, shapes=(("x", (1, 3, 8, 8)),))
    elsewhere = [
        replace(m, case=m.case.model_copy(update={"net": file, "batch": i}))
        for i, m in enumerate(gridded(), 1)
    ]
    report = build_report([*elsewhere, *gridded()], kernel_law())
    assert dict(report.facts)["cases measured"] == "24"
    assert len(next(f for f in report.figures if f.key == "round-spread").series[0].x) == 24
    assert len(next(f for f in report.figures if f.key == "speed-of-every-network").series[0].x) == 12
    assert build_report(elsewhere).figures


def test_networks_that_are_not_of_the_family_have_inputs_and_no_tiles() -> None:
    blocks = [
        replace(m, case=m.case.model_copy(update={"net": Block(of="conv", size=8 + i, channels=8)}))
        for i, m in enumerate(with_telemetry(gridded(), energy_mj_per_tile=0.5, power_mw=4000.0))
    ]
    alone = {"depth": 1, "tiles_per_ms": 8.0, "speedup": 1.0, "speedup_interval": [1.0, 1.0], "p99_ms": 2.0}
    flown = {"enough": 1, "python_lock": False, "at_depth": [alone, {**alone, "depth": 2}]}
    report = build_report([replace(m, telemetry={**m.telemetry, "in_flight": flown}) for m in blocks])
    assert "inputs/ms, slowest to fastest" in dict(report.facts)
    figures = {f.key: f for f in report.figures}
    assert figures["speed-of-every-network"].y.title == "inputs/ms"
    assert figures["energy-per-tile"].y.title == "energy (mJ/input)"
    words = [text for f in report.figures for text in (f.title, f.caption, f.x.title, f.y.title)]
    words += [text for s in report.sections for table in s.tables for row in table.rows for text in row]
    words += [text for s in report.sections for table in s.tables for text in table.columns]
    assert not [text for text in words if "tile" in text.replace("percentile", "").lower()]
    assert "tiles/ms, slowest to fastest" in dict(build_report(gridded()).facts)


def test_one_case_is_a_case() -> None:
    one, other = gridded_twice()[0], gridded_twice()[len(gridded())]
    captions = [f.caption for f in build_report([one, other]).figures if f.key.startswith("speed-up")]
    assert len(captions) == 2
    assert all("1 case " in caption for caption in captions)
