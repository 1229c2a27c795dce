"""A runtime in the worker process: builds the network, has it measured, traces kernels back to operators."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgeprof.backends.base import Stop, Sustained
from edgeprof.errors import BackendError, WorkerError
from edgeprof.nets.graph import IR_VERSION, OPSET
from edgeprof.nets.network import net_feeds, net_operators, network_bytes, total_macs, weights_folder
from edgeprof.nets.operators import parse_model
from edgeprof.scratch import scratch_folder
from edgeprof.sweeps.case import Case
from edgeprof.timing.breakdown import Kernel, band_mean, match_events, trace
from edgeprof.timing.measurement import KernelTimes, Round
from edgeprof.timing.noise import of_sampling, sampling_noise
from edgeprof.timing.place import HERE, Here, Place
from edgeprof.timing.process import Worker

LONGEST_REASON = 300  # characters
NOISE_OF_ERRORS = (
    (r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", ""),
    (r"Load model from \S+ failed: ?", ""),
    (r"/\S+:\d+ (?:[\w:<>*& ]+ )?[\w:~]+\([^()]*\) (?:const )?", ""),  # file, line and function of a source
    (r"Error in execution: ", ""),
    (r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ", r"\1 \2: "),
)
CHAIN = 40  # kernels in the network that prices one profile event
PROFILE_S = 0.2
KEPT_BYTES = 2**31  # of network files, in the scratch folder
PATIENCE_S = 60.0  # to start, load and answer, beside the runs
SLOWEST_MACS_PER_S = 1e9  # a network slower than this counts as hung


class RuntimeBackend:
    """Executes networks with the worker's driver module ``driver`` and the runtime's ``providers``, at ``place``."""

    simulated = False

    def __init__(
        self,
        name: str,
        driver: str,
        providers: tuple[str, ...],
        launches: tuple[str, ...],
        environment: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
        place: Place = HERE,
    ) -> None:
        self.name = name
        self.launches = launches
        self._providers = providers
        self._patience_s = patience_s
        self._place = place
        self._worker = Worker(driver, environment, place)
        self._folder = scratch_folder()
        self._facts: dict[str, Any] = {}
        self._traces: dict[str, tuple[Kernel, ...]] = {}
        self._event_us: dict[int, float] = {}

    def runtime(self) -> str:
        facts = self.facts()
        return f"{facts['runtime']} {facts['runtime_version']}"

    def facts(self) -> dict[str, Any]:
        if not self._facts:
            self._facts = self._worker.ask({"do": "describe"}, timeout_s=self._patience_s)
            missing = [p for p in self._providers if p not in self._facts["providers"]]
            if missing:
                raise BackendError(
                    f"this {self._facts['runtime']} has no {missing[0]}", "install the matching extra"
                )
        return {**self._facts, "event_us": dict(self._event_us)}

    def measure(self, case: Case, number: int, stop: Stop, tiles: Path | None) -> Round:
        event_us = self._event_cost(case.threads)
        key = case.key()
        path = self._model(case)
        timeout = (
            self._patience_s + 20 * stop.max_s + 20 * total_macs(case.net, case.batch) / SLOWEST_MACS_PER_S
        )
        options = dict(case.provider_options)
        graph = stop.profile and key not in self._traces
        weights = weights_folder(case.net)
        if weights and not isinstance(self._place, Here):
            raise BackendError(
                f"the weights of {case.net.label()} are over 2 GB: too much to send to a board",
                "copy the model to the board and profile it there",
            )
        answer = self._ask(path, case.threads, options, stop, tiles, graph, timeout, weights, _inputs(case))
        operators = net_operators(case.net, case.batch)
        if "graph" in answer:
            graph = parse_model(base64.b64decode(answer["graph"]), "the optimised graph").graph
            self._traces[key] = trace(graph, operators)
        runs = np.asarray(answer["runs_ns"], np.int64)
        kernels = tuple(
            KernelTimes(kernel.kind, kernel.name, kernel.operators, tuple(event["us"]), kernel.glue)
            for kernel, event in match_events(self._traces.get(key, ()), operators, answer.get("kernels", ()))
        )
        noise = sampling_noise(answer["counters"], float(runs.sum()) / 1e9)
        return Round(
            number=number,
            status="ok",
            runs_ns=runs,
            repeats=answer["repeats"],
            stopped=answer["stopped"],
            half_width=answer["half_width"],
            load_ms=answer["load_ms"],
            first_run_ms=answer["first_ns"] / 1e6,
            host_ms=float(np.median(answer["host_ns"])) / 1e6,
            profiled_us=tuple(answer.get("profiled_us", ())),
            kernels=kernels,
            event_us=event_us,
            telemetry={
                **{name: answer[name] for name in ("memory_mib", "left_mib", "counters")},
                "disturbance": asdict(noise),
            },
            warnings=(*_warnings(runs, kernels, answer["stopped"]), *of_sampling(noise)),
            running_s=answer["running_s"],
        )

    def _model(self, case: Case) -> Path:
        """The file of the case's network: written once and kept for later rounds, as long as all of them are small."""
        folder = Path(self._folder.name)
        path = folder / f"{case.key()}.onnx"
        if not path.exists():
            data = network_bytes(case.net, case.batch)
            kept = list(folder.glob("*.onnx"))
            if sum(p.stat().st_size for p in kept) + len(data) > KEPT_BYTES:
                for old in kept:
                    old.unlink()
            self._write(path, data)
        return path

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all. A full disk is trouble of the whole sweep, not of a case: OSError, with the
        path."""
        try:
            path.write_bytes(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from None

    def sustain(
        self, case: Case, seconds: float, rate_hz: float, meanwhile: Callable[[], None], every_s: float
    ) -> Sustained:
        weights = weights_folder(case.net)
        found = self._worker.ask(
            {
                "do": "sustain",
                "model": self._place.file(self._model(case)),
                "weights": str(weights) if weights else None,
                "inputs": _inputs(case),
                "threads": case.threads,
                "providers": list(self._providers),
                "options": dict(case.provider_options),
                "seconds": seconds,
                "rate_hz": rate_hz,
            },
            self._patience_s + 3 * seconds + 20 * total_macs(case.net, case.batch) / SLOWEST_MACS_PER_S,
            meanwhile=meanwhile,
            every_s=every_s,
        )
        percentiles = found["percentiles_ns"]
        return Sustained(
            runs=found["runs"],
            spent_s=found["spent_ns"] / 1e9,
            busy_s=found["busy_ns"] / 1e9,
            late=found["late"],
            bins=tuple((runs, spent / 1e9, longest / 1e6) for runs, spent, longest in found["bins"]),
            percentiles_ms={name: ns / 1e6 for name, ns in percentiles.items()} if percentiles else None,
        )

    def restart(self) -> None:
        self._worker.close()

    def close(self) -> None:
        self._worker.close()
        self._folder.cleanup()

    def _event_cost(self, threads: int) -> float:
        """What the profiler adds to each kernel's time (µs), from a chain of the smallest kernels there are: their
        profiled sum against the plain latency of the same chain."""
        if threads not in self._event_us:
            path = Path(self._folder.name) / "chain.onnx"
            self._write(path, chain_bytes(CHAIN))
            answer = self._ask(path, threads, {}, Stop(max_s=0.5), None, False, self._patience_s)
            latency = float(np.median(answer["runs_ns"])) / 1e3
            kernels = sum(band_mean(event["us"]) for event in answer["kernels"])
            self._event_us[threads] = max((kernels - latency) / len(answer["kernels"]), 0.0)
        return self._event_us[threads]

    def _ask(
        self,
        model: Path,
        threads: int,
        options: Mapping[str, str],
        stop: Stop,
        tiles: Path | None,
        graph: bool,
        timeout_s: float,
        weights: Path | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            answer = self._worker.ask(
                {
                    "do": "measure",
                    "model": self._place.file(model),
                    "weights": str(weights) if weights else None,
                    "inputs": inputs,
                    "threads": threads,
                    "providers": list(self._providers),
                    "options": dict(options),
                    "stop": stop.as_dict(),
                    "input": self._place.file(tiles) if tiles else None,
                    "seed": 0,
                    "profile_s": PROFILE_S if stop.profile else 0,
                    "graph": graph,
                },
                timeout_s,
            )
        except BackendError as error:
            raise BackendError(plain_reason(error.message), error.hint) from None
        if stop.profile and not answer.get("kernels"):
            raise WorkerError("the profile has no kernels", "the runtime was built without profiling")
        return answer


def plain_reason(text: str) -> str:
    """What a runtime complains of, without its codes, the places in its sources and the path that it was given."""
    for pattern, instead in NOISE_OF_ERRORS:
        text = re.sub(pattern, instead, text)
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def _inputs(case: Case) -> dict[str, Any]:
    """What the worker feeds the network."""
    return {name: feed.as_dict() for name, feed in net_feeds(case.net, case.batch).items()}


def _warnings(runs: Any, kernels: tuple[KernelTimes, ...], stopped: str) -> tuple[str, ...]:
    found = ["target-missed"] if stopped == "time" else []
    latency_us = float(np.median(runs)) / 1e3
    if kernels and latency_us >= 1000 and abs(sum(band_mean(k.us) for k in kernels) / latency_us - 1) > 0.1:
        found.append("coverage")
    return tuple(found)


def chain_bytes(length: int) -> bytes:
    """A chain of ``length`` negations of one number: nothing but the cost of starting kernels."""
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"], name=f"neg{i}") for i in range(length)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("v0", f"v{length}")]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:])
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    data: bytes = model.SerializeToString(deterministic=True)
    return data
