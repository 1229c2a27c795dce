"""Rows of comparisons: what figures need."""

from __future__ import annotations

import pytest

from edgeprof.compare import compare_sides, flat_rows, kind_row, pair_row

pytestmark = pytest.mark.usefixtures("in_folder")


def test_rows_are_what_figures_need(made):
    a = made(nets=3)
    b = made(nets=3, machine="new", factors={"Gemm": 0.5}, seed=1)
    found = compare_sides(a, b)
    rows = flat_rows(found)
    assert len({tuple(row) for row in rows}) == 1
    whole = [row for row in rows if row["kind"] == "latency"]
    assert len(whole) == 3
    for row, pair in zip(whole, found.pairs, strict=True):
        assert row["a_ms"] == pair.latency_ms[0]
        assert row["a_ms_per_tile"] == row["a_ms"] / row["batch"]
        assert row["speedup"] == pytest.approx(row["a_ms"] / row["b_ms"])
        assert row["speedup_low"] < row["speedup"] < row["speedup_high"]
        assert (row["a_machine"], row["b_machine"]) == ("EPYC", "new")
    gemm = [row for row in rows if row["kind"] == "Gemm"]
    assert all(
        row["a_share"] == pytest.approx(row["a_ms"] / pair.latency_ms[0])
        for row, pair in zip(gemm, found.pairs, strict=True)
    )
    one = pair_row(found, found.pairs[0])
    assert one["a_tiles_per_ms"] == one["batch"] / one["a_latency_ms"]
    assert {"kind", "a_share", "b_share", "speedup", "interval"} <= set(kind_row(found, found.kinds[0]))
