"""Warm-up, samples and the stopping rule: the part of timing that runs on the device.

Python 3.6 syntax, standard library alone: this file is sent to the worker, which may be a board with an
old Python. The clock is passed in, so that tests need no waiting.
"""

import math
import threading
import time
from array import array

WARM_RUNS = 3
WARM_WINDOW = 5
WARM_TOLERANCE = 0.05
SAMPLE_NS = 200000  # a sample lasts at least this long, some 4,000 readings of the clock
MIN_RUNS_AT_CAP = 3
OVERTIME = 2  # times as long as asked, at a rate that is too high
RUNS_A_TURN = 3  # of each lane, however slow


def median_ranks(count, z=1.96):
    """Ranks (low, high), from 0, of the order statistics that bound the median with 95 % confidence.

    Distribution-free, from the normal approximation of the binomial (Conover, Practical Nonparametric
    Statistics, 3.2) with its continuity correction, without which 21 samples give 92 %. Below nine samples
    it is the whole range, and below six even that is less than 95 %.
    """
    half = z * math.sqrt(count) / 2.0
    low = math.floor(count / 2.0 - half - 0.5)
    return max(low, 0), min(count - 1, count - 1 - low)


def relative_half_width(samples):
    """Half the width of the median's 95 % interval over the median."""
    ordered = sorted(samples)
    low, high = median_ranks(len(ordered))
    middle = ordered[len(ordered) // 2]
    return (ordered[high] - ordered[low]) / 2.0 / middle if middle > 0 else float("inf")


def warm_up(run, clock, max_ns):
    """Run until the last runs are no faster than those before them, or ``max_ns`` is spent.

    Returns (nanoseconds of every run, shortest of the last runs).
    """
    times, spent, last = [], 0, clock()
    while True:
        start = clock()
        run()
        end = clock()
        if end < start:
            last = end  # the clock jumped back: this run's time is not known
            continue
        times.append(end - start)
        spent, last = spent + max(end - last, 0), end
        if len(times) >= WARM_RUNS and spent >= max_ns:
            break
        if len(times) >= 2 * WARM_WINDOW:
            last, before = min(times[-WARM_WINDOW:]), min(times[-2 * WARM_WINDOW : -WARM_WINDOW])
            if before <= last * (1 + WARM_TOLERANCE):
                break
    return times, min(times[-WARM_WINDOW:])


def sample(run, clock, stop, counters=dict):
    """Time ``run`` until the median is known well enough.

    ``stop`` has ``target_ci`` (relative half-width of the median's interval), ``min_runs``, ``min_s`` and ``max_s``.
    Fast runs are repeated inside one sample until it is long enough for the clock, and the interval is that
    of the samples; the duration of every single run is kept. A sample in which the clock jumped back is not; time
    spent is what the clock went forwards. ``counters`` reads whatever counts (name → number): it is called before the
    first sample and after the last.

    Returns a dict: ``runs_ns`` (single runs in order), ``repeats`` (runs per sample), ``first_ns``, ``warm_runs``,
    ``half_width``, ``stopped`` (``target`` or ``time``) and ``counters`` (by how much each grew).
    """
    max_ns = stop["max_s"] * 1e9
    warming, shortest = warm_up(run, clock, max_ns / 4)
    repeats = max(1, math.ceil(SAMPLE_NS / max(shortest, 1.0)))
    runs, samples, stopped = [], [], "time"
    before = counters()
    spent, last = 0, clock()
    look_at = 0
    while True:
        stamps = [clock()]
        for _ in range(repeats):
            run()
            stamps.append(clock())
        spent, last = spent + max(stamps[-1] - last, 0), stamps[-1]
        times = [b - a for a, b in zip(stamps, stamps[1:])]
        if min(times) < 0:
            continue
        runs.extend(times)
        samples.append((stamps[-1] - stamps[0]) / float(repeats))
        if spent >= max_ns and len(samples) >= MIN_RUNS_AT_CAP:
            if len(samples) >= stop["min_runs"] and relative_half_width(samples) <= stop["target_ci"]:
                stopped = "target"
            break
        if spent >= stop["min_s"] * 1e9 and len(samples) >= max(stop["min_runs"], look_at):
            if relative_half_width(samples) <= stop["target_ci"]:
                stopped = "target"
                break
            look_at = int(len(samples) * 1.1) + 1
    after = counters()
    return {
        "runs_ns": runs,
        "repeats": repeats,
        "first_ns": warming[0],
        "warm_runs": len(warming),
        "running_s": (sum(warming) + sum(runs)) / 1e9,
        "half_width": relative_half_width(samples),
        "stopped": stopped,
        "counters": {name: after[name] - before[name] for name in after},
    }


def sustain(run, clock, seconds, rate_hz=0.0, sleep=time.sleep, bin_s=1.0, enough=lambda seen: False):
    """Run for ``seconds``, one run after the other, or ``rate_hz`` of them a second with idle gaps between.

    A run at a rate begins when its turn comes, or, where the one before it lasts longer, after that: it is then late.
    Its response time counts from its turn, and every run whose turn came is made, in twice the time at most. It ends
    before its time where ``enough`` says so, which is told each of the ``bins`` as it ends.

    Returns a dict: ``runs``, ``spent_ns`` (from the first begin to the last end), ``busy_ns`` (running), ``late``,
    ``bins`` (per ``bin_s``: runs, time spent, longest run, in nanoseconds) and ``percentiles_ns`` (p50, p90, p95, p99
    and max of response times; None without a rate).
    """
    begin = last = clock()
    bins, current, responses = [], [0, 0, 0], []
    runs = busy = late = 0
    while True:
        turn = begin + int(runs * 1e9 / rate_hz) if rate_hz else last
        if turn - begin >= seconds * 1e9 or last - begin >= OVERTIME * seconds * 1e9:
            break
        if turn > last:
            sleep((turn - last) / 1e9)
        elif turn < last:
            late += 1
        start = clock()
        run()
        end = max(clock(), start)
        runs, busy = runs + 1, busy + end - start
        if rate_hz:
            responses.append(end - turn)
        current = [current[0] + 1, current[1] + end - last, max(current[2], end - start)]
        last = end
        if current[1] >= bin_s * 1e9:
            bins.append(current)
            current = [0, 0, 0]
            if enough(bins[-1]):
                break
    return {
        "runs": runs,
        "spent_ns": last - begin,
        "busy_ns": busy,
        "late": late,
        "bins": bins,
        "percentiles_ns": percentiles(responses) if rate_hz else None,
    }


def percentiles(times):
    """Percentiles of ``times``: p50, p90, p95, p99 and max, each a time that there is."""
    ordered = sorted(times)
    at = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: ordered[max(math.ceil(share * len(ordered)) - 1, 0)] for name, share in at.items()}


