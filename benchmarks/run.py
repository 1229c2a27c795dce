"""``make bench``: accuracy on networks never seen, agreement with a bare loop, coverage; printed as Markdown."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.pages import pages
from benchmarks.queries import queries
from edgeprof.backends.base import Stop
from edgeprof.boards.detect import load_1m
from edgeprof.boards.sensors.host import read_host
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.validate import Scores
from edgeprof.nets.network import network_bytes
from edgeprof.store import Store, now
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.expand import workload
from edgeprof.sweeps.spec import read_sweep
from edgeprof.target import Target, open_target
from edgeprof.timing.loop import sample
from edgeprof.timing.stats import round_ms, samples_ms
from edgeprof.validation import validate_law

# networks of 1 ms and more, small to large
LOOP_NETS = (
    {"conv": 1, "depth": 32, "kernel": 5, "fc": 1, "neurons": 512, "batch": 32},
    {"conv": 2, "depth": 20, "kernel": 5, "fc": 1, "neurons": 256, "batch": 32},
    {"conv": 3, "depth": (8, 16, 32), "kernel": 3, "fc": 2, "neurons": 512, "batch": 64},
    {"conv": 1, "depth": 20, "fc": 5, "neurons": 1024, "batch": 64},
)
BARE = """
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
x = {i.name: np.random.RandomState(0).random_sample(i.shape).astype(np.float32) for i in session.get_inputs()}
times = []
for _ in range(10):
    session.run(None, x)
begin = time.perf_counter()
while time.perf_counter() - begin < 0.6:
    start = time.perf_counter_ns()
    session.run(None, x)
    times.append(time.perf_counter_ns() - start)
found = {"bare": [t / 1e6 for t in times]}
try:
    from torch.utils.benchmark import Timer
    timer = Timer("session.run(None, x)", globals={"session": session, "x": x}, num_threads=1)
    found["torch"] = 1e3 * timer.blocked_autorange(min_run_time=0.6).median
except ImportError:
    pass
