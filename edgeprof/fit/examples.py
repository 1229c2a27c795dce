"""Examples: measurements made ready for fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import FitError
from edgeprof.fit.clocks import clocks_of, settings_of, told_apart
from edgeprof.fit.learning import Observed, alike, leader
from edgeprof.fit.rules import tensor_dims
from edgeprof.nets.fusion import Fused, fused
from edgeprof.nets.network import net_key, net_operators, rebuildable
from edgeprof.nets.operators import Operator
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelMeasurement, Measurement

TOGETHER = 1.03  # what kernels may take together, of the network's latency
SETTING = ("board", "machine", "backend", "runtime", "precision", "threads", "power_mode", "clocks")
OF_CLOCKS = ("power_mode", "clocks")  # of which a law may be of several values


@dataclass(frozen=True)
class Example:
    """A measurement made ready for fitting; ``latency_ms`` is known."""

    measurement: Measurement
    latency_ms: float

    @cached_property
    def _fused(self) -> Fused:
        return fused(net_operators(self.measurement.case.net, self.measurement.case.batch))

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Operators of the network at its batch, as an optimising runtime leaves them."""
        return self._fused.operators

    @cached_property
    def kernels(self) -> tuple[KernelMeasurement, ...]:
        """Its kernels, each of :attr:`operators`; several that do the work of one operator are one."""
        types = {op.name: op.op_type for op in self.operators}
        found: dict[object, KernelMeasurement] = {}
        for number, kernel in enumerate(self.measurement.kernels):
            owners = dict.fromkeys(self._fused.owner.get(name, name) for name in kernel.operators)
            own = replace(kernel, operators=tuple(owners))
            lead = leader(own.kind, own.operators, types) if own.operators and not own.glue else ""
            key: object = lead if lead in types else number
            if key in found:
                first = found[key]
                kind = own.kind if alike(own.kind, types.get(str(key), "")) else first.kind
                share = first.share + own.share
                own = replace(first, kind=kind, ms=first.ms + own.ms, share=share)
            found[key] = own
        return tuple(found.values())

    @cached_property
    def clocks(self) -> dict[str, float]:
        """Its clocks (MHz), as far as they were measured."""
        return clocks_of(self.measurement)

    @property
    def disturbed(self) -> bool:
        """Whether its kernels take longer together than the network does: something else ran while they were timed."""
        return sum(k.ms for k in self.measurement.kernels) > TOGETHER * self.latency_ms

    @cached_property
    def observed(self) -> Observed:
        """What the rules are learnt from."""
        kernels = tuple((k.kind, k.operators, k.glue) for k in self.kernels)
        types = {op.name: op.op_type for op in self.operators}
        shares = {leader(k.kind, k.operators, types): k.share for k in self.kernels if not k.glue}
        return Observed(self.operators, kernels, shares)

    def leader(self, kernel: KernelMeasurement) -> str | None:
        """The operator whose work a kernel is; None where it is of no operator of the network."""
        name = leader(kernel.kind, kernel.operators, {op.name: op.op_type for op in self.operators})
        return name if any(op.name == name for op in self.operators) else None

    def dims(self, kernel: KernelMeasurement) -> Mapping[str, float]:
        """The dimensions that a kernel's time depends on.

        :raises FitError: the kernel is of no operator of the network.
        """
        by_name = {op.name: op for op in self.operators}
        if kernel.glue:
            op = by_name.get(kernel.operators[-1])
            shape = (op.outputs if op else self.operators[0].inputs)[0]
            return {**tensor_dims(shape), "Z": self.operators[0].dims["Z"]}
        name = leader(kernel.kind, kernel.operators, {o.name: o.op_type for o in self.operators})
        if name not in by_name:
            raise FitError(
                f"the kernel {kernel.name} is of no operator of its network",
                "use --form eq13, in a network's variables",
            )
        return by_name[name].dims


def clean(examples: Sequence[Example]) -> list[bool]:
    """For each example whether its kernel times are to be fitted: all where more than half of them are disturbed."""
    found = [not e.disturbed for e in examples]
    return found if 2 * sum(found) >= len(found) else [True] * len(found)


def usable(measurements: Sequence[Measurement], launch: str | None = None) -> list[Example]:
    """Measurements that a law can be fitted on: measured, of a network whose operators can be told, of one launch mode
    (``launch``; None: blocking where there are several), and of one board, machine, backend, runtime, precision and
    number of threads; of several power modes or clocks where telemetry tells the clocks of each.

    :raises FitError: nothing measured, or nothing of that launch mode; or several boards or settings in one.
    """
    good = [m for m in measurements if m.latency_ms is not None and rebuildable(m.case.net)]
    if not good:
        raise FitError(
            "the database has no measurement to fit", "measure some networks first: edgeprof sweep"
        )
    launches = sorted({m.case.launch for m in good})
    wanted = launch or (launches[0] if len(launches) == 1 else "blocking")
    if wanted not in launches:
        raise FitError(
            f"nothing was measured with launch mode {wanted}", f"there is --launch {' and '.join(launches)}"
        )
    good = [m for m in good if m.case.launch == wanted]
    for what in SETTING:
        if len(values := _mixed(good, what)) > 1:
            why = (
                "; one law is of several where telemetry tells that clocks differ"
                if what in OF_CLOCKS
                else ""
            )
            raise FitError(
                f"the measurements are of several values of {what}: {', '.join(values[:4])}",
                f"a law is of one: fit a database of one, or choose with --where {what}={values[0]}{why}",
            )
    if len({m.telemetry.get("kernels_from") for m in good if m.kernels}) > 1:
        raise FitError(
            "of some measurements the GPU told the kernels (CUPTI), of others the runtime's profile",
            "kinds of kernels differ: measure all of them again, with --fresh",
        )
    return [Example(m, m.latency_ms) for m in good if m.latency_ms is not None]


