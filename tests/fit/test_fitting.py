"""Fitting: simulated sweeps of known laws, whose coefficients must come back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.errors import EdgeprofError, FitError
from edgeprof.fit.examples import matching, spread_pct, usable
from edgeprof.fit.fitting import fit_law, held_out_rows
from edgeprof.fit.forms import parse_form, read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law, write_law
from edgeprof.fit.prediction import predict, predict_many
from edgeprof.fit.validate import judge, score
from edgeprof.nets.network import net_key
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import SweepSpec, parse_sweep, read_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Measurement, measurement
from edgeprof.validation import family_sweep, unseen

STUDY = read_law("gtx960-theano")
RULES: dict[str, Any] = {
    "operators": {
        "Conv": {
            "if": ["M", "%", 8],
            "then": {
                "if": ["C", "<", 16],
                "then": {"kind": "Conv.nchw"},
                "else": {"kind": "Conv.nchwc"},
            },
            "else": {"kind": "Conv.im2col"},
        },
        "Relu": {"kind": "merged"},
        "Flatten": {"kind": "merged"},
        "MaxPool": {"kind": "MaxPool"},
        "Gemm": {"kind": "Gemm"},
        "Softmax": {"kind": "Softmax"},
    },
    "between": {
        "Conv.nchw → MaxPool": {"kind": "ReorderOutput"},
        "Conv.nchwc → MaxPool": {"kind": "ReorderOutput"},
        "input → Conv.nchwc": {"kind": "ReorderInput"},
    },
}
FORM = parse_form(
    {
        "name": "small",
        "scope": "kernel",
        "define": {"blocks": "ceil(M/V)"},
        "group": [
            {"name": "Conv", "kinds": ["Conv.nchw", "Conv.nchwc"], "terms": ["B*H*W*Kh*Kw*C*blocks", "1"]},
            {"name": "im2col", "kinds": ["Conv.im2col"], "terms": ["B*H*W*Kh*Kw*C*M", "B*H*W*Kh*Kw*C"]},
            {"name": "Gemm", "kinds": ["Gemm"], "terms": ["R*N*M", "N*M"]},
            {"name": "other", "kinds": ["*"], "terms": ["Y"]},
        ],
    },
    "small",
)
KERNELS = {  # ms
    "Conv": (3e-7, 0.02),
    "im2col": (5e-8, 4e-7),
    "Gemm": (2e-8, 4e-7),
    "other": (2e-7,),
}


def kernels_law() -> Law:
    groups = [
        {
            "name": g.name,
            "kinds": g.kinds,
            "terms": [{"text": t, "coefficient": c} for t, c in zip(g.terms, KERNELS[g.name], strict=True)],
        }
        for g in FORM.group
    ]
    return Law(
        name="truth",
        board="cpu",
        backend="ort-cpu",
        runtime="made up 1.0",
        threads=1,
        form="small",
        scope="kernel",
        unit="run",
        define=FORM.define,
        groups=groups,
        overhead=[{"text": "1", "coefficient": 0.01}],
        rules=RULES,
        constants={"V": 4.0},
        domain={"depth": [4, 64]},
        machine={"model": "made up", "lanes": 4},
    )


SAMPLE = parse_sweep(
    {
        "name": "sample",
        "sample": {
            "nets": 40,
            "seed": 5,
            "channels": [1, 3, 16],
            "conv": "1..3",
            "fc": "0..2",
            "depth": [6, 8, 12, 16, 24, 30, 32, 48],
            "kernel": [3, 5],
            "padding": ["same", "valid"],
            "neurons": "64..1024 log",
            "batch": [8, 16, 32],
        },
    },
    "sample",
)


def simulate(
    law: str, sweeps: Sequence[SweepSpec], db: Path, noise: str = "1%", rounds: int = 3
) -> list[Measurement]:
    """What a simulated sweep leaves in a database."""
    with open_target("auto", f"simulated:{law},noise={noise}") as target:
        run_sweep(sweeps, db, target, rounds=rounds)
    with Store(db) as store:
        return store.measurements()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    """Groups 3 and 4 of the study on the study's law, with noise of 1 %."""
    sweeps = [read_sweep("group3"), read_sweep("group4")]
    return simulate("gtx960-theano", sweeps, tmp_path_factory.mktemp("study") / "s.db")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    """A random sample on a law of kernels, with noise of 1 %."""
    folder = tmp_path_factory.mktemp("kernels")
    write_law(kernels_law(), folder / "truth.json")
    return simulate(str(folder / "truth.json"), [SAMPLE], folder / "k.db")


def coefficients(law: Law) -> dict[tuple[str, str], float]:
    found = {(g.name, t.text): t.coefficient for g in law.groups for t in g.terms}
    return found | {("overhead", t.text): t.coefficient for t in law.overhead}


