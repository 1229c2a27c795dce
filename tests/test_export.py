"""Measurements as JSON, CSV and Parquet: every field that is promised, and the same in each."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest

from edgeprof.export import as_dict, flat, rows
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelTimes, Round, measurement

FIELDS = {
    "case", "status", "reason", "latency_ms", "estimator", "ci_ms", "percentiles_ms", "ms_per_tile", "tiles_per_ms",
    "rounds_ms", "spread_pct", "target_met", "samples", "load_ms", "first_run_ms", "kernels", "unattributed_ms",
    "profiled_latency_ms", "coverage", "telemetry", "environment", "warnings", "simulated",
}  # fmt: skip


def case(**net):
    identity = dict(
        precision="fp32", threads=1, launch="blocking", board="cpu", machine="m", backend="ort-cpu"
    )
    return Case(
        net=net_spec(**net), batch=8, runtime="onnxruntime 1.31.1", provider_options=(("a", "1"),), **identity
    )


def measured(**net):
    rounds = [
        Round(
            number=number,
            status="ok",
            runs_ns=np.linspace(1e6, 1.1e6, 40).astype(np.int64) + number,
            load_ms=0.5,
            first_run_ms=2.0,
            host_ms=1.5,
            profiled_us=(1200.0,),
            kernels=(
                KernelTimes("Conv.nchw", "conv1_nchwc", ("conv1", "conv1_relu"), (600.1,)),
                KernelTimes("ReorderOutput", "r", ("conv1_relu",), (100.7,), True),
            ),
            event_us=0.5,
            telemetry={"memory_mib": 3.25, "counters": {"cpu_s": 0.125}},
            environment={"runtime": "onnxruntime", "event_us": {"1": 0.5}},
        )
        for number in (1, 2, 3)
    ]
    return measurement(case(**net), rounds, "minimum", 3, False)


def failed():
    return measurement(
        case(fc=0), [Round(number=1, status="failed", reason="out of memory")], "minimum", 3, False
    )


ALL = [measured(conv=2, depth=(8, 16)), measured(conv=0, fc=2), failed()]


@pytest.mark.parametrize("one", ALL, ids=["net", "other", "failed"])
def test_every_promised_field_is_there(one):
    found = as_dict(one)
    assert set(found) >= FIELDS
    assert set(found["case"]) == set(Case.model_fields)
    assert set(found["case"]["net"]) == set(NetSpec.model_fields)
    assert json.loads(json.dumps(found, allow_nan=False))["case"] == found["case"] | {
        "provider_options": [["a", "1"]]
    }


def test_kernels_have_their_fields_and_add_up():
    found = json.loads(json.dumps(as_dict(ALL[0])))
    assert [set(k) for k in found["kernels"]] == [{"kind", "name", "operators", "ms", "share"}] * 2
    assert math.fsum([*(k["ms"] for k in found["kernels"]), found["unattributed_ms"]]) == found["latency_ms"]
    assert [k["share"] for k in found["kernels"]] == [k["ms"] / found["latency_ms"] for k in found["kernels"]]
    assert set(found["percentiles_ms"]) == {"p50", "p90", "p95", "p99"}
    assert found["ci_ms"][0] <= found["latency_ms"] <= found["ci_ms"][1]
    assert found["ms_per_tile"] * found["tiles_per_ms"] == pytest.approx(1.0)
    assert len(found["rounds_ms"]) == 3


def test_what_is_unknown_is_null():
    found = as_dict(ALL[2])
    for key in (
        "latency_ms",
        "ci_ms",
        "ms_per_tile",
        "tiles_per_ms",
        "load_ms",
        "unattributed_ms",
        "coverage",
        "spread_pct",
        "target_met",
    ):
        assert found[key] is None
    assert found["reason"] == "out of memory"
    assert as_dict(ALL[0])["reason"] is None


def test_a_row_is_flat():
    for one in ALL:
        assert all(v is None or isinstance(v, str | int | float | bool) for v in flat(one).values())
    row = flat(ALL[0])
    assert row["net.conv"] == 2
    assert json.loads(row["net.depth"]) == [8, 16]
    assert row["telemetry.counters.cpu_s"] == 0.125
    assert row["percentiles_ms.p50"] == ALL[0].percentiles_ms["p50"]
    assert (row["ci_low_ms"], row["ci_high_ms"]) == ALL[0].ci_ms
    assert json.loads(row["kernels"]) == json.loads(json.dumps(as_dict(ALL[0])["kernels"]))
    assert json.loads(row["environment"])["event_us"] == {"1": 0.5}


def test_every_row_has_the_same_columns():
    found = rows(ALL)
    assert len({tuple(row) for row in found}) == 1
    assert found[2]["telemetry.memory_mib"] is None
    assert rows([]) == []


def test_csv_and_parquet_say_the_same(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(rows(ALL))
    frame.to_parquet(tmp_path / "x.parquet")
    parquet = pd.read_parquet(tmp_path / "x.parquet")
    csv = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    assert list(parquet.columns) == list(csv.columns) == list(rows(ALL)[0])
    for name in csv.columns:
        for left, right in zip(csv[name], parquet[name], strict=True):
            assert (
                (pd.isna(left) and pd.isna(right))
                or left == right
                or math.isclose(left, right, rel_tol=1e-15)
            ), name
    assert csv["latency_ms"][0] == ALL[0].latency_ms
