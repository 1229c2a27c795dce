"""Measurement: all that was observed of one case, from its rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeprof.boards.spec import Estimator
from edgeprof.sweeps.case import Case
from edgeprof.timing.launches import DeviceKernel
from edgeprof.timing.stats import combine, estimate, interval_ms, kernel_us, round_ms, samples_ms

Status = Literal["ok", "partial", "failed"]
DEFAULT_ROUNDS = 3
SHOWN = (50, 90, 95, 99)  # percentiles of single runs


@dataclass(frozen=True)
class KernelTimes:
    """Times of one kernel in the profiled runs of one round, in microseconds; with what the ``device`` tells of it."""

    kind: str
    name: str
    operators: tuple[str, ...]
    us: tuple[float, ...]
    glue: bool = False
    device: DeviceKernel | None = None


@dataclass(frozen=True)
class Round:
    """One case measured once: raw single runs (ns), kernels, counters; or why it failed."""

    number: int
    status: Literal["ok", "failed"]
    reason: str = ""
    runs_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    repeats: int = 1
    stopped: str = ""
    half_width: float = float("nan")
    load_ms: float | None = None
    first_run_ms: float | None = None
    host_ms: float | None = None
    profiled_us: tuple[float, ...] = ()
    kernels: tuple[KernelTimes, ...] = ()
    event_us: float = 0.0
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    running_s: float = 0.0  # of this process: warm-up, samples and profile together; not kept

    @property
    def latency_ms(self) -> float:
        """Median over the samples."""
        return float(np.median(samples_ms(self.runs_ns, self.repeats)))


@dataclass(frozen=True)
class KernelMeasurement:
    """A kernel's time per run after the profiler's cost per event was taken off, or as the ``device`` told it."""

    kind: str
    name: str
    operators: tuple[str, ...]
    ms: float
    share: float
    glue: bool = False
    device: DeviceKernel | None = None


@dataclass(frozen=True)
class Measurement:
    """All that is known of one case. Times are ms per run; ``kernels`` + ``unattributed_ms`` = ``latency_ms`` exactly
    (``math.fsum``), since kernels are whole numbers of the latency's last binary digit.

    ``coverage`` is the raw kernel sum over the plain latency, before any correction. ``spread_pct`` is how far the
    largest round's latency is above the least; ``target_met`` tells whether every round's sampling ended because its
    interval was as narrow as asked. Unknown is None.
    """

    case: Case
    status: Status
    reason: str
    simulated: bool
    estimator: Estimator
    latency_ms: float | None = None
    ci_ms: tuple[float, float] | None = None
    percentiles_ms: Mapping[str, float] = field(default_factory=dict)
    rounds_ms: tuple[float, ...] = ()
    spread_pct: float | None = None
    target_met: bool | None = None
    samples: int = 0
    load_ms: float | None = None
    first_run_ms: float | None = None
    host_to_host_ms: float | None = None
    kernels: tuple[KernelMeasurement, ...] = ()
    unattributed_ms: float | None = None
    profiled_latency_ms: float | None = None
    coverage: float | None = None
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    designed: bool = False  # chosen for what it teaches a law, not at random

    @property
    def ms_per_tile(self) -> float | None:
        """Latency of a run shared by the tiles of its batch."""
        return None if self.latency_ms is None else self.latency_ms / self.case.batch

    @property
    def tiles_per_ms(self) -> float | None:
        """Throughput."""
        return None if self.latency_ms is None else self.case.batch / self.latency_ms

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from edgeprof.report.notebook import measurement_html

        return measurement_html(self)


def measurement(
    case: Case, rounds: Sequence[Round], estimator: Estimator, wanted: int, simulated: bool
) -> Measurement:
    """The measurement that ``rounds`` of ``case`` amount to, of ``wanted`` rounds asked for."""
    long = {k: v for r in rounds if r.number == 0 and r.status == "ok" for k, v in r.telemetry.items()}
    rounds = [r for r in rounds if r.number > 0]
    good = [r for r in rounds if r.status == "ok"]
    reason = next((r.reason for r in rounds if r.status == "failed"), "")
    if not good:
        return Measurement(case, "failed", reason or "not measured", simulated, estimator)
    status: Status = "ok" if len(good) >= wanted else "partial"
    if status == "partial" and not reason:
        reason = f"{len(good)} of {wanted} rounds measured"
    latencies = [round_ms(samples_ms(r.runs_ns, r.repeats), estimator) for r in good]
    chosen = good[estimate(latencies, estimator)]
    latency = combine(latencies, estimator)
    singles = np.concatenate([r.runs_ns for r in good]) / 1e6
    kernels, raw_ms = _kernels(good, latency, estimator)
    kernels, unattributed = _remainder(kernels, latency)
    profiled = [kernel_us(r.profiled_us, estimator) / 1e3 for r in good if r.profiled_us]
    warnings = tuple(dict.fromkeys(w for r in good for w in r.warnings))
    if any(_ran(r) != _ran(good[-1]) for r in good if r.kernels and good[-1].kernels):
        warnings += ("kernels-disagree",)
    if len(good) < DEFAULT_ROUNDS:
        warnings += ("few-rounds",)
    return Measurement(
        case=case,
        status=status,
        reason=reason if status == "partial" else "",
        simulated=simulated,
        estimator=estimator,
        latency_ms=latency,
        ci_ms=interval_ms(samples_ms(chosen.runs_ns, chosen.repeats), estimator),
        percentiles_ms={f"p{q}": float(v) for q, v in zip(SHOWN, np.percentile(singles, SHOWN), strict=True)},
        rounds_ms=tuple(latencies),
        spread_pct=100 * (max(latencies) / min(latencies) - 1) if len(latencies) > 1 else None,
        target_met=all(r.stopped == "target" for r in good),
        samples=sum(len(r.runs_ns) // r.repeats for r in good),
        load_ms=_least([r.load_ms for r in good]),
        first_run_ms=_least([r.first_run_ms for r in good]),
        host_to_host_ms=_least([r.host_ms for r in good]),
        kernels=kernels,
        unattributed_ms=unattributed,
        profiled_latency_ms=combine(profiled, estimator) if profiled else None,
        coverage=raw_ms / latency if kernels else None,
        telemetry={**chosen.telemetry, **_clocks(good), **long},
        environment=chosen.environment,
        warnings=warnings,
    )


def _clocks(rounds: Sequence[Round]) -> dict[str, float]:
    """The median over rounds of each clock (MHz) that telemetry tells."""
    told: dict[str, list[float]] = {}
    for measured in rounds:
        for name, value in measured.telemetry.items():
            if name.endswith("_mhz") and isinstance(value, int | float):
                told.setdefault(name, []).append(float(value))
    return {name: float(np.median(values)) for name, values in told.items()}


def _kernels(
    rounds: Sequence[Round], latency: float, estimator: Estimator
) -> tuple[tuple[KernelMeasurement, ...], float]:
    """Kernels of the rounds that agree on what ran, and their raw sum in ms."""
    profiled = [r for r in rounds if r.kernels]
    if not profiled:
        return (), 0.0
    profiled = [r for r in profiled if _ran(r) == _ran(profiled[-1])]
    digit = math.ulp(latency)
    found, raw_ms = [], 0.0
    for order, kernel in enumerate(profiled[-1].kernels):
        times = [kernel_us(r.kernels[order].us, estimator) for r in profiled]
        raw = combine(times, estimator)
        net = combine([max(us - r.event_us, 0.0) for us, r in zip(times, profiled, strict=True)], estimator)
        raw_ms += raw / 1e3
        ms = round(net / 1e3 / digit) * digit
        found.append(
            KernelMeasurement(
                kernel.kind, kernel.name, kernel.operators, ms, ms / latency, kernel.glue, kernel.device
            )
        )
    return tuple(found), raw_ms


def kinds_ms(rounds: Sequence[Round], estimator: Estimator) -> dict[str, tuple[float, ...]]:
    """The time (ms) of each kind of kernel in each round that was profiled and ran what the last one ran."""
    profiled = [r for r in rounds if r.kernels]
    profiled = [r for r in profiled if _ran(r) == _ran(profiled[-1])]
    found: dict[str, list[float]] = {}
    for number, measured in enumerate(profiled):
        for kernel in measured.kernels:
            times = found.setdefault(kernel.kind, [0.0] * len(profiled))
            times[number] += max(kernel_us(kernel.us, estimator) - measured.event_us, 0.0) / 1e3
    return {kind: tuple(times) for kind, times in found.items()}


def _remainder(
    kernels: tuple[KernelMeasurement, ...], latency: float
) -> tuple[tuple[KernelMeasurement, ...], float | None]:
    """Kernels, and what they leave of the latency. A remainder far larger than the latency (a machine that was busy
    while it profiled) has no room for the last digit: that digit goes to a kernel which has."""
    if not kernels:
        return kernels, None
    rest = math.fsum([latency, *(-k.ms for k in kernels)])
    digit = math.fsum([latency, *(-k.ms for k in kernels), -rest])
    small = [i for i, k in enumerate(kernels) if abs(digit) <= k.ms <= latency / 2]
    if not digit or not small:
        return kernels, rest
    ms = kernels[small[0]].ms + digit
    changed = replace(kernels[small[0]], ms=ms, share=ms / latency)
    return (*kernels[: small[0]], changed, *kernels[small[0] + 1 :]), rest


def _ran(measured: Round) -> list[tuple[str, tuple[str, ...]]]:
    """What ran in a round. Not by name: the runtime numbers its layout changes anew in every session."""
    return [(k.kind, k.operators) for k in measured.kernels]


def _least(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return min(known) if known else None