def notes(law: Law) -> dict[tuple[str, str], str]:
    return {(g.name, t.text): t.note for g in law.groups for t in g.terms if t.note}


# --- the study's form


def test_groups_3_and_4_give_back_every_coefficient(study: list[Measurement]) -> None:
    found = fit_law(study, read_form("eq13"), name="again")
    truth = coefficients(STUDY)
    assert coefficients(found.law) == {key: pytest.approx(value, rel=0.05) for key, value in truth.items()}
    assert notes(found.law) == {}
    for group in found.law.groups:
        for term in group.terms:
            assert term.standard_error is not None
            assert abs(term.coefficient - truth[group.name, term.text]) < 6 * term.standard_error
        assert np.linalg.eigvalsh(np.array(group.covariance)).min() > -1e-20
    law = found.law
    assert (law.name, law.board, law.networks, law.simulated, law.threads) == ("again", "gtx960", 49, True, 1)
    assert law.domain["neurons"] == (128, 2048)
    assert law.domain["depth"] == (5, 80)
    assert len(law.conformal) == 49
    assert len(law.seen) == 49
    assert math.fsum(g.share or 0 for g in law.groups) < 1
    assert found.cv is not None
    assert found.cv.nets == 49
    assert found.cv.mape_pct < 2
    assert law.scores["mape_pct"] == found.cv.mape_pct
    assert found.cv.covered_pct == pytest.approx(90, abs=4)
    assert predict(law, net_spec(conv=3, fc=3), 1024).tiles_per_ms == pytest.approx(41.4215, rel=0.02)


def test_group_3_alone_says_which_terms_it_cannot_identify(study: list[Measurement]) -> None:
    """One conv layer: no sum over the second to the last has any term."""
    found = fit_law([m for m in study if m.case.net.conv == 1], read_form("eq13"))
    truth, fitted = coefficients(STUDY), coefficients(found.law)
    for key in (
        ("Dot22", "F"),
        ("Dot22", "N**2*F"),
        ("Elemwise", "F"),
        ("Elemwise", "N*F"),
        ("overhead", "1"),
    ):
        assert fitted[key] == pytest.approx(truth[key], rel=0.1)
    assert notes(found.law)["Elemwise", "D*sum((t - 4*n)**2, n, 2, C)"] == "the data do not vary it"
    unseen = {g.name: g.note for g in found.law.groups if g.note}
    assert unseen == dict.fromkeys(("Alloc", "Pool", "Conv"), "no such kernel was measured")
    assert all(
        fitted[name, t.text] == 0 for g in found.law.groups if (name := g.name) in unseen for t in g.terms
    )


