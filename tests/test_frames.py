"""Frames: what is in them is what edgeprof says, a row each, with units in the columns' names."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import edgeprof
from edgeprof.compare import compare_sides
from edgeprof.export import knobs
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import predict
from edgeprof.frames import frame, kernel_frame
from edgeprof.nets.spec import net_spec
from edgeprof.query import Goal, query_nets
from edgeprof.store import Store

pytestmark = pytest.mark.usefixtures("in_folder")
UNIT = re.compile(
    r"_(ms|pct|mib|mhz|mj|mw|c|us|gbps)\b|_per_|^(samples|coverage|share|batch|threads|speedup)"
)


@pytest.fixture
def path(database) -> Path:
    database("e.db", nets=3, failing={2: "out of memory"})
    return Path("e.db")


def test_a_database_as_a_frame(path):
    found = frame(path)
    with Store(path) as store:
        measurements = store.measurements()
        assert found.equals(frame(store))
    assert found.equals(frame(str(path)))
    assert found.equals(frame(measurements))
    assert list(found["latency_ms"])[:2] == [m.latency_ms for m in measurements[:2]]
    assert list(found["status"]) == ["ok", "ok", "failed"]
    assert pd.isna(found["latency_ms"][2])
    assert list(found["net.depth"]) == [8, 9, 10]
    assert found["rounds_ms"][0] == measurements[0].rounds_ms
    assert {"kernels", "environment"}.isdisjoint(found)
    numbers = found.select_dtypes("number").columns
    assert [name for name in numbers if not name.startswith("net.") and not UNIT.search(name)] == []


def test_kernels_as_a_frame(path):
    found = kernel_frame(path)
    with Store(path) as store:
        measurements = store.measurements()
    assert len(found) == sum(len(m.kernels) for m in measurements) == 4
    assert found["ms"].sum() == pytest.approx(sum(k.ms for m in measurements for k in m.kernels))
    assert list(found["ms_per_tile"] * found["batch"]) == pytest.approx(list(found["ms"]))
    assert list(found.pivot(index="net.depth", columns="kind", values="share").columns) == [
        "Conv.nchwc",
        "Gemm",
    ]


def test_knobs_are_numbers_where_layers_are_alike():
    found = knobs(net_spec(conv=2, depth=(8, 16), fc=0))
    assert (found["net.depth"], found["net.kernel"], found["net.neurons"]) == ("8,16", 5, None)


def test_a_law_as_a_frame():
    law = read_law("gtx960-theano")
    found = frame(law)
    assert len(found) == sum(len(g.terms) for g in law.groups) + len(law.overhead)
    assert set(found["per"]) == {"tile"}
    assert found.set_index("group")["coefficient_ms"]["overhead"] == law.overhead[0].coefficient


def test_predictions_and_answers_as_frames():
    law = read_law("gtx960-theano")
    told = [predict(law, net_spec(conv=conv), 1024) for conv in (1, 2)]
    found = frame(told)
    assert list(found["latency_ms"]) == [p.latency_ms for p in told]
    assert found["low_ms"].isna().all()
    answer = query_nets(law, {"conv": "1..3"}, Goal(at_least=10))
    found = frame(answer)
    assert list(found["tiles_per_ms"]) == [net.tiles_per_ms for net in answer.nets]
    assert {"low_ms", "high_ms", "low_tiles_per_ms", "net.conv"} <= set(found)


def test_a_comparison_as_a_frame(made):
    found = compare_sides(made(nets=3), made(nets=3, machine="new", seed=1))
    whole = frame(found).query("kind == 'latency'")
    assert list(whole["speedup"]) == [pair.ratio.speedup for pair in found.pairs]


def test_nothing_is_an_empty_frame():
    assert len(frame([])) == 0
    assert edgeprof.frame is frame
    assert edgeprof.kernel_frame is kernel_frame
