"""The device loop under a clock that moves only when a run says so."""

import math
import threading
import time
from array import array
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.timing.loop import (
    MIN_RUNS_AT_CAP,
    RUNS_A_TURN,
    SAMPLE_NS,
    WARM_RUNS,
    _in_flight,
    median_ranks,
    overlap,
    relative_half_width,
    sample,
    sustain,
    warm_up,
)

MS = 1_000_000


class Bench:
    """A clock in nanoseconds and a network whose runs take the given durations, the last ones again and again."""

    def __init__(self, durations, again=None):
        self.now = 0
        self.runs = 0
        self._first = list(durations)
        self._again = cycle(again or durations[-1:])

    def clock(self):
        return self.now

    def run(self):
        self.now += self._first[self.runs] if self.runs < len(self._first) else next(self._again)
        self.runs += 1


def stop(target_ci=0.01, min_runs=10, min_s=0.1, max_s=2.0):
    return {"target_ci": target_ci, "min_runs": min_runs, "min_s": min_s, "max_s": max_s}


@pytest.mark.parametrize(
    ("count", "ranks"),
    [
        (1, (0, 0)),
        (2, (0, 1)),
        (5, (0, 4)),
        (6, (0, 5)),
        (10, (1, 8)),
        (21, (5, 15)),
        (100, (39, 60)),
        (1000, (468, 531)),
    ],
)
def test_median_ranks_of_known_counts(count, ranks):
    assert median_ranks(count) == ranks


@given(st.integers(6, 500))
def test_median_ranks_cover_the_median_as_often_as_they_say(count):
    low, high = median_ranks(count)
    outside = sum(math.comb(count, k) for k in range(low + 1)) / 2**count
    assert 1 - 2 * outside >= 0.95
    assert low + high == count - 1


@given(st.integers(1, 10**6))
def test_median_ranks_are_ranks_around_the_middle(count):
    low, high = median_ranks(count)
    assert 0 <= low <= count // 2 <= high + 1
    assert high < count


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200), st.integers(2, 10))
def test_relative_half_width_does_not_depend_on_order_or_unit(samples, factor):
    width = relative_half_width(samples)
    assert width >= 0
    assert relative_half_width(samples[::-1]) == width
    assert relative_half_width([s * factor for s in samples]) == pytest.approx(width)


def test_relative_half_width_of_zeros_is_infinite():
    assert relative_half_width([0, 0, 0]) == math.inf


def test_warm_up_goes_on_while_runs_get_faster():
    bench = Bench([MS * (30 - i) for i in range(25)], [5 * MS])
    runs, shortest = warm_up(bench.run, bench.clock, 10**12)
    assert runs[0] == 30 * MS
    assert shortest == 5 * MS
    assert 30 <= len(runs) <= 40


def test_warm_up_of_a_steady_network_takes_two_windows():
    bench = Bench([MS])
    assert warm_up(bench.run, bench.clock, 10**12) == ([MS] * 10, MS)


def test_warm_up_ends_when_its_time_is_spent_but_not_before_three_runs():
    bench = Bench([10_000 * MS])
    runs, _ = warm_up(bench.run, bench.clock, MS)
    assert len(runs) == 3


def test_a_slow_run_is_a_sample_of_its_own():
    bench = Bench([7 * MS])
    found = sample(bench.run, bench.clock, stop())
    assert found["repeats"] == 1
    assert set(found["runs_ns"]) == {7 * MS}
    assert found["stopped"] == "target"
    assert found["half_width"] == 0


def test_fast_runs_are_repeated_inside_a_sample_and_each_is_kept():
    bench = Bench([3_000])
    found = sample(bench.run, bench.clock, stop(min_s=0.001))
    assert found["repeats"] == math.ceil(SAMPLE_NS / 3_000)
    assert len(found["runs_ns"]) % found["repeats"] == 0
    assert len(found["runs_ns"]) >= 10 * found["repeats"]
    assert bench.runs == found["warm_runs"] + len(found["runs_ns"])


def test_a_clock_too_coarse_for_a_run_does_no_harm():
    bench = Bench([0] * 5_000_000, [MS])
    bench._again = cycle([0])
    ticks = iter(range(10**9))
    found = sample(bench.run, lambda: next(ticks), stop(min_s=0, max_s=1e-3, min_runs=3))
    assert found["repeats"] >= 1
    assert len(found["runs_ns"]) >= 3


def test_it_stops_at_the_target():
    bench = Bench([MS], [MS, MS, MS, int(1.001 * MS)])
    found = sample(bench.run, bench.clock, stop())
    assert found["stopped"] == "target"
    assert found["half_width"] <= 0.01
    assert sum(found["runs_ns"]) < 0.15e9


