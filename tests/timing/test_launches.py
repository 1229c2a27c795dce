"""Kernels told to the nodes that launched them, on made-up timelines whose truth is known."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.timing.launches import (
    Clock,
    Launch,
    Ran,
    Span,
    attribute,
    by_window,
    clock_of_runs,
    follow,
    node_kernels,
    read_clock,
    steady,
    within,
)

US = 1000
EPOCH = 1_795_291_233_000_000_000  # ns, about a present moment

# A node: (gap before it, calls in it as (pause, length), pause at its end), all in us; a call outside before it or not.
CALLS = st.lists(st.tuples(st.integers(2, 30), st.integers(3, 40)), max_size=3)
NODE = st.tuples(st.integers(12, 60), CALLS, st.integers(2, 20), st.booleans())
NODES = st.lists(NODE, min_size=1, max_size=6)


def timeline(nodes, begin, number=1, delay=0):
    """One run from ``begin`` on, on one clock in ns: its nodes, its calls, its kernels and the node of each call."""
    now, busy, spans, calls, kernels, truth = begin, begin, [], [], [], {}
    for i, (gap, inside, rest, stray) in enumerate(nodes):
        if stray:
            calls.append(Launch(number, now + 3 * US, now + 7 * US))
            truth[number] = None
            number += 1
        now += gap * US
        start = now
        for pause, length in inside:
            now += pause * US
            calls.append(Launch(number, now, now + length * US))
            truth[number] = i
            now += length * US
            number += 1
        now += rest * US
        spans.append(Span(start, now))
    for call in calls:  # on the device one after another, later than asked for
        busy = max(busy, call.end + delay * US)
        kernels.append(Ran(call.correlation % 5, busy, busy + 4 * US, call.correlation))
        busy += 5 * US
    return spans, calls, kernels, truth, max(now, busy)


def whole_microseconds(span, origin):
    """A span as a profile has it: begin and length in whole microseconds, cut off."""
    begin, length = (span.begin - origin) // US, (span.end - span.begin) // US
    return Span(origin + begin * US, origin + (begin + length) * US)


def device(clock, time):
    """The time of the kernels' clock at a host's time."""
    return time - clock.offset - round(clock.drift * (time - clock.offset - clock.origin))


@given(NODES, st.integers(0, 500), st.integers(-(10**15), 10**15), st.floats(-1e-4, 1e-4))
def test_every_kernel_is_of_the_node_that_called_for_it(nodes, delay, offset, drift):
    spans, calls, kernels, truth, _ = timeline(nodes, EPOCH, delay=delay)
    clock = Clock(offset, drift, EPOCH - offset - 10**9)  # a second before, as a drift of 1e-4 is seen then
    told = [whole_microseconds(s, EPOCH) for s in spans]
    moved = [replace(c, begin=device(clock, c.begin), end=device(clock, c.end)) for c in calls]
    found = attribute(told, moved, kernels, clock)
    where = {k.correlation: i for i, own in enumerate(found.nodes) for k in own}
    where |= {k.correlation: None for k in found.outside}
    assert where == truth
    assert len(found.nodes) == len(nodes)
    assert sum(map(len, found.nodes)) + len(found.outside) == len(kernels)


@given(NODES)
def test_kernels_without_a_call_are_outside(nodes):
    spans, _, kernels, _, _ = timeline(nodes, 0)
    found = attribute(spans, [], kernels, Clock(0))
    assert found.nodes == ((),) * len(spans)
    assert found.outside == tuple(kernels)


def test_a_node_without_kernels_keeps_its_place_and_several_of_one_their_order():
    spans = [Span(0, 10), Span(20, 30), Span(40, 50)]
    calls = [Launch(1, 2, 4), Launch(2, 5, 9), Launch(3, 41, 44), Launch(4, 33, 37)]
    kernels = [Ran(0, 105, 109, 2), Ran(1, 100, 104, 1), Ran(2, 120, 130, 3), Ran(3, 110, 115, 4)]
    found = attribute(spans, calls, kernels, Clock(0))
    assert [[k.what for k in own] for own in found.nodes] == [[1, 0], [], [2]]
    assert [k.what for k in found.outside] == [3]


def test_a_call_belongs_where_most_of_it_is():
    spans = [Span(0, 10), Span(12, 30)]
    for begin, end, node in ((8, 16, 1), (4, 11, 0), (9, 13, None), (10, 11, None), (29, 29, 1)):
        found = attribute(spans, [Launch(1, begin, end)], [Ran(0, 50, 60, 1)], Clock(0))
        assert [i for i, own in enumerate(found.nodes) if own] == ([] if node is None else [node])


@given(st.integers(-(10**18), 10**18), st.floats(-1e-4, 1e-4), st.lists(st.integers(1, 10**9), min_size=2))
def test_a_clock_is_told_from_its_readings(offset, drift, steps):
    truth = Clock(offset, drift)
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    clock = read_clock([(t, truth.host(t)) for t in times])
    for time in times:
        assert abs(clock.host(time) - truth.host(time)) <= 3
    assert read_clock([]) is None


@given(
    st.lists(
        st.tuples(st.integers(5, 500), st.integers(5, 500), st.integers(30, 2000)), min_size=1, max_size=20
    ),
    st.integers(-(10**15), 10**15),
)
def test_runs_in_their_order_bound_the_clock(runs, offset):
    """Window and run differ by microseconds before and after; the least of these is how far the clock may be off."""
    now, windows, inside = 0, [], []
    for before, after, length in runs:
        begin = now + before * US
        windows.append(Span(now - offset, begin + (length + after) * US - offset))
        inside.append(Span(begin, begin + length * US))
        now = begin + (length + after + 10) * US
    clock = clock_of_runs(windows, inside)
    half = max(len(runs) // 2, 1)
    off = max(max(min(a, key=sum)) for a in ([r[:2] for r in runs[:half]], [r[:2] for r in runs[-half:]]))
    assert all(abs(clock.host(t) - t - offset) <= 2 * off * US for w in windows for t in (w.begin, w.end))
    assert clock_of_runs(windows, inside[1:]) is None
    assert within(Clock(offset), windows, inside)
    assert not within(Clock(offset + 10**7), windows, inside)


def trace_of(nodes, runs, offset=0, odd=(), readings=True, names=("a", "b", "c", "d", "e")):
    """A trace as the worker gives it, of several runs; those of ``odd`` launch two more kernels, as a search does."""
    found = {"windows": [], "runs": [], "nodes": [], "launches": [], "kernels": [], "clocks": []}
    now, truth = EPOCH, []
    for run in range(runs):
        spans, calls, kernels, where, end = timeline(nodes, now + 10 * US, number=1 + 1000 * run)
        kernels = [replace(k, what=(k.correlation - 1000 * run) % 5) for k in kernels]
        if run in odd:
            extra = (
                [
                    replace(kernels[-1], begin=end, end=end + US),
                    replace(kernels[-1], begin=end + US, end=end + 3 * US),
                ]
                if kernels
                else []
            )
            kernels += extra
            end += 3 * US
        truth = [(where[k.correlation], k.what) for k in kernels] if run not in odd else truth
        found["windows"].append([now - offset, end + 15 * US - offset])
        found["runs"].append([now + 5 * US, end + 10 * US])
        found["nodes"].append([[s.begin // US * US, s.end // US * US] for s in spans])
        found["launches"] += [[c.correlation, c.begin - offset, c.end - offset] for c in calls]
        found["kernels"] += [[k.what, k.begin - offset, k.end - offset, k.correlation] for k in kernels]
        now = end + 40 * US
    if readings:
        found["clocks"] = [[EPOCH - offset, EPOCH], [now - offset, now]]
    found["kinds"] = [[name, [1, 2, 3], [64, 1, 1], 32, 1024] for name in names]
    return found, truth


@settings(max_examples=50)
@given(NODES, st.integers(3, 6), st.integers(-(10**15), 10**15), st.booleans())
def test_a_trace_gives_each_node_its_kernels_in_every_run(nodes, runs, offset, readings):
    trace, truth = trace_of(nodes, runs, offset, odd=(0,), readings=readings)
    found = node_kernels(trace)
    assert [(k.node, k.kernel.name) for k in found] == [(node, "abcde"[what]) for node, what in truth]
    assert all(set(k.us) == {4.0} and len(k.us) >= runs - 1 for k in found)


def test_clocks_that_cannot_be_compared_give_way_to_the_order_of_runs():
    trace, truth = trace_of([(12, [(2, 5)], 2, False), (12, [(3, 6), (2, 9)], 4, True)], 4, 10**12)
    wrong = {**trace, "clocks": [[0, 10**9], [10, 10**9 + 10]]}
    assert node_kernels(wrong) == node_kernels(trace)
    assert [k.node for k in node_kernels(trace)] == [node for node, _ in truth]
    nothing = {**wrong, "runs": []}
    assert {k.node for k in node_kernels(nothing)} == {None}


@given(NODES.filter(lambda nodes: any(node[1] for node in nodes)), st.integers(1, 4))
def test_a_replayed_graph_is_told_by_the_order_of_its_kernels(nodes, runs):
    trace, truth = trace_of(nodes, 3)
    replay, _ = trace_of([(12, [], 2, False)], runs)
    now = EPOCH
    for run in range(runs):
        begin = replay["windows"][run][0] if run else now
        replay["windows"][run] = [begin, begin + 10**6]
        replay["launches"].append([run + 1, begin + 10, begin + 20])
        for i, (_, what) in enumerate(truth):
            replay["kernels"].append([what, begin + 100 * i + 50, begin + 100 * i + 90, run + 1])
        if run + 1 < runs:
            replay["windows"][run + 1][0] = begin + 2 * 10**6
    found = node_kernels({**trace, "replayed": replay})
    assert [(k.node, k.kernel.name) for k in found] == [(node, "abcde"[what]) for node, what in truth]
    assert all(k.us == (0.04,) * runs for k in found)


def test_a_replay_that_launches_otherwise_is_told_as_far_as_it_goes():
    pattern = [(0, "pad"), (0, "conv"), (1, "pool"), (None, "copy"), (2, "gemm")]
    assert follow(pattern, ["pad", "conv", "pool", "copy", "gemm"]) == [0, 0, 1, None, 2]
    assert follow(pattern, ["pad", "memset", "conv", "pool", "gemm"]) == [0, 0, 0, 1, 2]
    assert follow(pattern, ["pad", "other", "pool", "gemm"]) == [0, None, 1, 2]
    assert follow([], ["pad"]) == [None]
    assert follow(pattern, []) == []


def test_runs_that_launch_otherwise_are_left_out():
    usual, other = [(0, Ran(1, 0, 1, 1))], [(0, Ran(2, 0, 1, 1))]
    assert steady([other, usual, usual]) == [usual, usual]
    assert steady([]) == []


def test_a_kernel_is_of_the_run_that_called_for_it_not_of_that_in_which_it_ran():
    windows = [Span(0, 10), Span(20, 30)]
    found = by_window(windows, [Launch(1, 5, 6), Launch(2, 15, 16)], [Ran(0, 25, 26, 1), Ran(1, 8, 9, 3)])
    assert [(len(calls), [k.what for k in kernels]) for calls, kernels in found] == [(1, [0, 1]), (0, [])]
