"""Laws over clocks: sweeps of a known law, played back at several settings, must give its coefficients back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.errors import EdgeprofError, FitError, SpecError
from edgeprof.fit.clocks import clocks_of, over_clocks, settings_of, told_apart
from edgeprof.fit.emit.text import law_text
from edgeprof.fit.examples import matching, owners_of, usable
from edgeprof.fit.fitting import Fit, fit_law
from edgeprof.fit.forms import Form, parse_form, read_form
from edgeprof.fit.intervals import FAR_OUTSIDE
from edgeprof.fit.law import Law
from edgeprof.fit.law_clocks import at_clocks, at_clocks_of, between, clocks_in, scaled
from edgeprof.fit.law_file import law_json, parse_law
from edgeprof.fit.prediction import predict
from edgeprof.fit.roofline import Roofline
from edgeprof.fit.transfer_law import transfer_law
from edgeprof.fit.validate import judge, score
from edgeprof.nets.spec import net_spec
from edgeprof.query import query_nets
from edgeprof.sweeps.expand import expand
from edgeprof.timing.measurement import Measurement

from .over_clocks import CORE, FORM, MEMORY, SAMPLE, TERMS, grid, played, truth

UNSEEN = {"core_mhz": 600.0, "memory_mhz": 1500.0}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    """16 networks at three core clocks by two memory clocks, with noise of 1 %."""
    return played(truth(), grid(), tmp_path_factory.mktemp("clocks"))


@pytest.fixture(scope="module")
def fitted(measured: list[Measurement]) -> Fit:
    """One law of all settings."""
    return fit_law(measured, FORM, name="all")


def one_setting(measured: Sequence[Measurement]) -> list[Measurement]:
    """The same, their settings not told apart and their clocks not known: what a law blind to clocks is fitted on."""
    return [
        replace(m, case=m.case.model_copy(update={"clocks": None}), telemetry={}, environment={"n": i})
        for i, m in enumerate(measured)
    ]


def modes(measured: Sequence[Measurement], names: dict[tuple[float, float], str]) -> list[Measurement]:
    """Those at some clocks, (core, memory), as cases of power modes."""
    found = []
    for m in measured:
        clocks = clocks_of(m)
        mode = names.get((clocks["core_mhz"], clocks["memory_mhz"]))
        if mode:
            case = m.case.model_copy(update={"clocks": None, "power_mode": mode})
            found.append(replace(m, case=case))
    return found


def coefficients(law: Law) -> dict[tuple[str, str], tuple[float, float]]:
    return {
        (g.name, t.text): (t.coefficient, t.standard_error or 0.0) for g in law.groups for t in g.terms
    } | {("overhead", t.text): (t.coefficient, t.standard_error or 0.0) for t in law.overhead}


def mape_pct(law: Law, clocks: dict[str, float], seed: int = 12) -> float:
    """Error of a law on networks that no fit has seen, at these clocks."""
    there = at_clocks(truth(), clocks)
    law = at_clocks(law, clocks) if law.clocks else law
    works = list(expand(SAMPLE.resampled(40, seed)))
    errors = [
        predict(law, w.net, w.batch).latency_ms / predict(there, w.net, w.batch).latency_ms - 1 for w in works
    ]
    return 100 * float(np.abs(errors).mean())


# --- what a fit over clocks gives


def test_the_coefficients_of_the_truth_come_back(fitted: Fit) -> None:
    found = coefficients(fitted.law)
    for name, terms in TERMS.items():
        for text, ms in terms.items():
            value, error = found[name, text]
            if ms:
                assert value == pytest.approx(ms, rel=0.05)
                assert abs(value - ms) < 6 * error
    value, error = found["overhead", "1"]
    assert value + found["overhead", "1/core_mhz"][0] / 800 == pytest.approx(0.05, rel=0.15)


def test_a_term_without_a_clock_is_not_taken_for_one_with_it(fitted: Fit) -> None:
    """What clocks do not change, and what they do, is parted: by price at the lowest and the highest core clock."""
    for name, ms in (("Conv", 0.02), ("Gemm", 0.01)):
        own = {text: value for (group, text), (value, _) in coefficients(fitted.law).items() if group == name}
        assert own["1"] == pytest.approx(ms, rel=0.05)
        assert own["1/core_mhz"] / CORE[0] < 0.1 * ms


def test_it_predicts_settings_that_it_never_saw_and_one_blind_to_clocks_does_not(
    measured: list[Measurement], fitted: Fit
) -> None:
    blind = fit_law(one_setting(measured), FORM, cross_validate=False).law
    assert blind.clocks == {}
    assert fitted.cv is not None
    assert fitted.cv.mape_pct < 3
    for clocks in (UNSEEN, {"core_mhz": 1100.0, "memory_mhz": 1200.0}):
        assert mape_pct(fitted.law, clocks) < 3
        assert mape_pct(blind, clocks) > 5 * mape_pct(fitted.law, clocks)


def test_it_says_what_it_was_fitted_on(measured: list[Measurement], fitted: Fit) -> None:
    law = fitted.law
    assert law.form == "small+clocks"
    assert law.clocks == {"core_mhz": 1300.0, "memory_mhz": 2000.0}
    assert law.domain["core_mhz"] == (400, 1300)
    assert law.domain["memory_mhz"] == (1000, 2000)
    low, high = law.domain["core_mhz/memory_mhz"]
    assert (low, high) == (pytest.approx(0.2, rel=0.02), pytest.approx(1.3, rel=0.02))
    assert [(s["core_mhz"], s["memory_mhz"]) for s in law.settings] == [
        (c, m) for c in reversed(CORE) for m in reversed(MEMORY)
    ]
    assert all(s["networks"] == 16 and s["mape_pct"] < 3 and abs(s["bias_pct"]) < 3 for s in law.settings)
    assert (law.networks, law.warnings) == (16, ())
    assert "clocks" not in law.machine
    assert not any(knob.startswith(("core", "memory")) for knob in law.family["knobs"])
    text = law_text(law, fitted.cv)
    assert "core 400 MHz, memory 1000 MHz: MAPE" in text
    assert "predicted at core 1300 MHz" in text
    assert "core_mhz clock of what computes" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert fitted.cv is not None
    assert {row.setting for row in fitted.cv.rows} == {f"clocks {m.case.clocks}" for m in measured}


def test_it_is_told_how_it_does_at_settings_that_it_never_saw(
    measured: list[Measurement], fitted: Fit
) -> None:
    law, net = fitted.law, net_spec(depth=16, neurons=256)
    assert all(s["left_out_mape_pct"] < 5 for s in law.settings)
    wide = between(law, UNSEEN)
    medians = [np.median([s[name] for s in law.settings]) for name in ("left_out_mape_pct", "mape_pct")]
    assert wide == pytest.approx(max(medians[0] / medians[1], 1))
    assert between(law, {"core_mhz": 1290.0, "memory_mhz": 2010.0}) == 1
    half = [
        math.log(p.interval_ms[1] / p.latency_ms)
        for p in (predict(law, net, 16), predict(at_clocks(law, UNSEEN), net, 16))
        if p.interval_ms
    ]
    assert half[1] == pytest.approx(wide * half[0], rel=1e-6)
    assert "never seen" in law_text(law)
    works = list(expand(SAMPLE.resampled(40, 12)))
    there, known = at_clocks(law, UNSEEN), at_clocks(truth(), UNSEEN)
    inside = [
        found.interval_ms[0] <= predict(known, w.net, w.batch).latency_ms <= found.interval_ms[1]
        for w in works
        if (found := predict(there, w.net, w.batch)).interval_ms
    ]
    assert len(inside) == 40
    assert sum(inside) >= 32


def test_all_settings_of_a_network_are_held_out_together(measured: list[Measurement]) -> None:
    examples = usable(measured)
    owners = owners_of(examples)
    assert len(examples) == 16 * 6
    assert sorted(np.bincount(owners)) == [6] * 16


def test_a_file_keeps_the_clocks(fitted: Fit) -> None:
    again = parse_law(law_json(fitted.law), "again")
    assert again == fitted.law
    assert predict(again, net_spec(), 4) == predict(fitted.law, net_spec(), 4)
    data = json.loads(law_json(fitted.law))
    del data["constants"]["core_mhz"]
    with pytest.raises(SpecError, match="core_mhz"):
        parse_law(json.dumps(data), "x")


def test_totals_alone_are_fitted_over_clocks_too(tmp_path: Path) -> None:
    terms = {"(C*D*B)/core_mhz": 0.5, "(N*F*B)/memory_mhz": 0.02, "1": 0.2}
    law = truth({"other": terms}, scope="net", rules={}, overhead=[], domain={})
    plain = [replace(m, kernels=(), unattributed_ms=None) for m in played(law, grid((400, 1300)), tmp_path)]
    group = {"name": "other", "kinds": ["*"], "terms": ["C*D*B", "N*F*B", "1"]}
    form = parse_form({"name": "work", "scope": "net", "group": [group], "overhead": []}, "work")
    found = coefficients(fit_law(plain, form, cross_validate=False).law)
    for text, ms in terms.items():
        assert found["other", text][0] == pytest.approx(ms, rel=0.05)


# --- settings that tell less


def test_clocks_that_move_together_are_one_and_said_to_be(measured: list[Measurement]) -> None:
    two = modes(measured, {(1300.0, 2000.0): "MAXN", (400.0, 1000.0): "7W"})
    found = fit_law(two, FORM)
    assert found.law.clocks == {"core_mhz": 1300.0}
    assert "clocks-together" in found.law.warnings
    assert [s["power_mode"] for s in found.law.settings] == ["MAXN", "7W"]
    assert "power_mode" not in found.law.machine
    assert "MAXN, core 1300 MHz: MAPE" in law_text(found.law)
    assert at_clocks(found.law, {}, "7W").clocks == {"core_mhz": 400.0}
    middle = predict(at_clocks(found.law, {"core_mhz": 800.0}), net_spec(neurons=256), 16)
    assert middle.interval_ms is not None
    assert (
        middle.interval_ms[1] / middle.latency_ms > 1300 / 800
    )  # two settings do not tell what lies between
    with pytest.raises(SpecError, match="memory clock"):
        at_clocks(found.law, {"memory_mhz": 1000.0})
    with pytest.raises(SpecError, match="no power mode '15W'"):
        at_clocks(found.law, {}, "15W")


def test_settings_that_their_clocks_do_not_explain_are_said(measured: list[Measurement]) -> None:
    """As where a mode switches multiprocessors off."""
    three = modes(measured, {(c, 2000.0): f"{c:g}" for c in CORE})
    slow = [
        replace(
            m,
            latency_ms=1.5 * (m.latency_ms or 0),
            kernels=tuple(replace(k, ms=1.5 * k.ms) for k in m.kernels),
        )
        if m.case.power_mode == "800"
        else m
        for m in three
    ]
    assert "unlike" in fit_law(slow, FORM).law.warnings


@pytest.mark.parametrize("known", [0, 1])
def test_settings_whose_clocks_are_not_known_are_refused(measured: list[Measurement], known: int) -> None:
    two = modes(measured, {(1300.0, 2000.0): "MAXN", (400.0, 1000.0): "7W"})
    blind = [*two[:known], *(replace(m, telemetry={}) for m in two[known:])]
    with pytest.raises(FitError, match="several values of power_mode: 7W, MAXN") as error:
        fit_law(blind, FORM)
    assert "--where power_mode=7W" in str(error.value.hint)
    assert "where telemetry tells that clocks differ" in str(error.value.hint)
    one = fit_law(matching(blind, ["power_mode=7W"]), FORM, cross_validate=False).law
    assert (one.form, one.clocks, one.machine["power_mode"]) == ("small", {}, "7W")


def test_settings_of_one_clock_are_refused(measured: list[Measurement]) -> None:
    same = [replace(m, telemetry={"gpu_mhz": 600.0}) for m in measured]
    with pytest.raises(FitError, match="several values of clocks"):
        fit_law(same, FORM)


def test_one_setting_is_fitted_as_ever(measured: list[Measurement]) -> None:
    one = matching(measured, [f"clocks={measured[0].case.clocks}"])
    law = fit_law(one, FORM, cross_validate=False).law
    assert (law.form, law.clocks, law.settings) == ("small", {}, ())
    assert law.machine["clocks"] == measured[0].case.clocks
    assert "settings" not in json.loads(law_json(law))


# --- forms that name clocks


def named(*terms: str, **more: Any) -> Form:
    group = {"name": "all", "kinds": ["*"], "terms": terms}
    return parse_form({"name": "mine", "scope": "kernel", "group": [group], **more}, "mine")


def test_a_form_may_name_clocks_itself(measured: list[Measurement]) -> None:
    form = named("Y*cycle", "1", define={"cycle": "1000/core_mhz"})
    assert form.clocks == ("core_mhz",)
    assert over_clocks(form, settings_of(measured)) is form
    law = fit_law(measured, form, cross_validate=False).law
    assert (law.form, law.clocks) == ("mine", {"core_mhz": 1300.0})
    with pytest.raises(FitError, match="needs cpu_mhz") as error:
        fit_law(measured, named("Y/cpu_mhz"))
    assert "doctor" in str(error.value.hint)


def test_a_form_over_clocks_needs_them_of_one_setting_too(measured: list[Measurement]) -> None:
    one = [replace(m, telemetry={}) for m in matching(measured, [f"clocks={measured[0].case.clocks}"])]
    with pytest.raises(FitError, match="needs core_mhz"):
        fit_law(one, named("Y/core_mhz"))


def test_kernels_are_over_core_and_memory_the_overhead_over_what_launches() -> None:
    settings = [
        {"core_mhz": c, "memory_mhz": m, "cpu_mhz": p}
        for c, m, p in ((400, 1000, 900), (800, 1000, 1900), (1300, 2000, 1000), (400, 2000, 1500))
    ]
    form = over_clocks(FORM, settings)
    assert form.group[2].terms == ("Y", "(Y)/core_mhz", "(Y)/memory_mhz")
    assert form.overhead == ("1", "1/cpu_mhz")
    assert form.terms == "needed"
    every = read_form("kernels")
    assert len(over_clocks(every, settings).group[0].terms) == 3 * len(every.group[0].terms)


@pytest.mark.parametrize(
    ("settings", "kept", "tied"),
    [
        ([(400, 1000), (800, 1000)], ("core_mhz",), ()),
        ([(400, 1000), (800, 2000)], ("core_mhz",), ("memory_mhz",)),
        ([(400, 1000), (400, 2000)], ("memory_mhz",), ()),
        ([(400, 1000), (400, 1000)], (), ()),
        ([(400, 1000), (801, 2001), (1299, 3000)], ("core_mhz",), ("memory_mhz",)),
        ([(400, 1000), (800, 1000), (400, 2000)], ("core_mhz", "memory_mhz"), ()),
        ([(1300, 2000), (1301, 2000)], (), ()),
    ],
)
def test_clocks_are_told_apart(
    settings: list[tuple[float, float]], kept: tuple[str, ...], tied: tuple[str, ...]
) -> None:
    assert told_apart([{"core_mhz": c, "memory_mhz": m} for c, m in settings]) == (kept, tied)


# --- what was measured


def test_the_core_is_what_computes(measured: list[Measurement]) -> None:
    told = {"gpu_mhz": 600, "cpu_mhz": 1500.0, "gpu_memory_mhz": 5000}
    gpu = replace(measured[0], telemetry=told, environment={"machine": {"gpu_sms": 8}})
    assert clocks_of(gpu) == {"core_mhz": 600.0, "memory_mhz": 5000.0, "cpu_mhz": 1500.0}
    assert clocks_of(replace(gpu, environment={})) == {"core_mhz": 1500.0}
    for absent in (0, None, math.nan, math.inf, "600", {}):
        assert clocks_of(replace(gpu, telemetry={"gpu_mhz": absent})) == {}


def test_a_case_without_telemetry_has_the_clocks_of_its_setting(measured: list[Measurement]) -> None:
    two = modes(measured, {(1300.0, 2000.0): "MAXN", (400.0, 2000.0): "7W"})
    law = fit_law(two, FORM, cross_validate=False).law
    slow = next(m for m in two if m.case.power_mode == "7W")
    assert clocks_in(law, slow.case) == {"core_mhz": 400.0}
    assert clocks_in(law, slow.case, {"core_mhz": 500.0}) == {"core_mhz": 500.0}
    assert clocks_in(law, slow.case.model_copy(update={"power_mode": "else"})) == {"core_mhz": 1300.0}
    bare = [replace(m, telemetry={}) for m in two if m.case.power_mode == "7W"]
    assert score(judge(law, usable(bare)), 0.9).mape_pct < 3


# --- asking


def test_clocks_out_of_the_domain_widen_and_are_flagged(fitted: Fit) -> None:
    net = net_spec(depth=16, neurons=256)
    plain = predict(fitted.law, net, 16)
    assert plain.in_domain
    assert plain.interval_ms is not None
    inside = predict(at_clocks(fitted.law, UNSEEN), net, 16)
    assert inside.in_domain
    fast = predict(at_clocks(fitted.law, {"core_mhz": 2600.0, "memory_mhz": 4000.0}), net, 16)
    assert fast.interval_ms is not None
    assert {item["what"] for item in fast.outside} == {"core_mhz", "memory_mhz"}
    width = [math.log(p.interval_ms[1] / p.interval_ms[0]) for p in (plain, fast) if p.interval_ms]
    assert width[1] > 3 * width[0]
    far = predict(at_clocks(fitted.law, {"core_mhz": 5200.0, "memory_mhz": 8000.0}), net, 16)
    assert (far.interval_ms, far.interval_unknown) == (None, FAR_OUTSIDE)


def test_clocks_that_never_met_are_flagged(measured: list[Measurement]) -> None:
    corner = {(1300.0, 2000.0): "A", (800.0, 2000.0): "B", (400.0, 1000.0): "C"}
    law = fit_law(modes(measured, corner), FORM, cross_validate=False).law
    assert law.clocks.keys() == {"core_mhz", "memory_mhz"}
    odd = predict(at_clocks(law, {"core_mhz": 1300.0, "memory_mhz": 1000.0}), net_spec(neurons=256), 16)
    assert [item["what"] for item in odd.outside] == ["core_mhz/memory_mhz"]


def test_query_agrees_with_predict(fitted: Fit) -> None:
    for clocks in ({}, UNSEEN, {"core_mhz": 3000.0}, {"core_mhz": 2e5}):
        law = at_clocks(fitted.law, clocks)
        for net in query_nets(law, {"conv": "0..2", "depth": "4,33", "batch": "1,16"}).nets:
            again = predict(law, net.net, net.batch)
            assert net.latency_ms == pytest.approx(again.latency_ms, rel=1e-9)
            assert net.interval_ms == (again.interval_ms and pytest.approx(again.interval_ms, rel=1e-9))
            assert net.interval_unknown == again.interval_unknown
            assert net.outside == again.outside


def test_a_law_without_clocks_takes_none(fitted: Fit) -> None:
    plain = truth({"other": {"Y": 1e-6}}, constants={}, name="plain")
    assert at_clocks(plain, {"core_mhz": None}) is plain
    with pytest.raises(SpecError, match="one setting"):
        at_clocks(plain, {"core_mhz": 600.0})
    with pytest.raises(SpecError, match="one setting"):
        at_clocks_of([plain], {"core_mhz": 600.0})
    first, second = at_clocks_of([plain, fitted.law], {"core_mhz": 600.0})
    assert (first, second.clocks["core_mhz"]) == (plain, 600.0)


def test_rates_of_kernels_that_no_term_prices_go_with_the_clocks(fitted: Fit) -> None:
    rates = Roofline(macs_per_ms=(1, 2, 3), bytes_per_ms=(10, 20, 30), kernel_ms=0.1)
    slow = scaled(rates, fitted.law, {"core_mhz": 650.0, "memory_mhz": 500.0})
    assert slow == Roofline(macs_per_ms=(0.5, 1, 1.5), bytes_per_ms=(2.5, 5, 7.5), kernel_ms=0.1)
    assert scaled(rates, truth(), {"core_mhz": 650.0}) == rates
    assert scaled(None, fitted.law, {"core_mhz": 650.0}) is None


# --- another board's law as the prior


def test_a_law_over_clocks_may_be_a_prior(measured: list[Measurement], fitted: Fit) -> None:
    few = [m for m in measured if m.case.net in {n.case.net for n in measured[:60:5]}]
    law = transfer_law(few, fitted.law, name="other").law
    assert law.clocks.keys() == {"core_mhz", "memory_mhz"}
    assert mape_pct(law, UNSEEN) < 10


def test_a_prior_blind_to_clocks_is_refused_for_several_settings(measured: list[Measurement]) -> None:
    setting = matching(measured, [f"clocks={measured[0].case.clocks}"])
    one = fit_law(setting, FORM, cross_validate=False).law
    with pytest.raises(EdgeprofError, match="several settings"):
        transfer_law(measured, one)


def test_a_prior_over_clocks_is_refused_where_they_are_not_known(
    measured: list[Measurement], fitted: Fit
) -> None:
    with pytest.raises(EdgeprofError, match="core_mhz"):
        transfer_law(one_setting(measured), fitted.law)
