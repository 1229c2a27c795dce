"""Warm-up, samples and the stopping rule: the part of timing that runs on the device.

Python 3.6 syntax, standard library alone: this file is sent to the worker, which may be a board with an
old Python. The clock is passed in, so that tests need no waiting.
"""

import math

WARM_RUNS = 3
WARM_WINDOW = 5
WARM_TOLERANCE = 0.05
SAMPLE_NS = 200000  # a sample lasts at least this long, some 4,000 readings of the clock
MIN_RUNS_AT_CAP = 3


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
