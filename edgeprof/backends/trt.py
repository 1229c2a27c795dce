"""TensorRT without another runtime around it: engines from ONNX, on the GPU or on a DLA of a Jetson."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.backends.base import Stop
from edgeprof.backends.gpu import CudaBackend
from edgeprof.errors import BackendError, WorkerError
from edgeprof.nets.blocks import block
from edgeprof.nets.network import net_operators, network_bytes
from edgeprof.sweeps.case import Case
from edgeprof.timing.breakdown import Kernel
from edgeprof.timing.engine import (
    Layer,
    fallen_back,
    match_times,
    parse_layers,
    precisions_ran,
    trace_layers,
)
from edgeprof.timing.measurement import Round
from edgeprof.timing.place import HERE, Place
from edgeprof.timing.traced import Traced, told_precision

GPU = "gpu"
SOURCE = "TensorRT"  # telemetry.kernels_from: the profiler that it has of its own
DLA = re.compile(r"dla\d")
BUILD_S = 600.0  # the longest that an engine may take to build
BUILT_AGAIN = 3  # networks of a sweep …
BUILDS = 3  # … that are built so often, to see how far engines of the same network differ
STEPS = 40  # layers of the network that prices the events around a layer


class TrtBackend(CudaBackend):
    """TensorRT. A case's number format is in its graph (:mod:`edgeprof.nets.precision`); what each layer of the engine
    really computes in, its inspector tells. ``device``: ``gpu``, or ``dla0``, which leaves to the GPU what it cannot
    run."""

    called = "tensorrt"
    driver = "edgeprof.backends.tensorrt"
    needs = ("edgeprof.backends.cuda", "edgeprof.nvml", "edgeprof.backends.ort")
    provider = "TensorRT"
    patience_s = BUILD_S
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16", "int8")

    def __init__(self, place: Place = HERE, device: str = GPU) -> None:
        if device != GPU:
            self.precisions = ("fp16", "int8")
        self.device = checked_device(device)
        super().__init__(place)
        self._layers: dict[str, tuple[Layer, ...]] = {}
        self._again: set[tuple[Any, ...]] = set()  # networks that are built again
        self._rebuilt: dict[str, tuple[float, ...]] = {}  # case → latencies of its engines

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        captured = {"capture": "1"} if launch == "graph" else {}
        return tuple(sorted({"device": self.device, "precision": precision, **captured}.items()))

    def profiled(self, case: Case) -> bool:
        """In every launch mode: TensorRT puts events around its layers, in a captured graph too."""
        return True

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "kernels_from": SOURCE, "cupti": None}

    def traced(self, case: Case, request: Mapping[str, Any], timeout_s: float) -> Traced | None:
        """None: TensorRT tells of its layers itself."""
        return None

    def measure(self, case: Case, number: int, stop: Stop, tiles: Path | None) -> Round:
        """As every runtime does; with the formats that its products were computed in, what a DLA left to the GPU, and
        of the first networks the latency of engines that were built again."""
        found = super().measure(case, number, stop, tiles)
        key = case.key()
        told, warnings = dict(found.telemetry), found.warnings
        if found.kernels:
            layers, operators = self._layers[key], net_operators(case.net, case.batch)
            us = {k.name: max(float(np.median(k.us)) - found.event_us, 0.0) for k in found.kernels}
            ran = precisions_ran(layers, operators, us)
            told.update({"kernels_from": SOURCE, "precision_ran": ran, "event_us": found.event_us})
            warnings += told_precision(case.precision, ran)
            if self.device != GPU:
                told["dla_fallback"] = list(fallen_back(layers, operators))
        network = (case.net, case.batch, case.precision)
        if len(self._again) < BUILT_AGAIN and number == 1:
            self._again.add(network)
        if network in self._again and number == 1 and key not in self._rebuilt:
            again = (self._latency_ms(case, build, stop, found.latency_ms) for build in range(2, BUILDS + 1))
            self._rebuilt[key] = (found.latency_ms, *again)
        if key in self._rebuilt:
            told["builds_ms"] = list(self._rebuilt[key])
            told["build_spread_pct"] = 100 * (max(self._rebuilt[key]) / min(self._rebuilt[key]) - 1)
        return replace(found, telemetry=told, warnings=warnings)

    def _latency_ms(self, case: Case, build: int, stop: Stop, guess_ms: float) -> float:
        """The median run of an engine of its own, built without what earlier builds found."""
        request = {**self._request(case, self._model(case)), **self._network(case)}
        request["options"] = {**request["options"], "build": str(build)}
        plain = replace(stop, profile=False)
        answer = self._ask(case, request, plain, False, self._patience_s + 20 * stop.max_s + guess_ms)
        return float(np.median(answer["runs_ns"])) / 1e6

    def _matched(
        self, case: Case, answer: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
    ) -> tuple[tuple[Kernel, Any], ...]:
        operators, key = net_operators(case.net, case.batch), case.key()
        if "graph" in answer:
            told = base64.b64decode(answer["graph"]).decode(errors="replace")
            self._layers[key] = parse_layers(told)
            self._traces[key] = trace_layers(self._layers[key], operators, case.precision)
        return match_times(self._traces.get(key, ()), operators, events)

    def _event_cost(self, case: Case) -> float:
        """What TensorRT's events add to the time of a layer (µs); 0 where that cannot be told. In thirteen published
        profiles it was 1.6 to 7.5 µs (decision 30). Of a DLA, whose layers are few, nothing is known."""
        if self.device != GPU:
            return 0.0
        if case.threads not in self._event_us:
            try:
                self._event_us[case.threads] = self._priced(case)
            except (WorkerError, BackendError):  # it does not run, or not captured; the case may all the same
                self._event_us[case.threads] = 0.0
        return self._event_us[case.threads]

    def _priced(self, case: Case) -> float:
        """Of a chain of small convolutions in a captured graph, whose kernels follow one another at once, the layers'
        sum against a run by the GPU's clock, for each layer (µs)."""
        path = Path(self._folder.name) / "steps.onnx"
        self._write(path, steps_bytes(STEPS))
        options = self.options("fp32", "graph")
        chain = case.model_copy(update={"launch": "graph", "precision": "fp32", "provider_options": options})
        answer = self._ask(chain, self._request(chain, path), Stop(max_s=0.5), False, self._patience_s)
        if self.worker_of(chain) is not self.worker_of(case):
            self.worker_of(chain).close()
        layers = [us for us in (float(np.median(event["us"])) for event in answer["kernels"]) if us]
        alone = float(np.median(answer["observed"]["device_ns"])) / 1e3
        return max((sum(layers) - alone) / max(len(layers), 1), 0.0)


def steps_bytes(length: int) -> bytes:
    """A chain of ``length`` small convolutions (64 at most), which TensorRT does not make one of."""
    return network_bytes(block(of="conv", size=8, channels=16, depth=(16,) * length, act=""), 1)


def checked_device(device: str) -> str:
    """``gpu``, ``dla0`` and so on.

    :raises BackendError: it is none of them.
    """
    if device != GPU and not DLA.fullmatch(device):
        raise BackendError(
            f"there is no device '{device}'", "gpu, or dla0 and dla1 of a Jetson that has them"
        )
    return device
