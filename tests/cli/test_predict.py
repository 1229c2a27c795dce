"""``edgeprof predict``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.law import law_json, read_law

KEYS = {
    "net",
    "batch",
    "ms_per_tile",
    "tiles_per_ms",
    "latency_ms",
    "interval_ms",
    "level",
    "kernels",
    "overhead_ms",
    "in_domain",
    "outside",
    "law",
}


def test_the_contract(edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("predict", "--law", "gtx960-theano", "--conv", "5", "--fc", "1", "--batch", "1024")
    assert found.keys() == KEYS
    assert f"{found['tiles_per_ms']:.4f}" == "35.7676"
    assert found["tiles_per_ms"] * found["ms_per_tile"] == pytest.approx(1)
    assert found["latency_ms"] == pytest.approx(1024 * found["ms_per_tile"])
    assert all(k.keys() == {"kind", "name", "ms"} for k in found["kernels"])
    assert math.fsum([found["overhead_ms"], *(k["ms"] for k in found["kernels"])]) == found["latency_ms"]
    assert (found["interval_ms"], found["level"]) == (None, None)
    assert (found["in_domain"], found["outside"], found["law"]) == (True, [], "gtx960-theano")
    assert found["net"]["conv"] == 5
    assert found["net"]["depth"] == [20] * 5


@pytest.mark.parametrize(
    ("network", "speed"),
    [
        (["--conv", "5", "--fc", "1"], "35.7676"),
        (["--conv", "1", "--fc", "5"], "87.736"),
        (["--conv=3", "--fc=3"], "41.4215"),
    ],
)
def test_the_study_s_networks(edgeprof: Callable[..., Any], network: list[str], speed: str) -> None:
    status, out, err = edgeprof("predict", "--law", "gtx960-theano", *network, "--batch", "1024")
    assert status == 0
    assert f"{speed} tiles/ms" in out
    assert err == ""
    assert max(len(line) for line in out.splitlines()) <= 80


def test_the_batch_that_is_assumed_is_said(edgeprof: Callable[..., Any]) -> None:
    status, out, err = edgeprof("predict", "--law", "gtx960-theano", "--json")
    assert status == 0
    assert json.loads(out)["batch"] == 1024
    assert err == "batch 1024 assumed: --batch gives another\n"


def test_what_is_outside_is_said(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    arguments = [
        "predict",
        "--law",
        "gtx960-theano",
        "--depth",
        "8,100",
        "--batch",
        "1024",
        "--padding",
        "same",
    ]
    status, _, err = edgeprof(*arguments)
    assert status == 0
    assert err.splitlines() == [
        "warning: depth 100 is outside what the law has seen (5–80)",
        "warning: padding same is outside what the law has seen (valid)",
    ]
    found = edgeprof_json(*arguments)
    assert found["in_domain"] is False
    assert found["outside"] == [
        {"what": "depth", "value": 100, "seen": [5, 80]},
        {"what": "padding", "value": "same", "seen": ["valid"]},
    ]


def test_every_knob_of_a_network(edgeprof_json: Callable[..., Any]) -> None:
    flags = (
        "--tile 32 --channels 3 --classes 7 --conv 2 --depth 8,16 --kernel 3,5 --stride 2,1 --padding same,1"
    )
    more = "--pool 3 --pool-before 2 --fc 2 --neurons 64,32 --batch 16"
    net = edgeprof_json("predict", "--law", "gtx960-theano", *flags.split(), *more.split())["net"]
    assert net == {
        "tile": 32,
        "channels": 3,
        "classes": 7,
        "conv": 2,
        "depth": [8, 16],
        "kernel": [3, 5],
        "stride": [2, 1],
        "padding": ["same", 1],
        "pool": 3,
        "pool_before": 2,
        "fc": 2,
        "neurons": [64, 32],
    }


def test_the_level_of_the_interval(edgeprof_json: Callable[..., Any], here: Path) -> None:
    law = read_law("gtx960-theano").model_copy(
        update={"conformal": tuple((1.0, i / 1000) for i in range(1, 20))}
    )
    Path("law.json").write_text(law_json(law))
    arguments = ["predict", "--law", "law.json", "--batch", "1024"]
    wide, narrow = edgeprof_json(*arguments), edgeprof_json(*arguments, "--level", "50%")
    assert (wide["level"], narrow["level"]) == (0.9, 0.5)
    assert wide["interval_ms"][0] < narrow["interval_ms"][0] < wide["latency_ms"] < narrow["interval_ms"][1]
    rare = edgeprof_json(*arguments, "--level", "0.99")["interval_ms"]  # rarer than the largest of 19 errors
    assert rare[0] < wide["interval_ms"][0]
    assert rare[1] > wide["interval_ms"][1]


def test_a_datasheet_s_law_says_that_it_is_one(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]
) -> None:
    asked = ("--law", "datasheet:jetson-orin-nano-8gb", "--conv", "2", "--batch", "64")
    status, out, err = edgeprof("predict", *asked)
    assert status == 0
    assert "law datasheet:jetson-orin-nano-8gb" in out
    assert "nothing was measured on this board" in err
    found = edgeprof_json("predict", *asked)
    low, high = found["interval_ms"]
    assert high / low > 20
    assert found["in_domain"]
    for verb in (("query", *asked, "--at-least", "1"), ("query", *asked, "--law", "datasheet:jetson-nano")):
        status, out, err = edgeprof(*verb)
        assert (status, err.count("nothing was measured")) == (0, 1)
        assert "jetson-orin-nano-8gb" in out
        assert max(len(line) for line in out.splitlines()) <= 80
