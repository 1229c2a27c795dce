"""What only a GPU can show, unattended: ``python -m benchmarks.gpu --out FOLDER [--minutes 8] [--pack FILE.tar.gz]``.

In the order of what matters most (:data:`PARTS`): what the machine is; what the runtime's profile looks like; what
CUPTI records of a few networks; blocking, asynchronous and captured launches; a calibration sweep of 60 networks and
its law; 100 that it never saw; energy, the largest batch, several runs in flight; cuDNN's plans beside the kernels;
groups 1 to 4 of the reference study, and its neuron step. It sets nothing of the GPU.

Each part is a process of its own with a limit of time: what fails or hangs costs the others nothing, and what it said
is in ``FOLDER/PART.txt``. At the end the export, the figures and the report are written anew. The same command
with the same folder goes on with what is not done. ``--pack`` begins with what that archive has, where the folder is
empty, and ends with all of the folder in it, in pieces of at most 15 MiB (``FILE.tar.gz``, ``FILE.tar.gz.1``, …).
``--backend ort-cpu --nets 6`` tries the script itself on a processor.

The folder then has measurements.db, export.json.gz, law.json, figures.json, report.md, machine.json, state.json, and
profile.json with graph.onnx of one network, as the runtime wrote them; and traces-LAUNCH.json.gz: of a few networks
every kernel with name, times, grid, block, registers and shared memory, the host's calls and the nodes, as CUPTI and
the runtime told them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = "state.json"
AMISS = ("failed", "out of time")
UNFINISHED = 3  # exit status of a part that the time did not allow to the end: it goes on next time
LEAST_S = 10.0  # less than that is not begun with
SUMMARY_S = 45.0  # for export and figures, at the end
PIECE = 15 * 2**20
TAIL = 4000


@dataclass(frozen=True)
class Part:
    """A part: the seconds that it may take at once, whether it is of a GPU alone, and a sweep of the command line in
    place of a function of benchmarks.gpu_parts."""

    name: str
    seconds: float
    gpu: bool = False
    sweep: tuple[str, ...] = ()


PARTS = (
    Part("machine", 90),
    Part("probe", 60, gpu=True),
    Part("traces-blocking", 75, gpu=True),
    Part("traces-async", 75, gpu=True),
    Part("traces-graph", 75, gpu=True),
    Part("modes", 120),
    Part("calibration", 240),
    Part("law", 60),
    Part("validation", 180),
    Part(
        "energy",
        60,
        gpu=True,
        sweep=("quick", "--nets", "2", "--launch", "async", "--energy", "--rounds", "1"),
    ),
    Part(
        "largest",
        90,
        gpu=True,
        sweep=("quick", "--nets", "1", "--batch", "max", "--launch", "async", "--rounds", "1"),
    ),
    Part(
        "in-flight",
        60,
        gpu=True,
        sweep=("quick", "--nets", "2", "--launch", "async", "--in-flight", "1,2,4", "--rounds", "1"),
    ),
    Part("plans", 90, gpu=True),
    *(Part(name, 120) for name in ("group1", "group2", "group3", "group4", "neuron-step")),
)


def main() -> int:
    """Run what the time allows; status 1 where a part failed, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--pack", type=Path, help="an archive to begin with and to end in")
    parser.add_argument("--backend", default="ort-cuda")
    parser.add_argument("--nets", type=int, help="of the calibration, and as many to validate (60 and 100)")
    parser.add_argument("--only", help="these parts alone, with commas")
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    if given.pack and not (given.out / STATE).exists():
        unpack(given.pack, given.out)
    wanted = set(given.only.split(",")) if given.only else {part.name for part in PARTS}
    parts = [
        part
        for part in PARTS
        if part.name in wanted
        and (given.backend != "ort-cpu" or not part.gpu)
        and not (given.nets and alike(part))
    ]
    try:
        state = run_all(parts, given.out, deadline, given.backend, given.nets)
    finally:
        if given.pack:
            pack(given.out, given.pack)
    failed = [name for name, told in state.items() if told["status"] == "failed"]
    return 2 if "machine" in failed else 1 if failed else 0


