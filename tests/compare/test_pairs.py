"""Comparisons: partners, speed-ups with their intervals, kernels, and what is said where there is no difference."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.compare import compare_sides, pair_row
from edgeprof.compare.side import measured_side
from edgeprof.errors import CompareError
from edgeprof.fit.intervals import FAR_OUTSIDE
from edgeprof.fit.law_file import read_law, write_law
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case, Workload
from edgeprof.target import open_target
from edgeprof.timing.measurement import Round, measurement

pytestmark = pytest.mark.usefixtures("in_folder")


def kinds(found):
    return {kind.kind: kind for kind in found.kinds}


# --- a known ratio


def test_a_known_speed_up_is_found(made):
    """30 networks with 1 % of noise, a Conv 2 times and a Gemm 1.25 times as fast."""
    a = made(nets=30, machine="old")
    b = made(nets=30, machine="new", factors={"Conv.nchwc": 0.5, "Gemm": 0.8}, seed=1)
    found = compare_sides(a, b)
    assert found.differ == {"machine": ("old", "new")}
    assert (len(found.pairs), found.networks) == (30, 30)
    conv, gemm = kinds(found)["Conv.nchwc"], kinds(found)["Gemm"]
    for kind, true in ((conv, 2.0), (gemm, 1.25)):
        low, high = kind.ratio.interval(0.95)
        assert low < true < high
        assert high / low < 1.03
        assert found.verdict(kind.ratio) == "faster"
    low, high = found.speedup.interval(0.95)
    assert 1.25 < low < found.speedup.speedup < high < 2
    assert found.verdict(found.speedup) == "faster"
    assert found.counted()["faster"] == 30
    assert math.fsum(k.a_share for k in found.kinds) == pytest.approx(1)
    assert math.fsum(k.b_share for k in found.kinds) == pytest.approx(1)


def test_swapped_sides_give_the_inverse(made):
    a = made(nets=8, machine="old")
    b = made(nets=8, machine="new", factors={"Gemm": 0.8}, seed=1)
    one, other = compare_sides(a, b), compare_sides(b, a)
    assert one.speedup.speedup == pytest.approx(1 / other.speedup.speedup)
    low, high = one.speedup.interval(0.95)
    assert other.speedup.interval(0.95) == pytest.approx((1 / high, 1 / low))


def test_the_largest_sure_difference_comes_first(made):
    a = made(nets=12, machine="old")
    b = made(nets=12, machine="new", slow={5: 1.5, 3: 0.8}, seed=1)
    found = compare_sides(a, b)
    assert [p.a.case.batch for p in found.pairs[:2]] == [5 + 1, 3 + 1]
    assert [found.verdict(p.ratio) for p in found.pairs[:2]] == ["slower", "faster"]


# --- no difference


def test_the_same_database_twice_has_no_difference(made):
    a = made(nets=5)
    found = compare_sides(a, a)
    assert all(p.same and p.ratio.interval(0.95) == (1, 1) for p in found.pairs)
    assert found.verdict(found.speedup) == "no difference"
    assert found.counted() == {"faster": 0, "slower": 0, "no difference": 5, "unclear": 0}
    assert found.differ == {}
    assert "5 of 5 cases are the same measurement on both sides" in found.notes


def test_two_sweeps_of_the_same_have_no_difference(made):
    """The same machine measured twice: one network in twenty differs by chance, their mean does not."""
    a = made(nets=40)
    b = made(nets=40, seed=1)
    found = compare_sides(a, b)
    assert found.verdict(found.speedup) == "no difference"
    assert found.counted()["faster"] + found.counted()["slower"] <= 6
    assert not any(p.same for p in found.pairs)


# --- partners


def test_a_selection_of_one_database(database):
    database("e.db", nets=6, threads=1)
    database("e.db", nets=6, threads=2, factors={"Conv.nchwc": 0.6}, seed=1)
    found = compare_sides("e.db:threads=1", "e.db:threads=2")
    assert found.differ == {"threads": ("1", "2")}
    assert found.alike["board"] == "cpu"
    assert "threads" not in found.alike
    assert len(found.pairs) == 6
    everything = compare_sides("e.db", "e.db:threads=2")
    assert everything.differ == {}
    assert [p.a.case.threads for p in everything.pairs] == [2] * 6
    assert len(everything.only_a) == 6


@pytest.mark.parametrize(
    ("what", "ours", "theirs"),
    [
        ("launch", "blocking", "async"),
        ("precision", "fp32", "fp16"),
        ("runtime", "onnxruntime 1.23.2", "onnxruntime 1.31.1"),
        ("backend", "ort-cuda", "ort-tensorrt"),
        ("board", "jetson-nano", "jetson-tx2"),
        ("power_mode", None, "15W"),
    ],
)
def test_whatever_differs(what, ours, theirs, made):
    a = made(nets=3, **{what: ours})
    b = made(nets=3, seed=1, **{what: theirs})
    found = compare_sides(a, b)
    assert found.differ == {what: (str(ours), str(theirs))}
    assert len(found.pairs) == 3


def test_cases_without_a_partner_are_named(made):
    a = made(nets=6)
    b = made(nets=9, machine="new", first=4, seed=1)
    found = compare_sides(a, b)
    assert [p.a.case.batch for p in sorted(found.pairs, key=lambda p: p.a.case.batch)] == [5, 6]
    assert [case.batch for case in found.only_a] == [1, 2, 3, 4]
    assert [case.batch for case in found.only_b] == [7, 8, 9, 10, 11, 12, 13]


def test_batches_of_one_network_are_one_network(made):
    a = made(nets=6, same_net=True)
    b = made(nets=6, same_net=True, machine="new", factors={"Gemm": 0.5}, seed=1)
    found = compare_sides(a, b)
    assert (len(found.pairs), found.networks) == (6, 1)
    low, high = found.speedup.interval(0.95)
    assert low < found.speedup.speedup < high < 1.05 * low


def test_one_network_only(made):
    a = made(nets=1)
    b = made(nets=1, machine="new", factors={"Conv.nchwc": 0.5, "Gemm": 0.5}, seed=1)
    found = compare_sides(a, b)
    low, high = found.speedup.interval(0.95)
    assert low < 2 < high
    assert found.pairs[0].ratio.interval(0.95) == pytest.approx((low, high))
    assert found.verdict(found.speedup) == "faster"
    assert kinds(found)["Gemm"].ratio.interval(0.95)[0] > 1.5


def test_nothing_in_common(made):
    a = made(nets=3)
    b = made(nets=3, first=10, machine="new")
    with pytest.raises(CompareError, match="made and made have no case in common"):
        compare_sides(a, b)


def test_several_values_against_another(database):
    database("a.db", nets=2, launch="blocking")
    database("a.db", nets=2, launch="async")
    database("b.db", nets=2, launch="graph")
    with pytest.raises(CompareError, match="several values of launch") as error:
        compare_sides("a.db", "b.db")
    assert error.value.hint == "choose one: a.db:launch=blocking"
    assert len(compare_sides("a.db:launch=async", "b.db").pairs) == 2


# --- failed and partial cases


def test_failed_cases_are_named_and_left_out(made):
    a = made(nets=4)
    b = made(nets=4, machine="new", failing={2: "out of memory"}, seed=1)
    found = compare_sides(a, b)
    assert len(found.pairs) == 3
    assert [(side, t.case.batch, t.reason) for side, t in found.failed] == [("B", 3, "out of memory")]
    assert found.only_b == ()
    assert [case.batch for case in found.only_a] == []


def test_partial_cases_are_told(made):
    a = made(nets=4)
    b = made(nets=4, machine="new", rounds=2, seed=1)
    found = compare_sides(a, b)
    assert {p.b.status for p in found.pairs} == {"partial"}
    assert "4 of 4 cases of B are partial: some rounds are missing" in found.notes
    assert any("more rounds on one side" in note for note in found.notes)


def test_one_round_has_no_interval(made):
    a = made(nets=6, rounds=1)
    b = made(nets=6, rounds=1, machine="new", factors={"Gemm": 0.5, "Conv.nchwc": 0.5}, seed=1)
    found = compare_sides(a, b)
    assert all(p.ratio.interval(0.95) is None for p in found.pairs)
    assert found.counted()["unclear"] == 6
    assert found.speedup.interval(0.95) is None
    assert found.verdict(found.speedup) == "unclear"
    assert "6 of 6 cases of A have one round, which has no spread" in found.notes


def test_a_side_without_measurements(database):
    database("a.db", nets=2)
    database("b.db", nets=1, failing={0: "crash"})
    with pytest.raises(CompareError, match=r"b\.db has no measurement"):
        compare_sides("a.db", "b.db")
    Store(Path("empty.db"), create=True).close()
    with pytest.raises(CompareError, match=r"empty\.db has no measurement"):
        compare_sides("a.db", "empty.db")


# --- kernels


def test_kinds_that_differ_are_compared_by_operator(made):
    a = made(nets=5)
    b = made(nets=5, machine="new", names={"Conv.nchwc": "Conv.im2col"}, factors={"Gemm": 0.5}, seed=1)
    found = kinds(compare_sides(a, b))
    assert found["Conv.nchwc"].ratio is None
    assert (found["Conv.nchwc"].b_share, found["Conv.im2col"].a_share) == (0, 0)
    low, high = found["Conv.*"].ratio.interval(0.95)
    assert low < 1 < high
    assert found["Conv.*"].a_share == pytest.approx(found["Conv.nchwc"].a_share)


def test_cases_without_kernels(made):
    a = made(nets=3, profiled=False)
    b = made(nets=3, profiled=False, machine="new", seed=1)
    found = compare_sides(a, b)
    assert found.kinds == ()
    assert len(found.pairs) == 3


def test_shares_are_of_cases_whose_kernels_are_known(made):
    a, b = made(nets=3), made(nets=3, machine="new", seed=1)
    bare = made(nets=2, first=3, profiled=False), made(nets=2, first=3, profiled=False, machine="new", seed=1)
    a, b = (replace(side, cases=(*side.cases, *more.cases)) for side, more in zip((a, b), bare, strict=True))
    found = compare_sides(a, b)
    assert len(found.pairs) == 5
    assert math.fsum(k.a_share for k in found.kinds) == pytest.approx(1)
    assert kinds(found)["Gemm"].cases == 3


# --- laws


def test_a_law_predicts_the_other_side(made):
    a = made(nets=8)
    found = compare_sides(a, "gtx960-theano")
    assert set(found.differ) == {"board", "machine", "backend", "runtime"}
    assert len(found.pairs) == 8
    assert "A is measured, B is predicted" in found.notes
    assert any("no errors to judge by" in note for note in found.notes)
    assert all(p.ratio.interval(0.95) is None for p in found.pairs)
    assert found.speedup.interval(0.95) is None
    assert found.verdict(found.speedup) == "unclear"
    back = compare_sides("gtx960-theano", a)
    assert back.speedup.speedup == pytest.approx(1 / found.speedup.speedup)


def test_a_law_with_errors_gives_intervals(made, tmp_path):
    law = read_law("gtx960-theano")
    errors = tuple((10.0, 0.001 * i) for i in range(1, 41))
    write_law(law.model_copy(update={"conformal": errors, "domain": {}}), tmp_path / "law.json")
    a = made(nets=4)
    found = compare_sides(a, "law.json", 0.9)
    pair = found.pairs[0]
    low, high = pair.ratio.interval(0.9)
    assert math.log(high / low) / 2 > pair.b.latency.half_width > 0.03
    assert all(kind.ratio is None or kind.ratio.interval(0.9) is None for kind in found.kinds)
    even = tuple((ms, (-1) ** i * error) for i, (ms, error) in enumerate(errors))
    write_law(law.model_copy(update={"conformal": even, "domain": {}}), tmp_path / "even.json")
    bias = [np.mean([error for _, error in of]) ** 2 for of in (errors, even)]
    more = found.speedup.variance - compare_sides(a, "even.json", 0.9).speedup.variance
    assert more == pytest.approx(bias[0] - bias[1])
    narrow = compare_sides(a, "law.json", 0.5).pairs[0].b.latency.half_width
    assert narrow < pair.b.latency.half_width
    beyond = {"conformal": errors, "domain": {"batch": (10**6, 10**7)}}
    write_law(law.model_copy(update=beyond), tmp_path / "far.json")
    far = compare_sides(a, "far.json", 0.9)
    rows = [pair_row(far, one) for one in far.pairs]
    assert {(row["interval"], row["interval_unknown"]) for row in rows} == {(None, FAR_OUTSIDE)}
    assert {far.verdict(one.ratio) for one in far.pairs} == {"unclear"}
    assert any(note.endswith(f"{FAR_OUTSIDE}: no interval is known") for note in far.notes)


def test_a_law_is_of_its_own_threads_and_launch_mode(database, tmp_path):
    law = read_law("gtx960-theano")
    write_law(law.model_copy(update={"threads": 2}), tmp_path / "two.json")
    for threads in (1, 2):
        for launch in ("blocking", "async"):
            database("e.db", nets=2, threads=threads, launch=launch)
    found = compare_sides("e.db", "two.json")
    assert {(p.a.case.threads, p.a.case.launch) for p in found.pairs} == {(2, "blocking")}
    assert (len(found.pairs), len(found.only_a)) == (2, 6)
    assert {p.a.case.threads for p in compare_sides("e.db", "gtx960-theano").pairs} == {1, 2}


def test_two_laws_name_no_networks():
    with pytest.raises(CompareError, match="two laws") as error:
        compare_sides("gtx960-theano", "gtx960-theano")
    assert "edgeprof query" in error.value.hint


def test_simulated_against_measured_is_flagged(made):
    a = made(nets=3)
    b = made(nets=3, machine="new", simulated=True, estimator="median", seed=1)
    notes = compare_sides(a, b).notes
    assert "A is measured, B is simulated" in notes
    assert "A is estimated by low-decile, B by median" in notes


# --- measured on this machine


def test_rounds_of_this_machine_taken_in_turn():
    """Two real networks, each measured for A and for B in turn: no difference is sure, and kernels add up."""
    pytest.importorskip("onnxruntime")
    works = [Workload(net=net_spec(conv=conv, depth=8, neurons=64), batch=4, threads=1) for conv in (0, 1)]
    stop = Stop(target_ci=0.3, min_s=0.02, max_s=0.1)
    rounds: dict[str, dict[Case, list[Round]]] = {"A": {}, "B": {}}
    with open_target("cpu", "ort-cpu") as target:
        for number in (1, 2, 3):
            for side in rounds.values():
                for case in map(target.case, works):
                    side.setdefault(case, []).append(target.backend.measure(case, number, stop, None))
    a, b = (
        measured_side(name, [(measurement(c, r, "low-decile", 3, False), r) for c, r in side.items()])
        for name, side in rounds.items()
    )
    found = compare_sides(a, b)
    assert (len(found.pairs), found.differ, found.notes) == (2, {}, ())
    for pair in found.pairs:
        low, high = pair.ratio.interval(0.9999)
        assert low < 1 < high
        assert not pair.same
    assert {"Gemm", "Softmax"} <= set(kinds(found))
    assert math.fsum(k.a_share for k in found.kinds if not k.kind.endswith(".*")) == pytest.approx(1)
    predicted = compare_sides(a, "gtx960-theano")
    assert set(predicted.differ) == {"board", "machine", "backend", "runtime"}
