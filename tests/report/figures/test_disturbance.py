"""What disturbed measurements: warnings with remedies, readings, failures, and how well rounds repeat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeprof.report.figures import coverage, round_spread, tails
from edgeprof.report.figures.disturbance import failure_table, reading_table, warning_table
from edgeprof.report.settings import settings_of

from ..samples import failed, gridded, with_telemetry


def test_warnings_are_counted_with_their_remedy() -> None:
    m = gridded()
    warned = [
        *(replace(one, warnings=("busy", "busy")) for one in m[:3]),
        replace(m[3], warnings=("new",)),
        *m[4:],
    ]
    table = warning_table(warned)
    assert table is not None
    assert table.rows[0][1:3] == ("3", "25")
    assert "taskset" in table.rows[0][3]
    assert table.rows[1] == ("new", "1", "8", "")
    assert warning_table(m) is None


def test_readings_have_a_median_and_a_greatest() -> None:
    parts = [
        with_telemetry((m,), disturbance={"steal_pct": i, "mhz": None})[0] for i, m in enumerate(gridded())
    ]
    table = reading_table(parts)
    assert table is not None
    assert table.rows == (("taken by the hypervisor (% of processor time)", "12", "6", "11"),)
    assert reading_table(gridded()) is None


def test_failures_have_their_reason() -> None:
    table = failure_table((*gridded(), failed("out of memory")))
    assert table is not None
    assert [row[1:] for row in table.rows] == [("failed", "out of memory")]
    assert failure_table(gridded()) is None


def test_spread_tails_and_coverage_are_the_measurements_own() -> None:
    settings = settings_of(gridded())
    spread, tail, kernels = round_spread(settings), tails(settings), coverage(settings)
    assert spread is not None
    assert tail is not None
    assert kernels is not None
    assert spread.series[0].y == tuple(m.spread_pct for m in gridded())
    assert min(tail.series[0].y) >= 1
    assert kernels.series[0].y == pytest.approx([100 * m.coverage for m in gridded()])
    bare = settings_of([replace(m, spread_pct=None, coverage=None, percentiles_ms={}) for m in gridded()])
    assert round_spread(bare) is tails(bare) is coverage(bare) is None