def test_it_stops_when_the_time_is_up():
    bench = Bench([MS], [MS, 2 * MS])
    found = sample(bench.run, bench.clock, stop())
    assert found["stopped"] == "time"
    assert found["half_width"] > 0.01
    assert 2e9 <= sum(found["runs_ns"]) < 2.01e9


def test_slow_networks_get_their_least_runs_at_the_cap():
    bench = Bench([5_000 * MS])
    found = sample(bench.run, bench.clock, stop())
    assert len(found["runs_ns"]) == MIN_RUNS_AT_CAP
    assert found["stopped"] == "time"


def test_a_target_reached_between_two_looks_is_no_target_missed():
    bench = Bench([MS] * 10 + [2 * MS] * 5, [MS])  # warm-up, five slow runs, then steady
    found = sample(bench.run, bench.clock, stop(min_s=0.001, max_s=0.05))
    assert (found["stopped"] == "target") == (found["half_width"] <= 0.01)


@given(st.integers(3, 200), st.floats(0.0, 0.3), st.integers(10_000, 5 * MS))
def test_it_never_stops_at_the_target_before_its_least_runs_and_time(min_runs, min_s, run_ns):
    bench = Bench([run_ns])
    found = sample(bench.run, bench.clock, stop(min_runs=min_runs, min_s=min_s, max_s=100.0))
    assert found["stopped"] == "target"
    assert len(found["runs_ns"]) // found["repeats"] >= min_runs
    assert sum(found["runs_ns"]) >= min_s * 1e9


@given(st.lists(st.integers(1_000, 20 * MS), min_size=1, max_size=40), st.floats(0.001, 0.2))
def test_whatever_the_runs_take_it_ends_and_says_why(durations, target):
    bench = Bench(durations, durations)
    found = sample(bench.run, bench.clock, stop(target_ci=target, min_s=0.01, max_s=0.1))
    assert (found["stopped"] == "target") <= (found["half_width"] <= target)
    assert found["first_ns"] == durations[0]
    assert sum(found["runs_ns"]) <= 0.1e9 + (MIN_RUNS_AT_CAP + 1) * found["repeats"] * max(durations)


class Jumping(Bench):
    """A bench whose clock jumps by ``jumps`` nanoseconds, one before each of these runs' ends."""

    def __init__(self, durations, jumps):
        super().__init__(durations)
        self.jumps = dict(jumps)

    def run(self):
        super().run()
        self.now += self.jumps.get(self.runs, 0)


HOUR = 3600 * 1000 * MS
FORWARDS = st.integers(101 * MS, HOUR)
JUMPS = st.dictionaries(st.integers(1, 60), FORWARDS | FORWARDS.map(lambda ns: -ns))