print(json.dumps(found))
"""


def accuracy(target: Target, folder: Path, nets: int, held_out: int, seed: int) -> None:
    """Sweep ``family``, fit, and validate on networks never seen."""
    sweep = read_sweep("family").resampled(nets, None)
    begin = time.monotonic()
    result = run_sweep([sweep], folder / "family.db", target)
    device_min = (time.monotonic() - begin) / 60
    with Store(folder / "family.db") as store:
        measurements = store.measurements()
        coverage = [100 * m.coverage for m in measurements if m.coverage and (m.latency_ms or 0) >= 1]
    share = 100 * result.measuring_s / result.wall_s
    print(f"\n## Accuracy: {nets} networks of `family`, then {held_out} never seen (seed {seed})\n")
    print(f"- calibration {device_min:.1f} min; a network was running {share:.0f} % of the wall time")
    spread = np.percentile(coverage, [5, 50, 95])
    print(
        f"- coverage before correction, networks ≥ 1 ms: {spread[0]:.1f}–{spread[2]:.1f} % (median {spread[1]:.1f} %)\n"
    )
    print(
        "| form | | MAPE % | median % | p95 % | bias % | ±5 % | ±10 % | covered at 90 % | noise % | kernel sum % |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in ("kernels", "eq13"):
        fit = fit_law(measurements, read_form(name), sweeps=[sweep.model_dump(mode="json")], date=now())
        if fit.cv:
            _row(name, "cross-validated", fit.cv)
        scores, _ = validate_law(fit.law, target, folder / "validation.db", nets=held_out, seed=seed)
        _row(name, "never seen", scores)


def _row(form: str, how: str, s: Scores) -> None:
    five, ten = (
        f"{w.pct:.0f} [{w.low_pct:.0f}, {w.high_pct:.0f}]" for w in (s.within_5_pct, s.within_10_pct)
    )
    covered = "" if s.covered_pct is None else f"{s.covered_pct:.0f}"
    print(
        f"| {form} | {how} | {s.mape_pct:.2f} | {s.mdape_pct:.2f} | {s.p95_ape_pct:.1f} | {s.bias_pct:+.2f}"
        f" | {five} | {ten} | {covered} | {s.noise_pct or 0:.2f} | {s.floor_mape_pct or 0:.2f} |"
    )


def bare_loop(target: Target, folder: Path, repeats: int) -> None:
    """edgeprof's round against a bare loop in a process of its own, in turn: medians, and the board's estimator."""
    print(f"\n## Against a bare ONNX Runtime loop: {repeats} alternated repeats, one thread\n")
    print(
        "Medians of the repeats' medians (ms), their spread (most over least); low: least of the 10th percentiles.\n"
    )
    print(
        "| network | edgeprof | bare | ratio | spread | bare's | low: edgeprof | bare | ratio | torch Timer |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for knobs in LOOP_NETS:
        work = workload("bench", {**knobs, "threads": 1})
        case = target.case(work)
        path = folder / "bare.onnx"
        path.write_bytes(network_bytes(work.net, work.batch))
        ours, bare, torch = [], [], []
        for number in range(repeats):
            measured = target.backend.measure(case, number, Stop(min_s=0.6, max_s=2.0), None)
            ours.append(samples_ms(measured.runs_ns, measured.repeats))
            output = subprocess.run(
                [sys.executable, "-c", BARE, str(path), "1"],
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},  # as in a worker
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            found = json.loads(output)
            bare.append(np.array(found["bare"]))
            torch.append(found.get("torch"))
        cells = []
        for samples in (ours, bare):
            medians = [float(np.median(s)) for s in samples]
            low = min(round_ms(s, "low-decile") for s in samples)
            cells.append((float(np.median(medians)), 100 * (max(medians) / min(medians) - 1), low))
        (a, spread_a, low_a), (b, spread_b, low_b) = cells
        timer = f"{np.median(torch):.4f}" if all(torch) else "not installed"
        print(
            f"| {case.label()} | {a:.4f} | {b:.4f} | {a / b:.4f} | {spread_a:.1f} % | {spread_b:.1f} %"
            f" | {low_a:.4f} | {low_b:.4f} | {low_a / low_b:.4f} | {timer} |"
        )
    print("\nonnxruntime_perf_test is in no package of PyPI, only in builds of the runtime: not compared.")


def harness() -> None:
    """What the timing loop itself adds to a run: the loop around nothing."""
    found = sample(lambda: None, time.perf_counter_ns, Stop(max_s=0.5).as_dict())
    ns = float(np.median(found["runs_ns"]))
    print(f"\n## Harness\n\n{ns:.0f} ns a run, {ns / 1e4:.4f} % of a run of 1 ms.")


def telemetry(target: Target, repeats: int) -> None:
    """Each network with the host's readings before and after it, and without, in turn and in random order."""
    rng = Random(0)
    begin = time.perf_counter()
    for _ in range(100):
        read_host()
    reading_ms = 10 * (time.perf_counter() - begin)
    print(f"\n## Telemetry: {repeats} repeats with the host's readings and as many without, one thread\n")
    print(
        f"A reading takes {reading_ms:.2f} ms; there are two for a round of a case, outside what is timed. The worker's"
    )
    print("own counters are read between warm-up and samples, and after them, in both.\n")
    print("| network | with ms | without ms | ratio | repeat noise | readings, of a round |")
    print("|---|---|---|---|---|---|")
    for knobs in LOOP_NETS:
        case = target.case(workload("bench", {**knobs, "threads": 1}))
        found: dict[bool, list[float]] = {True: [], False: []}
        walls = []
        for number in range(repeats):
            for reads in rng.sample([True, False], 2):
                begin = time.perf_counter()
                if reads:
                    read_host()
                measured = target.backend.measure(case, number, Stop(min_s=0.6, max_s=2.0), None)
                if reads:
                    read_host()
                walls.append(time.perf_counter() - begin)
                samples = samples_ms(measured.runs_ns, measured.repeats)
                found[reads].append(round_ms(samples, target.estimator))
        a, b = (float(np.median(found[reads])) for reads in (True, False))
        noise = [100 * abs(np.log(y / x)) for x, y in itertools.pairwise(found[False])]
        print(
            f"| {case.label()} | {a:.4f} | {b:.4f} | {a / b:.4f} | {np.median(noise):.2f} %"
            f" | {0.2 * reading_ms / np.median(walls):.2f} % |"
        )


def main() -> None:
    """Everything, in a few minutes."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…")
    parser.add_argument("--nets", type=int, default=60, help="networks to fit on")
    parser.add_argument("--held-out", type=int, default=60, help="networks never seen")
    parser.add_argument("--seed", type=int, default=1, help="of the networks never seen")
    parser.add_argument("--repeats", type=int, default=7, help="of the bare loop")
    given = parser.parse_args()
    with open_target() as target, tempfile.TemporaryDirectory(prefix="edgeprof-bench-") as name:
        print(f"# {target.machine_title}, {target.runtime}, {now()[:10]}, load {load_1m():.2f}")
        harness()
        telemetry(target, given.repeats)
        queries()
        pages()
        bare_loop(target, Path(name), given.repeats)
        accuracy(target, Path(name), given.nets, given.held_out, given.seed)


if __name__ == "__main__":
    main()
