"""Plans: launch modes that a sweep leaves open, and what it will take."""

from __future__ import annotations

from edgeprof.backends.base import Stop
from edgeprof.boards.spec import read_board
from edgeprof.plan import cases_of, estimate_s, launched, not_done, parts_of
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target


def test_a_sweep_that_names_no_launch_mode_is_measured_in_all_usual_ones() -> None:
    usual = ("blocking", "async")
    unnamed = parse_sweep({"name": "s", "net": {"batch": 1}, "vary": {"conv": [1, 2]}}, "test")
    assert [(work.net.conv, work.launch) for work in launched(unnamed, usual)] == [
        (1, "blocking"),
        (1, "async"),
        (2, "blocking"),
        (2, "async"),
    ]
    for named in (
        unnamed.override({"launch": ("graph",)}),
        parse_sweep({"name": "s", "vary": {"launch": ["graph"]}}, "test"),
        parse_sweep({"name": "s", "sample": {"nets": 1, "conv": 1, "launch": ["graph"]}}, "test"),
    ):
        assert {work.launch for work in launched(named, usual)} == {"graph"}


def test_a_gpu_is_guessed_by_its_datasheet_and_a_processor_beside_it_is_not() -> None:
    (work,) = expand(
        parse_sweep({"name": "s", "net": {"conv": 4, "depth": 80, "padding": "same", "batch": 4096}}, "t")
    )
    board = read_board("h100-sxm")
    with open_target("cpu") as target:
        case = target.case(work)
    on_gpu = case.model_copy(update={"backend": "ort-cuda", "threads": 1})
    slow, fast = (estimate_s([one], 1, Stop(), board) for one in (case, on_gpu))
    assert fast < 20 < slow / 10


def test_power_modes_behind_a_reboot_come_last_and_apart() -> None:
    sweep = parse_sweep({"name": "s", "net": {"conv": 0, "fc": 1, "batch": 1}}, "test")
    with open_target("cpu") as target:
        (plain,) = cases_of([sweep], target)
    far, near, other = (plain.model_copy(update={"power_mode": mode}) for mode in ("A", "B", "C"))
    assert parts_of([far, near, other, far], {"A", "C"}) == [[near], [far, far], [other]]
    assert parts_of([near], ()) == [[near]]
    assert parts_of([far], {"A"}) == [[far]]


def test_a_case_is_left_until_every_round_is_done() -> None:
    sweep = parse_sweep({"name": "s", "vary": {"fc": [0, 1]}}, "test")
    with open_target("cpu") as target:
        one, two = cases_of([sweep], target)
    done = {(one.key(), 1), (one.key(), 2), (two.key(), 1)}
    assert not_done([one, two], done, 2) == [two]
    assert not_done([one, two], done, 1) == []
