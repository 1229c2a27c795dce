"""How fast queries are: networks per second on one core, time and peak memory of ten million to a Pareto front.

``python -m benchmarks.queries``; each row runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "tests" / "data" / "laws" / "cpu-kernels.json"
MANY = {
    "conv": "1..5",
    "fc": "1..5",
    "depth": "5..80",
    "kernel": "3,5,7",
    "padding": "valid,same",
    "pool": "1,2",
    "neurons": "64..2048:4",
}
BODIES = {
    "conv": "1..5",
    "depth": "1..1024",
    "pool": "1,2",
    "kernel": "3..7",
    "padding": "valid,same",
    "stride": "1,2",
    "tile": "20..40",
}
WITH_MEMORY = "amd-epyc-avx512"
QUESTIONS: tuple[tuple[str, str, dict[str, str], dict[str, Any]], ...] = (
    ("a law of whole networks, Pareto front", "gtx960-theano", {**MANY, "batch": "1024"}, {}),
    ("a law of kernels, Pareto front", str(KERNELS), {**MANY, "batch": "64"}, {}),
    (
        "a law of kernels, those that reach 20 tiles/ms",
        str(KERNELS),
        {**MANY, "batch": "64"},
        {"at_least": 20},
    ),
    ("a law of kernels, one head for every body", str(KERNELS), {**BODIES, "batch": "64"}, {}),
    (
        "a law with memory, those that reach 20 tiles/ms",
        WITH_MEMORY,
        {**MANY, "batch": "64"},
        {"at_least": 20},
    ),
    (
        "a law with memory, those that also fit in 32 MiB",
        WITH_MEMORY,
        {**MANY, "batch": "64"},
        {"at_least": 20, "max_memory_mib": 32},
    ),
)


def queries() -> None:
    """Every question, as a table."""
    print("\n## Queries, one core\n")
    print("| question | networks | s | processor s | million networks per processor s | peak MiB |")
    print("|---|---|---|---|---|---|")
    for number, (title, *_) in enumerate(QUESTIONS):
        command = [sys.executable, "-m", "benchmarks.queries", str(number)]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=env).stdout
        networks, seconds, cpu_s, peak_mib = json.loads(output)
        speed = networks / cpu_s / 1e6
        row = f"{networks:,} | {seconds:.2f} | {cpu_s:.2f} | {speed:.1f} | {peak_mib:.0f}"
        print(f"| {title} | {row} |", flush=True)


def _one(number: int) -> None:
    """One question in this process, of one thread: networks considered, seconds, processor seconds, peak memory of the
    process in MiB."""
    from edgeprof.fit.law_file import read_law
    from edgeprof.query import Goal, query_nets

    _, law, ranges, goal = QUESTIONS[number]
    asked = read_law(law)
    begin = time.process_time()
    found = query_nets(asked, ranges, Goal(**goal))
    cpu_s = time.process_time() - begin
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([found.considered, found.elapsed_s, cpu_s, peak_mib]))


if __name__ == "__main__":
    if sys.argv[1:]:
        _one(int(sys.argv[1]))
    else:
        queries()