@given(JUMPS, st.integers(100_000, 5 * MS))
def test_a_clock_that_jumps_gives_no_negative_time_and_no_hang(jumps, run_ns):
    bench = Jumping([run_ns], jumps)
    found = sample(bench.run, bench.clock, stop(min_s=0.01, max_s=0.1))
    assert min(found["runs_ns"]) > 0
    assert found["first_ns"] > 0
    assert found["half_width"] >= 0
    # what it ran and could not time, or timed as an hour, is one sample for each jump
    least = 0.1e9 / run_ns
    assert bench.runs <= 1.25 * least + (20 + len(jumps)) * found["repeats"] + 100


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_one_jump_of_the_clock_does_not_move_the_median(jump):
    steady = sample(*(lambda b: (b.run, b.clock))(Bench([MS])), stop())
    bench = Jumping([MS], {50: jump})
    found = sample(bench.run, bench.clock, stop())
    assert sorted(found["runs_ns"])[len(found["runs_ns"]) // 2] == MS
    assert len(found["runs_ns"]) <= len(steady["runs_ns"]) + 1
    assert found["half_width"] == 0


def test_a_clock_set_back_again_and_again_does_not_stretch_the_time():
    bench = Jumping([MS], dict.fromkeys(range(5, 5000, 50), -HOUR))
    found = sample(bench.run, bench.clock, stop(target_ci=1e-9, min_runs=10**9, max_s=0.5))
    assert found["stopped"] == "time"
    assert 0.5e9 <= sum(found["runs_ns"]) <= 0.51e9


def test_counters_are_of_the_samples_alone():
    bench = Bench([2 * MS] * 1000)
    found = sample(bench.run, bench.clock, stop(), lambda: {"runs": bench.runs})
    assert found["counters"] == {"runs": len(found["runs_ns"])}
    assert bench.runs == found["warm_runs"] + len(found["runs_ns"])
    assert sample(bench.run, bench.clock, stop())["counters"] == {}


def test_sustained_runs_by_the_second():
    bench = Bench([20 * MS] * 50, [40 * MS])
    found = sustain(bench.run, bench.clock, 3.0)
    assert found["runs"] == bench.runs == 100
    assert found["spent_ns"] == found["busy_ns"] == 3000 * MS
    assert found["bins"] == [[50, 1000 * MS, 20 * MS], [25, 1000 * MS, 40 * MS], [25, 1000 * MS, 40 * MS]]
    assert found["percentiles_ns"] is None


def test_it_ends_when_somebody_has_seen_enough():
    bench, seen = Bench([20 * MS]), []
    found = sustain(bench.run, bench.clock, 60.0, enough=lambda second: seen.append(second) or len(seen) == 2)
    assert found["bins"] == seen == [[50, 1000 * MS, 20 * MS]] * 2
    assert (found["runs"], found["spent_ns"]) == (100, 2000 * MS)


def test_runs_at_a_rate_have_gaps_between():
    bench = Bench([10 * MS])
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        bench.now += round(seconds * 1e9)

    found = sustain(bench.run, bench.clock, 1.0, 25.0, sleep)
    assert (found["runs"], found["late"]) == (25, 0)
    assert set(found["percentiles_ns"].values()) == {10 * MS}
    assert slept == pytest.approx([0.03] * 24)
    assert found["busy_ns"] == 250 * MS


def test_a_rate_that_is_too_high_makes_runs_wait():
    bench = Bench([10 * MS])
    found = sustain(bench.run, bench.clock, 1.0, 200.0, lambda seconds: None)
    assert (found["runs"], found["late"]) == (200, 199)
    assert found["percentiles_ns"]["max"] == 10 * MS + 199 * 5 * MS  # its turn came long before
    assert found["percentiles_ns"]["p50"] == 10 * MS + 99 * 5 * MS
    assert sustain(bench.run, bench.clock, 1.0, 400.0, lambda seconds: None)["runs"] == 200  # and no longer


class Lanes:
    """Networks that do nothing while they warm up, and ``work`` afterwards; they count their runs."""

    def __init__(self, count, work=lambda number: None):
        self.runs = [0] * count
        self._work = work

    def lane(self, number):
        def run():
            self.runs[number] += 1
            if self.runs[number] > WARM_RUNS:
                self._work(number)

        return run

    def all(self):
        return [self.lane(number) for number in range(len(self.runs))]


@pytest.mark.parametrize("depth", [2, 5])
def test_runs_are_in_flight_at_the_same_time(depth):
    together = threading.Barrier(depth)  # which no run passes without all the others
    lanes = Lanes(depth, lambda number: together.wait(60))
    (found,) = overlap(lanes.all(), time.perf_counter_ns, [depth], 2, 0.0, 0)
    assert found["depth"] == depth
    assert found["runs"] == 2 * RUNS_A_TURN * depth
    assert lanes.runs == [WARM_RUNS + 2 * RUNS_A_TURN] * depth
    assert min(found["runs_per_s"]) > 0


def test_depths_take_turns_there_and_back_and_the_first_lanes_run():
    begun = []
    lanes = Lanes(3, begun.append)
    found = overlap(lanes.all(), time.perf_counter_ns, [1, 3], 2, 0.0, 0)
    assert [len(one["runs_per_s"]) for one in found] == [2, 2]
    assert [one["runs"] for one in found] == [2 * RUNS_A_TURN, 6 * RUNS_A_TURN]
    assert lanes.runs == [WARM_RUNS + n * RUNS_A_TURN for n in (4, 2, 2)]
    alone = [0] * RUNS_A_TURN
    assert begun[:RUNS_A_TURN] == begun[-RUNS_A_TURN:] == alone
    assert sorted(begun[RUNS_A_TURN:-RUNS_A_TURN]) == sorted([0, 1, 2] * 2 * RUNS_A_TURN)


@pytest.mark.parametrize("bad", [0, 2])
def test_a_lane_that_fails_ends_them_all(bad):
    def work(number):
        if number == bad:
            raise ValueError(f"lane {number}")

    with pytest.raises(ValueError, match=f"lane {bad}"):
        overlap(Lanes(3, work).all(), time.perf_counter_ns, [1, 3], 4, 0.0, 0)
    with pytest.raises(ZeroDivisionError):
        overlap([lambda: 1 / 0, lambda: None], time.perf_counter_ns, [2], 1, 0.0, 0)


def test_what_counts_is_the_time_in_which_all_were_at_work():
    whole = [array("q", [0, 10, 10, 20]), array("q", [5, 15, 15, 25])]
    found = _in_flight(2, [whole])
    assert found["runs_per_s"] == pytest.approx([3 * 1e9 / 15])
    assert (found["runs"], found["spent_ns"], found["percentiles_ns"]["max"]) == (4, 25, 10)
    one_by_one = [array("q", [0, 10, 20, 30]), array("q", [10, 20, 30, 40])]
    apart = [array("q", [0, 10]), array("q", [30, 40])]
    assert _in_flight(2, [one_by_one, apart])["runs_per_s"] == pytest.approx([1e8, 5e7])
