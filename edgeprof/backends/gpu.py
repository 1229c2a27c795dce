"""ONNX Runtime on an NVIDIA GPU: launch modes and precision become environment and options of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeprof.backends.base import Stop
from edgeprof.backends.runtime import PATIENCE_S, PROFILE_S, RuntimeBackend, plain_reason
from edgeprof.errors import BackendError, OutOfMemory, WorkerError
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.breakdown import KindOf, device_kind
from edgeprof.timing.place import HERE, Place
from edgeprof.timing.process import Worker
from edgeprof.timing.traced import SOURCE, Traced, traced

DRIVER = "edgeprof.backends.ort_cuda"
NEEDS = (
    "edgeprof.backends.cuda",
    "edgeprof.backends.cupti",
    "edgeprof.nvml",
    "edgeprof.backends.ort",
)
PROVIDER = "CUDAExecutionProvider"

# Numbers of GPUs as NVML and nvidia-smi give them, not the fastest first (CUDA C++ Programming Guide, environment
# variables).
EVERYWHERE: Mapping[str, str] = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
BLOCKING: Mapping[str, str] = {"CUDA_LAUNCH_BLOCKING": "1"}
# NVIDIA's libraries take no TF32 then, whatever they are asked for (cuBLAS and cuDNN documentation); the provider's own
# option is set too, but a plan that failed is tried again with TF32.
EXACT: Mapping[str, str] = {"NVIDIA_TF32_OVERRIDE": "0"}

# From 1.31 on the runtime loads cuDNN when a convolution runs, and without it runs everything else.
NO_CUDNN, CUDNN = "cuDNN is unavailable", "pip install 'onnxruntime-gpu[cudnn]', or the system's cuDNN 9"

TRIAL = net_spec(conv=1, depth=4, fc=1, neurons=8)  # has what needs cuDNN and what needs cuBLAS
TRIAL_STOP = Stop(target_ci=1.0, min_runs=3, min_s=0.0, max_s=0.01, profile=False)


class CudaBackend(RuntimeBackend):
    """ONNX Runtime's CUDA provider. One process for each environment: blocking launches are a matter of it."""

    called = "ort-cuda"
    driver = DRIVER
    needs: tuple[str, ...] = NEEDS
    provider = PROVIDER
    modes: tuple[str, ...] = ("blocking", "async", "graph")
    patience_s = PATIENCE_S
    usual = 2
    precisions: tuple[str, ...] = ("fp32", "tf32")
    threads = 1
    bounded = False  # the driver reserves more addresses than there is memory, and the GPU's own bounds it
    kind_of: KindOf = staticmethod(device_kind)

    def __init__(self, place: Place = HERE) -> None:
        environment = environment_of(self.precisions[0], self.modes[0])
        super().__init__(
            self.called,
            self.driver,
            (self.provider,),
            self.modes,
            environment,
            self.patience_s,
            place,
            self.needs,
        )
        self._workers: dict[tuple[Any, ...], Worker] = {(*sorted(environment.items()), False): self._worker}
        self._tried = False
        self._untraced = ""  # why CUPTI does not tell of kernels

    def facts(self) -> dict[str, Any]:
        """Versions and circumstances. The first time a small network is run and traced: what is missing is said before
        a sweep.

        :raises BackendError: the runtime, the driver, a library or the GPU is missing.
        """
        found = super().facts()
        if not self._tried:
            self._try(found)
            self._tried = True
        return {
            **found,
            "kernels_from": "the profile" if self._untraced else SOURCE,
            "cupti": self._untraced or None,
        }

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        captured = {"enable_cuda_graph": "1"} if launch == "graph" else {}
        exact = "0" if precision == "fp32" else "1"
        chosen = {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": exact, **captured}
        return tuple(sorted(chosen.items()))

    def profiled(self, case: Case) -> bool:
        """With blocking launches alone: else a node's time in the profile is that of its launch, and a captured graph
        has no nodes."""
        return case.launch == "blocking"

    def worker_of(self, case: Case, traced: bool = False) -> Worker:
        """The process for the environment of ``case``; one apart where kernels are traced, so that CUPTI is never where
        a latency is measured."""
        environment = environment_of(case.precision, case.launch)
        key = (*sorted(environment.items()), traced)
        if key not in self._workers:
            self._workers[key] = Worker(self.driver, environment, self._place, self.needs)
        return self._workers[key]

    def traced(self, case: Case, request: Mapping[str, Any], timeout_s: float) -> Traced | None:
        """By CUPTI, in every launch mode. What it once refuses it is not asked again: kernels are then those of the
        profile."""
        if self._untraced:
            return None
        worker, graph = self.worker_of(case, traced=True), case.key() not in self._traces
        try:
            answer = worker.ask({"do": "trace", **request, "trace_s": PROFILE_S, "graph": graph}, timeout_s)
        except OutOfMemory:  # its measurement will tell, which has more room without this process
            worker.close()
            return None
        except (BackendError, WorkerError) as error:
            worker.close()
            self._untraced = plain_reason(f"{error.message} · {error.hint}")
            return None
        try:
            matched = self._matched(case, answer, answer["events"])
        except WorkerError:  # a node that is not in the graph; the profile, which knows no more, says which
            return None
        return traced(answer, [kernel for kernel, _ in matched], case.precision)

    @property
    def advice(self) -> tuple[str, ...]:
        return ("host-kernels",) if self._untraced else ()

    def try_out(self, case: Case) -> None:
        """As on a processor, with the GPU's memory to itself."""
        for key, worker in self._workers.items():
            if key[-1]:
                worker.close()
        super().try_out(case)

    def restart(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def close(self) -> None:
        self.restart()
        super().close()

    def _try(self, facts: Mapping[str, Any]) -> None:
        case = Case(
            net=TRIAL,
            batch=1,
            precision=self.precisions[0],
            threads=1,
            launch=self.modes[0],
            provider_options=self.options(self.precisions[0], self.modes[0]),
            board="",
            machine="",
            backend=self.name,
            runtime="",
        )
        request = self._request(case, self._model(case))
        try:
            self._ask(case, request, TRIAL_STOP, False, self._patience_s)
            self.traced(case, request, self._patience_s)
        except WorkerError as error:
            runtime = f"{facts['runtime']} {facts['runtime_version']}"
            raise BackendError(
                f"{runtime} cannot run a network on {facts['gpu']}: {error.message}", error.hint
            ) from None
        except BackendError as error:
            if NO_CUDNN not in error.message:
                raise
            raise BackendError(error.message, CUDNN) from None


def environment_of(precision: str, launch: str) -> dict[str, str]:
    """Variables that must be set before the runtime starts. A captured graph is never run with blocking launches, which
    CUDA refuses."""
    blocking = BLOCKING if launch == "blocking" else {}
    return {**EVERYWHERE, **blocking, **(EXACT if precision == "fp32" else {})}