def alike(part: Part) -> bool:
    """The reference study's own sweeps, which a trial of the script leaves out."""
    return part.name.startswith("group") or part.name == "neuron-step"


def run_all(
    parts: Sequence[Part], out: Path, deadline: float, backend: str, nets: int | None
) -> dict[str, dict[str, Any]]:
    """Every part that is not done, one after another, and last what failed before, but for the machine, without which
    nothing runs; the state of all, which is written after each."""
    path = out / STATE
    state: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    ran = False

    def late(part: Part) -> bool:
        return part.name != "machine" and state.get(part.name, {}).get("status") in AMISS

    for part in sorted(parts, key=late):
        if state.get(part.name, {}).get("status") == "done":
            continue
        left = deadline - SUMMARY_S - time.monotonic()
        if left < LEAST_S:
            state[part.name] = {**state.get(part.name, {}), "status": "left out"}
        else:
            told, ran = run_part(part, out, min(part.seconds, left), backend, nets), True
            if told["status"] == "failed" and part.name == "machine":  # nothing else would run
                state[part.name] = told
                break
            state[part.name] = told
        path.write_text(json.dumps(state, indent=1), "utf-8")
        print(f"{part.name}: {state[part.name]}", flush=True)
    path.write_text(json.dumps(state, indent=1), "utf-8")
    if ran:
        run_part(Part("summary", SUMMARY_S), out, SUMMARY_S, backend, nets)
    return state


def run_part(part: Part, out: Path, seconds: float, backend: str, nets: int | None) -> dict[str, Any]:
    """A part in a process of its own, for so many seconds: how it ended and how long it took. What it said is kept."""
    if part.sweep:
        db = ("--db", str(out / "measurements.db"), "--backend", backend)
        command = [sys.executable, "-m", "edgeprof", "sweep", *part.sweep, *db]
    else:
        # what a part is told is less than it gets, so that it ends by itself
        told = (
            "--part",
            part.name,
            "--out",
            str(out),
            "--backend",
            backend,
            "--seconds",
            f"{0.8 * seconds:.0f}",
        )
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu_parts",
            *told,
            *(("--nets", str(nets)) if nets else ()),
        ]
    begin = time.monotonic()
    with (out / f"{part.name}.txt").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
    text = (out / f"{part.name}.txt").read_text("utf-8", "replace")[-TAIL:]
    told_as = {0: "done", UNFINISHED: "unfinished", None: "out of time"}.get(status, "failed")
    if part.sweep and status == 1:  # some cases failed, and are in the database
        told_as = "done"
    last = text.strip().splitlines()[-3:] if told_as != "done" else []
    return {
        "status": told_as,
        "wall_s": round(time.monotonic() - begin, 1),
        **({"said": last} if last else {}),
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """See that a part and what it started are gone: first by asking."""
    for number, patience_s in ((signal.SIGINT, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue


def pack(out: Path, archive: Path) -> list[Path]:
    """All of a folder in an archive, cut into pieces."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    for old in pieces(archive):
        old.unlink()
    found: list[Path] = []
    with tempfile.TemporaryFile() as whole:
        with tarfile.open(fileobj=whole, mode="w:gz") as tar:
            tar.add(out, arcname=".")
        whole.seek(0)
        while data := whole.read(PIECE):
            found.append(archive if not found else archive.with_name(f"{archive.name}.{len(found)}"))
            found[-1].write_bytes(data)
    return found


def unpack(archive: Path, out: Path) -> None:
    """What :func:`pack` packed, where it is there."""
    found = pieces(archive)
    if not found:
        return
    with tempfile.TemporaryFile() as whole:
        for piece in found:
            whole.write(piece.read_bytes())
        whole.seek(0)
        with tarfile.open(fileobj=whole, mode="r:gz") as tar:
            tar.extractall(out, filter="data")


def pieces(archive: Path) -> list[Path]:
    """The pieces of an archive that are there, in order."""
    numbered = sorted(archive.parent.glob(f"{archive.name}.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    return [archive, *numbered] if archive.exists() else []


if __name__ == "__main__":
    sys.exit(main())
