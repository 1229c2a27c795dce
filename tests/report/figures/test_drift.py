"""Drift: sentinels against their best, rounds against the first."""

from __future__ import annotations

import pytest

from edgeprof.report.figures import drift
from edgeprof.report.figures.drift import round_table, sentinel_table

from ..samples import gridded, sentinels


def test_readings_are_above_their_best_over_the_minutes() -> None:
    (figure,) = drift((*sentinels("compute"), *sentinels("memory")))
    assert [s.name for s in figure.series] == ["compute", "memory"]
    series = figure.series[0]
    assert series.x[:3] == pytest.approx((0, 1 / 3, 2 / 3))
    assert min(series.y) == 0
    assert [i for i, y in enumerate(series.y) if y > 3] == [7, 20]
    assert series.y[7] == pytest.approx(20, abs=1)
    assert series.notes[7] == "1.2 ms"
    assert figure.guides[0].level == 3
    assert drift([]) == ()


def test_tables_say_first_best_and_last() -> None:
    table = sentinel_table(sentinels())
    assert table is not None
    (row,) = table.rows
    assert row[:3] == ("1", "compute", "40")
    assert row[-1] == f"{100 * (1.2 / sentinels()[0].latency_ms - 1):+.1f}"
    assert sentinel_table([]) is None


def test_rounds_are_compared_with_the_first() -> None:
    table = round_table(gridded())
    assert table is not None
    assert table.rows[0][:3] == ("1", "12", "+0.00")
    assert len(table.rows) == 3
    assert all(abs(float(row[2])) < 3 for row in table.rows)
    assert round_table([]) is None
