"""Power modes: which is the fastest, which takes the least energy, which has nothing to say for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeprof.tradeoff import Point, dominated, mode_name, rivals, summaries

from .report.samples import gridded, in_modes

FAST, SAVING, POOR = (
    Point("n", "fast", 1.0, 5.0),
    Point("n", "saving", 2.0, 3.0),
    Point("n", "poor", 2.5, 5.5),
)


def test_dominated_is_worse_in_both():
    three = [FAST, SAVING, POOR]
    assert [dominated(point, three) for point in three] == [False, False, True]
    assert FAST.tiles_per_ms == 1


@pytest.mark.parametrize(
    ("other", "is_dominated"),
    [
        (Point("n", "o", 1.005, 5.02), False),  # as good as the same
        (Point("n", "o", 1.02, 5.0), True),
        (Point("n", "o", 1.0, 5.1), True),
        (Point("n", "o", 1.5, None), False),
        (Point("n", "o", 0.9, 9.0), False),
    ],
)
def test_a_hundredth_is_no_difference(other, is_dominated):
    assert dominated(other, [FAST, other]) is is_dominated
    assert not dominated(FAST, [FAST, other])


def test_each_mode_over_the_networks_that_all_have():
    measured = in_modes(MAXN=(1.0, 10_000.0), MODE_15W=(2.0, 4000.0), MODE_10W=(3.0, 4000.0))
    found = summaries(measured)
    nets = len(gridded())
    assert [s.mode for s in found] == ["MAXN", "MODE_15W", "MODE_10W"]
    assert [s.fastest for s in found] == [nets, 0, 0]
    assert [s.least_energy for s in found] == [0, nets, 0]
    assert [s.dominated for s in found] == [0, 0, nets]
    assert found[1].ms_per_tile == pytest.approx(2 * found[0].ms_per_tile)
    assert found[1].mj_per_tile == pytest.approx(0.8 * found[0].mj_per_tile)
    assert summaries(measured[1:])[0].networks == nets - 1
    assert [s.networks for s in summaries(measured)] == [nets] * 3


def test_networks_that_no_two_modes_have_in_common_are_not_compared():
    measured = in_modes(MAXN=(1.0, 1.0), MODE_15W=(2.0, 1.0))
    half = len(measured) // 2
    assert summaries([*measured[:3], *measured[half + 3 :]]) == ()
    assert rivals(gridded()) == []
    threads = [replace(m, case=m.case.model_copy(update={"threads": 2})) for m in measured[half:]]
    assert rivals([*measured[:half], *threads]) == []


def test_without_energy_the_fastest_is_told_all_the_same():
    fast, slow = summaries(in_modes(MAXN=(1.0, None), MODE_15W=(2.0, None)))
    assert (fast.fastest, fast.mj_per_tile, fast.least_energy, fast.dominated) == (
        len(gridded()),
        None,
        None,
        None,
    )
    assert slow.fastest == 0


def test_modes_that_differ_by_less_than_a_hundredth_are_both_the_fastest():
    nets = len(gridded())
    found = summaries(in_modes(MAXN=(1.0, 5000.0), MODE_15W=(1.005, 5000.0), MODE_10W=(1.02, 4950.0)))
    assert [s.fastest for s in found] == [nets, nets, 0]
    assert [s.least_energy for s in found] == [nets, nets, nets]
    assert [s.dominated for s in found] == [0, 0, nets]


def test_held_clocks_are_another_mode():
    case = gridded()[0].case
    assert mode_name(case) == "no mode"
    assert mode_name(case.model_copy(update={"power_mode": "15W", "clocks": "max"})) == "15W, clocks max"
