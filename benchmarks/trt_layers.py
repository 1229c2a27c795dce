"""The reader of layers on files that TensorRT wrote: what it makes of an engine's layers and their times.

``python -m benchmarks.trt_layers FOLDER [--onnx FILE]`` reads every JSON file of a folder, however deep, that
TensorRT's engine inspector wrote (``trtexec --exportLayerInfo --profilingVerbosity=detailed``), each with the profile
beside it that has the same layers (``--exportProfile``); with ``--onnx`` it traces them to the network that the engines
were built from.
NVIDIA's TREx has such files (NVIDIA/TensorRT, tag v10.3.0, tools/experimental/trt-engine-explorer), and so has
fuzzylabs/edge-vision-power-estimation (both Apache-2.0).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprof.errors import EdgeprofError
from edgeprof.nets.model import model_file
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import Operator
from edgeprof.timing.engine import MOVES, Layer, match_times, parse_layers, trace_layers
from edgeprof.timing.kernel_names import UNKNOWN, read_name


@dataclass(frozen=True)
class Reading:
    """What was made of one engine: of its ``layers`` those that ``work``, those with a format and a kernel's name among
    them, and kernels whose name tells how they work; how many have a ``time``, their sum (ms) and how far the
    profile's own parts of it add up to one; and, with a network, the layers that its operators were traced to, and how
    many operators are told by name."""

    layers: int
    work: int
    formats: int
    kernels: int
    read: int
    times: int = 0
    total_ms: float = math.nan
    parts: float = math.nan
    traced: int = 0
    strayed: int = 0


def read(
    layers: Sequence[Layer], profile: Sequence[Mapping[str, Any]], operators: Sequence[Operator]
) -> Reading:
    """What the reader makes of ``layers``, of trtexec's ``profile`` of them, and of the ``operators`` of the network.
    ``strayed``: layers that work and were traced to no operator."""
    work = [one for one in layers if one.layer_type and one.layer_type not in MOVES]
    tactics = [one.tactic for one in work if one.tactic]
    traced = trace_layers(layers, operators) if operators else ()
    events = [{"name": one["name"], "us": [1e3 * one["averageMs"]]} for one in profile]
    names = {one.name for one in layers}
    matched = match_times(traced, operators, events) if operators else ()
    kernels = [kernel for kernel, _ in matched] or list(traced)
    return Reading(
        layers=len(layers),
        work=len(work),
        formats=sum(bool(one.precision) for one in work),
        kernels=len(tactics),
        read=sum(read_name(one).implementation != UNKNOWN for one in tactics),
        times=sum(event["name"] in names for event in events),
        total_ms=sum(one["averageMs"] for one in profile) if profile else math.nan,
        parts=sum(one["percentage"] for one in profile) / 100 if profile else math.nan,
        traced=sum(not kernel.glue for kernel in kernels),
        strayed=sum(kernel.glue and kernel.name in {one.name for one in work} for kernel in kernels),
    )


def engines(folder: Path) -> Iterator[tuple[Path, tuple[Layer, ...], list[dict[str, Any]]]]:
    """Every inspector's file under ``folder``, its layers, and the profile in the same folder that has their names."""
    found = {path: _json(path) for path in sorted(folder.rglob("*.json"))}
    for path, document in found.items():
        if not isinstance(document, dict) or not document.get("Layers"):
            continue
        layers = parse_layers(json.dumps(document))
        names = {one.name for one in layers}
        beside = (other for place, other in found.items() if place.parent == path.parent)
        profiles = ([e for e in other if "averageMs" in e] for other in beside if _is_profile(other))
        yield path, layers, next((one for one in profiles if {e["name"] for e in one} == names), [])


def _is_profile(document: Any) -> bool:
    return isinstance(document, list) and any(
        isinstance(one, dict) and "averageMs" in one for one in document
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each engine; 1 where there is none, or a layer that works has no format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--onnx", type=Path, help="the network that the engines were built from")
    given = parser.parse_args(arguments)
    try:
        operators = net_operators(model_file(given.onnx), 1) if given.onnx else ()
    except EdgeprofError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 2
    readings = []
    print(
        "layers  work formats kernels  read times  sum ms  parts" + ("  traced strayed" if operators else "")
    )
    for path, layers, profile in engines(given.folder):
        one = read(layers, profile, operators)
        counts = f"{one.layers:6} {one.work:5} {one.formats:7} {one.kernels:7} {one.read:5} {one.times:5}"
        network = f" {one.traced:7} {one.strayed:7}" if operators else ""
        print(f"{counts} {one.total_ms:7.3f} {one.parts:6.3f}{network}  {path.name}")
        readings.append(one)
    return int(not readings or any(one.formats < one.work for one in readings))


if __name__ == "__main__":
    sys.exit(main())
