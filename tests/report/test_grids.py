"""Grids are found among measurements, with the variables that vary and nothing else."""

from __future__ import annotations

from edgeprof.report.grids import grids_of, knobs

from .samples import failed, grid, gridded, kernel_law, played, random_nets

STUDY = (
    ({"fc": [1, 2, 3, 4, 5], "batch": [16, 32, 64]}, {}),
    ({"conv": [1, 2, 3, 4], "batch": [16, 32, 64]}, {"fc": 1}),
    ({"fc": [1, 2, 3, 4, 5], "neurons": [32, 64, 128, 256]}, {"batch": 32}),
    ({"conv": [1, 2, 3, 4], "depth": [5, 8, 16, 32]}, {"fc": 1, "batch": 32}),
)


def test_the_groups_of_the_study_are_told_apart() -> None:
    measured = {
        m.case.key(): m for vary, net in STUDY for m in played(kernel_law(), grid(vary, **net), rounds=1)
    }
    found = grids_of(list(measured.values()))
    assert [(g.across, g.along) for g in found] == [
        ("batch", "fc"),
        ("batch", "conv"),
        ("neurons", "fc"),
        ("depth", "conv"),
    ]
    sizes = [len(vary[a]) * len(vary[b]) for vary, _ in STUDY for a, b in [tuple(vary)]]
    assert [len(g.cells) for g in found] == sizes
    for one in found:
        assert dict(one.fixed).keys().isdisjoint({one.across, one.along})
        for line, points in one.lines():
            assert [x for x, _ in points] == sorted(x for x, _ in points)
            for x, m in points:
                own = knobs(m.case.net, m.case.batch)
                assert (own[one.across], own[one.along]) == (x, line)
                assert all(own[name] == value for name, value in one.fixed)


def test_a_single_variable_makes_a_line() -> None:
    (only,) = grids_of(played(kernel_law(), grid({"neurons": [8, 16, 24, 32, 40]}, batch=4), rounds=1))
    assert (only.across, only.along, len(only.lines()), only.title) == ("neurons", "", 1, "neurons")
    assert only.same(("conv", "depth", "batch")) == "conv layers 1, depth 8, batch 4"
    assert grids_of(played(kernel_law(), grid({"neurons": [8, 16, 24]}), rounds=1)) == ()


def test_random_networks_make_no_grid() -> None:
    assert grids_of(random_nets()) == ()
    assert grids_of([]) == ()


def test_layers_that_differ_are_no_value_and_failures_no_cell() -> None:
    depths = [[4, 8], [4, 16], [8, 8], [16, 16], [24, 24], [32, 32]]
    (only,) = grids_of(played(kernel_law(), grid({"depth": depths}, conv=2), rounds=1))
    assert sorted(x for x, _ in only.cells) == [8, 16, 24, 32]
    with_failure = (*gridded(), failed("no memory"))
    assert [len(g.cells) for g in grids_of(with_failure)] == [len(gridded())]


def test_of_many_slices_the_largest_are_kept_and_the_others_counted() -> None:
    vary = {"fc": [1, 2], "neurons": [32, 64, 128], "batch": [1, 2, 4, 8]}
    found = grids_of(played(kernel_law(), grid(vary), rounds=1))
    by_pair = {(g.across, g.along): g.others for g in found}
    assert by_pair == {("batch", "fc"): 1, ("neurons", "fc"): 2, ("batch", "neurons"): 0}
