"""Launches: which kernels of a GPU each node of a network launched, told by time.

A runtime that executes its nodes one after another launches a node's kernels while it is in that node. So a kernel
belongs to the node during which the host called for it: the call and the kernel carry the same correlation number
(CUPTI documentation, CUpti_ActivityAPI), and call and node are compared on one clock. Times are whole nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

SLACK_NS = 20_000  # a run may stick out of its window by this much, by rounding and by readings of clocks


@dataclass(frozen=True)
class DeviceKernel:
    """What ran on a GPU: its name as the library has it, blocks of the grid and threads of a block (x, y, z), registers
    a thread and shared memory a block (bytes). A copy or memset has a name alone."""

    name: str
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    registers: int = 0
    shared_bytes: int = 0


@dataclass(frozen=True)
class Span:
    """From when to when something lasted, in ns of one clock."""

    begin: int
    end: int


@dataclass(frozen=True)
class Launch:
    """A call of the host that puts work on the GPU, by the clock of the kernels."""

    correlation: int
    begin: int
    end: int


@dataclass(frozen=True)
class Ran:
    """A kernel while it ran. ``what`` is its number among the kinds of kernels of a trace; a captured graph's kernels
    share the correlation of one call."""

    what: int
    begin: int
    end: int
    correlation: int


@dataclass(frozen=True)
class Clock:
    """The host's time for a time of the kernels' clock: ``offset`` more, and what drifts away from ``origin`` on."""

    offset: int
    drift: float = 0.0
    origin: int = 0

    def host(self, time: int) -> int:
        """The host's time, in the same unit."""
        return time + self.offset + round(self.drift * (time - self.origin))


@dataclass(frozen=True)
class Attribution:
    """For each node the kernels that it launched, in the order in which they ran; ``outside`` are those of no node."""

    nodes: tuple[tuple[Ran, ...], ...]
    outside: tuple[Ran, ...]


@dataclass(frozen=True)
class NodeKernel:
    """A kernel of a node in the runs of a trace: its microseconds in each. ``node`` is None where none launched it."""

    node: int | None
    kernel: DeviceKernel
    us: tuple[float, ...]


def read_clock(readings: Sequence[tuple[int, int]]) -> Clock | None:
    """The clock through the first and the last of (kernels' clock, host's clock); None where there is no reading."""
    if not readings:
        return None
    (first, host_first), (last, host_last) = readings[0], readings[-1]
    passed = last - first
    drift = (host_last - host_first - passed) / passed if passed > 0 else 0.0
    return Clock(host_first - first, drift, first)