def totals(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The same without any breakdown."""
    return [dataclasses.replace(m, kernels=(), unattributed_ms=None, coverage=None) for m in measurements]


def test_totals_alone_merge_alloc_and_pool_and_say_so(study: list[Measurement]) -> None:
    found = fit_law(totals(study), read_form("eq13"))
    pool = "D*sum((t - 4*(n - 1))**2, n, 2, C)"
    assert notes(found.law)["Pool", pool] == "the data cannot tell it from D·Σₙ₌₂..C (t − 4(n − 1))²"
    assert notes(found.law)["Elemwise", "F"] == "the data cannot tell it from F"
    fitted, truth = coefficients(found.law), coefficients(STUDY)
    merged = [("Alloc", pool), ("Pool", pool), ("Elemwise", "D*sum((t - 4*n)**2, n, 2, C)")]
    assert sum(fitted[k] for k in merged) == pytest.approx(sum(truth[k] for k in merged), rel=0.25)
    for key in (("Conv", "D**2*sum((t - 4*n)**2, n, 2, C)"), ("overhead", "1")):
        assert fitted[key] == pytest.approx(truth[key], rel=0.05)
    assert found.cv is not None
    assert found.cv.mape_pct < 2
    assert found.cv.floor_mape_pct is None


def test_a_form_of_kernels_needs_kernels(study: list[Measurement]) -> None:
    with pytest.raises(FitError, match="needs kernel times") as caught:
        fit_law(totals(study), read_form("kernels"))
    assert "eq13" in caught.value.hint
    with pytest.raises(FitError, match="is of no operator") as caught:
        fit_law(study, read_form("kernels"))  # the study's kernels are of whole networks
    assert "eq13" in caught.value.hint


def test_networks_held_out_are_predicted_by_a_law_of_the_others(study: list[Measurement]) -> None:
    rows = held_out_rows(study, read_form("eq13"))
    assert len(rows) == len(study)
    assert {(r.net, r.batch) for r in rows} == {(m.case.net.label(), m.case.batch) for m in study}
    assert held_out_rows(study[:2], read_form("eq13")) == []


def test_windows_with_gaps_are_held_out_as_others_are() -> None:
    """A law of the other networks knows that it has seen dilation; one that does not would give them no time at all."""
    chain = {"of": "conv", "nets": 14, "size": "16..24", "channels": 32, "depth": 32, "dilation": [1, 2, 2]}
    sweep = parse_sweep({"name": "s", "net": {"threads": 1}, "blocks": {"chain": [chain]}}, "s")
    quick = Stop(target_ci=0.5, min_runs=3, min_s=0.001, max_s=0.01)
    with open_target("cpu") as target:
        cases = [target.case(work) for work in expand(sweep)]
        rounds = [target.backend.measure(case, 1, quick, None) for case in cases]
    found = [measurement(case, [own], "median", 1, False) for case, own in zip(cases, rounds, strict=True)]
    rows = held_out_rows(found, read_form("kernels"))
    assert len(rows) >= 12
    assert all(0.1 < r.predicted_ms / r.measured_ms < 10 for r in rows)


def test_intervals_hold_what_they_say(tmp_path: Path) -> None:
    """Twenty laws of sixty networks each, on the others of 260: 88 to 92 % are covered at 90 %."""
    write_law(kernels_law(), tmp_path / "truth.json")
    sample = SAMPLE.resampled(260, 11)
    measured = simulate(str(tmp_path / "truth.json"), [sample], tmp_path / "k.db", noise="8%", rounds=1)
    covered = []
    for repeat in range(20):
        order = np.random.default_rng(repeat).permutation(len(measured))
        law = fit_law([measured[i] for i in order[:60]], FORM).law
        rows = judge(law, usable([measured[i] for i in order[60:]]), 0.9)
        covered += [r.low_ms <= r.measured_ms <= r.high_ms for r in rows if r.low_ms and r.high_ms]
    assert len(covered) == 20 * 200
    assert 0.88 <= np.mean(covered) <= 0.92


# --- a form of kernels


def test_a_law_of_kernels_comes_back(kernels: list[Measurement]) -> None:
    found = fit_law(kernels, FORM)
    truth = coefficients(kernels_law())
    assert coefficients(found.law) == {key: pytest.approx(value, rel=0.1) for key, value in truth.items()}
    assert found.law.warnings == ()
    assert found.cv is not None
    assert found.cv.mape_pct < 2
    for m in kernels:
        wanted, got = (
            predict(kernels_law(), m.case.net, m.case.batch),
            predict(found.law, m.case.net, m.case.batch),
        )
        assert [k.kind for k in got.kernels] == [k.kind for k in wanted.kernels]
        assert got.latency_ms == pytest.approx(wanted.latency_ms, rel=0.03)
        assert got.in_domain


def test_the_shipped_form_fits_them_too(kernels: list[Measurement]) -> None:
    found = fit_law(kernels, read_form("kernels"))
    assert found.cv is not None
    assert found.cv.mdape_pct < 10
    assert {net_key(m.case.net) for m in kernels} == set(found.law.seen)


def test_kernels_without_a_group_are_priced_into_the_overhead(kernels: list[Measurement]) -> None:
    form = FORM.model_copy(update={"group": FORM.group[:3], "overhead": ("1", "k")})
    found = fit_law(kernels, parse_form(form.model_dump(), "fewer"))
    assert found.law.warnings == ("unpriced",)
    whole = fit_law(kernels, FORM)
    nets = [(m.case.net, m.case.batch) for m in kernels]
    more = [p.overhead_ms for p in predict_many(found.law, nets)]
    assert sum(more) > 1.5 * sum(p.overhead_ms for p in predict_many(whole.law, nets))


def test_a_law_is_the_same_every_time(kernels: list[Measurement], tmp_path: Path) -> None:
    laws = [fit_law(kernels, FORM, name="law", date="today").law for _ in range(2)]
    assert laws[0] == laws[1]
    write_law(laws[0], tmp_path / "law.json")
    assert read_law(str(tmp_path / "law.json")) == laws[0]


def test_few_networks(kernels: list[Measurement]) -> None:
    two = fit_law(kernels[:2], FORM)
    assert two.cv is None
    assert (two.law.conformal, two.law.scores) == ((), {})
    assert all(t.standard_error is None for g in two.law.groups for t in g.terms)
    for measured in kernels[:2]:
        assert predict(two.law, measured.case.net, measured.case.batch).interval_ms is None
    assert fit_law(kernels[:1], FORM, cross_validate=False).law.networks == 1


def test_batches_of_one_network_are_held_out_together(tmp_path: Path) -> None:
    """Networks measured at many batches: were their batches split, the held-out error would be as good as known."""
    sweep = parse_sweep(
        {"net": {"fc": 1, "neurons": 64}, "vary": {"depth": [8, 16, 32], "batch": [1, 2, 4, 8]}}, "b"
    )
    write_law(kernels_law(), tmp_path / "t.json")
    found = fit_law(simulate(str(tmp_path / "t.json"), [sweep], tmp_path / "b.db"), FORM)
    assert found.law.networks == 3
    assert found.cv is not None
    assert found.cv.nets == 12
    nets = [row.net for row in found.cv.rows]
    assert all(len(set(nets[i : i + 4])) == 1 for i in range(0, 12, 4))


# --- what is refused


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("board", "jetson"),
        ("threads", 2),
        ("machine", "other"),
        ("runtime", "other 2.0"),
        ("backend", "tensorrt"),
        ("power_mode", "15W"),
        ("clocks", "max"),
    ],
)
def test_measurements_of_several_settings(study: list[Measurement], key: str, value: Any) -> None:
    case = study[0].case
    mixed = [*study, dataclasses.replace(study[0], case=case.model_copy(update={key: value}))]
    with pytest.raises(FitError, match=f"several values of {key}") as caught:
        fit_law(mixed, read_form("eq13"))
    assert f"--where {key}=" in caught.value.hint
    chosen = matching(mixed, [f"{key}={getattr(case, key)}"])
    assert chosen == study


def test_one_launch_mode_is_chosen(study: list[Measurement]) -> None:
    other = [dataclasses.replace(m, case=m.case.model_copy(update={"launch": "async"})) for m in study[:5]]
    assert {e.measurement.case.launch for e in usable([*study, *other])} == {"blocking"}
    assert len(usable([*study, *other], "async")) == 5
    assert len(usable(other)) == 5  # the only one there is
    with pytest.raises(FitError, match="launch mode graph") as caught:
        usable([*study, *other], "graph")
    assert caught.value.hint == "there is --launch async and blocking"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (["threads"], "'threads' is no condition"),
        (["net=1"], "'net=1' is no condition"),
        (["depth=8"], "'depth=8' is no condition"),
        (["threads=64"], "no measurement has threads=64"),
        (["threads=1", "board=mars"], "no measurement has board=mars"),
    ],
)
def test_conditions(study: list[Measurement], where: list[str], says: str) -> None:
    with pytest.raises(FitError) as caught:
        matching(study, where)
    assert says in caught.value.message
    assert caught.value.hint


def test_nothing_to_fit(study: list[Measurement]) -> None:
    failed = dataclasses.replace(study[0], status="failed", latency_ms=None, kernels=())
    for nothing in ([], [failed]):
        with pytest.raises(FitError, match="no measurement to fit"):
            fit_law(nothing, read_form("eq13"))
    assert len(usable([failed, *study[1:]])) == len(study) - 1


def test_a_wrong_form_is_an_error_and_no_traceback(
    study: list[Measurement], kernels: list[Measurement]
) -> None:
    net = {"name": "n", "scope": "net", "group": [{"name": "all", "kinds": ["*"], "terms": ["10 - F*N"]}]}
    with pytest.raises(EdgeprofError, match="negative or not finite"):
        fit_law(study, parse_form(net, "n"))
    dims = {"name": "k", "scope": "kernel", "group": [{"name": "all", "kinds": ["*"], "terms": ["R*Kh"]}]}
    with pytest.raises(EdgeprofError, match="no value for"):
        fit_law(kernels, parse_form(dims, "k"))


# --- judging


def test_judge_and_spread(study: list[Measurement]) -> None:
    rows = judge(STUDY, usable(study))
    found = score(rows, 0.9)
    assert found.mape_pct < 2
    assert found.covered_pct is None  # the published law has no errors to judge by
    assert found.noise_pct is not None
    assert 0 < found.noise_pct < 3
    assert spread_pct([1.0]) is None
    assert spread_pct([1.0, 1.1, 1.2]) == pytest.approx(10)


def test_the_family_is_what_validate_draws_from(kernels: list[Measurement], study: list[Measurement]) -> None:
    law = fit_law(kernels, FORM, sweeps=[SAMPLE.model_dump(mode="json")], cross_validate=False).law
    again = family_sweep(law, 5, 1)
    assert again.sample is not None
    assert SAMPLE.sample is not None
    assert dict(again.sample.knobs) == dict(SAMPLE.sample.knobs)
    assert (again.sample.nets, again.sample.seed, again.net["threads"]) == (5, 1, 1)
    grid = fit_law(study, read_form("eq13"), cross_validate=False).law
    assert grid.family["knobs"]["depth"] == "5..80 log"
    assert grid.family["knobs"]["kernel"] == [5]
    works = unseen(grid, 20, 1)
    assert len(works) == 20
    assert not {net_key(work.net) for work in works} & set(grid.seen)
