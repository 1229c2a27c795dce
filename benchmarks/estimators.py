"""Which estimator of a latency repeats best, with and without another process on the machine?

``python -m benchmarks.estimators`` records networks again and again, in turn quiet and with a busy process beside them,
and prints for each estimator how far two independent estimates of one network lie apart, and the bias against the
quiet machine. The raw runs go into a file, so that estimators can be compared again.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.backends.base import Stop
from edgeprof.nets.network import network_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import read_sweep
from edgeprof.timing.process import Worker
from edgeprof.timing.stats import samples_ms

Samples = NDArray[np.float64]
ROUNDS = 3
SENTINEL = net_spec(conv=2, depth=32, fc=1, neurons=256)
BUSY = "while True: pass"


def half_sample_mode(samples: Samples) -> float:
    """The densest value: the shorter half again and again (Robertson and Cryer, JASA 69, 1974)."""
    x = np.sort(samples)
    while len(x) > 3:
        half = (len(x) + 1) // 2
        widths = x[half - 1 :] - x[: len(x) - half + 1]
        start = int(np.argmin(widths))
        x = x[start : start + half]
    return float(x.mean())


def lower_component(samples: Samples) -> float:
    """The median of the lower part, where two parts explain the log times better than one (Otsu, 1979)."""
    x = np.sort(np.log(samples))
    cuts = range(max(len(x) // 10, 2), len(x) - max(len(x) // 10, 2))
    if not cuts:
        return float(np.median(samples))
    cost = [x[:k].var() * k + x[k:].var() * (len(x) - k) for k in cuts]
    best = int(np.argmin(cost))
    if cost[best] > 0.5 * x.var() * len(x):
        return float(np.median(samples))
    return float(np.exp(np.median(x[: cuts[best]])))


# one value from the rounds' samples and the sentinel's slowness in each round
Estimator = Callable[[Sequence[Samples], Sequence[float]], float]
ESTIMATORS: dict[str, Estimator] = {
    "median of one round": lambda rounds, slow: float(np.median(rounds[0])),
    "median of all samples": lambda rounds, slow: float(np.median(np.concatenate(rounds))),
    "median of round medians": lambda rounds, slow: float(np.median([np.median(r) for r in rounds])),
    "minimum of round medians": lambda rounds, slow: min(float(np.median(r)) for r in rounds),
    "minimum of round quartiles": lambda rounds, slow: min(float(np.percentile(r, 25)) for r in rounds),
    "10th percentile of all": lambda rounds, slow: float(np.percentile(np.concatenate(rounds), 10)),
    "minimum of round 10th percentiles": lambda rounds, slow: min(
        float(np.percentile(r, 10)) for r in rounds
    ),
    "least sample": lambda rounds, slow: min(float(r.min()) for r in rounds),
    "sentinel-normalised median": lambda rounds, slow: float(
        np.median([np.median(r) / s for r, s in zip(rounds, slow, strict=True)])
    ),
    "half-sample mode of all": lambda rounds, slow: half_sample_mode(np.concatenate(rounds)),
    "minimum of round lower components": lambda rounds, slow: min(lower_component(r) for r in rounds),
}


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Another process that keeps one core busy."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def record(nets: int, repeats: int, threads: int, seed: int) -> dict[str, list[list[Samples]]]:
    """Samples (ms) by condition: for each repeat of all rounds one list of samples a network, the sentinel last."""
    sweep = read_sweep("family").resampled(nets, seed)
    assert sweep.sample is not None
    sweep = sweep.model_copy(update={"sample": sweep.sample.model_copy(update={"max_macs": 3e8})})
    works = [(w.net, w.batch) for w in expand(sweep)] + [(SENTINEL, 8)]
    found: dict[str, list[list[Samples]]] = {"quiet": [], "busy": []}
    stop = Stop(max_s=0.5).as_dict()
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as name, Worker("edgeprof.backends.ort") as worker:
        paths = []
        for i, (net, batch) in enumerate(works):
            paths.append(Path(name) / f"{i}.onnx")
            paths[-1].write_bytes(network_bytes(net, batch))
        for turn in range(repeats * ROUNDS):
            for condition in rng.sample(["quiet", "busy"], 2):
                row: list[Samples] = [np.zeros(0)] * len(works)
                with busy(condition == "busy"):
                    for i in rng.sample(range(len(works)), len(works)):
                        answer = worker.ask(
                            {
                                "do": "measure",
                                "model": str(paths[i]),
                                "threads": threads,
                                "providers": ["CPUExecutionProvider"],
                                "options": {},
                                "stop": stop,
                                "input": None,
                                "profile_s": 0,
                            },
                            120,
                        )
                        row[i] = samples_ms(np.asarray(answer["runs_ns"], np.int64), answer["repeats"])
                found[condition].append(row)
            print(f"turn {turn + 1} of {repeats * ROUNDS}", file=sys.stderr, flush=True)
    return found


def compare(found: dict[str, list[list[Samples]]], threads: int) -> None:
    """Print each estimator's repeatability and bias as Markdown."""
    nets = len(found["quiet"][0]) - 1
    calm = min(float(np.median(row[-1])) for row in found["quiet"])
    truth = [min(float(np.median(row[i])) for row in found["quiet"]) for i in range(nets)]
    print(
        f"\n{nets} networks, {threads} thread(s), {len(found['quiet'])} rounds quiet and as many with a busy process\n"
    )
    print("| estimator | quiet: apart % (median, p90) | bias % | busy: apart % (median, p90) | bias % |")
    print("|---|---|---|---|---|")
    for name, estimator in ESTIMATORS.items():
        cells = []
        for condition in ("quiet", "busy"):
            apart, bias = [], []
            for i in range(nets):
                estimates = []
                for start in range(0, len(found[condition]) - ROUNDS + 1, ROUNDS):
                    rows = found[condition][start : start + ROUNDS]
                    slow = [float(np.median(row[-1])) / calm for row in rows]
                    estimates.append(estimator([row[i] for row in rows], slow))
                apart += [abs(np.log(b / a)) for a, b in itertools.pairwise(estimates)]
                bias += [np.log(e / truth[i]) for e in estimates]
            cells.append(
                f"{100 * np.median(apart):.2f}, {100 * np.percentile(apart, 90):.1f} | {100 * np.median(bias):+.1f}"
            )
        print(f"| {name} | {cells[0]} | {cells[1]} |")
    print("\nBias of the minimum of round medians against the number of rounds (busy):", end=" ")
    for rounds in (1, 2, 3, 6):
        bias = [
            np.log(min(float(np.median(row[i])) for row in found["busy"][:rounds]) / truth[i])
            for i in range(nets)
        ]
        print(f"{rounds}: {100 * np.median(bias):+.2f} %", end="  ")
    print()


def main() -> None:
    """Record and compare, with one thread and with two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, help="keep the raw samples (.npz)")
    given = parser.parse_args()
    for threads in given.threads:
        found = record(given.nets, given.repeats, threads, given.seed)
        if given.out:
            flat: dict[str, Any] = {
                f"{condition}_{turn}_{i}": samples
                for condition, rows in found.items()
                for turn, row in enumerate(rows)
                for i, samples in enumerate(row)
            }
            np.savez_compressed(given.out.with_stem(f"{given.out.stem}-{threads}"), **flat)
        compare(found, threads)


if __name__ == "__main__":
    main()
