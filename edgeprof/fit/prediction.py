"""Prediction: what a law says of a network, kernel by kernel, with an interval and what is beyond the law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import DomainError
from edgeprof.fit import reach as reaches
from edgeprof.fit.composition import overlap_ms
from edgeprof.fit.datasheet import instead_of
from edgeprof.fit.features import columns, design, net_values
from edgeprof.fit.gaps import Gap, gaps_of
from edgeprof.fit.intervals import widening
from edgeprof.fit.law import LEVEL, Law, LawGroup
from edgeprof.fit.law_clocks import between, scaled
from edgeprof.fit.law_domain import outside, strange_clocks
from edgeprof.fit.rules import Planned
from edgeprof.nets.fusion import fused
from edgeprof.nets.network import Network, net_operators
from edgeprof.nets.operators import Operator
from edgeprof.nets.spec import NetSpec

UNPRICED = "operators without a price"
NO_KERNEL = "no operator that the law was fitted on"
WAIT = "wait"  # the kind of the time that a device waits for launches


@dataclass(frozen=True)
class KernelPrice:
    """What a law says of one kernel, ms per run."""

    kind: str
    name: str
    ms: float


@dataclass(frozen=True)
class Prediction:
    """What a law says of one network at one batch; times in ms per run. ``outside`` tells what is out of the domain,
    ``gaps`` the operators that no kernel of the law was fitted on; where they have no price, ``latency_ms`` is without
    them. ``interval_unknown`` tells why there is no interval."""

    net: Network
    batch: int
    latency_ms: float
    kernels: tuple[KernelPrice, ...]
    overhead_ms: float
    interval_ms: tuple[float, float] | None
    level: float
    outside: tuple[Mapping[str, Any], ...]
    gaps: tuple[Gap, ...] = ()
    interval_unknown: str = ""

    @property
    def in_domain(self) -> bool:
        """True where the network is like those the law was fitted on."""
        return not self.outside and not self.gaps

    @property
    def gap_share(self) -> float | None:
        """The part of the latency that is not of fitted kernels; None where it cannot be told."""
        known = [gap.ms for gap in self.gaps if gap.ms is not None]
        return sum(known) / self.latency_ms if len(known) == len(self.gaps) else None

    @property
    def ms_per_tile(self) -> float:
        """Time of one tile."""
        return self.latency_ms / self.batch

    @property
    def tiles_per_ms(self) -> float:
        """Throughput."""
        return self.batch / self.latency_ms


def predict(law: Law, net: Network, batch: int, level: float = LEVEL) -> Prediction:
    """The latency of ``net`` at ``batch`` by ``law``, kernel by kernel.

    :raises DomainError: where the law has nothing to say.
    """
    return predict_many(law, [(net, batch)], level)[0]


@np.errstate(over="ignore")
def predict_many(
    law: Law,
    nets: Sequence[tuple[Network, int]],
    level: float = LEVEL,
    clocks: Sequence[Mapping[str, float]] | None = None,
) -> list[Prediction]:
    """:func:`predict` for many networks at once; ``clocks`` are those of each (MHz), where they are not the law's."""
    if not nets:
        return []
    clocks = clocks if clocks is not None else [law.clocks] * len(nets)
    runs = [
        fused(net_operators(net, batch)).operators if law.scope == "kernel" else () for net, batch in nets
    ]
    prices = operator_prices(law, runs, clocks) if law.scope == "kernel" else _by_net(law, nets, clocks)
    scale = np.array([batch if law.unit == "tile" else 1 for _, batch in nets], np.float64)
    rows = [
        {**net_values(net, batch), **mhz, "k": float(len(p))}
        for (net, batch), mhz, p in zip(nets, clocks, prices, strict=True)
    ]
    values = columns(rows, law.constants)
    fixed = (
        design(law.parsed, {}, values, len(nets)) @ np.array([t.coefficient for t in law.overhead]) * scale
    )
    return [
        _predicted(law, net, batch, level, run, kernels, float(overhead), mhz)
        for (net, batch), run, kernels, overhead, mhz in zip(nets, runs, prices, fixed, clocks, strict=True)
    ]


