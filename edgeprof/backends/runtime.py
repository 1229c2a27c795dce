"""A runtime in the worker process: builds the network, has it measured, traces kernels back to operators."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgeprof.backends.base import Bins, InFlight, Stop, Sustained
from edgeprof.errors import BackendError, WorkerError
from edgeprof.excerpt import excerpt
from edgeprof.nets.graph import IR_VERSION, OPSET
from edgeprof.nets.network import net_feeds, net_operators, network_bytes, total_macs, weights_folder
from edgeprof.nets.operators import parse_model
from edgeprof.scratch import scratch_folder
from edgeprof.sweeps.case import Case
from edgeprof.timing.breakdown import Kernel, KindOf, band_mean, match_events, processor_kind, trace
from edgeprof.timing.measurement import KernelTimes, Round
from edgeprof.timing.noise import of_sampling, sampling_noise
from edgeprof.timing.place import HERE, Here, Place
from edgeprof.timing.process import Worker
from edgeprof.timing.traced import Traced

LONGEST_REASON = 300  # characters
NOISE_OF_ERRORS = (
    (r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", ""),
    (r"Load model from \S+ failed: ?", ""),
    # file, line and function of a source; the second is a function that is a template
    (r"/\S+:\d+ (?:[\w:<>,*& ]+ )?[\w:~]+\([^()]*\) (?:const )?(?:\[with [^\]]*\] )?", ""),
    (r" ; GPU=-?\d+ ; hostname=\S+ ; file=\S+ ; line=\d+ ; expr=", " in "),  # a library of CUDA's, and where
    (r" with the cudnn frontend json: \{.*\}", ""),
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
    usual = 1
    precisions: tuple[str, ...] = ("fp32",)
    threads = 0
    bounded = True  # a network that is tried out takes no more memory than this machine has available
    kind_of: KindOf = staticmethod(processor_kind)

    def __init__(
        self,
        name: str,
        driver: str,
        providers: tuple[str, ...],
        launches: tuple[str, ...],
        environment: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
        place: Place = HERE,
        needs: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.launches = launches
        self._providers = providers
        self._patience_s = patience_s
        self._place = place
        self._worker = Worker(driver, environment, place, needs)
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
        path = self._model(case)
        timeout = (
            self._patience_s + 20 * stop.max_s + 20 * total_macs(case.net, case.batch) / SLOWEST_MACS_PER_S
        )
        request = {**self._request(case, path, tiles), **self._network(case)}
        wanted = stop.profile
        told = self.traced(case, request, timeout) if wanted else None
        if told is not None or not self.profiled(case):
            stop = replace(stop, profile=False)
        event_us = self._event_cost(case) if told is None else 0.0
        answer = self._ask(case, request, stop, stop.profile and case.key() not in self._traces, timeout)
        runs = np.asarray(answer["runs_ns"], np.int64)
        told = told or Traced(
            kernels=tuple(
                KernelTimes(kernel.kind, kernel.name, kernel.operators, tuple(event["us"]), kernel.glue)
                for kernel, event in self._matched(case, answer, answer.get("kernels", ()))
            ),
            profiled_us=tuple(answer.get("profiled_us", ())),
            warnings=self.advice if wanted else (),
        )
        beside = observed(answer["observed"])
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
            profiled_us=told.profiled_us,
            kernels=told.kernels,
            event_us=event_us,
            telemetry={
                **answer["memory"],
                "counters": answer["counters"],
                **beside,
                **told.telemetry,
                "disturbance": asdict(noise),
            },
            warnings=(
                *_warnings(runs, told, answer["stopped"]),
                *told.warnings,
                *of_sampling(noise),
                *(["throttled"] if beside.get("throttled") else []),
            ),
            running_s=answer["running_s"] + told.running_s,
        )

    def _matched(
        self, case: Case, answer: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
    ) -> tuple[tuple[Kernel, Any], ...]:
        """Profile events beside their kernels; the first time the answer has the graph."""
        operators = net_operators(case.net, case.batch)
        if "graph" in answer:
            graph = parse_model(base64.b64decode(answer["graph"]), "the optimised graph").graph
            self._traces[case.key()] = trace(graph, operators, self.kind_of)
        return match_events(self._traces.get(case.key(), ()), operators, events)

    def traced(self, case: Case, request: Mapping[str, Any], timeout_s: float) -> Traced | None:
        """The kernels of ``case`` as the device itself records them; None where it does not."""
        return None

    @property
    def advice(self) -> tuple[str, ...]:
        """Codes of what is to be said of kernels that the device did not record."""
        return ()

    def _model(self, case: Case) -> Path:
        """The file of the case's network: written once and kept for later rounds, as long as all of them are small."""
        folder = Path(self._folder.name)
        path = folder / f"{case.key()}.onnx"
        if not path.exists():
            data = network_bytes(case.net, case.batch, case.precision)
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
        self,
        case: Case,
        seconds: float,
        rate_hz: float,
        meanwhile: Callable[[], None],
        every_s: float,
        enough: Callable[[Bins], bool] | None = None,
    ) -> Sustained:
        seen: list[Sequence[float]] = []

        def asked(second: Sequence[float]) -> bool:
            seen.append(second)
            return enough is not None and enough(_bins(seen))

        request = {**self._request(case, self._model(case)), **self._network(case)}
        found = self.worker_of(case).ask(
            {
                "do": "sustain",
                **request,
                "seconds": seconds,
                "rate_hz": rate_hz,
                "watched": enough is not None,
            },
            self._patience_s + 3 * seconds + 20 * total_macs(case.net, case.batch) / SLOWEST_MACS_PER_S,
            meanwhile=meanwhile,
            every_s=every_s,
            enough=asked,
        )
        percentiles = found["percentiles_ns"]
        return Sustained(
            runs=found["runs"],
            spent_s=found["spent_ns"] / 1e9,
            busy_s=found["busy_ns"] / 1e9,
            late=found["late"],
            bins=_bins(found["bins"]),
            percentiles_ms={name: ns / 1e6 for name, ns in percentiles.items()} if percentiles else None,
        )

    def overlap(self, case: Case, depths: Sequence[int], turns: int, turn_s: float) -> tuple[InFlight, ...]:
        request = {**self._request(case, self._model(case)), **self._network(case)}
        slowest_s = total_macs(case.net, case.batch) / SLOWEST_MACS_PER_S
        found = self.worker_of(case).ask(
            {"do": "overlap", **request, "depths": list(depths), "turns": turns, "turn_s": turn_s},
            self._patience_s + sum(depths) * turns * (3 * turn_s + 3 * slowest_s) + 20 * slowest_s,
        )
        return tuple(
            InFlight(
                depth=one["depth"],
                runs=one["runs"],
                runs_per_s=tuple(one["runs_per_s"]),
                spent_s=one["spent_ns"] / 1e9,
                percentiles_ms={name: ns / 1e6 for name, ns in one["percentiles_ns"].items()},
            )
            for one in found["depths"]
        )

    def restart(self) -> None:
        self._worker.close()

    def close(self) -> None:
        self._worker.close()
        self._folder.cleanup()

    def _event_cost(self, case: Case) -> float:
        """What the profiler adds to each kernel's time (µs), from a chain of the smallest kernels there are: their
        profiled sum against the plain latency of the same chain."""
        if not self.profiled(case):
            return 0.0
        if case.threads not in self._event_us:
            path = Path(self._folder.name) / "chain.onnx"
            self._write(path, chain_bytes(CHAIN))
            plain = case.model_copy(update={"provider_options": ()})
            request = self._request(plain, path)
            answer = self._ask(plain, request, Stop(max_s=0.5), False, self._patience_s)
            latency = float(np.median(answer["runs_ns"])) / 1e3
            kernels = sum(band_mean(event["us"]) for event in answer["kernels"])
            self._event_us[case.threads] = max((kernels - latency) / len(answer["kernels"]), 0.0)
        return self._event_us[case.threads]

    def worker_of(self, case: Case) -> Worker:
        """The process that runs ``case``."""
        return self._worker

    def profiled(self, case: Case) -> bool:
        """Whether the runtime's profile tells how long the kernels of ``case`` take."""
        return True

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        """What the runtime is told for cases of this precision and launch mode: part of their identity."""
        return ()

    def try_out(self, case: Case) -> None:
        """Run ``case`` once, in the memory that this machine has available. On a processor in a process of its own,
        since what others left of its memory, in pieces, would count.

        :raises OutOfMemory: it does not fit.
        """
        if self.bounded:
            self.worker_of(case).close()
        path = self._model(case)
        patience_s = self._patience_s + total_macs(case.net, case.batch) / SLOWEST_MACS_PER_S
        request = {**self._request(case, path), **self._network(case), "bounded": self.bounded}
        self.worker_of(case).ask({"do": "try", **request}, patience_s)

    def _network(self, case: Case) -> dict[str, Any]:
        """What the worker is told of a network beside its file: what it is fed, and where weights are that it does
        not have.

        :raises BackendError: they are elsewhere than where it is executed.
        """
        folder = weights_folder(case.net)
        if folder and not isinstance(self._place, Here):
            raise BackendError(
                f"the weights of {case.net.label()} are over 2 GB: too much to send to a board",
                "copy the model to the board and profile it there",
            )
        feeds = {name: feed.as_dict() for name, feed in net_feeds(case.net, case.batch).items()}
        return {"inputs": feeds, "weights": str(folder) if folder else None}

    def _request(self, case: Case, model: Path, tiles: Path | None = None) -> dict[str, Any]:
        """What the worker is told of a case and the file of its network, whatever it does with them."""
        return {
            "model": self._place.file(model),
            "weights": None,
            "inputs": None,
            "threads": case.threads,
            "providers": list(self._providers),
            "options": dict(case.provider_options),
            "input": self._place.file(tiles) if tiles else None,
            "seed": 0,
        }

    def _ask(
        self, case: Case, request: Mapping[str, Any], stop: Stop, graph: bool, timeout_s: float
    ) -> dict[str, Any]:
        try:
            answer = self.worker_of(case).ask(
                {
                    "do": "measure",
                    **request,
                    "stop": stop.as_dict(),
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


def _bins(seconds: Sequence[Sequence[float]]) -> Bins:
    """Seconds of a long run, which the worker tells in nanoseconds."""
    return tuple((int(runs), spent / 1e9, longest / 1e6) for runs, spent, longest in seconds)


def plain_reason(text: str) -> str:
    """What a runtime complains of, without its codes, the places in its sources and the path that it was given."""
    for pattern, instead in NOISE_OF_ERRORS:
        text = re.sub(pattern, instead, text)
    return excerpt(text, LONGEST_REASON)


def observed(found: Mapping[str, Any]) -> dict[str, Any]:
    """Telemetry from what a driver observed beside the latency, with what sensors said; of single runs by the device's
    clock the median."""
    told = {name: value for name, value in found.items() if name not in ("device_ns", "sensors")}
    told.update(found.get("sensors", {}))
    if "device_ns" in found:
        told["device_ms"] = float(np.median(found["device_ns"])) / 1e6
    return told


def _warnings(runs: Any, told: Traced, stopped: str) -> tuple[str, ...]:
    """Kernels that take longer together than the network are always amiss; that they leave time to the host is, where
    it was the host that timed them."""
    found = ["target-missed"] if stopped == "time" else []
    latency_us = float(np.median(runs)) / 1e3
    over = sum(band_mean(k.us) for k in told.kernels) / latency_us - 1
    by_host = "kernels_from" not in told.telemetry
    if told.kernels and latency_us >= 1000 and (over > 0.1 or (by_host and over < -0.1)):
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
