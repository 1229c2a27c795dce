"""How long a report of 1,000 cases takes, and how large its page is: ``python -m benchmarks.pages``."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep, read_sweep
from edgeprof.target import open_target

ROOT = Path(__file__).resolve().parents[1]
LAW = ROOT / "tests" / "data" / "laws" / "cpu-kernels.json"
CASES = 1000
REPEATS = 3
GRID = {
    "fc": [1, 2, 3, 4],
    "conv": [1, 2, 3, 4, 5],
    "depth": [8, 16, 32, 64, 80],
    "neurons": [64, 128, 256, 512, 1024],
    "batch": [16, 128],
}


def pages() -> None:
    """A random sample and a grid, each with its law, in processes of their own."""
    print(f"\n## Reports of {CASES:,} cases, with their law\n")
    print("| cases | s | processor s | page MB | figures |")
    print("|---|---|---|---|---|")
    sweeps = {
        "random": read_sweep("family").resampled(CASES, 1),
        "a grid of five variables": parse_sweep({"name": "grid", "net": {"kernel": 3}, "vary": GRID}, "grid"),
    }
    with tempfile.TemporaryDirectory(prefix="edgeprof-pages-") as name:
        for title, sweep in sweeps.items():
            path = Path(name) / "cases.db"
            path.unlink(missing_ok=True)
            with open_target("auto", f"simulated:{LAW},noise=1%") as target:
                run_sweep([sweep], path, target)
            with Store(path) as store:
                assert len(store.measurements()) == CASES
            found = [_timed(path) for _ in range(REPEATS)]
            wall, cpu, size, figures = min(found)
            print(f"| {title} | {wall:.1f} | {cpu:.1f} | {size / 1e6:.1f} | {figures} |", flush=True)


def _timed(path: Path) -> tuple[float, float, int, int]:
    """A whole command: seconds, processor seconds, bytes of the page, figures."""
    out = path.with_suffix(".html")
    command = [sys.executable, "-m", "edgeprof", "report", "--db", path, "--law", LAW, "--out", out, "--json"]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, cwd=ROOT)
    wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(done.stdout)
    return wall, cpu, found["bytes"], len(found["figures"])


if __name__ == "__main__":
    pages()
