"""Roofline: how fast a board computes and moves bytes at best, measured by two networks of the family.

The model is that of Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52
(2009): work takes as long as its arithmetic or its traffic does, whichever is longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgeprof.backends.base import Stop
from edgeprof.errors import BackendError, DomainError, WorkerError
from edgeprof.nets.network import net_operators
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.sweeps.case import Precision, Workload
from edgeprof.target import Target
from edgeprof.timing.measurement import Measurement, measurement
from edgeprof.work import work_of

COMPUTE: tuple[NetSpec, int] = (net_spec(conv=0, tile=32, fc=1, neurons=1024), 768)  # 768×1024×1024
INPUTS = 4096  # of the streaming layer; each weight is read once a run
NEURONS = (4096, 32_768)  # least and most of it: 64 to 512 MiB of weights
STOP = Stop(max_s=1.0)
CACHES = 2.0  # weights are so many times the last cache


@dataclass(frozen=True)
class Roofline:
    """Peaks: 10⁹ floating-point operations a second (two for a multiply-accumulate), 10⁹ bytes a second. ``source``
    says where they are from."""

    gflops: float
    gbps: float
    source: str

    def ms(self, macs: float, bytes_: float) -> float:
        """The least time (ms) for so much work."""
        return max(2 * macs / self.gflops, bytes_ / self.gbps) / 1e6

    def bound(self, macs: float, bytes_: float) -> Literal["compute", "memory"]:
        """Which of the two takes longer."""
        return "compute" if 2 * macs / self.gflops > bytes_ / self.gbps else "memory"


def roofline_nets(machine: Mapping[str, Any]) -> tuple[tuple[NetSpec, int], tuple[NetSpec, int]]:
    """The networks (with their batch) that are measured: a compute-bound and a streaming one, whose weights do not fit
    in the last cache of ``machine``."""
    cache = float(machine.get("l3_kib") or 0) * 1024
    neurons = min(max(NEURONS[0], int(CACHES * cache / (4 * INPUTS))), NEURONS[1])
    return COMPUTE, (net_spec(conv=0, tile=64, fc=1, neurons=neurons), 1)


def measure_roofline(target: Target, threads: int = 0, precision: Precision = "fp32") -> Roofline | None:
    """The peaks of ``target``, from one round of each network; None where they cannot be measured."""
    found = []
    for net, batch in roofline_nets(target.machine):
        case = target.case(Workload(net=net, batch=batch, threads=threads, precision=precision))
        try:
            measured = target.backend.measure(case, 1, STOP, None)
        except (WorkerError, BackendError, DomainError):
            return None
        found.append(measurement(case, [measured], target.estimator, 1, target.backend.simulated))
    return roofline_of(found)


def roofline_of(measurements: Sequence[Measurement]) -> Roofline | None:
    """The peaks that the kernels of these measurements reach; None where no kernels are known."""
    gflops = gbps = 0.0
    for m in measurements:
        operators = net_operators(m.case.net, m.case.batch)
        works = work_of([(k.kind, k.operators, k.glue) for k in m.kernels], operators)
        for kernel, work in zip(m.kernels, works, strict=True):
            if kernel.ms > 0 and not kernel.glue and work.macs:
                gflops = max(gflops, 2 * work.macs / kernel.ms / 1e6)
                gbps = max(gbps, work.bytes / kernel.ms / 1e6)
    if not gflops or not gbps:
        return None
    case = measurements[0].case
    where = "simulated" if measurements[0].simulated else "measured"
    return Roofline(gflops, gbps, f"{where} here: {case.precision}, threads {case.threads}, {case.runtime}")
