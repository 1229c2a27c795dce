"""``edgeprof export``: the contract key by key."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from edgeprof.nets.spec import NetSpec
from edgeprof.sweeps.case import Case

KEYS = [
    "case",
    "status",
    "reason",
    "latency_ms",
    "estimator",
    "ci_ms",
    "percentiles_ms",
    "ms_per_tile",
    "tiles_per_ms",
    "rounds_ms",
    "spread_pct",
    "target_met",
    "samples",
    "load_ms",
    "first_run_ms",
    "host_to_host_ms",
    "kernels",
    "unattributed_ms",
    "profiled_latency_ms",
    "coverage",
    "telemetry",
    "environment",
    "warnings",
    "simulated",
    "designed",
]
DISTURBANCE = {
    *(
        "steal_pct",
        "waited_pct",
        "runnable",
        "load_1m",
        "mhz",
        "clock_moved_pct",
        "temperature_c",
        "throttle_events",
    ),
    *("switches_per_s", "faults_per_s", "disk_faults", "growth_mib"),
}


def check(m: dict[str, Any]) -> None:
    """What holds for every measurement that succeeded."""
    assert list(m) == KEYS
    assert m["case"].keys() == Case.model_fields.keys()
    assert m["case"]["net"].keys() == NetSpec.model_fields.keys()
    assert m["status"] in ("ok", "partial")
    assert m["percentiles_ms"].keys() == {"p50", "p90", "p95", "p99"}
    assert m["ci_ms"][0] <= m["ci_ms"][1]
    assert m["ms_per_tile"] * m["case"]["batch"] == pytest.approx(m["latency_ms"])
    assert m["ms_per_tile"] * m["tiles_per_ms"] == pytest.approx(1)
    assert all(k.keys() == {"kind", "name", "operators", "ms", "share"} for k in m["kernels"])
    kernels = sum(k["ms"] for k in m["kernels"])
    assert kernels + m["unattributed_ms"] == pytest.approx(m["latency_ms"], rel=1e-12)
    assert [k["share"] for k in m["kernels"]] == pytest.approx(
        [k["ms"] / m["latency_ms"] for k in m["kernels"]]
    )


def test_simulated_measurements(edgeprof_json: Callable[..., Any], rehearsed: Path) -> None:
    found = edgeprof_json("export", "--db", str(rehearsed))
    assert len(found) == 36
    for m in found:
        check(m)
        assert m["simulated"] is True
        assert (m["status"], m["reason"], m["samples"], m["load_ms"]) == ("ok", None, 60, None)
        assert len(m["rounds_ms"]) == 3
        assert m["spread_pct"] == pytest.approx(100 * (max(m["rounds_ms"]) / min(m["rounds_ms"]) - 1))
        assert m["target_met"] is True


def test_real_measurements(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    net = ["--nets", "2", "--depth", "8", "--neurons", "64", "--batch", "2", "--conv", "1", "--fc", "1"]
    assert edgeprof("sweep", "quick", *net, "--rounds", "1", "--db", "real.db")[0] == 0
    for m in edgeprof_json("export", "--db", "real.db"):
        check(m)
        assert m["simulated"] is False
        assert m["estimator"] == "low-decile"
        assert m["load_ms"] > 0
        assert m["first_run_ms"] > 0
        assert m["host_to_host_ms"] > 0
        assert m["samples"] >= 10
        assert m["telemetry"]["memory_mib"] >= 0
        assert m["telemetry"].keys() == {
            "build_mib",
            "memory_mib",
            "process_mib",
            "room_mib",
            "left_mib",
            "counters",
            "disturbance",
        }
        assert m["telemetry"]["disturbance"].keys() == DISTURBANCE
        assert m["telemetry"]["disturbance"]["runnable"] >= 1
        assert m["spread_pct"] is None
        assert m["target_met"] is ("target-missed" not in m["warnings"])
        assert m["environment"]["machine"]["model"]
        assert "few-rounds" in m["warnings"]
        assert {"Conv", "Gemm"} <= {k["kind"].partition(".")[0] for k in m["kernels"]}


def test_files_hold_the_same_in_every_format(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], rehearsed: Path
) -> None:
    found = edgeprof_json("export", "--db", "r.db")
    for name in ("json", "csv", "parquet"):
        done = edgeprof_json("export", "--db", "r.db", "--format", name, "--out", f"m.{name}")
        assert done == {"measurements": 36, "out": f"m.{name}"}
    assert json.loads(Path("m.json").read_text("utf-8")) == found
    csv, parquet = pandas.read_csv("m.csv"), pandas.read_parquet("m.parquet")
    assert list(csv.columns) == list(parquet.columns)
    for frame in (csv, parquet):
        assert frame["latency_ms"].tolist() == [m["latency_ms"] for m in found]
        assert frame["net.conv"].tolist() == [m["case"]["net"]["conv"] for m in found]
        assert [json.loads(text) for text in frame["kernels"]] == [m["kernels"] for m in found]
        assert [json.loads(text) for text in frame["net.depth"]] == [m["case"]["net"]["depth"] for m in found]
        assert frame["ci_low_ms"].tolist() == [m["ci_ms"][0] for m in found]
        assert frame["percentiles_ms.p99"].tolist() == [m["percentiles_ms"]["p99"] for m in found]
    status, out, err = edgeprof("export", "--db", "r.db", "--format", "csv")
    assert (status, err) == (0, "")
    assert pandas.read_csv(io.StringIO(out)).equals(csv)


def test_nothing_measured_yet(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    from edgeprof.store import Store

    Store(Path("empty.db"), create=True).close()
    assert edgeprof_json("export", "--db", "empty.db") == []
    assert edgeprof("export", "--db", "empty.db", "--format", "csv")[0] == 0


def test_refusals(refused: Callable[..., tuple[str, str]], rehearsed: Path) -> None:
    assert refused("export", "--db", "none.db") == (
        "no database none.db",
        "measure one first: edgeprof sweep --db none.db",
    )
    assert refused("export", "--db", "r.db", "--format", "xml")[0] == "there is no format 'xml'"
    assert (
        refused("export", "--db", "r.db", "--format", "parquet")[0] == "parquet is no text: it needs a file"
    )
    assert "no/m.csv" in refused("export", "--db", "r.db", "--format", "csv", "--out", "no/m.csv")[0]
    assert "no" in refused("export", "--db", "r.db", "--format", "parquet", "--out", "no/m.parquet")[0]


def test_the_format_is_what_the_file_s_name_says(edgeprof: Callable[..., Any], rehearsed: Path) -> None:
    assert edgeprof("export", "--db", "r.db", "--out", "m.csv")[0] == 0
    assert Path("m.csv").read_text("utf-8").startswith("net.tile,")
    assert edgeprof("export", "--db", "r.db", "--out", "m.txt")[0] == 0
    assert json.loads(Path("m.txt").read_text("utf-8"))


def test_two_formats_on_standard_output_are_refused(
    refused: Callable[..., tuple[str, str]], rehearsed: Path
) -> None:
    assert refused("export", "--db", "r.db", "--format", "csv", "--json")[0] == (
        "--json and --format csv are two formats"
    )