def _predicted(
    law: Law,
    net: Network,
    batch: int,
    level: float,
    run: Sequence[Operator],
    kernels: list[KernelPrice],
    overhead: float,
    clocks: Mapping[str, float],
) -> Prediction:
    """The prices of a network's kernels put together."""
    strange, wide, gaps = outside(law, net, batch, {}), 1.0, dict[int, Gap]()
    if run and not isinstance(net, NetSpec):
        plan = law.kernel_rules.plan(run)
        rates = scaled(law.rates, law, clocks)
        gaps = gaps_of(run, plan, law.reach, law.as_form, law.kernel_rules, rates)
        for place, gap in gaps.items():
            kernels[place] = KernelPrice(gap.op_type, gap.name, gap.ms or 0.0)
        if law.reach:
            own = [(plan[i], k.ms) for i, k in enumerate(kernels[: len(plan)]) if i not in gaps]
            strange, wide = reaches.strangest(own, law.reach), reaches.widening(own, law.reach)
    elif strange:
        wide = widening(strange)
    fast_or_slow = strange_clocks(law, clocks)
    strange = (*strange, *fast_or_slow)
    parts = [overhead, *(k.ms for k in kernels)]
    unpriced = any(gap.ms is None for gap in gaps.values())
    if not 0 < sum(parts) < math.inf:
        amount = "no time at all" if sum(parts) == 0 else "no finite time"
        raise DomainError(f"law '{law.name}' gives {amount} for {net.label()}", "fit it on such networks")
    latency = math.fsum(parts)
    known = math.fsum([overhead, *(k.ms for i, k in enumerate(kernels) if i not in gaps)])
    wide = float(law.widened(known, wide * widening(fast_or_slow))) * between(law, clocks)
    why = UNPRICED if unpriced else NO_KERNEL if known <= 0 else law.unknown(wide)
    interval = None if why else law.interval(known, level, wide)
    if interval is not None and gaps:
        low, high = (sum(getattr(gap, side) for gap in gaps.values()) for side in ("low_ms", "high_ms"))
        interval = interval[0] + low, interval[1] + high
    return Prediction(
        net=net,
        batch=batch,
        latency_ms=latency,
        kernels=tuple(kernels),
        overhead_ms=overhead,
        interval_ms=interval,
        level=level,
        outside=strange,
        gaps=tuple(gaps.values()),
        interval_unknown=why,
    )


def group_prices(
    law: Law, nets: Sequence[tuple[Network, int]], clocks: Sequence[Mapping[str, float]]
) -> list[list[KernelPrice]]:
    """What each network's kernels cost by ``law`` at these clocks, the overhead apart."""
    if law.scope == "kernel":
        runs = [fused(net_operators(net, batch)).operators for net, batch in nets]
        return operator_prices(law, runs, clocks)
    return _by_net(law, nets, clocks)


def check_priced(law: Law, net: Network) -> None:
    """See that ``law`` is of such networks.

    :raises DomainError: it is in the family's variables, and ``net`` has none.
    """
    if law.scope == "net" and not isinstance(net, NetSpec):
        raise DomainError(
            f"law '{law.name}' is in the family's variables, and {net.label()} is not of the family",
            "a law of kernels can price it: edgeprof fit --form kernels",
        )


def _by_net(
    law: Law, nets: Sequence[tuple[Network, int]], clocks: Sequence[Mapping[str, float]]
) -> list[list[KernelPrice]]:
    """One kernel per group, for a law in the network's own variables."""
    form = law.as_form
    for net, _ in nets:
        check_priced(law, net)
    rows = [{**net_values(net, batch), **mhz} for (net, batch), mhz in zip(nets, clocks, strict=True)]
    values = columns(rows, law.constants)
    found: list[list[KernelPrice]] = [[] for _ in nets]
    for group in law.groups:
        x = design(form.expressions[group.name], form.definitions, values, len(nets))
        ms = x @ np.array([t.coefficient for t in group.terms])
        for own, value, (_, batch) in zip(found, ms, nets, strict=True):
            own.append(
                KernelPrice(group.name, group.name, float(value) * (batch if law.unit == "tile" else 1))
            )
    return found


