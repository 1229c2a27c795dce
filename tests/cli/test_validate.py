"""``edgeprof validate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

ROW = {
    "net",
    "batch",
    "measured_ms",
    "predicted_ms",
    "low_ms",
    "high_ms",
    "noise_pct",
    "floor_ms",
}
STUDY = "simulated:gtx960-theano,noise=1%"


def test_the_contract(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], rehearsed: Path
) -> None:
    assert edgeprof("fit", "--db", "r.db", "--form", "eq13", "--out", "law.json")[0] == 0
    arguments = ["validate", "--law", "law.json", "--nets", "30", "--seed", "3", "--backend", STUDY]
    found = edgeprof_json(*arguments)
    wanted = {
        "nets",
        "mape_pct",
        "mdape_pct",
        "bias_pct",
        "within_5_pct",
        "within_10_pct",
        "covered_pct",
        "noise_pct",
    }
    assert found.keys() >= wanted | {"floor_mape_pct", "rows"}
    assert found["nets"] == len(found["rows"]) == 30
    assert all(row.keys() >= ROW for row in found["rows"])
    assert found["mape_pct"] < 3
    assert found["within_10_pct"]["pct"] == 100
    assert found["within_10_pct"].keys() == {"pct", "low_pct", "high_pct"}
    assert found["covered_pct"] > 60
    assert edgeprof_json(*arguments) == found  # everything is in the database already
    status, out, _ = edgeprof(*arguments)
    assert status == 0
    assert out.startswith("30 networks that law law never saw\n")
    _, one, _ = edgeprof("validate", "--law", "law.json", "--nets", "1", "--seed", "3", "--backend", STUDY)
    assert one.startswith("1 network that law law never saw\n")
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_networks_are_new_ones(edgeprof_json: Callable[..., Any], rehearsed: Path) -> None:
    law = edgeprof_json("fit", "--db", "r.db", "--form", "eq13", "--out", "law.json")["law"]
    edgeprof_json("validate", "--law", "law.json", "--nets", "10", "--backend", STUDY, "--db", "v.db")
    seen = [m["case"]["net"] for m in edgeprof_json("export", "--db", "r.db")]
    new = [m["case"]["net"] for m in edgeprof_json("export", "--db", "v.db")]
    assert len(new) == 10
    assert not [net for net in new if net in seen]
    assert len(law["seen"]) == len(seen)


def test_a_law_of_another_machine_says_so(edgeprof: Callable[..., Any]) -> None:
    """The published law against this processor: the scores are bad, and the reader is told why."""
    arguments = ["validate", "--law", "gtx960-theano", "--nets", "1", "--rounds", "1", "--target-ci", "50%"]
    status, _, err = edgeprof(*arguments)
    assert status == 0
    assert "warning: the law is of machine NVIDIA GeForce GTX 960" in err
    assert "warning: the law is of runtime Theano" in err


def test_refusals(refused: Callable[..., tuple[str, str]]) -> None:
    assert refused("validate", "--law", "nowhere.json")[0] == "no such file: nowhere.json"
    assert refused("validate", "--law", "gtx960-theano", "--backend", "abacus")[0].startswith(
        "there is no backend"
    )
