"""Clocks: what was measured of them, and laws over several settings of a board: a + b/f_core + c/f_memory.

A setting is a power mode and how its clocks are held, as the cases of a sweep say. Where the settings of one board have
different clocks and every case's telemetry tells them, one law is of them all: each term of a form competes with
itself over each clock, and the fit keeps what the data ask for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeprof.fit.forms import CLOCKS, Form
from edgeprof.timing.measurement import Measurement

CORE, MEMORY, CPU = CLOCKS
WORDS: Mapping[str, str] = {CORE: "core", MEMORY: "memory", CPU: "processor"}
ON_GPU = {CORE: ("gpu_mhz",), MEMORY: ("memory_mhz", "gpu_memory_mhz"), CPU: ("cpu_mhz",)}
ON_CPU = {CORE: ("cpu_mhz",), MEMORY: ("memory_mhz",)}
APART = (
    0.02  # of a clock's period that the others do not explain, or the data cannot tell its terms from theirs
)
SUFFIX = "+clocks"

Setting = Mapping[str, Any]  # power_mode, clocks, the names of CLOCKS with MHz, networks


def names_in(machine: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """By clock the names that telemetry may give it: the core is the GPU where that is what was measured, else the
    processor."""
    return ON_GPU if machine.get("gpu_sms") else ON_CPU


def clocks_of(measured: Measurement) -> dict[str, float]:
    """The clocks (MHz) that a measurement's telemetry tells."""
    machine = measured.environment.get("machine")
    found = {}
    for clock, names in names_in(machine if isinstance(machine, Mapping) else {}).items():
        values = (measured.telemetry.get(name) for name in names)
        good = [v for v in values if isinstance(v, int | float) and 0 < v < math.inf]
        if good:
            found[clock] = float(good[0])
    return found


def settings_of(measurements: Sequence[Measurement]) -> tuple[dict[str, Any], ...]:
    """The settings of these measurements, the highest clocks first: each with the median of every clock that all
    measurements tell, and its number of networks."""
    told = [clocks_of(m) for m in measurements]
    names = [name for name in CLOCKS if told and all(name in one for one in told)]
    rows: dict[tuple[str | None, str | None], list[int]] = {}
    for i, m in enumerate(measurements):
        rows.setdefault(m.case.setting, []).append(i)
    found = [
        {
            "power_mode": mode,
            "clocks": held,
            **{name: float(np.median([told[i][name] for i in own])) for name in names},
            "networks": len({measurements[i].case.net for i in own}),
        }
        for (mode, held), own in rows.items()
    ]
    return tuple(sorted(found, key=lambda s: [-s[name] for name in names]))


def setting_name(power_mode: str | None, clocks: str | None) -> str | None:
    """What people call a setting; None where neither is known."""
    held = f"clocks {clocks}" if clocks else ""
    return " ".join(part for part in (power_mode, held) if part) or None


def told_apart(settings: Sequence[Setting]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The clocks whose terms these settings can tell from each other and from terms without a clock; and those that
    vary, but together with these."""
    basis, kept, tied = [np.ones(len(settings))], [], []
    for name in CLOCKS:
        if not all(name in setting for setting in settings):
            continue
        mhz = np.array([setting[name] for setting in settings])
        period = mhz.min() / mhz
        if np.ptp(period) < APART:
            continue
        known = np.stack(basis, axis=1)
        rest = period - known @ np.linalg.lstsq(known, period, rcond=None)[0]
        if np.ptp(rest) < APART:
            tied.append(name)
        else:
            basis.append(period)
            kept.append(name)
    return tuple(kept), tuple(tied)


def over_clocks(form: Form, settings: Sequence[Setting]) -> Form:
    """``form`` with every term also over the clocks that several settings tell apart: kernels over the core's and the
    memory's, the overhead over that of the processor which launches them. A form that names clocks stays as it is."""
    names, _ = told_apart(settings)
    if form.clocks or not names:
        return form
    own = [name for name in names if name != CPU]
    host = [CPU] if CPU in names else [name for name in names if name == CORE]
    groups = tuple(g.model_copy(update={"terms": _over(g.terms, own)}) for g in form.group)
    data = form.model_dump() | {
        "name": f"{form.name}{SUFFIX}",
        "terms": "needed",
        "group": tuple(g.model_dump() for g in groups),
        "overhead": _over(form.overhead, host),
    }
    return Form(**data)


def _over(terms: Sequence[str], clocks: Sequence[str]) -> tuple[str, ...]:
    plain = {"1": "1"}
    return tuple(
        text for term in terms for text in (term, *(f"{plain.get(term, f'({term})')}/{c}" for c in clocks))
    )


def ranges_of(measurements: Sequence[Measurement], clocks: Sequence[str]) -> dict[str, tuple[float, float]]:
    """A law's domain over ``clocks``: whole MHz, and how the first stands to each of the others."""
    told = [clocks_of(m) for m in measurements]
    found: dict[str, tuple[float, float]] = {}
    for name in clocks:
        values = [one[name] for one in told]
        found[name] = math.floor(min(values)), math.ceil(max(values))
    for name in clocks[1:]:
        ratios = [ratio for one in told for ratio in (one[clocks[0]] / one[name],)]
        found[f"{clocks[0]}/{name}"] = round(min(ratios) * 0.995, 3), round(max(ratios) * 1.005, 3)
    return found


def knobs_of(clocks: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    """Clocks as knobs of a law's domain (:func:`ranges_of`)."""
    names = list(clocks)
    ratios = {f"{names[0]}/{n}": (clocks[names[0]] / clocks[n],) for n in names[1:]}
    return {**{name: (mhz,) for name, mhz in clocks.items()}, **ratios}


def flags(clocks: Mapping[str, float]) -> str:
    """The flags that give these clocks."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in clocks)


def told(clocks: Mapping[str, float]) -> str:
    """Clocks for people: ``core 1300 MHz, memory 2133 MHz``."""
    return ", ".join(f"{WORDS[name]} {mhz:.5g} MHz" for name, mhz in clocks.items())
