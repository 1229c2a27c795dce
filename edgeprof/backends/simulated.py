"""The simulated backend: a law played back as if it were a board, to rehearse a sweep or test a fitter.

One kernel per group of a law in a network's own variables, and one per kernel for a law of kernels; noise is
multiplicative and of each kernel's own, part of it lasting a whole round. What it gives is marked as simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.backends.base import Stop
from edgeprof.errors import BackendError
from edgeprof.fit.law import Law, predict
from edgeprof.nets.operators import net_operators
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelTimes, Round

RUNS = 20


def parse_simulated(argument: str) -> tuple[str, float]:
    """``LAW,noise=1%`` → (law, 0.01).

    :raises BackendError: with what is wrong in it.
    """
    law, *settings = argument.split(",")
    noise = 0.0
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            noise = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            noise = -1.0
        if key != "noise" or not 0 <= noise <= 1:
            raise BackendError(
                f"'{setting}' is no setting of the simulated backend", "write noise=1%, from 0 to 100 %"
            )
    if not law:
        raise BackendError("the simulated backend needs a law", "write --backend simulated:LAW,noise=1%")
    return law, noise


class SimulatedBackend:
    """Plays ``law`` back; ``noise`` is the relative standard deviation of each kernel's time."""

    simulated = True

    def __init__(self, law: Law, noise: float) -> None:
        self.law = law
        self.noise = noise
        self.name = f"simulated:{law.name},noise={noise:.6g}"
        self.launches: tuple[str, ...] = (law.launch,)

    def runtime(self) -> str:
        return self.law.runtime

    def facts(self) -> dict[str, Any]:
        return {
            "simulated": True,
            "law": self.law.name,
            "noise": self.noise,
            "machine": dict(self.law.machine),
        }

    def measure(self, case: Case, number: int, stop: Stop, tiles: Path | None) -> Round:
        predicted = predict(self.law, case.net, case.batch)
        rng = np.random.default_rng([int(case.key(), 16) % 2**63, number])
        prices = [(k.kind, k.name, k.ms) for k in predicted.kernels if k.ms > 0]
        ms = np.array([*(price for _, _, price in prices), predicted.overhead_ms])
        lasting = np.exp(self.noise * rng.standard_normal(len(ms)))
        passing = np.exp(self.noise / 4 * rng.standard_normal((2, RUNS, len(ms))))
        plain, profiled = ms * lasting * passing
        operators = net_operators(case.net, case.batch)
        known = {op.name for op in operators}
        kernels = []
        for i, (kind, name, _) in enumerate(prices):
            glue = name not in known and " after " in name
            kernels.append(KernelTimes(kind, name, _covered(name, known), tuple(profiled[:, i] * 1e3), glue))
        return Round(
            number=number,
            status="ok",
            runs_ns=np.rint(plain.sum(axis=1) * 1e6).astype(np.int64),
            stopped="target",
            half_width=0.0,
            kernels=tuple(kernels),
            profiled_us=tuple(profiled.sum(axis=1) * 1e3),
        )

    def restart(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to give back."""


def _covered(name: str, known: set[str]) -> tuple[str, ...]:
    """Operators of a simulated kernel: that of its name, or the one that a layout change follows."""
    source = name.rpartition(" after ")[2]
    return (source,) if source in known or source == "input" else (name,)
