"""How much device time edgeprof takes against the reference study's protocol: 20 runs of every network, three times
over, on a grid of networks.

``python -m benchmarks.protocol --db DB`` takes a database of recorded random networks. First the samples: what 3 × 20
runs cost and how sure they are, against stopping at the same width. Then the networks: the study's grid against
networks that were chosen, on the law of the recorded networks, played back with noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.design import designed, played_back
from edgeprof.backends.base import Stop
from edgeprof.fit.examples import usable
from edgeprof.fit.fitting import sketch_law
from edgeprof.fit.forms import Form, read_form
from edgeprof.fit.law import Law
from edgeprof.fit.prediction import predict_many
from edgeprof.fit.validate import judge, score
from edgeprof.store import Store
from edgeprof.sweeps.case import Case, Workload
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import SweepSpec, parse_sweep, read_sweep
from edgeprof.timing.loop import relative_half_width
from edgeprof.timing.measurement import Measurement, Round
from edgeprof.timing.stats import samples_ms

RUNS, LOOPS = 20, 3
GROUPS = ("group1", "group2", "group3", "group4")
NOISE = 0.02
SIZES = (10, 15, 20, 30, 40, 60)
LIMITS = {None: "of the grid's ranges", 6e9: "of at most 6e9 MACs a run"}

Samples = NDArray[np.float64]


def until(rng: np.random.Generator, samples: Samples, target: float, least: int = 10) -> int:
    """How many samples, drawn from those recorded, it takes until the median's interval is as narrow as ``target``."""
    drawn = rng.choice(samples, 4000)
    count = least
    while count < len(drawn) and relative_half_width(drawn[:count].tolist()) > target:
        count = int(count * 1.1) + 1
    return count


def stopping(rounds: Sequence[Sequence[Round]], seed: int = 0) -> float:
    """Print what fixed and sequential sampling of the same networks cost. How many times as long as its minimum
    edgeprof really sampled."""
    rng = np.random.default_rng(seed)
    kept = [[samples_ms(r.runs_ns, r.repeats) for r in found] for found in rounds]
    runs = [np.concatenate([r.runs_ns / 1e6 for r in found]) for found in rounds]
    fixed_ms = np.array([RUNS * LOOPS * r.mean() for r in runs])
    width = np.array([relative_half_width(rng.choice(r, RUNS * LOOPS).tolist()) for r in runs])
    print(
        f"\n## Samples: {len(runs)} recorded networks, {LOOPS} × {RUNS} runs each against stopping at a width\n"
    )
    total_s, most = fixed_ms.sum() / 1e3, RUNS * LOOPS
    low, middle, high = 100 * np.percentile(width, [5, 50, 95])
    print(
        f"{LOOPS} × {RUNS} runs take {total_s:.1f} s and know the median to ± {middle:.2f} % (5th and 95th percentile"
        f" of networks {low:.2f}, {high:.2f} %).\n"
    )
    print("| asked for | fixed runs, enough for 95 % | fixed s | sequential s | times less |")
    print("|---|---|---|---|---|")
    means = np.array([r.mean() for r in runs])
    same_s = sum(until(rng, r, w) * r.mean() for r, w in zip(runs, width, strict=True)) / 1e3
    print(f"| each network's own width | {most} | {total_s:.1f} | {same_s:.1f} | {total_s / same_s:.2f} |")
    for target in (0.005, 0.01, 0.02):
        needed = np.array([until(rng, r, target) for r in runs])
        count = float(np.percentile(needed, 95))
        fixed_s, sequential_s = count * means.sum() / 1e3, float((needed * means).sum()) / 1e3
        print(
            f"| ± {100 * target:.1f} % for every network | {count:.0f} | {fixed_s:.1f} | {sequential_s:.1f}"
            f" | {fixed_s / sequential_s:.2f} |"
        )
    real = np.array([r.sum() for r in runs])
    widths = 100 * np.array([min(relative_half_width(s.tolist()) for s in found) for found in kept])
    stop = Stop()
    least = np.array([LOOPS * max(stop.min_s * 1e3, stop.min_runs * ms) for ms in means])
    print(
        f"\nedgeprof as it is, three rounds of at least {stop.min_runs} runs and {stop.min_s} s each, sampled for"
        f" {real.sum() / 1e3:.1f} s: {fixed_ms.sum() / real.sum():.2f} times less than {LOOPS} × {RUNS} runs, and"
        f" {real.sum() / least.sum():.2f} times its least. Its best round knows the median to"
        f" ± {np.median(widths):.2f} % (95th percentile {np.percentile(widths, 95):.2f} %)."
    )
    return float(real.sum() / least.sum())