def _mixed(measurements: Sequence[Measurement], what: str) -> list[str]:
    """The values of a part of their cases, where one law can be of one of them alone; else none."""
    values = sorted({str(getattr(m.case, what)) for m in measurements})
    apart = what in OF_CLOCKS and len(values) > 1 and told_apart(settings_of(measurements))[0]
    return [] if apart else values


def narrowed(measurements: Sequence[Measurement], like: Case) -> list[str]:
    """Options of ``edgeprof fit`` by which :func:`usable` takes these measurements: of several values of a setting that
    of ``like``, if there is any."""
    left = [m for m in measurements if m.latency_ms is not None and rebuildable(m.case.net)]
    found = []
    launches = sorted({m.case.launch for m in left})
    if len(launches) > 1 and "blocking" not in launches:
        found += ["--launch", launches[0]]
    if launches:
        taken = launches[0] if "blocking" not in launches else "blocking"
        left = [m for m in left if m.case.launch == taken]
    for what in SETTING:
        if len(values := _mixed(left, what)) > 1:
            own = str(getattr(like, what))
            condition = f"{what}={own if own in values else values[0]}"
            found += ["--where", condition]
            left = matching(left, [condition])
    return found


def matching(measurements: Sequence[Measurement], where: Sequence[str]) -> list[Measurement]:
    """Measurements whose case has every ``KEY=VALUE`` of ``where``.

    :raises FitError: no such key, or nothing left.
    """
    left = list(measurements)
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals or key not in Case.model_fields or key == "net":
            keys = ", ".join(k for k in Case.model_fields if k != "net")
            raise FitError(f"'{condition}' is no condition", f"write KEY=VALUE, KEY one of {keys}")
        values = sorted({str(getattr(m.case, key)) for m in left})
        left = [m for m in left if str(getattr(m.case, key)) == value]
        if not left:
            raise FitError(f"no measurement has {condition}", f"{key} is one of: {', '.join(values)}")
    return left


def origin_of(examples: Sequence[Example]) -> dict[str, Any]:
    """Fields of a law: what its examples were measured on and with, and which networks they are."""
    case, nets = examples[0].measurement.case, {e.measurement.case.net for e in examples}
    return {
        "board": case.board,
        "backend": case.backend,
        "runtime": case.runtime,
        "threads": case.threads,
        "precision": case.precision,
        "launch": case.launch,
        "simulated": any(e.measurement.simulated for e in examples),
        "networks": len(nets),
        "seen": tuple(sorted({net_key(net) for net in nets})),
    }


def machine_of(examples: Sequence[Example]) -> dict[str, Any]:
    """What is known of the machine; of a Jetson its power mode and how its clocks were held, where they are one; what
    told of kernels where it was not the runtime's profile."""
    case = examples[0].measurement.case
    told = {
        "kernels_from": {
            e.measurement.telemetry.get("kernels_from") for e in examples if e.measurement.kernels
        },
        **{name: {getattr(e.measurement.case, name) for e in examples} for name in OF_CLOCKS},
    }
    known = {name: next(iter(v)) for name, v in told.items() if len(v) == 1 and None not in v}
    for example in examples:
        machine = example.measurement.environment.get("machine")
        if isinstance(machine, Mapping):
            return {**machine, **known}
    return {"model": case.machine, **known}


def at_highest(examples: Sequence[Example]) -> list[Example]:
    """Those of the setting with the highest clocks, where there are several."""
    highest = settings_of([e.measurement for e in examples])[0]
    wanted = tuple(highest[name] for name in OF_CLOCKS)
    return [e for e in examples if e.measurement.case.setting == wanted]


def owners_of(examples: Sequence[Example]) -> NDArray[np.int64]:
    """The number of each example's network: all batches of one network have the same."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(e.measurement.case.net, len(numbers)) for e in examples])


def spread_pct(rounds: Sequence[float]) -> float | None:
    """How far a network's rounds lie apart: median over the least, less one, in percent; None for one round."""
    return (float(np.median(rounds)) / min(rounds) - 1) * 100 if len(rounds) > 1 else None


def noise_pct(examples: Sequence[Example]) -> float | None:
    """The median spread of rounds, percent; None where no case has several."""
    known = [n for e in examples if (n := spread_pct(e.measurement.rounds_ms)) is not None]
    return float(np.median(known)) if known else None
