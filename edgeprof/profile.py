"""Profile: one network measured and taken apart, kernel by kernel, against what the board can do at best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edgeprof.backends.base import Stop
from edgeprof.document import first_problem
from edgeprof.errors import BackendError, CatalogueError, SpecError
from edgeprof.fit.validate import Share, wilson
from edgeprof.nets.model import ModelFile, model_file
from edgeprof.nets.network import Network, ZooNet, net_operators
from edgeprof.nets.operators import Operator
from edgeprof.nets.zoo import zoo_names
from edgeprof.requirements import Quantity, speeds
from edgeprof.roofline import Roofline, measure_roofline
from edgeprof.scratch import scratch_folder
from edgeprof.store import Store
from edgeprof.sweep import check_long, session_on
from edgeprof.sweeps.case import Case, Clocks, Launch, Precision, Workload
from edgeprof.target import Target, alone, gauges_of, noticed, switched, total_of
from edgeprof.timing.longrun import LongRun, run_long
from edgeprof.timing.measurement import KernelMeasurement, Measurement, Round
from edgeprof.timing.result import Progress
from edgeprof.timing.stats import quantile_interval, runs_to_bound
from edgeprof.work import Work, work_of

TAILS: Mapping[str, float] = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99}
ONCE = ("load_ms", "first_run_ms", "host_to_host_ms", "memory_mib", "power_mw")  # in a round
QUANTITIES = (
    *("latency_ms", "ms_per_tile", "tiles_per_ms"),
    *TAILS,
    *ONCE,
    *("energy_mj_per_tile", "energy_mj", "missed_pct"),
)  # what can be required
TAIL_S = 60.0  # of sampling in a round, at most, where tails are asked for


@dataclass(frozen=True)
class ProfiledKernel:
    """A kernel of a network, what it covers, and its work. ``order`` is its place in a run."""

    order: int
    kernel: KernelMeasurement
    operators: tuple[tuple[str, str], ...]  # name of the node in the file, operator type
    work: Work

    @property
    def gflops(self) -> float | None:
        """10⁹ floating-point operations a second: two for each multiply-accumulate."""
        return 2 * self.work.macs / self.kernel.ms / 1e6 if self.work.macs and self.kernel.ms > 0 else None

    @property
    def gbps(self) -> float | None:
        """10⁹ bytes a second."""
        return self.work.bytes / self.kernel.ms / 1e6 if self.work.bytes and self.kernel.ms > 0 else None

    def of_roof(self, roofline: Roofline | None) -> float | None:
        """The least time for its work over the time it took; above 1 where a cache spares traffic."""
        known = roofline and self.kernel.ms > 0 and (self.work.macs or self.work.bytes)
        return roofline.ms(self.work.macs, self.work.bytes) / self.kernel.ms if roofline and known else None

    def figures(self, roofline: Roofline | None) -> dict[str, float | None]:
        """Its time and work by name, as files have them."""
        return {
            "ms": self.kernel.ms,
            "share": self.kernel.share,
            "macs": self.work.macs,
            "bytes": self.work.bytes,
            "gflops": self.gflops,
            "gbps": self.gbps,
            "of_roofline": self.of_roof(roofline),
        }


@dataclass(frozen=True)
class Deadline:
    """Single runs that took longer than ``ms``, of how many, and their share with its 95 % interval (percent)."""

    ms: float
    missed: int
    runs: int
    share: Share


@dataclass(frozen=True)
class Profile:
    """A measured network. Kernels are in the order of a run; their ms and ``measurement.unattributed_ms`` add up to the
    latency exactly. ``runs_ms`` are single runs, one array a round. ``unknown`` names operators whose shapes ONNX does
    not tell, so that MACs and bytes leave them out; ``removed`` those that no kernel runs. ``ranges`` has the least and
    greatest of what each round has once; ``failed`` why what was asked for beside the rounds could not be done."""

    net: Network
    measurement: Measurement
    kernels: tuple[ProfiledKernel, ...]
    roofline: Roofline | None
    operators: tuple[Operator, ...]
    runs_ms: tuple[NDArray[np.float64], ...]
    deadline: Deadline | None
    unknown: tuple[str, ...]
    removed: tuple[str, ...]
    warnings: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    failed: tuple[str, ...] = ()

    @property
    def latency_ms(self) -> float:
        """Latency of a run."""
        assert self.measurement.latency_ms is not None
        return self.measurement.latency_ms

    @property
    def work(self) -> Work:
        """Of all operators, and of what the runtime put in; see :class:`edgeprof.work.Work`."""
        return Work(sum(op.macs for op in self.operators), sum(k.work.bytes for k in self.kernels))

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(op.parameters for op in self.operators)

    @property
    def gflops(self) -> float:
        """10⁹ floating-point operations a second, over the whole latency."""
        return 2 * self.work.macs / self.latency_ms / 1e6

    @property
    def gbps(self) -> float:
        """10⁹ bytes a second, over the whole latency."""
        return self.work.bytes / self.latency_ms / 1e6

    def by_kind(self) -> list[tuple[str, int, float]]:
        """(kind, kernels, ms) of each kind of kernel, the most time first."""
        kinds: dict[str, list[float]] = {}
        for k in self.kernels:
            kinds.setdefault(k.kernel.kind, []).append(k.kernel.ms)
        return sorted(((kind, len(ms), math.fsum(ms)) for kind, ms in kinds.items()), key=lambda row: -row[2])

    def quantities(self) -> dict[str, Quantity | None]:
        """What can be required, by name; None where it was not measured."""
        m = self.measurement
        batch = m.case.batch
        runs = np.concatenate(self.runs_ms)
        found = speeds(self.latency_ms, m.ci_ms, batch)
        for name, q in TAILS.items():
            ends = quantile_interval(runs, q)
            why = f"{len(runs)} runs do not bound it: {runs_to_bound(q)} would" if ends[1] is None else ""
            found[name] = Quantity(float(np.quantile(runs, q)), *ends, why=why)
        for name in ONCE:
            value, ends = self._ranged(name)
            found[name] = None if value is None else Quantity(value, *ends)
        value, ends = self._ranged("energy_mj_per_tile")
        per_tile = None if value is None else Quantity(value, *ends)
        found["energy_mj_per_tile"] = per_tile
        found["energy_mj"] = per_tile and _scaled(per_tile, batch)
        d = self.deadline
        found["missed_pct"] = Quantity(d.share.pct, d.share.low_pct, d.share.high_pct) if d else None
        return found

    def _ranged(self, name: str) -> tuple[float | None, tuple[float | None, float | None]]:
        """A value that each round has once, and its range over the rounds."""
        if name in ("load_ms", "first_run_ms", "host_to_host_ms"):
            value = getattr(self.measurement, name)
        else:
            value = self.measurement.telemetry.get(name)
        return value, self.ranges.get(name, (value, value))


def _scaled(q: Quantity, factor: float) -> Quantity:
    value, low, high = (None if x is None else x * factor for x in (q.value, q.low, q.high))
    return replace(q, value=value, low=low, high=high)


def find_network(
    model: str, batch: int | None = None, shapes: Mapping[str, Sequence[int]] | None = None
) -> tuple[Network, int]:
    """The network in a file, or of the zoo, and its batch; 1 where nothing tells.

    :raises EdgeprofError: no such file or name, or a file that is no network or leaves axes open.
    """
    if model in zoo_names() and not Path(model).is_file():
        if shapes:
            raise SpecError(f"{model} has one input of one shape", "--batch gives its batch")
        return ZooNet(name=model), batch or 1
    path = Path(model)
    if not path.suffix and not path.exists() and path.name == model:
        raise CatalogueError(
            f"no such file: {model}, and no such network in the zoo", f"the zoo has {', '.join(zoo_names())}"
        )
    net = model_file(path, batch=batch, shapes=shapes)
    return net, net.batch


def profile_model(
    model: str | Path | Network,
    target: Target,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    precision: Precision = "fp32",
    threads: int = 0,
    launch: Launch = "blocking",
    power_mode: str | None = None,
    clocks: Clocks | None = None,
    rounds: int = 3,
    stop: Stop | None = None,
    deadline_ms: float | None = None,
    tails: bool = False,
    long: LongRun | None = None,
    db: Path | None = None,
    fresh: bool = False,
    seed: int | None = None,
    begins: Callable[[], None] = lambda: None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> Profile:
    """Measure one network on ``target``, by the same protocol as a sweep, and take it apart.

    :param model: an ONNX file, or a name of the zoo. :param shapes: of inputs whose axes are open. :param threads: 0
        takes the physical cores. :param power_mode: of a board that has several, for as long as this takes; one that
        needs a reboot is refused. :param clocks: how they are held meanwhile. :param deadline_ms: count single runs
        that took longer. :param tails: run often enough to bound the 99th percentile; a deadline asks for that too.
    :param long: what it does beside its rounds: on and on, at a rate, several times at once, for its energy.
    :param db: keep what is measured there; what it has already is not measured again, unless ``fresh``.
    :param begins: called once all that can be refused has been, and measuring begins.
    :raises EdgeprofError: the model cannot be run, with the operator and the reason where the runtime tells them; or
        the request is wrong or cannot be met here.
    """
    net: Network
    if isinstance(model, str | Path):
        net, batch = find_network(str(model), batch, shapes)
    else:
        net, batch = model, batch or (model.batch if isinstance(model, ModelFile) else 1)
    stop = stop or Stop()
    if tails or deadline_ms is not None:
        least = math.ceil(runs_to_bound(max(TAILS.values())) / rounds)
        stop = replace(stop, min_runs=max(stop.min_runs, least), max_s=max(stop.max_s, TAIL_S))
    check_long(target, long)
    try:
        work = Workload(
            net=net,
            batch=max(batch, 1),
            precision=precision,
            threads=threads,
            launch=launch,
            power_mode=power_mode,
            clocks=clocks,
        )
    except ValidationError as error:
        raise SpecError(first_problem(error), "edgeprof profile --help tells what it takes") from None
    case = target.case(work)
    with (
        alone(target, say),
        switched(target, bool(power_mode or clocks), None, say) as switch,
        gauges_of(target, say) as gauges,
        _store(db) as store,
    ):
        warnings = noticed(target)
        if switch:
            switch.behind_reboot([case], agree=lambda what: False)
        begins()
        enter: Callable[[Case], None] = switch or (lambda case: None)
        measure = session_on(
            target, gauges, store, noticed=warnings, stop=stop, seed=seed, watch=watch, enter=enter
        )
        result = measure([case], rounds=rounds, fresh=fresh, patient=False)
        failed: list[tuple[Case, str]] = []
        if long:
            total = total_of(target)
            _, failed = run_long([case], store, target.backend, gauges, total, long, watch, enter=enter)
        measured = next(m for m in store.measurements() if m.case == case)
        if measured.latency_ms is None:
            raise cannot_run(net, target.runtime, measured.reason)
        kept = [r for r in store.rounds()[case.key()] if r.status == "ok" and r.number > 0]
        roofline = measure_roofline(target, threads, precision)
    codes = tuple(dict.fromkeys((*warnings, *measured.warnings, *result.warnings)))
    found = taken_apart(replace(measured, case=case), kept, roofline, deadline_ms, codes)
    return replace(found, failed=tuple(reason for _, reason in failed))


def taken_apart(
    measured: Measurement,
    rounds: Sequence[Round],
    roofline: Roofline | None,
    deadline_ms: float | None = None,
    warnings: Sequence[str] = (),
) -> Profile:
    """A measurement with the work of its kernels."""
    operators = net_operators(measured.case.net, measured.case.batch)
    types = {op.name: op.op_type for op in operators}
    works = work_of([(k.kind, k.operators, k.glue) for k in measured.kernels], operators)
    covered = {name for k in measured.kernels for name in k.operators}
    runs = tuple(np.asarray(r.runs_ns / 1e6, np.float64) for r in rounds)
    return Profile(
        net=measured.case.net,
        measurement=measured,
        kernels=tuple(
            ProfiledKernel(i, k, tuple((name, types.get(name, "")) for name in k.operators), work)
            for i, (k, work) in enumerate(zip(measured.kernels, works, strict=True))
        ),
        roofline=roofline,
        operators=operators,
        runs_ms=runs,
        deadline=None if deadline_ms is None else _deadline(np.concatenate(runs), deadline_ms),
        unknown=tuple(op.name for op in operators if not op.known),
        removed=tuple(op.name for op in operators if op.name not in covered) if measured.kernels else (),
        warnings=tuple(warnings),
        ranges=_ranges(rounds),
    )


def cannot_run(net: Network, runtime: str, reason: str) -> BackendError:
    """Why a network cannot be run, and what may be done about it."""
    text = reason.lower()
    hints = (
        ("is not a registered function/op", "the runtime lacks this operator: export without it"),
        ("no op registered for", "the runtime lacks this operator: export without it"),
        ("invalid model", "the file is not as ONNX defines it: export it again"),
        ("shapeinferenceerror", "its shapes contradict each other: export it again, or give another --shape"),
        ("cannot be reshaped", "it is made for another size: give another --batch or --shape"),
        ("not implemented", "the runtime lacks this operator for these types: export without it"),
        ("could not find an implementation", "the runtime lacks this operator for these types"),
        ("opset", "use a newer runtime, or onnx.version_converter.convert_version(model, 17)"),
        ("ir version", "use a newer runtime, or set model.ir_version to what it reads"),
        ("no answer for", "it may hang: try it in the bare runtime"),
        ("out of memory", "use a smaller --batch"),
        ("failed to allocate", "use a smaller --batch"),
        ("data bounds", "its whole numbers have a range of their own that the graph does not tell"),
    )
    hint = next((advice for mark, advice in hints if mark in text), "try it in the bare runtime")
    return BackendError(f"{runtime} cannot run {net.label()}: {reason}", hint)


def _deadline(runs: NDArray[np.float64], ms: float) -> Deadline:
    missed = int((runs > ms).sum())
    return Deadline(ms, missed, len(runs), wilson(missed, len(runs)))


def _ranges(rounds: Sequence[Round]) -> dict[str, tuple[float, float]]:
    seen: dict[str, list[float]] = {}
    for r in rounds:
        own = {"load_ms": r.load_ms, "first_run_ms": r.first_run_ms, "host_to_host_ms": r.host_ms}
        for name, value in {**own, **r.telemetry}.items():
            if isinstance(value, int | float):
                seen.setdefault(name, []).append(float(value))
    return {name: (min(values), max(values)) for name, values in seen.items()}


@contextmanager
def _store(db: Path | None) -> Iterator[Store]:
    """The database ``db``, or one that lasts as long as this."""
    if db is not None:
        with Store(db, create=True) as store:
            yield store
        return
    with scratch_folder() as folder, Store(Path(folder) / "profile.db", create=True) as store:
        yield store