def clock_of_runs(windows: Sequence[Span], runs: Sequence[Span]) -> Clock | None:
    """The clock by the order of the runs alone: the host measured each within a window of the kernels' clock, which
    bounds the offset from both sides. None where their numbers differ."""
    if not runs or len(windows) != len(runs):
        return None
    half = max(len(runs) // 2, 1)
    parts = ((windows[:half], runs[:half]), (windows[-half:], runs[-half:]))
    readings = []
    for around, inside in parts:
        most = min(r.begin - w.begin for w, r in zip(around, inside, strict=True))
        least = max(r.end - w.end for w, r in zip(around, inside, strict=True))
        middle = (around[0].begin + around[-1].end) // 2
        readings.append((middle, middle + (least + most) // 2))
    return read_clock(readings)


def within(clock: Clock, windows: Sequence[Span], runs: Sequence[Span]) -> bool:
    """Whether by this clock each run lies in its window, but for a few microseconds."""
    return len(windows) == len(runs) and all(
        clock.host(w.begin) - SLACK_NS <= r.begin and r.end <= clock.host(w.end) + SLACK_NS
        for w, r in zip(windows, runs, strict=True)
    )


def attribute(
    nodes: Sequence[Span], launches: Iterable[Launch], kernels: Iterable[Ran], clock: Clock
) -> Attribution:
    """The kernels of each node: those whose call lies in it for the most part. ``nodes`` follow one another; what has
    no call, or one of which more than half is in no node, is outside."""
    order = sorted(range(len(nodes)), key=lambda i: nodes[i].begin)
    begins = [nodes[i].begin for i in order]
    owner: dict[int, int] = {}
    for call in launches:
        begin, end = clock.host(call.begin), clock.host(call.end)
        near = bisect_right(begins, begin) - 1
        for place in (near, near + 1):
            if 0 <= place < len(order):
                node = nodes[order[place]]
                inside = min(end, node.end) - max(begin, node.begin)
                if inside >= 0 and 2 * inside >= end - begin:
                    owner[call.correlation] = order[place]
                    break
    found: list[list[Ran]] = [[] for _ in nodes]
    outside: list[Ran] = []
    for kernel in sorted(kernels, key=lambda k: (k.begin, k.end)):
        where = owner.get(kernel.correlation)
        (outside if where is None else found[where]).append(kernel)
    return Attribution(tuple(map(tuple, found)), tuple(outside))


def by_window(
    windows: Sequence[Span], launches: Iterable[Launch], kernels: Iterable[Ran]
) -> list[tuple[list[Launch], list[Ran]]]:
    """The calls that began in each window, and the kernels that these launched; a kernel without a call is in the
    window in which it ran. Windows follow one another; what is in none is left out."""
    begins = [w.begin for w in windows]
    found: list[tuple[list[Launch], list[Ran]]] = [([], []) for _ in windows]
    called: dict[int, int] = {}

    def place_of(time: int) -> int | None:
        place = bisect_right(begins, time) - 1
        return place if place >= 0 and time <= windows[place].end else None

    for call in launches:
        if (place := place_of(call.begin)) is not None:
            found[place][0].append(call)
            called[call.correlation] = place
    for kernel in kernels:
        place = called.get(kernel.correlation, place_of(kernel.begin))
        if place is not None:
            found[place][1].append(kernel)
    return found


def follow(pattern: Sequence[tuple[int | None, str]], names: Sequence[str]) -> list[int | None]:
    """The node of each kernel of a replayed graph, by ``names`` in the order in which they ran: as in the ``pattern``
    (node, name) of the same network run node by node. What was put between two kernels of one node is of that node;
    None where the two say nothing."""
    matcher = SequenceMatcher(None, [name for _, name in pattern], list(names), autojunk=False)
    found: list[int | None] = [None] * len(names)
    known = [False] * len(names)
    for ours, theirs, size in matcher.get_matching_blocks():
        for i in range(size):
            found[theirs + i], known[theirs + i] = pattern[ours + i][0], True
    for i in (i for i, told in enumerate(known) if not told):
        before = next((found[j] for j in range(i - 1, -1, -1) if known[j]), None)
        after = next((found[j] for j in range(i + 1, len(names)) if known[j]), None)
        found[i] = before if before == after else None
    return found


def steady(runs: Sequence[Sequence[tuple[int | None, Ran]]]) -> list[Sequence[tuple[int | None, Ran]]]:
    """The runs that launched what most of them did: others searched for an algorithm, or lost records."""
    signatures = [tuple((node, kernel.what) for node, kernel in run) for run in runs]
    if not signatures:
        return []
    usual = Counter(signatures).most_common(1)[0][0]
    return [run for run, signature in zip(runs, signatures, strict=True) if signature == usual]


def node_kernels(trace: Mapping[str, Any]) -> tuple[NodeKernel, ...]:
    """What each node's kernels took, of a ``trace`` as the worker gives it (edgeprof.backends.cupti): in the order in
    which they ran, and of a captured graph in its replays."""
    told = _nodes_by_run(trace)
    if "replayed" in trace:
        replayed = trace["replayed"]
        kinds, replays = _kinds(replayed), _runs(replayed)
        own = _kinds(trace)
        pattern = [(node, own[kernel.what].name) for node, kernel in told[0]] if told else []
        told = []
        for _, kernels in replays:
            ordered = sorted(kernels, key=lambda k: (k.begin, k.end))
            places = follow(pattern, [kinds[k.what].name for k in ordered])
            told.append(list(zip(places, ordered, strict=True)))
        told = steady(told)
    else:
        kinds = _kinds(trace)
    return tuple(
        NodeKernel(node, kinds[kernel.what], tuple((run[i][1].end - run[i][1].begin) / 1e3 for run in told))
        for i, (node, kernel) in enumerate(told[0] if told else ())
    )


def _nodes_by_run(trace: Mapping[str, Any]) -> list[Sequence[tuple[int | None, Ran]]]:
    """The kernels of each usual run with their nodes, in the order in which they ran."""
    windows = [Span(*w) for w in trace["windows"]]
    runs = [Span(*r) for r in trace["runs"]]
    clock = read_clock([(a, b) for a, b in trace["clocks"]])
    if clock is None or not within(clock, windows, runs):
        clock = clock_of_runs(windows, runs)
    found: list[list[tuple[int | None, Ran]]] = []
    for i, (launches, kernels) in enumerate(_runs(trace)):
        spans = [Span(*n) for n in trace["nodes"][i]] if clock and i < len(trace["nodes"]) else []
        parts = attribute(spans, launches, kernels, clock or Clock(0))
        told: list[tuple[int | None, Ran]] = [(n, k) for n, own in enumerate(parts.nodes) for k in own]
        told += [(None, kernel) for kernel in parts.outside]
        found.append(sorted(told, key=lambda one: (one[1].begin, one[1].end)))
    return steady(found)


def _kinds(trace: Mapping[str, Any]) -> list[DeviceKernel]:
    return [
        DeviceKernel(name, tuple(grid), tuple(block), registers, shared)
        for name, grid, block, registers, shared in trace["kinds"]
    ]


def _runs(trace: Mapping[str, Any]) -> list[tuple[list[Launch], list[Ran]]]:
    windows = [Span(*w) for w in trace["windows"]]
    return by_window(windows, (Launch(*c) for c in trace["launches"]), (Ran(*k) for k in trace["kernels"]))
