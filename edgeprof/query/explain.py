"""Explain: which kernel of a network costs what by a law, and what to change about the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from edgeprof.errors import SpecError
from edgeprof.fit.law import Law
from edgeprof.fit.law_domain import strange
from edgeprof.fit.prediction import Prediction, predict
from edgeprof.nets.columns import head_macs
from edgeprof.nets.spec import NetSpec
from edgeprof.query.pricing import pricer
from edgeprof.query.space import space

FINE = ("depth", "neurons")  # knobs whose every value is tried
SAME = 0.001  # a latency is the same within this share
SAVING = 0.05  # worth a line
GAIN = 0.01
CHEAP = 2.0  # a saving is cheap where it is at least so many times the capacity it costs
FAR = 2  # values up to so many times larger are tried, as far as the law has seen them

Kind = Literal["free", "cliff", "step"]


@dataclass(frozen=True)
class Change:
    """Another value of one knob: ``free`` costs no more time for more capacity, ``cliff`` saves much for little
    capacity, ``step`` is the next value. Time per tile and MACs per tile change by these percentages."""

    kind: Kind
    knob: str
    value: int | str
    to: int | str
    time_pct: float
    macs_pct: float

    def text(self) -> str:
        """As people read it: ``depth 21 → 24 costs nothing``."""
        what = f"{self.knob} {self.value} → {self.to}"
        time = f"{self.time_pct:+.1f} % time, {self.macs_pct:+.0f} % MACs"
        if self.kind == "step":
            return f"{what}: {time}"
        if self.kind == "cliff":
            return f"{what} saves {-self.time_pct:.1f} % of the time for {-self.macs_pct:.1f} % fewer MACs"
        if self.time_pct < -100 * SAME:
            return f"{what} costs less than nothing: {time}"
        return f"{what} costs nothing: {self.macs_pct:+.0f} % MACs"


@dataclass(frozen=True)
class Explanation:
    """What a law says of a network kernel by kernel, and what other values of its knobs would do."""

    prediction: Prediction
    changes: tuple[Change, ...]


def explain(law: Law, net: NetSpec, batch: int) -> Explanation:
    """The kernels of a network whose layers are alike, and what to change: values that come free, cliffs, and a step of
    each knob to either side, as far as the law has seen such networks.

    :raises SpecError: layers that differ. :raises DomainError: the law has nothing to say.
    """
    found: list[Change] = []
    for knob in FINE:
        now = _value(net, knob)
        if now is not None:
            found += _fine(law, net, batch, knob, now)
    for knob, near in (("conv", 1), ("fc", 1), ("kernel", 2), ("stride", 1), ("pool", 1), ("pool_before", 1)):
        now = _value(net, knob)
        if now and not (knob == "pool_before" and net.conv < 2):
            found += _changes(law, net, batch, knob, now, [now - near, now + near], "step")
    if net.conv:
        padding = _value(net, "padding")
        found += _changes(law, net, batch, "padding", padding, law.domain.get("padding", ()), "step")
    found += _changes(law, net, batch, "batch", batch, [batch // 2, batch * 2], "step")
    return Explanation(predict(law, net, batch), tuple(found))


def _value(net: NetSpec, knob: str) -> Any:
    """The value that all layers have; None where there is no layer."""
    values = getattr(net, knob)
    if not isinstance(values, tuple):
        return values
    if len(set(values)) > 1:
        raise SpecError(f"the layers differ in {knob}", "networks of a query have layers that are all alike")
    return values[0] if values else None


def _fine(law: Law, net: NetSpec, batch: int, knob: str, now: int) -> list[Change]:
    """The largest value that costs no more, and the nearest smaller one that saves much for little."""
    tried = _changes(law, net, batch, knob, now, range(1, FAR * now + 1), "free")
    free = [c for c in tried if int(c.to) > now and c.time_pct <= 100 * SAME and c.macs_pct >= 100 * GAIN]
    cliffs = [
        replace(c, kind="cliff")
        for c in tried
        if int(c.to) < now and -c.time_pct >= max(100 * SAVING, -CHEAP * c.macs_pct)
    ]
    return free[-1:] + cliffs[-1:]


def _changes(
    law: Law, net: NetSpec, batch: int, knob: str, now: Any, values: Iterable[Any], kind: Kind
) -> list[Change]:
    """What these values of a knob would do, those left out that are no networks or that the law has not seen."""
    others = [
        v for v in values if v != now and (isinstance(v, str) or v >= 0) and not strange(law, {knob: (v,)})
    ]
    others = [v for v in others if v or knob in ("conv", "fc", "padding")]
    if not others:
        return []
    knobs: dict[str, tuple[Any, ...]] = {
        name: (value[0],) if isinstance(value, tuple) else (value,)
        for name, value in {**net.model_dump(), "batch": batch}.items()
        if value != ()
    }
    costs = _costs(law, {**knobs, knob: (now, *others)}, knob)
    if now not in costs:
        return []
    time, macs = costs[now]
    return [
        Change(kind, knob, now, to, 100 * (costs[to][0] / time - 1), 100 * (costs[to][1] / macs - 1))
        for to in others
        if to in costs and np.isfinite(costs[to][0])
    ]


def _costs(law: Law, choices: dict[str, Sequence[Any]], knob: str) -> dict[Any, tuple[float, float]]:
    """Time (ms) and MACs per tile by the value of one knob."""
    nets = space({k: tuple(v) for k, v in choices.items()}, 1)
    found = {}
    for slab, _ in nets.slabs(2**16):
        if not len(slab.places):
            continue
        priced = pricer(law)(slab.bodies)
        for heads in nets.heads(2**16):
            ms = priced(heads)(slice(None))
            for i, j in np.ndindex(len(slab.places), heads.places.size):
                flat = int(slab.bodies.flat[i])
                place = slab.places[i] * nets.head_count + heads.places.ravel()[j]
                net, batch = nets.net(int(place))
                value = batch if knob == "batch" else _value(net, knob)
                head = head_macs(flat, net.fc, net.neurons[0] if net.fc else 0, net.classes)
                macs = float(slab.bodies.macs[i] + head)
                found[value] = float(ms[i].ravel()[j]) / batch, macs
    return found
