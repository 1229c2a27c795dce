"""What only a GPU can show, unattended: ``python -m benchmarks.gpu --out FOLDER [--minutes 8]``.

In the order of what matters most: what the runtime's profile looks like; what CUPTI records of a few networks;
blocking, asynchronous and captured launches; a calibration sweep of 60 networks and its law; 100 that it never saw;
groups 1 to 4 of the reference study, and its neuron step. What the time does not allow is left out: the same command
with the same folder goes on from there. It sets nothing of the GPU. ``--backend ort-cpu --nets 6`` tries the script
itself on a processor.

The folder then has measurements.db, export.json.gz, law.json, figures.json, report.md, versions.json, and profile.json
with graph.onnx of one network, as the runtime wrote them; and traces-LAUNCH.json.gz: of a few networks every kernel
with name, times, grid, block, registers and shared memory, the host's calls and the nodes, as CUPTI and the runtime
told them (traces-LAUNCH.txt: why not).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.backends.base import Stop
from edgeprof.backends.gpu import CudaBackend, environment_of
from edgeprof.errors import EdgeprofError
from edgeprof.export import as_dict
from edgeprof.fit.examples import usable
from edgeprof.fit.law import LEVEL
from edgeprof.fit.law_file import read_law, write_law
from edgeprof.fit.select import select
from edgeprof.fit.validate import judge, score
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.case import Workload
from edgeprof.sweeps.expand import expand, sweep_of
from edgeprof.sweeps.spec import read_sweep
from edgeprof.target import Target, open_target
from edgeprof.timing.measurement import Measurement
from edgeprof.validation import unseen

STRATA = {"under 0.1 ms": (0.0, 0.1), "0.1 to 1 ms": (0.1, 1.0), "1 ms and more": (1.0, float("inf"))}
PACKAGES = (
    "edgeprof",
    "onnxruntime-gpu",
    "onnxruntime",
    "nvidia-ml-py",
    "nvidia-cudnn-cu13",
    "cupti-python",
    "nvidia-cuda-cupti",
    "numpy",
    "onnx",
)
STOP = Stop(min_s=0.05, max_s=0.5)
GROUPS = ("group1", "group2", "group3", "group4")
TRACED = (  # launch-bound, in between, saturated; and what asks for other implementations
    (net_spec(conv=1, depth=8, fc=1, neurons=64), 16),
    (net_spec(conv=3, depth=(16, 32, 64), kernel=3, padding="same", fc=2, neurons=512), 64),
    (net_spec(conv=3, depth=128, kernel=3, padding="same", fc=1, neurons=2048), 1024),
    (net_spec(conv=3, depth=(20, 33, 65), kernel=7, padding="same", stride=(1, 2, 1), fc=1), 256),
)
PROBE = net_spec(conv=3, depth=(8, 20, 64), kernel=3, padding="same", fc=2, neurons=128)


def main() -> int:
    """Run what the time allows; status 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--backend", default="ort-cuda")
    parser.add_argument("--nets", type=int, help="of the calibration, and as many to validate (60 and 100)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * given.minutes
    _write(given.out / "versions.json", versions())
    try:
        with open_target("cpu" if given.backend == "ort-cpu" else "auto", given.backend) as target:
            _write(given.out / "facts.json", target.backend.facts())
            if given.backend == "ort-cuda":
                probe(given.out)
                for launch in target.backend.launches:
                    traces(given.out, launch)
            figures = measure_all(given.out, target, deadline, given.nets)
    except EdgeprofError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 2
    _write(given.out / "figures.json", figures)
    (given.out / "report.md").write_text(report(figures), "utf-8")
    print(report(figures))
    return 0


def measure_all(out: Path, target: Target, deadline: float, nets: int | None) -> dict[str, Any]:
    """Every step in turn, and the figures of what the database has then."""
    db = out / "measurements.db"
    family = read_sweep("quick" if target.backend.name == "ort-cpu" else "family-gpu").resampled(nets, None)
    calibration = expand(family.override({"launch": (target.backend.launches[0],)}))
    few = calibration[: max(len(calibration) // 5, 1)]
    modes = [work.model_copy(update={"launch": mode}) for work in few for mode in target.backend.launches]
    figures: dict[str, Any] = {"steps": {}}

    def step(name: str, works: Sequence[Workload], rounds: int) -> list[Measurement]:
        left = deadline - time.monotonic()
        told: dict[str, Any] = {"cases": len(works), "rounds": rounds}
        if left > 1:
            begin = time.monotonic()
            sweeps = [sweep_of(work, name) for work in works]
            done = run_sweep(sweeps, db, target, rounds=rounds, stop=STOP, budget_s=left)
            told |= {
                "measured": done.measured,
                "failed": [r for _, r in done.failed][:5],
                "stopped": done.stopped,
            }
            told |= {"wall_s": time.monotonic() - begin, "running_s": done.measuring_s}
        figures["steps"][name] = told
        print(f"{name}: {told}", flush=True)
        keys = {target.case(work).key() for work in works}
        return [m for m in measurements(db) if m.case.key() in keys]

    figures["modes"] = compared(step("launch modes", modes, 3), target.backend.launches)
    calibrated = step("calibration", calibration, 3)
    figures["coverage"] = coverage(calibrated)
    law_path = out / "law.json"
    if len(calibrated) == len(calibration):
        sweeps = [family.model_dump(mode="json")]
        chosen = select(calibrated, "auto", name="gpu", sweeps=sweeps, launch=target.backend.launches[0])
        write_law(chosen.fit.law, law_path)
        figures["forms"] = [asdict(c) for c in chosen.candidates]
        figures["cross-validated"] = _scores(chosen.fit.cv)
    if law_path.exists():
        law = read_law(str(law_path))
        held = step("validation", unseen(law, nets or 100, 7), 1)
        rows = judge(law, usable(held, law.launch))
        figures["validated"] = {"all": _scores(score(rows, LEVEL))}
        for name, (low, high) in STRATA.items():
            part = [row for row in rows if low <= row.measured_ms < high]
            if part:
                figures["validated"][name] = _scores(score(part, LEVEL))
    for name in (*GROUPS, "neuron-step"):
        step(
            name,
            expand(read_sweep(name).override({"launch": (target.backend.launches[0],)})) if not nets else (),
            1,
        )
    with gzip.open(out / "export.json.gz", "wt", encoding="utf-8") as stream:
        json.dump([as_dict(m) for m in measurements(db)], stream)
    return figures


def measurements(db: Path) -> list[Measurement]:
    """What the database has; nothing where there is none yet."""
    if not db.exists():
        return []
    with Store(db) as store:
        return list(store.measurements())


def compared(found: Sequence[Measurement], launches: Sequence[str]) -> dict[str, Any]:
    """The latency with each launch mode over that with the first, by the size of the network, and what the first mode's
    GPU time is of its latency."""
    by_net: dict[Any, dict[str, Measurement]] = {}
    for m in found:
        if m.latency_ms is not None:
            by_net.setdefault((m.case.net, m.case.batch), {})[m.case.launch] = m
    figures: dict[str, Any] = {}
    for mode in launches:
        for name, (low, high) in STRATA.items():
            pairs = [
                (one[launches[0]], one[mode]) for one in by_net.values() if mode in one and launches[0] in one
            ]
            inside = [(a, b) for a, b in pairs if low <= _ms(a) < high]
            if inside:
                ratios = [_ms(b) / _ms(a) for a, b in inside]
                device = [b.telemetry["device_ms"] / _ms(b) for _, b in inside if "device_ms" in b.telemetry]
                kernels = [
                    b.telemetry["gpu_kernels_ms"] / _ms(b)
                    for _, b in inside
                    if "gpu_kernels_ms" in b.telemetry
                ]
                figures[f"{mode}, {name}"] = {
                    "networks": len(ratios),
                    "latency_over_first": _spread(ratios),
                    "device_over_latency": _spread(device),
                    "kernels_over_latency": _spread(kernels),
                }
    return figures


def coverage(found: Sequence[Measurement]) -> dict[str, Any]:
    """The raw sum of kernels over the latency, and how far rounds lie apart."""
    figures: dict[str, Any] = {}
    for name, (low, high) in STRATA.items():
        inside = [m for m in found if m.latency_ms is not None and low <= m.latency_ms < high]
        covered = [m.coverage for m in inside if m.coverage is not None]
        figures[name] = {
            "networks": len(inside),
            "coverage": _spread(covered),
            "within_97_103_pct": 100 * float(np.mean([0.97 <= c <= 1.03 for c in covered]))
            if covered
            else None,
            "spread_pct": _spread([m.spread_pct for m in inside if m.spread_pct is not None]),
        }
    return figures


def probe(out: Path) -> None:
    """One network with blocking launches in a process of its own: the profile and the graph, as the runtime wrote
    them."""
    model = out / "probe.onnx"
    model.write_bytes(model_bytes(PROBE, 64))
    code = f"""
import os, shutil
os.environ.update(CUDA_LAUNCH_BLOCKING="1", NVIDIA_TF32_OVERRIDE="0")
from edgeprof.backends import ort_cuda
session = ort_cuda.load({str(model)!r}, 1, [ort_cuda.PROVIDER], {{"use_tf32": "0"}}, None, "graph")
session.bind({{name: ort_cuda.noise(wanted, 0) for name, wanted in session.inputs().items()}})
for _ in range(5):
    session.run()
shutil.copy(session._session.end_profiling(), {str(out / "profile.json")!r})
open({str(out / "graph.onnx")!r}, "wb").write(session.graph())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        (out / "probe.txt").write_text(done.stderr, "utf-8")


def traces(out: Path, launch: str) -> None:
    """What CUPTI records of a few networks with a launch mode, in a process of its own; else why it does not."""
    models = []
    for number, (net, batch) in enumerate(TRACED):
        models.append((net.label(), batch, out / f"traced-{number}.onnx"))
        models[-1][2].write_bytes(model_bytes(net, batch))
    with closing(CudaBackend()) as backend:
        options = dict(backend.options("fp32", launch))
    code = f"""
import gzip, json
from edgeprof.backends import ort_cuda
found = []
for name, batch, model in {[(name, batch, str(path)) for name, batch, path in models]!r}:
    options = {options!r}
    request = dict(model=model, threads=1, providers=[ort_cuda.PROVIDER], options=options, trace_s=0.05, graph=False)
    noise = lambda wanted: {{key: ort_cuda.noise(one, 0) for key, one in wanted.items()}}
    found.append(dict(network=name, batch=batch, launch={launch!r}, **ort_cuda.trace(request, noise)))
with gzip.open({str(out / f"traces-{launch}.json.gz")!r}, "wt") as stream:
    json.dump(found, stream)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment_of("fp32", launch)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        (out / f"traces-{launch}.txt").write_text(done.stderr, "utf-8")
    for *_, path in models:
        path.unlink()


def versions() -> dict[str, Any]:
    """Versions of packages, of Python, and what nvidia-smi says."""
    found: dict[str, Any] = {"python": sys.version, "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    smi = shutil.which("nvidia-smi")
    if smi:
        found["nvidia-smi"] = subprocess.run([smi, "-q"], capture_output=True, text=True, check=False).stdout
    return found


def report(figures: dict[str, Any]) -> str:
    """The figures as a page."""
    parts = (f"## {title}\n\n```json\n{json.dumps(part, indent=1)}\n```\n" for title, part in figures.items())
    return "\n".join(["# Figures of a GPU\n", *parts])


def _scores(scores: Any) -> dict[str, Any] | None:
    return {k: v for k, v in asdict(scores).items() if k != "rows"} if scores else None


def _ms(measured: Measurement) -> float:
    assert measured.latency_ms is not None
    return measured.latency_ms


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"p5": float(low), "median": float(middle), "p95": float(high)}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