def overlap(lanes, clock, depths, turns, turn_s, warm_ns):
    """Keep several runs in flight: ``depth`` of ``lanes`` at the same time, each on a thread of its own, one run after
    the other, for each of ``depths``. Depths take turns of ``turn_s`` seconds, ``turns`` of them, there and back, so
    that whatever drifts does so for all of them. Lanes warm up one after another: a runtime may record what it does.

    Returns for each depth a dict: ``depth``, ``runs``, ``runs_per_s`` (of each turn), ``percentiles_ns`` (of single
    runs) and ``spent_ns``.
    """
    order = [depth for turn in range(turns) for depth in (depths if turn % 2 == 0 else depths[::-1])]
    begins, troubles, warming = [], [], threading.Lock()
    stamps = [[array("q") for _ in order] for _ in lanes]
    gate = threading.Barrier(len(lanes), action=lambda: begins.append(clock()))

    def work(number):
        try:
            with warming:
                warm_up(lanes[number], clock, warm_ns)
            for step, depth in enumerate(order):
                gate.wait()
                if number < depth:
                    _run_until(lanes[number], clock, begins[-1] + int(turn_s * 1e9), stamps[number][step])
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            troubles.append(error)
            gate.abort()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(lanes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]
    found = []
    for depth in depths:
        steps = [[own[i] for own in stamps[:depth]] for i, of_step in enumerate(order) if of_step == depth]
        found.append(_in_flight(depth, steps))
    return found


def _run_until(run, clock, deadline, stamps):
    """Run until ``deadline``, a few times at least; ``stamps`` gets the begin and end of each run."""
    while True:
        begin = clock()
        run()
        stamps.append(begin)
        stamps.append(max(clock(), begin))
        if stamps[-1] >= deadline and len(stamps) >= 2 * RUNS_A_TURN:
            return


def _in_flight(depth, steps):
    """What :func:`overlap` tells of a depth, from the stamps of its lanes in each turn. Of a turn counts the time in
    which every lane was at work, and of a run that lies partly in it that part."""
    rates, times, spent = [], [], 0
    for lanes in steps:
        begin, end = max(own[0] for own in lanes), min(own[-1] for own in lanes)
        if end <= begin:  # one ended before another began
            begin, end = min(own[0] for own in lanes), max(own[-1] for own in lanes)
        runs = 0.0
        for own in lanes:
            for first, last in zip(own[::2], own[1::2]):
                runs += max(min(last, end) - max(first, begin), 0) / float(max(last - first, 1))
                times.append(last - first)
        rates.append(runs * 1e9 / (end - begin))
        spent += max(own[-1] for own in lanes) - min(own[0] for own in lanes)
    return {
        "depth": depth,
        "runs": len(times),
        "runs_per_s": rates,
        "percentiles_ns": percentiles(times),
        "spent_ns": spent,
    }
