"""``edgeprof compare``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.law_file import read_law, write_law

Run = Callable[..., tuple[int, str, str]]
STUDY = "simulated:gtx960-theano,noise=1%"
PAIR = {
    "a_latency_ms", "b_latency_ms", "a_ms_per_tile", "b_ms_per_tile", "a_tiles_per_ms", "b_tiles_per_ms", "speedup",
    "interval", "verdict", "a_status", "b_status", "same", "outside", "interval_unknown", "kernels",
}  # fmt: skip


@pytest.fixture
def boards(edgeprof: Run, rehearsed: Path) -> tuple[str, str]:
    """A small sweep on a simulated board, and on one that is 1.5 times as fast."""
    law = read_law("gtx960-theano")
    groups = [
        g.model_copy(
            update={
                "terms": tuple(t.model_copy(update={"coefficient": t.coefficient / 1.5}) for t in g.terms)
            }
        )
        for g in law.groups
    ]
    overhead = [t.model_copy(update={"coefficient": t.coefficient / 1.5}) for t in law.overhead]
    changed = {"name": "fast", "board": "fast-board", "groups": tuple(groups), "overhead": tuple(overhead)}
    write_law(law.model_copy(update=changed), Path("fast.json"))
    Path("half.toml").write_text("[vary]\nconv = [1, 2]\nfc = [1, 2, 4]\ndepth = [5, 40]\nneurons = [128]\n")
    sweep = ("sweep", "half.toml", "--backend", "simulated:fast.json,noise=1%", "--db", "fast.db")
    assert edgeprof(*sweep)[0] == 0
    return str(rehearsed), "fast.db"


def test_a_known_ratio(boards: tuple[str, str], edgeprof: Run, edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("compare", *boards)
    low, high = found["interval"]
    assert low < 1.5 < high
    assert high / low < 1.02
    assert found["verdict"] == "faster"
    assert set(found["differ"]) == {"board", "backend"}
    assert found["differ"]["board"] == {"a": "gtx960", "b": "fast-board"}
    assert (found["cases"], len(found["only_a"]), len(found["only_b"])) == (8, 28, 4)
    assert found["alike"]["threads"] == "1"
    assert all(set(pair) >= PAIR for pair in found["pairs"])
    assert {kernel["kind"] for kernel in found["kernels"]} == {
        "Dot22", "Elemwise", "Alloc", "Pool", "Conv", "unattributed"
    }  # fmt: skip
    conv = next(kernel for kernel in found["kernels"] if kernel["kind"] == "Conv")
    assert conv["interval"][0] < 1.5 < conv["interval"][1]
    assert found["gate"] is None

    status, out, err = edgeprof("compare", *boards)
    assert (status, err) == (0, "")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "board gtx960 → fast-board" in out
    assert "times as fast as A: faster" in out
    assert "8 cases of 8 networks; 28 only in A, 4 only in B" in " ".join(out.split())


def test_csv_holds_what_figures_need(boards: tuple[str, str], edgeprof: Run) -> None:
    status, out, _ = edgeprof("compare", *boards, "--format", "csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    conv = [row for row in rows if row["kind"] == "Conv" and row["speedup"]]
    assert conv
    assert {row["a_board"] for row in rows} == {"gtx960"}
    for row in rows:
        if row["speedup"]:
            ratio = float(row["a_ms_per_tile"]) / float(row["b_ms_per_tile"])
            assert float(row["speedup"]) == pytest.approx(ratio)
    assert {row["net.conv"] for row in rows if row["kind"] == "latency"} == {"1", "2"}


def test_the_same_twice(rehearsed: Path, edgeprof: Run) -> None:
    status, out, _ = edgeprof("compare", "r.db", "r.db", "--fail-if-slower", "5%")
    assert status == 0
    assert "B is 1.000 [1.000, 1.000] times as fast as A: no difference" in out
    assert "36 of 36 cases are the same measurement on both sides" in out
    assert out.rstrip().endswith("PASS: no case is slower by more than 5 %")


def test_a_slower_side_fails(
    boards: tuple[str, str], edgeprof: Run, edgeprof_json: Callable[..., Any]
) -> None:
    slow, fast = boards
    status, out, err = edgeprof("compare", fast, slow, "--fail-if-slower", "5%")
    assert (status, err) == (3, "")
    assert "FAIL: B is slower by more than 5 %" in out
    found = edgeprof_json("compare", fast, slow, "--fail-if-slower", "5%", status=3)
    assert found["gate"]["judgement"] == "fail"
    assert len(found["gate"]["slower"]) == 8
    assert edgeprof("compare", fast, slow, "--fail-if-slower", "90%")[0] == 0
    assert edgeprof("compare", slow, fast, "--fail-if-slower", "5%")[0] == 0


def test_what_cannot_be_told(rehearsed: Path, edgeprof: Run) -> None:
    """A law without errors gives no intervals: inconclusive is status 0, or 3 where that is asked for."""
    against = ("compare", "r.db", "gtx960-theano", "--fail-if-slower", "5%")
    status, out, _ = edgeprof(*against)
    assert status == 0
    assert "INCONCLUSIVE: cases may be slower by more than 5 %: 36" in out
    assert "A is simulated, B is predicted" in out
    assert edgeprof(*against, "--fail-if-unsure")[0] == 3
    status, out, err = edgeprof(*against, "--json")
    assert json.loads(out)["gate"]["judgement"] == "inconclusive"
    assert "INCONCLUSIVE" in err


def test_a_network_that_fails_on_one_side(
    database: Callable[..., None], edgeprof: Run, edgeprof_json: Callable[..., Any]
) -> None:
    database("a.db", nets=3)
    database("b.db", nets=3, runtime="onnxruntime 2.0", failing={1: "out of memory"}, seed=1)
    status, out, _ = edgeprof("compare", "a.db", "b.db", "--fail-if-slower", "50%")
    assert status == 3
    assert "failed in B: conv 1×9 k5 · fc 1×1024 · batch 2: out of memory" in out
    assert "fails in B alone" in out
    found = edgeprof_json("compare", "a.db", "b.db")
    assert [(f["side"], f["reason"]) for f in found["failed"]] == [("B", "out of memory")]


def test_selections_and_refusals(
    database: Callable[..., None], edgeprof: Run, refused: Callable[..., tuple[str, str]]
) -> None:
    for launch, seed in (("blocking", 0), ("async", 1)):
        database("edgeprof.db", nets=3, launch=launch, seed=seed)
    out = edgeprof("compare", ":launch=blocking", ":launch=async")[1]
    assert "launch blocking → async" in out
    one = edgeprof("compare", ":launch=blocking", ":launch=async", "--top", "1")[1]
    assert re.search(r"\n  depth \d+ batch \d ", one), "named by what tells all cases apart, not those shown"
    assert edgeprof("compare", ":launch=blocking", ":launch=async", "--top", "0")[1].count("\n") < out.count(
        "\n"
    )
    database("c.db", nets=3, launch="graph")
    assert refused("compare", "edgeprof.db", "c.db")[1] == "choose one: edgeprof.db:launch=blocking"
    database("d.db", nets=3, first=7)
    assert refused("compare", "c.db", "d.db")[0] == "c.db and d.db have no case in common"
    assert refused("compare", "c.db", "none.db")[0] == "no database none.db"
    assert refused("compare", "c.db", "c.db:threads")[0] == "'threads' is no condition"
    assert refused("compare", "c.db:net=1", "d.db")[0] == "'net=1' is no condition"
    assert refused("compare", "gtx960-theano", "gtx960-theano")[0].startswith("two laws")
    assert "'x' is no share" in refused("compare", "c.db", "c.db", "--fail-if-slower", "x")[0]
    assert "Missing argument" in refused("compare", "c.db")[0]
    Path("text.db").write_text("notes, long enough to be looked at" * 20)
    assert "text.db" in refused("compare", "c.db", "text.db")[0]


def test_networks_of_the_zoo_among_others(database: Callable[..., None], edgeprof: Run) -> None:
    for name, seed in (("a.db", 0), ("b.db", 1)):
        database(name, nets=2, machine=name, seed=seed)
        database(name, nets=1, machine=name, seed=seed, net={"kind": "zoo", "name": "resnet18"})
    status, out, _ = edgeprof("compare", "a.db", "b.db")
    assert status == 0
    assert "resnet18 · batch 1" in out
    assert "conv 1×8 k5 · fc 1×1024 · batch 1" in out
    rows = list(csv.DictReader(io.StringIO(edgeprof("compare", "a.db", "b.db", "--format", "csv")[1])))
    assert {(row["net.name"], row["net.conv"]) for row in rows} == {("resnet18", ""), ("", "1")}
