"""The parts of ``python -m benchmarks.gpu``, each in a process of its own: ``python -m benchmarks.gpu_parts --part NAME
--out FOLDER --backend ort-cuda --seconds 60``. Status 3 where the time was too short: it goes on next time.

A part writes what it found to ``FOLDER/figures-NAME.json``; ``summary`` puts them together.
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
from collections.abc import Mapping, Sequence
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
from edgeprof.sweeps.expand import expand, sweep_of
from edgeprof.sweeps.spec import SweepSpec, read_sweep
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
UNFINISHED = 3  # as benchmarks.gpu has it
LEAST_CASES = 24  # for a law
TRACED = (  # launch-bound, in between, saturated; and what asks for other implementations
    (net_spec(conv=1, depth=8, fc=1, neurons=64), 16),
    (net_spec(conv=3, depth=(16, 32, 64), kernel=3, padding="same", fc=2, neurons=512), 64),
    (net_spec(conv=3, depth=128, kernel=3, padding="same", fc=1, neurons=2048), 1024),
    (net_spec(conv=3, depth=(20, 33, 65), kernel=7, padding="same", stride=(1, 2, 1), fc=1), 256),
)
PROBE = net_spec(conv=3, depth=(8, 20, 64), kernel=3, padding="same", fc=2, neurons=128)


def main() -> int:
    """One part; status 2 where edgeprof refuses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--nets", type=int)
    given = parser.parse_args()
    out, name = given.out, given.part
    try:
        if name == "summary":
            summary(out)
        elif name == "probe":
            probe(out, given.seconds)
        elif name.startswith("traces-"):
            traces(out, name.removeprefix("traces-"), given.seconds)
        elif name == "law":
            return law(out, given.backend, given.nets)
        elif name == "plans":
            plans(out, given.seconds)
        else:
            with open_target("cpu" if given.backend == "ort-cpu" else "auto", given.backend) as target:
                if name == "machine":
                    _write(out / "machine.json", {**versions(), "facts": target.backend.facts()})
                    return 0
                return measure(name, out, target, given.seconds, given.nets)
    except EdgeprofError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 2
    return 0


def family(backend: str, nets: int | None) -> SweepSpec:
    """The sweep that a law is fitted to."""
    return read_sweep("quick" if backend == "ort-cpu" else "family-gpu").resampled(nets, None)


def measure(name: str, out: Path, target: Target, seconds: float, nets: int | None) -> int:
    """A part that is a sweep: what it measured, and its figures of what the database has of it then."""
    launches = target.backend.launches
    calibration = expand(family(target.backend.name, nets).override({"launch": (launches[0],)}))
    law_path, rounds = out / "law.json", 3
    if name == "calibration":
        works = calibration
    elif name == "modes":
        few = calibration[: max(len(calibration) // 5, 1)]
        works = tuple(work.model_copy(update={"launch": mode}) for work in few for mode in launches)
    elif name == "validation":
        if not law_path.exists():
            print("there is no law yet: calibration comes first")
            return UNFINISHED
        works, rounds = unseen(read_law(str(law_path)), nets or 100, 7), 1
    else:
        works, rounds = expand(read_sweep(name).override({"launch": (launches[0],)})), 1
    begin = time.monotonic()
    done = run_sweep(
        [sweep_of(work, name) for work in works],
        out / "measurements.db",
        target,
        rounds=rounds,
        stop=STOP,
        budget_s=seconds,
    )
    keys = {target.case(work).key() for work in works}
    found = [m for m in measurements(out / "measurements.db") if m.case.key() in keys]
    figures: dict[str, Any] = {
        "keys": sorted(keys),
        "cases": len(works),
        "rounds": rounds,
        "measured": done.measured,
        "reused": done.reused,
        "failed": [reason for _, reason in done.failed][:5],
        "stopped": done.stopped,
        "wall_s": time.monotonic() - begin,
        "running_s": done.measuring_s,
    }
    if name == "modes":
        figures["compared"] = compared(found, launches)
    elif name == "calibration":
        figures["coverage"] = coverage(found)
    elif name == "validation":
        held = read_law(str(law_path))
        rows = judge(held, usable(found, held.launch))
        figures["scores"] = {"all": _scores(score(rows, LEVEL))}
        for stratum, (low, high) in STRATA.items():
            part = [row for row in rows if low <= row.measured_ms < high]
            if part:
                figures["scores"][stratum] = _scores(score(part, LEVEL))
    _write(out / f"figures-{name}.json", figures)
    return UNFINISHED if done.stopped else 0


def law(out: Path, backend: str, nets: int | None) -> int:
    """The law of what the calibration measured, with the error of each form."""
    path = out / "figures-calibration.json"
    told = json.loads(path.read_text("utf-8")) if path.exists() else {"keys": []}
    keys = set(told["keys"])
    found = [m for m in measurements(out / "measurements.db") if m.case.key() in keys]
    if len(found) < min(LEAST_CASES, len(keys)) or not found:
        print(f"{len(found)} of {len(keys)} cases are measured: the calibration comes first")
        return UNFINISHED
    sweeps = [family(backend, nets).model_dump(mode="json")]
    chosen = select(found, "auto", name="gpu", sweeps=sweeps, launch=found[0].case.launch)
    write_law(chosen.fit.law, out / "law.json")
    figures = {"forms": [asdict(c) for c in chosen.candidates], "cross-validated": _scores(chosen.fit.cv)}
    _write(out / "figures-law.json", {"cases": len(found), "of": len(keys), **figures})
    return 0 if len(found) == len(keys) else UNFINISHED


def plans(out: Path, seconds: float) -> None:
    """cuDNN's first plans on this GPU for the convolutions that were measured, beside the kernels that ran."""
    export(out)
    files = ("--export", str(out / "export.json.gz"), "--out", str(out / "plans.json"))
    _run([sys.executable, "-m", "benchmarks.cudnn_plans", "--capability", *files], seconds)


def export(out: Path) -> None:
    """What the database has, as edgeprof exports it."""
    with gzip.open(out / "export.json.gz", "wt", encoding="utf-8") as stream:
        json.dump([as_dict(m) for m in measurements(out / "measurements.db")], stream)


def summary(out: Path) -> None:
    """All figures in one file and as a page, and the export."""
    names = sorted(path.stem.removeprefix("figures-") for path in out.glob("figures-*.json"))
    figures = {name: json.loads((out / f"figures-{name}.json").read_text("utf-8")) for name in names}
    _write(out / "figures.json", figures)
    (out / "report.md").write_text(report(figures), "utf-8")
    export(out)


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


def probe(out: Path, seconds: float) -> None:
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
    _run([sys.executable, "-c", code], seconds)
    model.unlink()


def traces(out: Path, launch: str, seconds: float) -> None:
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
    try:
        _run([sys.executable, "-c", code], seconds, environment_of("fp32", launch))
    finally:
        for *_, path in models:
            path.unlink()


def _run(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> None:
    """Run a program, which says what it says; SystemExit where it fails or takes longer."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            timeout=seconds,
            check=False,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired:
        raise SystemExit(f"it took longer than {seconds:.0f} s") from None
    if done.returncode:
        raise SystemExit(f"it ended with status {done.returncode}")


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
        try:
            done = subprocess.run([smi, "-q"], capture_output=True, text=True, check=False, timeout=30)
            found["nvidia-smi"] = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            found["nvidia-smi"] = "no answer within 30 s"
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