def made_cases(like: Case, works: Sequence[Workload]) -> list[Case]:
    """The workloads as cases of the recorded machine."""
    return [like.model_copy(update={"net": w.net, "batch": w.batch}) for w in works]


def blank(like: Measurement, cases: Sequence[Case]) -> list[Measurement]:
    """Measurements of other cases, still to be played back."""
    return [replace(like, case=case) for case in cases]


def seconds(law: Law, chosen: Sequence[Measurement], ratio: float | None) -> float:
    """Device time: of 3 × 20 runs, or of three rounds that take ``ratio`` times their least."""
    ms = [p.latency_ms for p in predict_many(law, [(m.case.net, m.case.batch) for m in chosen])]
    if ratio is None:
        return sum(RUNS * LOOPS * v for v in ms) / 1e3
    stop = Stop()
    return sum(ratio * LOOPS * max(stop.min_s * 1e3, stop.min_runs * v) for v in ms) / 1e3


def networks(measured: Sequence[Measurement], form: Form, ratio: float, repeats: int) -> None:
    """Print how many networks of the study's kind a law needs, and the device time."""
    law, like = sketch_law(measured, form), measured[0]
    grid_works = [w for name in GROUPS for w in expand(read_sweep(name))]
    grid_cases = list(dict.fromkeys(made_cases(like.case, grid_works)))
    print(
        f"\n## Networks: the study's grid of {len(grid_cases)} against chosen ones, on the law of the recorded networks"
        f" played back with {100 * NOISE:.0f} % noise; error on 100 random networks of its ranges, {repeats} repeats\n"
    )
    print("| networks | MAPE % | 95th percentile % | device s | times less than the grid |")
    print("|---|---|---|---|---|")
    grid = played_back(law, blank(like, grid_cases), NOISE)
    grid_s = seconds(law, grid, None)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(repeats):
        pools = {
            limit: played_back(
                law, blank(like, made_cases(like.case, expand(study(300, seed, limit)))), NOISE
            )
            for limit in LIMITS
        }
        held = usable(pools[None][200:])

        def note(name: str, chosen: Sequence[Measurement], ratio: float | None, held=held) -> None:  # type: ignore[no-untyped-def]
            s = score(judge(sketch_law(chosen, form), held), 0.9)
            rows.setdefault(name, []).append((s.mape_pct, s.p95_ape_pct, seconds(law, chosen, ratio)))

        note(f"the grid, {LOOPS} × {RUNS} runs", grid, None)
        for limit, title in LIMITS.items():
            for size in SIZES:
                note(f"{size} chosen {title}", designed(pools[limit][:200], size, form), ratio)
    for name, values in rows.items():
        mape, p95, device_s = np.mean(values, axis=0)
        print(f"| {name} | {mape:.2f} | {p95:.1f} | {device_s:.0f} | {grid_s / device_s:.1f} |")


def study(nets: int, seed: int, max_macs: float | None) -> SweepSpec:
    """Random networks of the ranges that the study's groups cover."""
    limit = {} if max_macs is None else {"max_macs": max_macs}
    knobs = {"conv": "1..5", "fc": "1..5", "depth": "5..80 log", "neurons": "128..2048 log"}
    sample = {"nets": nets, "seed": seed, **limit, **knobs, "batch": [2**n for n in range(4, 13)]}
    return parse_sweep({"name": "study", "net": {"threads": 1}, "sample": sample}, "study")


def main() -> None:
    """Both comparisons."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with Store(given.db) as store:
        measured = [m for m in store.measurements() if m.status == "ok"]
        kept = store.rounds()
    rounds = [kept[m.case.key()] for m in measured]
    ratio = stopping(rounds)
    networks(measured, read_form("kernels"), ratio, given.repeats)


if __name__ == "__main__":
    main()
