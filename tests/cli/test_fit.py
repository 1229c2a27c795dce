"""``edgeprof fit``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.law_file import write_law

from ..fit.over_clocks import grid, truth

SCORES = {
    "nets",
    "mape_pct",
    "mdape_pct",
    "p95_ape_pct",
    "bias_pct",
    "within_5_pct",
    "within_10_pct",
    "covered_pct",
    "level",
    "noise_pct",
    "floor_mape_pct",
    "wrong_guess_pct",
    "rows",
}


def test_the_contract(edgeprof_json: Callable[..., Any], rehearsed: Path) -> None:
    found = edgeprof_json("fit", "--db", "r.db", "--out", "law.json")
    assert found.keys() == {"law", "cv", "forms", "nested_mape_pct", "out"}
    assert found["law"] == json.loads(Path("law.json").read_text("utf-8"))
    assert found["cv"].keys() == SCORES
    assert found["cv"]["within_10_pct"].keys() == {"pct", "low_pct", "high_pct"}
    assert found["cv"]["mape_pct"] < 3
    assert len(found["cv"]["rows"]) == found["cv"]["nets"] == 36
    (form,) = found["forms"]
    assert (form["form"], form["chosen"]) == ("eq13", True)
    assert form["mape_pct"] == pytest.approx(found["cv"]["mape_pct"])
    assert found["nested_mape_pct"] is None
    assert found["out"] == "law.json"
    assert (found["law"]["name"], found["law"]["form"], found["law"]["simulated"]) == ("law", "eq13", True)
    assert edgeprof_json("predict", "--law", "law.json", "--batch", "1024")["interval_ms"] is not None


def test_what_people_see(edgeprof: Callable[..., Any], rehearsed: Path) -> None:
    status, out, err = edgeprof("fit", "--db", "r.db", "--form", "eq13", "--out", "law.json")
    assert status == 0, err
    assert "Conv           3.0" in out
    assert "·D²·Σₙ₌₂..C (t − 4n)²" in out
    assert "held out   MAPE" in out
    assert "law.json written" in out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert err == ""


def test_a_law_that_is_not_kept(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], rehearsed: Path
) -> None:
    assert edgeprof_json("fit", "--db", "r.db")["out"] is None
    status, _, err = edgeprof("fit", "--db", "r.db")
    assert status == 0
    assert err == "the law is not kept: give it a file with --out law.json\n"
    assert [path.name for path in Path().iterdir() if path.suffix == ".json"] == []


def test_too_few_networks_to_tell_an_error(edgeprof: Callable[..., Any], here: Path) -> None:
    edgeprof("sweep", "family", "--nets", "1", "--backend", "simulated:gtx960-theano", "--db", "one.db")
    status, out, err = edgeprof("fit", "--db", "one.db", "--form", "eq13", "--out", "law.json")
    assert status == 0
    assert "1 network," in out
    assert out.count("too few networks to tell its error") <= 1
    assert "too few networks to hold any out" in err


def test_where(edgeprof_json: Callable[..., Any], refused: Callable[..., Any], rehearsed: Path) -> None:
    assert (
        edgeprof_json("fit", "--db", "r.db", "--where", "threads=1", "--where", "batch=1024")["law"][
            "networks"
        ]
        == 36
    )
    assert refused("fit", "--db", "r.db", "--where", "threads=9") == (
        "no measurement has threads=9",
        "threads is one of: 1",
    )
    assert refused("fit", "--db", "r.db", "--where", "threads")[0] == "'threads' is no condition"


def test_steps(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    """Neurons in steps of 16 on the reference study's law, which is smooth; and a sweep without steps."""
    study = ["--backend", "simulated:gtx960-theano,noise=1%"]
    grid = ["neuron-step", "--fc", "1", "--batch", "64", "--threads", "1"]
    assert edgeprof("sweep", *grid, *study, "--db", "s.db")[0] == 0
    fit = ["fit", "--db", "s.db", "--form", "eq13"]
    (step,) = edgeprof_json(*fit, "--steps", "s.svg")["law"]["steps"]
    assert (step["kind"], step["dimension"], step["pattern"]) == ("network", "N", "none")
    assert (step["quantum"], step["sees_from"], step["rows"]) == (1, 16, 61)
    assert Path("s.svg").read_text("utf-8").startswith("<svg ")
    assert "steps      no clear blocks: network neurons (in steps of 16)" in edgeprof(*fit)[1]
    assert refused(*fit, "--steps", "no/s.svg")[0].startswith("cannot write")
    assert edgeprof("sweep", "group3", *study, "--db", "g.db")[0] == 0
    assert edgeprof_json("fit", "--db", "g.db")["law"]["steps"] == []
    assert refused("fit", "--db", "g.db", "--steps", "g.svg")[1].endswith("edgeprof sweep neuron-fine")


