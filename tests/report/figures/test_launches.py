"""Launch modes against blocking launches, on networks played back with a known cost of blocking."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pytest

from edgeprof.fit.law_file import law_json, parse_law
from edgeprof.report.contents import build_report
from edgeprof.report.figures import launch_modes
from edgeprof.report.figures.launches import launch_table, modes_of
from edgeprof.sweeps.spec import read_sweep
from edgeprof.timing.measurement import Measurement

from ..samples import gridded, kernel_law, played, with_telemetry

BLOCKED_MS = 0.1  # what blocking launches cost each network here


@lru_cache
def both() -> tuple[Measurement, ...]:
    """The same networks with blocking launches, which take longer by the same time each, and with two other modes."""
    data = json.loads(law_json(kernel_law()))
    data["overhead"][0]["coefficient"] += BLOCKED_MS
    law, family = parse_law(json.dumps(data), "blocking"), read_sweep("family").resampled(16, 3)
    graph = {"launch": "graph", "provider_options": (("enable_cuda_graph", "1"),)}
    return (
        *played(law, family, launch="blocking"),
        *with_telemetry(played(kernel_law(), family, launch="async"), device_ms=0.5, gpu_kernels_ms=0.25),
        *played(kernel_law(), family, **graph),
    )


def test_every_mode_is_paired_with_blocking_launches() -> None:
    modes = modes_of(both())
    assert [mode.name for mode in modes] == ["async", "graph"]
    for mode in modes:
        assert len(mode.pairs) == 16
        assert all(a.case.net == b.case.net and a.case.launch == "blocking" for a, b in mode.pairs)
        assert all(b.case.launch == mode.name for _, b in mode.pairs)


def test_what_blocking_costs_is_seen_where_networks_are_small() -> None:
    figure = launch_modes(both())
    assert figure is not None
    assert [s.name for s in figure.series] == ["async", "graph"]
    for series in figure.series:
        expected = [1 - BLOCKED_MS / x for x in series.x]
        assert np.median(np.abs(np.array(series.y) / expected - 1)) < 0.02
        assert all(low <= y <= high for low, y, high in zip(series.low, series.y, series.high, strict=True))
    table = launch_table(both())
    assert table is not None
    told = {row[:2]: row for row in table.rows}
    assert sum(int(row[2]) for row in table.rows) == 2 * 16
    assert told["async", "0.1 to 1 ms"][5] == "blocking is slower"
    assert told["async", "1 ms and more"][5] in ("as long", "blocking is slower", "unclear")
    assert float(told["async", "0.1 to 1 ms"][3]) < float(told["async", "1 ms and more"][3]) < 1.01


def test_the_same_time_is_told_to_be_as_long() -> None:
    same = [
        *played(kernel_law(), read_sweep("family").resampled(16, 3), launch="blocking"),
        *(m for m in both() if m.case.launch == "async"),
    ]
    table = launch_table(same)
    assert table is not None
    assert {row[5] for row in table.rows} == {"as long"}


def test_the_gpus_part_of_the_latency_is_told_where_it_is_known() -> None:
    table = launch_table([m for m in both() if m.case.launch != "graph"])
    assert table is not None
    (row,) = [row for row in table.rows if row[1] == "0.1 to 1 ms"]
    assert float(row[6]) == pytest.approx(2 * float(row[7]), rel=0.01)
    bare = launch_table([m for m in both() if m.case.launch != "async"])
    assert bare is not None
    assert {row[6:] for row in bare.rows} == {("–", "–")}


def test_a_report_has_them_where_there_are_several_modes_alone() -> None:
    assert launch_modes(gridded()) is None
    assert launch_table(gridded()) is None
    sections = {s.key: s for s in build_report(both()).sections}
    assert [figure.key for figure in sections["launches"].figures] == ["launch-modes"]
    assert dict(build_report(both()).facts)["simulated"] == "played back from a law"
    assert "launches" not in {s.key for s in build_report(gridded()).sections}
