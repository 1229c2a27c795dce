"""Selection: the simplest form within one standard error of the best, judged on networks held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeprof import catalogue
from edgeprof.errors import EdgeprofError, FitError
from edgeprof.fit.select import Selection, select
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Measurement

CONV = "D**2*sum((t - 4*n)**2, n, 2, C)"
PLAIN = ["F", "N**2*F"]
FORM = """
version = 1
name  = "{name}"
scope = "net"
unit  = "tile"
[[group]]
name  = "Dot22"
kinds = ["Dot22"]
terms = {dot}
[[group]]
name  = "Elemwise"
kinds = ["Elemwise"]
terms = ["F", "N*F", "D*sum((t - 4*n)**2, n, 2, C)"]
[[group]]
name  = "Alloc"
kinds = ["Alloc"]
terms = ["D*sum((t - 4*(n - 1))**2, n, 2, C)"]
[[group]]
name  = "Pool"
kinds = ["Pool"]
terms = ["D*sum((t - 4*(n - 1))**2, n, 2, C)"]
[[group]]
name  = "Conv"
kinds = ["Conv"]
terms = {conv}
"""


def form(name: str, dot: list[str], conv: list[str]) -> str:
    return FORM.format(name=name, dot=str(dot).replace("'", '"'), conv=str(conv).replace("'", '"'))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    """A random sample on the reference study's law, with noise of 1 % per kernel."""
    sample = {
        "nets": 40,
        "seed": 3,
        "conv": "1..5",
        "fc": "1..5",
        "depth": "5..80 log",
        "neurons": "128..2048 log",
    }
    sweep = parse_sweep({"name": "random", "net": {"batch": 64}, "sample": sample}, "random")
    db = tmp_path_factory.mktemp("select") / "s.db"
    with open_target("auto", "simulated:gtx960-theano,noise=1%") as target:
        run_sweep([sweep], db, target)
    with Store(db) as store:
        return store.measurements()


@pytest.fixture
def forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with forms of its own beside the shipped ones."""
    folder = tmp_path / "fit" / "forms"
    folder.mkdir(parents=True)
    (folder / "rich.toml").write_text(form("rich", [*PLAIN, "N*F", "N"], [CONV, "D", "D*C", "1"]))
    (folder / "poor.toml").write_text(form("poor", ["F"], ["1"]))
    monkeypatch.setenv("EDGEPROF_CATALOGUE", str(tmp_path))
    return folder


def chosen(selection: Selection) -> list[str]:
    return [c.form for c in selection.candidates if c.chosen]


def test_the_simplest_form_within_one_standard_error_wins(measured: list[Measurement], forms: Path) -> None:
    assert {entry.name for entry in catalogue.entries("forms")} >= {"rich", "poor", "eq13"}
    found = select(measured, "auto")
    by_name = {c.form: c for c in found.candidates}
    assert set(by_name) >= {"rich", "poor", "eq13"}
    assert chosen(found) == ["eq13"] == [found.fit.law.form]
    best = found.candidates[0]
    limit = best.mape_pct + best.standard_error_pct
    assert by_name["eq13"].mape_pct <= limit < by_name["poor"].mape_pct
    assert by_name["rich"].terms > by_name["eq13"].terms > by_name["poor"].terms
    assert [c.mape_pct for c in found.candidates] == sorted(c.mape_pct for c in found.candidates)


def test_the_choice_is_judged_on_networks_held_out_from_it(measured: list[Measurement], forms: Path) -> None:
    found = select(measured, "auto")
    assert found.nested_mape_pct is not None
    assert found.nested_mape_pct == pytest.approx(found.fit.cv.mape_pct if found.fit.cv else None, rel=0.3)


def test_one_form_is_no_choice(measured: list[Measurement]) -> None:
    found = select(measured, "eq13")
    assert chosen(found) == ["eq13"]
    assert found.nested_mape_pct is None
    assert found.candidates[0].mape_pct == pytest.approx(found.fit.cv.mape_pct if found.fit.cv else None)


def test_too_few_networks_to_score(measured: list[Measurement]) -> None:
    found = select(measured[:2], "eq13")
    assert (found.candidates, found.nested_mape_pct, found.fit.cv) == ((), None, None)


def test_refusals(measured: list[Measurement]) -> None:
    with pytest.raises(FitError, match="no measurement to fit"):
        select([], "auto")
    for name in ("hybrid", "kernels+boost"):
        with pytest.raises(FitError, match="boosted trees are fitted to tables"):
            select(measured, name)
    with pytest.raises(EdgeprofError, match="no form called"):
        select(measured, "eq14")
