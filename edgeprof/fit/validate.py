"""Scores: how far predictions are from measurements, on networks that the law never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeprof.fit.clocks import setting_name
from edgeprof.fit.examples import Example, spread_pct
from edgeprof.fit.law import LEVEL, Law
from edgeprof.fit.law_clocks import clocks_in
from edgeprof.fit.prediction import group_ms, predict_many


@dataclass(frozen=True)
class Row:
    """A network measured and predicted; ``floor_ms`` is the sum of its measured kernels, ``known_ms`` what would be
    predicted if it were known which kernels ran; times in ms per run. ``setting`` is the power mode and how clocks were
    held."""

    net: str
    batch: int
    measured_ms: float
    predicted_ms: float
    low_ms: float | None
    high_ms: float | None
    noise_pct: float | None = None
    floor_ms: float | None = None
    known_ms: float | None = None
    setting: str | None = None


@dataclass(frozen=True)
class Share:
    """A share in percent with its Wilson 95 % interval."""

    pct: float
    low_pct: float
    high_pct: float


@dataclass(frozen=True)
class Scores:
    """Errors in percent of the measured latency. ``noise_pct`` is the median spread of a network's rounds over their
    minimum; ``floor_mape_pct`` the error of the sum of measured kernels, which no law of kernels can beat;
    ``wrong_guess_pct`` how far wrong guesses of the kernels that run move a prediction, in the mean."""

    nets: int
    mape_pct: float
    mdape_pct: float
    p95_ape_pct: float
    bias_pct: float
    within_5_pct: Share
    within_10_pct: Share
    covered_pct: float | None
    level: float
    noise_pct: float | None
    floor_mape_pct: float | None
    wrong_guess_pct: float | None
    rows: tuple[Row, ...]


def score(rows: Sequence[Row], level: float) -> Scores:
    """The scores of ``rows`` (at least one)."""
    measured = np.array([r.measured_ms for r in rows])
    error = np.array([r.predicted_ms for r in rows]) / measured - 1
    size = np.abs(error) * 100
    covered = [
        r.low_ms <= r.measured_ms <= r.high_ms for r in rows if r.low_ms is not None and r.high_ms is not None
    ]
    noise = [r.noise_pct for r in rows if r.noise_pct is not None]
    guess = [abs(r.predicted_ms - r.known_ms) / r.measured_ms * 100 for r in rows if r.known_ms]
    floor = [abs(r.floor_ms / r.measured_ms - 1) * 100 for r in rows if r.floor_ms]
    return Scores(
        nets=len(rows),
        mape_pct=float(size.mean()),
        mdape_pct=float(np.median(size)),
        p95_ape_pct=float(np.percentile(size, 95)),
        bias_pct=float(error.mean() * 100),
        within_5_pct=wilson(int((size <= 5).sum()), len(rows)),
        within_10_pct=wilson(int((size <= 10).sum()), len(rows)),
        covered_pct=100 * sum(covered) / len(covered) if covered else None,
        level=level,
        noise_pct=float(np.median(noise)) if noise else None,
        floor_mape_pct=float(np.mean(floor)) if floor else None,
        wrong_guess_pct=float(np.mean(guess)) if guess else None,
        rows=tuple(rows),
    )


def wilson(hits: int, total: int, z: float = 1.959964) -> Share:
    """A share with its 95 % interval (Wilson, JASA 22, 1927)."""
    p = hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return Share(100 * p, max(100 * (middle - half), 0.0), min(100 * (middle + half), 100.0))


def judge(law: Law, examples: Sequence[Example], level: float = LEVEL, *, known: bool = True) -> list[Row]:
    """Measured against predicted. ``known`` False leaves out what would be predicted if it were known what ran."""
    nets = [(e.measurement.case.net, e.measurement.case.batch) for e in examples]
    clocks = [clocks_in(law, e.measurement.case, e.clocks) for e in examples]
    rows = []
    priced = _kernels_known(law, examples, clocks) if known else [None] * len(examples)
    for e, p, kernels_ms in zip(examples, predict_many(law, nets, level, clocks), priced, strict=True):
        m = e.measurement
        rows.append(
            Row(
                net=m.case.net.label(),
                batch=m.case.batch,
                measured_ms=e.latency_ms,
                predicted_ms=p.latency_ms,
                low_ms=p.interval_ms[0] if p.interval_ms else None,
                high_ms=p.interval_ms[1] if p.interval_ms else None,
                noise_pct=spread_pct(m.rounds_ms),
                floor_ms=sum(k.ms for k in m.kernels) or None,
                known_ms=None if kernels_ms is None else p.overhead_ms + kernels_ms,
                setting=setting_name(*m.case.setting),
            )
        )
    return rows


def _kernels_known(
    law: Law, examples: Sequence[Example], clocks: Sequence[Mapping[str, float]]
) -> list[float | None]:
    """The kernels that each example really ran, priced by ``law`` (ms); None where they are not known."""
    if law.scope != "kernel":
        return [None] * len(examples)
    form = law.as_form
    found = [0.0 if e.kernels else None for e in examples]
    by_group: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
    for i, e in enumerate(examples):
        for kernel in e.kernels:
            group = form.group_of(kernel.kind)
            if group is not None and form.needs[group.name] <= e.dims(kernel).keys():
                by_group.setdefault(group.name, []).append((i, {**e.dims(kernel), **clocks[i]}))
    for group_ in law.groups:
        rows = by_group.get(group_.name, [])
        if rows:
            for (i, _), ms in zip(rows, group_ms(law, group_, [dims for _, dims in rows]), strict=True):
                found[i] = (found[i] or 0.0) + float(ms)
    return found
