"""Which networks to measure next: those that teach the law most (sequential I-optimal design).

For each group of kernels a law is a linear model of relative error. With rows z = x / (predicted time), the variance
of a prediction is zᵀA⁻¹z, A = Σ w zzᵀ over what was measured, w a kernel's part of its network's time, as in the fit.
The criterion is that variance averaged over the family, each kernel weighed by the square of its part; the next network
is the one that lowers it most (Atkinson, Donev and Tobias, Optimum Experimental Designs, with SAS, 2007, ch. 10). A
group that was not measured yet has the variance of the prior alone, so networks that run it come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeprof.fit.features import columns, design, net_values
from edgeprof.fit.law import Law
from edgeprof.fit.prediction import Prediction, predict_many
from edgeprof.nets.network import Network, net_operators

Matrix = NDArray[np.float64]
Net = tuple[Network, int]  # a network and its batch

PRIOR = 3e-2  # what is taken as known of each term beforehand, in measured kernels
SMALLEST_SHARE = 1e-4  # kernels below this part of a network's time teach nothing


@dataclass(frozen=True)
class _Rows:
    """Kernels of one network in one group: relative terms [kernels, terms], and their parts of its time [kernels]."""

    z: Matrix
    share: NDArray[np.float64]

    def information(self) -> Matrix:
        """What measuring them tells of the group's terms."""
        return np.asarray(self.z.T @ (self.z * self.share[:, None]))

    def demand(self) -> Matrix:
        """How much the network's own prediction needs each term."""
        return np.asarray(self.z.T @ (self.z * self.share[:, None] ** 2))


def choose_next(
    law: Law, measured: Sequence[Net], candidates: Sequence[Net], family: Sequence[Net], count: int
) -> list[int]:
    """Indices of the ``count`` candidates to measure next, the most telling first.

    :param law: what is known so far; its rules and prices stand for the board. :param family: what the law is for.
    """
    rows = _rows(law, [*measured, *candidates, *family])
    known, rows = rows[: len(measured)], rows[len(measured) :]
    offered, target = rows[: len(candidates)], rows[len(candidates) :]
    sizes = {name: own.z.shape[1] for net in (*known, *offered, *target) for name, own in net.items()}
    zero = {name: np.zeros((size, size)) for name, size in sizes.items()}
    demand = {name: sum((net[name].demand() for net in target if name in net), zero[name]) for name in sizes}
    information = {
        name: sum((net[name].information() for net in known if name in net), PRIOR * np.eye(size))
        for name, size in sizes.items()
    }
    chosen: list[int] = []
    left = list(range(len(candidates)))
    while left and len(chosen) < count:
        best = max(left, key=lambda i: (_gain(offered[i], demand, information), -i))
        chosen.append(best)
        left.remove(best)
        for name, own in offered[best].items():
            information[name] = information[name] + own.information()
    return chosen


def _gain(net: Mapping[str, _Rows], demand: Mapping[str, Matrix], information: Mapping[str, Matrix]) -> float:
    """How far measuring ``net`` lowers the criterion."""
    gain = 0.0
    for name, rows in net.items():
        before = information[name]
        gain += float(np.trace(np.linalg.solve(before, demand[name])))
        gain -= float(np.trace(np.linalg.solve(before + rows.information(), demand[name])))
    return gain


def _rows(law: Law, nets: Sequence[Net]) -> list[dict[str, _Rows]]:
    """Relative terms of every network's kernels by group; columns are scaled alike for all networks."""
    form = law.as_form
    found: list[dict[str, _Rows]] = [{} for _ in nets]
    variables: dict[str, list[Mapping[str, float]]] = {}
    facts: dict[str, list[tuple[int, float, float]]] = {}  # network, price, part of its time
    for i, (net, predicted) in enumerate(zip(nets, predict_many(law, nets), strict=True)):
        for name, own, ms in _kernels(law, net, predicted):
            part = ms / predicted.latency_ms
            if part >= SMALLEST_SHARE:
                variables.setdefault(name, []).append(own)
                facts.setdefault(name, []).append((i, ms, part))
    for name, own_variables in variables.items():
        owner = np.array([fact[0] for fact in facts[name]])
        price, share = (np.array([fact[k] for fact in facts[name]], np.float64) for k in (1, 2))
        values = columns(own_variables, law.constants)
        z = design(form.expressions[name], form.definitions, values, len(owner)) / price[:, None]
        scale = np.sqrt((z**2).mean(axis=0))
        z = z / np.where(scale > 0, scale, 1.0)
        for i in np.unique(owner):
            found[int(i)][name] = _Rows(z[owner == i], share[owner == i])
    return found


def _kernels(law: Law, net: Net, predicted: Prediction) -> list[tuple[str, Mapping[str, float], float]]:
    """(group, variables, predicted ms) of each kernel that a group prices."""
    form = law.as_form
    if form.scope == "net":
        return [(k.kind, net_values(*net), k.ms) for k in predicted.kernels]
    plan = law.kernel_rules.plan(net_operators(*net))
    priced = ((form.group_of(k.kind), k, p.ms) for k, p in zip(plan, predicted.kernels, strict=True))
    return [(group.name, k.dims, ms) for group, k, ms in priced if group is not None]
