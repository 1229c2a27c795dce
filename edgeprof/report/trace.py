"""A profile as a trace of Chrome's Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

The JSON object form: metadata events (``ph`` M) name processes and threads, complete events (``ph`` X) have a start
and a duration in microseconds, counter events (``ph`` C) a value from their time on. Events of one thread do not
overlap, which Perfetto asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprof.files import write_whole
from edgeprof.profile import Profile

RUN, MEASURED, ON_AND_ON = 1, 2, 3  # processes: one run taken apart, the runs that were timed, a long run
MOST_RUNS = 20_000  # of each round, so that a file opens


def trace_json(found: Profile) -> str:
    """The text of the trace.

    One process shows a run of the latency: its kernels end to end in their order, and what they leave of it. The other
    shows every timed run as it came, a thread a round: the tails. Where it ran on and on too, a third has throughput,
    power, clock and temperature over that time.
    """
    m = found.measurement
    return json.dumps(
        {
            "traceEvents": [*_run(found), *_timed(found), *_on_and_on(found)],
            "displayTimeUnit": "ms",
            "otherData": {
                "network": found.net.label(),
                "batch": m.case.batch,
                "machine": m.case.machine,
                "backend": m.case.backend,
                "runtime": m.case.runtime,
                "threads": m.case.threads,
                "latency_ms": m.latency_ms,
                "unattributed_ms": m.unattributed_ms,
                "simulated": m.simulated,
            },
        },
        ensure_ascii=False,
        allow_nan=False,
    )


def write_trace(found: Profile, path: Path) -> None:
    """Write :func:`trace_json` to ``path``.

    :raises SpecError: where it cannot be written.
    """
    write_whole(path, trace_json(found) + "\n")


def _run(found: Profile) -> Iterator[dict[str, Any]]:
    m = found.measurement
    yield from _named(RUN, f"{found.net.label()}, batch {m.case.batch}", {1: "run", 2: "kernels"})
    latency = _ns(found.latency_ms)
    about = {"latency_ms": found.latency_ms, "gflops": found.gflops, "gbps": found.gbps}
    yield _complete("run", "run", RUN, 1, 0, latency, about)
    at = 0
    for k in found.kernels:
        lasts = _ns(k.kernel.ms)
        details = {
            "kind": k.kernel.kind,
            "nodes": [name for name, _ in k.operators],
            "operators": [op_type for _, op_type in k.operators],
            **k.figures(found.roofline),
            **({"device": asdict(k.kernel.device)} if k.kernel.device else {}),
        }
        yield _complete(k.kernel.name, k.kernel.kind, RUN, 2, at, lasts, details)
        at += lasts
    if found.kernels and latency > at:
        yield _complete("not attributed", "residual", RUN, 2, at, latency - at, {"ms": m.unattributed_ms})


def _timed(found: Profile) -> Iterator[dict[str, Any]]:
    threads = {number: f"round {number}" for number in range(1, len(found.runs_ms) + 1)}
    yield from _named(MEASURED, "timed runs", threads)
    for number, runs in enumerate(found.runs_ms, 1):
        at = 0
        for order, ms in enumerate(runs[:MOST_RUNS], 1):
            late = found.deadline is not None and ms > found.deadline.ms
            lasts = _ns(float(ms))
            name = "missed deadline" if late else "run"
            yield _complete(name, name, MEASURED, number, at, lasts, {"run": order, "ms": float(ms)})
            at += lasts


def _on_and_on(found: Profile) -> Iterator[dict[str, Any]]:
    """Counter events (``ph`` C), each from the beginning of its point on."""
    curve = found.measurement.telemetry.get("sustained", {}).get("curve", ())
    if curve:
        yield from _named(ON_AND_ON, "on and on", {})
    at_s = 0.0
    for point in curve:
        for name, value in point.items():
            if name != "at_s":
                yield {
                    "ph": "C",
                    "name": name,
                    "pid": ON_AND_ON,
                    "tid": 0,
                    "ts": 1e6 * at_s,
                    "args": {name: value},
                }
        at_s = point["at_s"]


def _ns(ms: float) -> int:
    """Whole nanoseconds: what Perfetto keeps, so that neighbours touch and do not overlap."""
    return round(ms * 1e6)


def _complete(
    name: str, category: str, process: int, thread: int, at: int, lasts: int, details: Mapping[str, Any]
) -> dict[str, Any]:
    times = {"ts": at / 1e3, "dur": lasts / 1e3}
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": process,
        "tid": thread,
        **times,
        "args": dict(details),
    }


def _named(process: int, name: str, threads: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": name}}
    for thread, label in threads.items():
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": label}}
