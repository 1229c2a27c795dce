"""What rounds amount to: estimators, partial and failed cases, and a breakdown that adds up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelTimes, Round, kinds_ms, measurement

CASE = Case(
    net=net_spec(conv=1, fc=1),
    batch=8,
    precision="fp32",
    threads=1,
    launch="blocking",
    board="cpu",
    machine="a machine",
    backend="ort-cpu",
    runtime="onnxruntime 1.31.1",
)


def round_(number, ms, kernels=(), **more):
    """A round whose runs all took ``ms``."""
    runs = np.full(10, round(ms * 1e6), np.int64)
    return Round(number=number, status="ok", runs_ns=runs, kernels=tuple(kernels), **more)


def kernel(name, *us, kind="Gemm", operators=None, glue=False):
    return KernelTimes(kind, name, operators or (name,), tuple(us), glue)


def test_a_minimum_and_a_median_over_rounds():
    rounds = [round_(1, 3.0), round_(2, 1.0), round_(3, 2.0)]
    least = measurement(CASE, rounds, "minimum", 3, False)
    middle = measurement(CASE, rounds, "median", 3, False)
    assert (least.latency_ms, middle.latency_ms) == (1.0, 2.0)
    assert least.rounds_ms == middle.rounds_ms == (3.0, 1.0, 2.0)
    assert least.ci_ms == (1.0, 1.0)
    assert middle.ci_ms == (2.0, 2.0)
    assert least.ms_per_tile == 1.0 / 8
    assert least.tiles_per_ms == 8.0
    assert least.status == "ok"
    assert least.reason == ""
    assert least.samples == 30
    assert least.warnings == ()


def test_percentiles_are_of_single_runs():
    runs = np.arange(1, 101, dtype=np.int64) * 1_000_000
    found = measurement(CASE, [Round(number=1, status="ok", runs_ns=runs, repeats=10)], "median", 1, False)
    assert found.percentiles_ms == {
        q: pytest.approx(np.percentile(np.arange(1, 101), int(q[1:]))) for q in found.percentiles_ms
    }
    assert list(found.percentiles_ms) == ["p50", "p90", "p95", "p99"]
    assert found.samples == 10
    assert found.latency_ms == 50.5


def test_nothing_measured_is_failed_with_its_reason():
    found = measurement(CASE, [Round(number=1, status="failed", reason="out of memory")], "minimum", 3, False)
    assert (found.status, found.reason) == ("failed", "out of memory")
    assert (
        found.latency_ms
        is found.ms_per_tile
        is found.tiles_per_ms
        is found.unattributed_ms
        is found.coverage
        is None
    )
    assert found.kernels == ()


def test_some_rounds_failed_is_partial():
    rounds = [round_(1, 1.0), Round(number=2, status="failed", reason="the worker ended with signal SIGKILL")]
    found = measurement(CASE, rounds, "minimum", 3, False)
    assert (found.status, found.reason) == ("partial", "the worker ended with signal SIGKILL")
    assert found.latency_ms == 1.0
    assert found.warnings == ("few-rounds",)


def test_too_few_rounds_is_partial_and_says_how_many():
    found = measurement(CASE, [round_(1, 1.0), round_(2, 1.0)], "minimum", 3, False)
    assert (found.status, found.reason) == ("partial", "2 of 3 rounds measured")


def test_as_many_rounds_as_asked_is_ok_but_fewer_than_three_are_flagged():
    found = measurement(CASE, [round_(1, 1.0, warnings=("target-missed",))], "minimum", 1, False)
    assert found.status == "ok"
    assert found.warnings == ("target-missed", "few-rounds")


def test_the_profilers_cost_comes_off_each_kernel_but_not_off_the_coverage():
    rounds = [
        round_(
            1, 0.1, [kernel("a", 40.0, 40.0), kernel("b", 30.0, 30.0)], event_us=10.0, profiled_us=(120.0,)
        )
    ]
    found = measurement(CASE, rounds, "minimum", 1, False)
    assert [k.ms for k in found.kernels] == pytest.approx([0.03, 0.02])
    assert [k.share for k in found.kernels] == pytest.approx([0.3, 0.2])
    assert found.unattributed_ms == pytest.approx(0.05)
    assert found.coverage == pytest.approx(0.7)
    assert found.profiled_latency_ms == pytest.approx(0.12)


def test_a_kernel_cheaper_than_its_event_costs_nothing():
    found = measurement(CASE, [round_(1, 0.1, [kernel("a", 5.0)], event_us=10.0)], "minimum", 1, False)
    assert found.kernels[0].ms == 0.0
    assert found.unattributed_ms == found.latency_ms


def test_no_profile_is_no_breakdown():
    found = measurement(CASE, [round_(1, 0.1)], "minimum", 1, False)
    assert found.kernels == ()
    assert found.unattributed_ms is found.coverage is found.profiled_latency_ms is None


def test_rounds_agree_whatever_number_the_runtime_gives_its_layout_changes():
    rounds = [
        round_(n, 0.1, [kernel(f"Reorder_{n}", us, kind="ReorderOutput", operators=("conv1",), glue=True)])
        for n, us in ((1, 20.0), (2, 10.0), (3, 30.0))
    ]
    found = measurement(CASE, rounds, "minimum", 3, False)
    assert found.kernels[0].ms == pytest.approx(0.01)
    assert found.warnings == ()


def test_rounds_that_ran_other_kernels_are_flagged_and_left_out_of_the_breakdown():
    rounds = [
        round_(1, 0.1, [kernel("conv1", 1.0, kind="Conv.im2col")]),
        round_(2, 0.1, [kernel("conv1", 9.0, kind="Conv.nchw")]),
        round_(3, 0.1, [kernel("conv1", 8.0, kind="Conv.nchw")]),
    ]
    found = measurement(CASE, rounds, "minimum", 3, False)
    assert [(k.kind, k.ms) for k in found.kernels] == [("Conv.nchw", pytest.approx(0.008))]
    assert found.warnings == ("kernels-disagree",)


@given(
    st.integers(1_000, 10**10),
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60),
    st.floats(0.0, 20.0),
    st.floats(0.2, 1.9),
)
def test_kernels_and_the_unattributed_rest_add_up_to_the_latency_exactly(run_ns, weights, event_us, coverage):
    total = sum(weights) or 1.0
    kernels = [kernel(f"k{i}", w / total * run_ns / 1e3 * coverage) for i, w in enumerate(weights)]
    round_one = Round(
        number=1, status="ok", runs_ns=np.array([run_ns], np.int64), kernels=tuple(kernels), event_us=event_us
    )
    found = measurement(CASE, [round_one], "minimum", 1, False)
    parts = [k.ms for k in found.kernels]
    assert math.fsum([*parts, found.unattributed_ms]) == found.latency_ms


@given(
    st.integers(1_000, 10**10), st.lists(st.floats(0.5, 1.0), min_size=20, max_size=60), st.floats(1.9, 6.0)
)
def test_they_add_up_where_the_machine_was_busy_while_it_profiled(run_ns, weights, coverage):
    kernels = [kernel(f"k{i}", w / sum(weights) * run_ns / 1e3 * coverage) for i, w in enumerate(weights)]
    runs = np.array([run_ns], np.int64)
    one = Round(number=1, status="ok", runs_ns=runs, kernels=tuple(kernels))
    found = measurement(CASE, [one], "minimum", 1, False)
    assert found.unattributed_ms < 0
    assert math.fsum([*(k.ms for k in found.kernels), found.unattributed_ms]) == found.latency_ms
    assert all(k.share == k.ms / found.latency_ms for k in found.kernels)


def test_the_rest_of_what_was_observed_comes_along():
    rounds = [
        round_(
            1,
            2.0,
            load_ms=5.0,
            first_run_ms=3.0,
            host_ms=2.5,
            telemetry={"memory_mib": 1.0},
            environment={"x": 1},
        ),
        round_(2, 1.0, load_ms=4.0, first_run_ms=6.0, telemetry={"memory_mib": 2.0}, environment={"x": 2}),
    ]
    found = measurement(CASE, rounds, "minimum", 2, True)
    assert (found.load_ms, found.first_run_ms, found.host_to_host_ms) == (4.0, 3.0, 2.5)
    assert found.telemetry == {"memory_mib": 2.0}
    assert found.environment == {"x": 2}
    assert found.simulated


def test_the_spread_between_rounds_and_whether_they_met_their_target():
    met = [round_(number, ms, stopped="target") for number, ms in ((1, 1.1), (2, 1.0), (3, 1.05))]
    found = measurement(CASE, met, "minimum", 3, False)
    assert found.spread_pct == pytest.approx(10.0)
    assert found.target_met is True
    missed = [*met[:2], round_(3, 1.0, stopped="time")]
    assert measurement(CASE, missed, "minimum", 3, False).target_met is False
    one = measurement(CASE, met[:1], "minimum", 1, False)
    assert (one.spread_pct, one.target_met) == (None, True)
    none = measurement(CASE, [Round(number=1, status="failed", reason="so")], "minimum", 3, False)
    assert (none.spread_pct, none.target_met) == (None, None)


def test_kinds_of_kernels_round_by_round():
    """Sums over a kind, without the profiler's cost, of the rounds that ran what the last one ran."""
    first = (
        KernelTimes("Conv", "c1", ("conv1",), (500.0,)),
        KernelTimes("Gemm", "g", ("fc1",), (100.0,)),
        KernelTimes("Conv", "c2", ("conv2",), (200.0,)),
        KernelTimes("Softmax", "s", ("softmax",), (1.0,)),
    )
    other = round_(2, 1.0, kernels=first[:2])
    rounds = [round_(1, 1.0, kernels=first, event_us=2.0), other, round_(3, 1.0, kernels=first)]
    found = kinds_ms(rounds, "minimum")
    assert found["Conv"] == pytest.approx((0.696, 0.7))
    assert found["Gemm"] == pytest.approx((0.098, 0.1))
    assert found["Softmax"] == pytest.approx((0.0, 0.001))
    assert kinds_ms([round_(1, 1.0)], "minimum") == {}


def test_clocks_are_the_median_over_rounds():
    told = [
        {"gpu_mhz": 600.0, "gpu_load_pct": 90.0},
        {"gpu_mhz": 640.0},
        {"gpu_mhz": 1300.0, "power_mw": 1.0},
        {},
    ]
    rounds = [round_(i + 1, 1.0 + i, telemetry=telemetry) for i, telemetry in enumerate(told)]
    found = measurement(CASE, rounds, "minimum", 4, False).telemetry
    assert found == {"gpu_mhz": 640.0, "gpu_load_pct": 90.0}
