"""Clocks of a law: those of a case, other ones than its own, and what that does to its intervals and rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgeprof.errors import SpecError
from edgeprof.fit.clocks import CORE, MEMORY, WORDS, Setting, flags
from edgeprof.fit.law import Law
from edgeprof.fit.roofline import Roofline
from edgeprof.sweeps.case import Case

NEAR = 0.05  # clocks no farther from a setting than this are that setting's


def between(law: Law, clocks: Mapping[str, float]) -> float:
    """How much wider an interval is at clocks of no setting that the law has seen: as often as the median error at
    settings left out is that at settings seen. Where that is not known (of two settings), so wide that it holds
    whatever is true: no latency changes by more than the clocks do. 1 for a law without errors."""

    def far(setting: Setting) -> float:
        return max(
            abs(math.log(mhz / setting[name])) if name in setting else 0.0 for name, mhz in clocks.items()
        )

    farthest = min((far(setting) for setting in law.settings), default=0.0) if clocks else 0.0
    if farthest <= NEAR or not law.conformal:
        return 1.0
    told = [(s.get("left_out_mape_pct"), s.get("mape_pct")) for s in law.settings]
    if pairs := [(out, seen) for out, seen in told if out and seen]:
        out, seen = (float(np.median(values)) for values in zip(*pairs, strict=True))
        return max(out / seen, 1.0)
    half_width = float(np.quantile([abs(error) for _, error in law.conformal], 0.9))
    return 1.0 + farthest / max(half_width, 1e-9)


def clocks_in(law: Law, case: Case, telemetry: Mapping[str, float] | None = None) -> dict[str, float]:
    """The clocks of a case, for a law: as measured, else those of the law's setting of the same power mode and hold,
    else the law's own."""
    same = (case.setting == (s.get("power_mode"), s.get("clocks")) for s in law.settings)
    setting = next((s for s, known in zip(law.settings, same, strict=True) if known), {})
    own = law.clocks
    return {name: float((telemetry or {}).get(name) or setting.get(name, own[name])) for name in own}


def at_clocks(law: Law, asked: Mapping[str, float | None], power_mode: str | None = None) -> Law:
    """``law`` at these clocks (MHz; None: as it is), or at those of one of its settings by the name of its power mode.

    :raises SpecError: the law has no such clock, or no such setting.
    """
    given = {name: mhz for name, mhz in asked.items() if mhz is not None}
    if not given and power_mode is None:
        return law
    if not law.clocks:
        raise SpecError(
            f"law '{law.name}' is of one setting: its terms name no clock",
            "fit one on a sweep over several power modes, or leave the clocks out",
        )
    setting: Setting = {}
    if power_mode is not None:
        modes = {str(s.get("power_mode")): s for s in reversed(law.settings) if s.get("power_mode")}
        if power_mode not in modes:
            known = f"it has {', '.join(modes)}" if modes else f"give clocks: {flags(law.clocks)}"
            raise SpecError(f"law '{law.name}' has no power mode '{power_mode}'", known)
        setting = modes[power_mode]
    if unknown := [name for name in given if name not in law.clocks]:
        raise SpecError(
            f"law '{law.name}' has no terms over the {WORDS[unknown[0]]} clock",
            f"it takes {flags(law.clocks)}",
        )
    own = {name: float(setting.get(name, mhz)) for name, mhz in law.clocks.items()}
    return law.model_copy(update={"constants": {**law.constants, **own, **given}})


def at_clocks_of(
    laws: Sequence[Law], asked: Mapping[str, float | None], power_mode: str | None = None
) -> list[Law]:
    """Those of several laws that are over clocks at these; the others as they are.

    :raises SpecError: as :func:`at_clocks`, and where none is over clocks.
    """
    none = not any(law.clocks for law in laws)
    return [at_clocks(law, asked, power_mode) if law.clocks or none else law for law in laws]


def scaled(rates: Roofline | None, law: Law, clocks: Mapping[str, float]) -> Roofline | None:
    """The rates that kernels reach at these clocks, those of the law being of its highest setting: arithmetic with the
    core's clock, bytes with the memory's (or the core's, where the law has no other)."""
    highest = law.settings[0] if law.settings else {}
    if rates is None or CORE not in highest or CORE not in clocks:
        return rates
    core = clocks[CORE] / highest[CORE]
    moved = clocks[MEMORY] / highest[MEMORY] if MEMORY in clocks and MEMORY in highest else core
    return Roofline(
        macs_per_ms=tuple(rate * core for rate in rates.macs_per_ms),
        bytes_per_ms=tuple(rate * moved for rate in rates.bytes_per_ms),
        kernel_ms=rates.kernel_ms,
    )
