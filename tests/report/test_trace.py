"""Traces: JSON of the Trace Event Format, checked against what the format and Perfetto ask of it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeprof.errors import SpecError
from edgeprof.profile import Profile, profile_model
from edgeprof.report.trace import trace_json, write_trace
from edgeprof.target import open_target

LAW = Path(__file__).parents[1] / "data" / "laws" / "cpu-kernels.json"


@pytest.fixture(scope="module")
def found() -> Profile:
    with open_target(backend=f"simulated:{LAW},noise=5%") as target:
        return profile_model("lenet5", target, batch=2, deadline_ms=0.05, seed=1)


def test_a_trace_is_as_the_format_says(found: Profile) -> None:
    document: dict[str, Any] = json.loads(trace_json(found))
    events = document["traceEvents"]
    assert document["displayTimeUnit"] in ("ms", "ns")
    names: dict[tuple[int, int], str] = {}
    spans: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
        assert event["name"]
        thread = event["pid"], event["tid"]
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            names[thread] = event["args"]["name"]
        else:
            assert event["ph"] == "X"
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            assert event["cat"]
            spans[thread].append((event["ts"], event["ts"] + event["dur"]))
    assert set(spans) <= set(names)
    for own in spans.values():  # whole nanoseconds, one after the other
        assert all(abs(end * 1e3 - round(end * 1e3)) < 1e-4 for span in own for end in span)
        assert all(b <= c + 1e-6 for (_, b), (c, _) in pairwise(own))


def test_it_shows_kernels_residual_and_every_run(found: Profile) -> None:
    events = json.loads(trace_json(found))["traceEvents"]
    kernels = [e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == (1, 2)]
    residual = [e for e in kernels if e["cat"] == "residual"]
    assert len(kernels) - len(residual) == len(found.kernels)
    assert sum(e["dur"] for e in kernels) == pytest.approx(found.latency_ms * 1e3, abs=1e-3)
    first = kernels[0]
    assert first["args"]["nodes"] == [name for name, _ in found.kernels[0].operators]
    assert math.isclose(first["args"]["ms"], found.kernels[0].kernel.ms)
    runs = [e for e in events if e["ph"] == "X" and e["pid"] == 2]
    assert len(runs) == sum(len(r) for r in found.runs_ms)
    assert found.deadline
    assert sum(e["name"] == "missed deadline" for e in runs) == found.deadline.missed


def test_it_is_written_whole_or_not_at_all(found: Profile, tmp_path: Path) -> None:
    write_trace(found, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text("utf-8"))["otherData"]["network"] == "lenet5"
    with pytest.raises(SpecError, match="cannot write"):
        write_trace(found, tmp_path / "no" / "t.json")