def test_from_this_machine_to_a_prediction(edgeprof_json: Callable[..., Any]) -> None:
    sweep = [
        "sweep",
        "quick",
        "--nets",
        "12",
        "--rounds",
        "1",
        "--batch",
        "2",
        "--target-ci",
        "20%",
        "--db",
        "m.db",
    ]
    assert edgeprof_json(*sweep)["failed"] == []
    found = edgeprof_json("fit", "--db", "m.db", "--out", "m.json")
    assert {f["form"] for f in found["forms"]} >= {"eq13", "kernels"}
    assert found["law"]["simulated"] is False
    network = ["--conv", "2", "--depth", "16", "--fc", "1", "--neurons", "128", "--batch", "2"]
    told = edgeprof_json("predict", "--law", "m.json", *network)
    assert told["latency_ms"] == pytest.approx(told["overhead_ms"] + sum(k["ms"] for k in told["kernels"]))


def test_refusals(refused: Callable[..., tuple[str, str]], rehearsed: Path) -> None:
    assert refused("fit", "--db", "none.db")[0] == "no database none.db"
    assert refused("fit", "--db", "r.db", "--form", "eq14")[0] == "there is no form called 'eq14'"
    assert "is of no operator" in refused("fit", "--db", "r.db", "--form", "kernels")[0]
    assert refused("fit", "--db", "r.db", "--form", "eq13", "--out", "no/law.json")[0].startswith(
        "cannot write"
    )


def test_a_table(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    table = str(Path(__file__).resolve().parents[1] / "data" / "latency" / "linear.csv")
    where = ["--where", "device=Tesla V100-PCIE-32GB"]
    found = edgeprof_json("fit", "--table", table, "--target", "latency_ms", *where, "--out", "v100.json")
    assert found.keys() == {"law", "cv", "forms", "nested_mape_pct", "out"}
    assert found["law"]["board"] == "Tesla V100-PCIE-32GB"
    assert found["cv"]["mape_pct"] < 15
    told = edgeprof_json("predict", "--law", "v100.json", "--table", table)
    assert told["law"] == "v100"
    assert len(told["latency_ms"]) == len(Path(table).read_text("utf-8").splitlines()) - 1
    status, out, err = edgeprof("predict", "--law", "v100.json", "--table", table)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "b,m,n,k,latency_ms,low_ms,high_ms,in_domain"
    assert float(out.splitlines()[1].split(",")[4]) == pytest.approx(told["latency_ms"][0], rel=1e-4)
    assert refused("fit", "--table", table)[0].startswith("linear.csv is of 2 devices")
    assert refused("predict", "--law", "v100.json", "--table", table, "--conv", "2")[0].startswith(
        "--table and"
    )
    assert refused("fit", "--table", "none.csv")[0] == "no table none.csv"


def test_emission(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], rehearsed: Path) -> None:
    status, out, err = edgeprof(
        "fit", "--db", "r.db", "--form", "eq13", "--out", "law.json", "--emit", "python"
    )
    assert status == 0, err
    assert err == "law.json written\n"
    space: dict[str, Any] = {}
    exec(out, space)
    told = edgeprof_json("predict", "--law", "law.json", "--conv", "2", "--fc", "1", "--batch", "1024")
    assert space["latency_ms"](1024, conv=2, fc=1) == pytest.approx(told["latency_ms"], rel=1e-9)
    found = edgeprof_json("fit", "--db", "r.db", "--form", "eq13", "--emit", "csv")
    assert found["emitted"].startswith('"Law r: ')
    assert edgeprof("fit", "--db", "r.db", "--form", "eq13", "--emit", "text")[1].startswith("gtx960 ")


