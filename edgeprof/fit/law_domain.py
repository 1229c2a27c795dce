"""Domain of a law: which values of every knob, and which clocks, it was fitted on; what of a network is outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeprof.fit.clocks import knobs_of
from edgeprof.fit.law import Law
from edgeprof.nets.network import Network
from edgeprof.nets.spec import NetSpec


def knobs(net: Network, batch: int) -> dict[str, tuple[Any, ...]]:
    """Every knob of a network with the values that its layers have; of one that is not of the family, the batch."""
    if not isinstance(net, NetSpec):
        return {"batch": (batch,)}
    found = {k: v if isinstance(v, tuple) else (v,) for k, v in net.model_dump().items()}
    return {**found, "batch": (batch,)}


def domain_of(nets: Sequence[tuple[Network, int]]) -> dict[str, tuple[Any, ...]]:
    """Per knob the least and greatest value of ``nets``; for padding the choices."""
    seen: dict[str, set[Any]] = {}
    for net, batch in nets:
        for knob, values in knobs(net, batch).items():
            seen.setdefault(knob, set()).update(values)
    return {
        knob: tuple(sorted(values, key=str)) if knob == "padding" else (min(values), max(values))
        for knob, values in seen.items()
        if values
    }


def outside(
    law: Law, net: Network, batch: int, clocks: Mapping[str, float] | None = None
) -> tuple[Mapping[str, Any], ...]:
    """What of a network, and of its clocks (the law's, if none are given), is out of the law's domain: knob, value, and
    what was seen."""
    mhz = law.clocks if clocks is None else clocks
    return (*strange(law, knobs(net, batch)), *strange_clocks(law, mhz))


def strange_clocks(law: Law, clocks: Mapping[str, float]) -> tuple[Mapping[str, Any], ...]:
    """What of these clocks is out of the law's domain."""
    return strange(law, knobs_of(clocks)) if clocks else ()


def strange(law: Law, values_of: Mapping[str, Sequence[Any]]) -> tuple[Mapping[str, Any], ...]:
    """Which of these values of knobs are out of the law's domain."""
    found: list[Mapping[str, Any]] = []
    for knob, values in values_of.items():
        seen = law.domain.get(knob)
        if seen is None:
            continue
        for value in dict.fromkeys(values):
            if knob == "padding":
                inside = value in seen
            else:
                inside = seen[0] <= value <= seen[1]
            if not inside:
                found.append({"what": knob, "value": value, "seen": list(seen)})
    return tuple(found)