def operator_prices(
    law: Law, runs: Sequence[Sequence[Operator]], clocks: Sequence[Mapping[str, float]] | None = None
) -> list[list[KernelPrice]]:
    """For each run of operators the kernels that the law's rules expect, each priced by its group; averaged where the
    rules are not sure. For a law of kernels; ``clocks`` are those of each run, where they are not the law's.

    :raises DomainError: the law is of whole networks of a table, or of a table and has no price for an operator that
        multiplies.
    """
    if law.execution:
        raise DomainError(
            f"law '{law.name}' is of networks told by {law.table.get('signature')} alone, as a runtime ran those",
            f"predict --table prices them; {instead_of(law)}",
        )
    form = law.as_form
    plans = [law.kernel_rules.plan(run) for run in runs]
    if law.table:
        _check_priced(law, runs, plans)
    by_group: dict[str, list[tuple[int, int, float, Planned]]] = {}
    for i, plan in enumerate(plans):
        for j, kernel in enumerate(plan):
            for kind, weight in kernel.mix:
                group = form.group_of(kind)
                if group is not None and form.needs[group.name] <= kernel.dims.keys():
                    by_group.setdefault(group.name, []).append((i, j, weight, kernel))
    ms = [np.zeros(len(plan)) for plan in plans]
    for law_group in law.groups:
        rows = by_group.get(law_group.name, [])
        if not rows:
            continue
        at = clocks or [{}] * len(runs)
        prices = group_ms(law, law_group, [{**kernel.dims, **at[i]} for i, _, _, kernel in rows])
        for (i, j, weight, _), price in zip(rows, prices, strict=True):
            ms[i][j] += weight * price
    _multiplied(law, plans, ms)
    found = [
        [KernelPrice(k.kind, k.name, float(v)) for k, v in zip(plan, own, strict=True)]
        for plan, own in zip(plans, ms, strict=True)
    ]
    if law.composition == "overlap":
        for own in found:
            own.append(_waiting(law, own))
    return found


def _waiting(law: Law, kernels: Sequence[KernelPrice]) -> KernelPrice:
    """The time that the device waits for launches, as one more kernel."""
    form = law.as_form
    launch = {g.name: g.host.coefficient if g.host else 0.0 for g in law.groups}
    groups = [form.group_of(k.kind) for k in kernels]
    host = np.array([launch[g.name] if g else 0.0 for g in groups])
    device = np.array([k.ms for k in kernels])
    return KernelPrice(WAIT, "waiting for launches", overlap_ms(device, host) - float(device.sum()))


def _check_priced(law: Law, runs: Sequence[Sequence[Operator]], plans: Sequence[Sequence[Planned]]) -> None:
    heavy = {op.op_type for run in runs for op in run if op.macs}
    free = {
        k.kind for plan in plans for k in plan if not any(law.as_form.group_of(kind) for kind, _ in k.mix)
    }
    if missing := sorted(heavy & free):
        raise DomainError(
            f"law '{law.name}' is of a table of {law.table.get('signature')} and has no price for {', '.join(missing)}",
            "fit one on a table that has them, or on a sweep's networks",
        )


def _multiplied(law: Law, plans: Sequence[Sequence[Planned]], ms: Sequence[NDArray[np.float64]]) -> None:
    """Multiply the prices ``ms`` of planned kernels by what the law's trees say, in place."""
    for op_type, hybrid in law.hybrids.items():
        own = [
            (i, j)
            for i, plan in enumerate(plans)
            for j, kernel in enumerate(plan)
            if kernel.kind.partition(".")[0] == op_type and ms[i][j] > 0
        ]
        if own:
            prices = np.array([ms[i][j] for i, j in own])
            factors = hybrid.factors([plans[i][j].dims for i, j in own], prices)
            for (i, j), factor in zip(own, factors, strict=True):
                ms[i][j] *= factor


def group_ms(law: Law, group: LawGroup, dims: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Times (ms) of kernels with these dimensions."""
    form = law.as_form
    x = design(form.expressions[group.name], form.definitions, columns(dims, law.constants), len(dims))
    return np.asarray(x @ np.array([t.coefficient for t in group.terms]), dtype=np.float64)