def test_emission_in_another_language(refused: Callable[..., tuple[str, str]], rehearsed: Path) -> None:
    assert refused("fit", "--db", "r.db", "--out", "law.json", "--emit", "rust") == (
        "a law cannot be written as 'rust'",
        "use one of text, latex, c, python, javascript, csv, html",
    )
    assert not Path("law.json").exists()


def test_networks_and_transfer(
    edgeprof_json: Callable[..., Any], refused: Callable[..., tuple[str, str]]
) -> None:
    cells = str(Path(__file__).resolve().parents[1] / "data" / "latency" / "cells.csv")
    table = ("fit", "--table", cells, "--target")
    found = edgeprof_json(
        *table, "jetson_nano_fp32_ms", "--nets", "30", "--form", "networks", "--out", "a.json"
    )
    assert found["law"]["execution"] == "compiled"
    assert found["cv"]["nets"] == 30
    moved = edgeprof_json(*table, "jetson_tx2_ms", "--nets", "10", "--from", "a.json", "--out", "b.json")
    assert moved["law"]["prior"]["law"] == "a"
    assert moved["cv"]["nets"] == 10
    told = edgeprof_json("predict", "--law", "b.json", "--table", cells)
    assert len(told["latency_ms"]) == 150
    assert all(told["in_domain"])
    assert refused("fit", "--table", cells, "--from", "a.json", "--form", "networks")[0].startswith(
        "the form"
    )
    assert "not 151" in refused(*table, "jetson_tx2_ms", "--nets", "151")[0]


FORM_TOML = """
name = "mine"
scope = "kernel"
group = [
  {name = "Conv", kinds = ["Conv"], terms = ["B*H*W*Kh*Kw*C*M", "Y", "1"]},
  {name = "Gemm", kinds = ["Gemm"], terms = ["R*N*M", "N*M", "1"]},
  {name = "other", kinds = ["*"], terms = ["Y"]},
]
"""
SAMPLE = """
[sample]
nets = 8
seed = 5
conv = "1..2"
fc = "0..1"
depth = "4..32 log"
neurons = "64..512 log"
batch = [1, 8]
"""


def test_a_sweep_over_clocks_becomes_one_law(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], here: Path
) -> None:
    """From sweeps at several clocks to everything that takes a law or a database of them."""
    write_law(truth(), here / "truth.json")
    (here / "mine.toml").write_text(FORM_TOML)
    (here / "some.toml").write_text(SAMPLE)
    for clocks in grid((400, 1300)):
        given = "".join(f",{name}={mhz:g}" for name, mhz in clocks.items())
        played = ["--backend", f"simulated:truth.json,noise=1%{given}", "--rounds", "1"]
        assert edgeprof_json("sweep", "./some.toml", "--db", "c.db", *played)["measured"] == 8
    found = edgeprof_json("fit", "--db", "c.db", "--form", "./mine.toml", "--out", "law.json")
    assert found["law"]["form"] == "mine+clocks"
    assert [s["core_mhz"] for s in found["law"]["settings"]] == [1300, 1300, 400, 400]
    assert found["cv"]["mape_pct"] < 5
    one = ["--where", "clocks=core_mhz=400,memory_mhz=1000"]
    assert edgeprof_json("fit", "--db", "c.db", "--form", "./mine.toml", *one)["law"]["form"] == "mine"
    elsewhere = ["--backend", "simulated:truth.json,noise=1%,core_mhz=600,memory_mhz=1500"]
    status, out, err = edgeprof("validate", "--law", "law.json", "--nets", "3", "--json", *elsewhere)
    assert (status, err.count("the law is of clocks")) == (0, 0)
    assert json.loads(out)["mape_pct"] < 3
    compared = edgeprof_json("compare", "c.db", "law.json")
    assert compared["cases"] == 32
    assert edgeprof("report", "--db", "c.db", "--law", "law.json", "--out", "r.html")[0] == 0
    for language in ("text", "latex", "c", "python", "javascript", "csv"):
        assert "core_mhz" in edgeprof("show", "./law.json", "--emit", language)[1]
    page = edgeprof("show", "./law.json", "--emit", "html")[1]
    assert "Clocks are fixed: core 1300 MHz, memory 2000 MHz." in page
