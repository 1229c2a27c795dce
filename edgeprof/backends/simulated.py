"""The simulated backend: a law played back as if it were a board, to rehearse a sweep or test a fitter.

One kernel per group of a law in a network's own variables, and one per kernel for a law of kernels; noise is
multiplicative and of each kernel's own, part of it lasting a whole round. What it gives is marked as simulated.

Faults make it slower, to rehearse what a real machine does to a sweep: ``fault=leak:0.2%`` (each measurement slower
than the last, until a restart), ``fault=worker:20%@25`` (slower from the 26th measurement on, until a restart),
``fault=clock:20%@25+50`` (slower from the 26th on, for 50 measurements, or for ever without ``+50``, whatever is
restarted). Their time is the number of measurements so far, sentinels included.

A law over clocks is played back at its own, or at others: ``core_mhz=600,memory_mhz=1600``. They are in the identity of
the cases and in their telemetry, so that a sweep over several settings is one command a setting, into one database.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.backends.base import Bins, InFlight, Stop, Sustained
from edgeprof.errors import BackendError
from edgeprof.fit.clocks import names_in
from edgeprof.fit.forms import CLOCKS
from edgeprof.fit.law import Law
from edgeprof.fit.law_clocks import at_clocks
from edgeprof.fit.prediction import check_priced, predict
from edgeprof.nets.network import Network, net_operators
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import KernelTimes, Round

RUNS = 20
WRITE = "write noise=1% (from 0 to 100 %), fault=leak:0.2%, fault=worker:20%@25 or fault=clock:20%@25+50, core_mhz=600"
FAULT = re.compile(r"(leak|worker|clock)(?::([0-9.]+%?))?(?:@([0-9]{1,9}))?(?:\+([0-9]{1,9}))?")
PARTS: Mapping[str, str] = {"leak": "", "worker": "@", "clock": "@+"}  # what a fault may have beside its rate


@dataclass(frozen=True)
class Fault:
    """Something that makes the board slower by the part ``rate``: ``leak`` with each measurement since a restart,
    ``worker`` from measurement ``begin`` until a restart, ``clock`` from there for ``length`` measurements."""

    kind: str
    rate: float
    begin: int = 0
    length: int | None = None

    def slowdown(self, done: int, restarted: int) -> float:
        """What the next measurement's times are multiplied by, after ``done`` of them, ``restarted`` of them before the
        last restart."""
        if self.kind == "leak":
            return 1 + self.rate * (done - restarted)
        if self.kind == "worker":
            on = restarted <= self.begin <= done
        else:
            on = self.begin <= done and (self.length is None or done < self.begin + self.length)
        return 1 + self.rate if on else 1.0


USUAL: Mapping[str, Fault] = {
    "leak": Fault("leak", 0.002),
    "worker": Fault("worker", 0.2, 25),
    "clock": Fault("clock", 0.2, 25, 50),
}


def parse_simulated(argument: str) -> tuple[str, float, tuple[Fault, ...], dict[str, float]]:
    """``LAW,noise=1%,fault=leak:0.2%,core_mhz=600`` → (law, 0.01, faults, clocks); any number of faults.

    :raises BackendError: with what is wrong in it.
    """
    law, *settings = argument.split(",")
    noise, faults, clocks = 0.0, [], dict[str, float]()
    for setting in settings:
        key, _, value = setting.partition("=")
        fault = _fault(value) if key == "fault" else None
        if fault:
            faults.append(fault)
        elif key == "noise" and (part := _part(value)) is not None:
            noise = part
        elif key in CLOCKS and (mhz := _mhz(value)):
            clocks[key] = mhz
        else:
            raise BackendError(f"'{setting}' is no setting of the simulated backend", WRITE)
    if not law:
        raise BackendError("the simulated backend needs a law", "write --backend simulated:LAW,noise=1%")
    return law, noise, tuple(faults), clocks


def _fault(text: str) -> Fault | None:
    match = FAULT.fullmatch(text)
    if not match:
        return None
    kind, rate, begin, length = match.groups()
    usual = USUAL[kind]
    share = usual.rate if rate is None else _part(rate)
    if share is None or (begin and "@" not in PARTS[kind]) or (length and "+" not in PARTS[kind]):
        return None
    if begin is None and length is None:
        return Fault(kind, share, usual.begin, usual.length)
    return Fault(kind, share, int(begin or usual.begin), int(length) if length else None)


def _part(text: str) -> float | None:
    """``1%`` or ``0.01``, from 0 to 1."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _mhz(text: str) -> float | None:
    """``600`` or ``624.75``; None where it is no clock."""
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and float(text) > 0 else None


class SimulatedBackend:
    """Plays ``law`` back; ``noise`` is the relative standard deviation of each kernel's time.

    Its name, and so the identity of its cases, leaves the faults out: they happen to a board, and what was measured
    without them is the same case.
    """

    simulated = True
    usual = 1
    threads = 0

    def __init__(
        self,
        law: Law,
        noise: float,
        faults: tuple[Fault, ...] = (),
        clocks: Mapping[str, float] | None = None,
    ) -> None:
        """:raises SpecError: clocks that the law's terms do not name."""
        self.law = at_clocks(law, clocks or {})
        self.noise = noise
        self.faults = faults
        self._done = self._restarted = 0
        self.name = f"simulated:{law.name},noise={noise:.6g}"
        self.launches: tuple[str, ...] = (law.launch,)
        self.precisions: tuple[str, ...] = tuple({"fp32", law.precision})

    def runtime(self) -> str:
        return self.law.runtime

    def facts(self) -> dict[str, Any]:
        return {
            "simulated": True,
            "law": self.law.name,
            "noise": self.noise,
            "faults": [asdict(fault) for fault in self.faults],
            "machine": dict(self.law.machine),
        }

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        return ()

    def check(self, net: Network) -> None:
        """See that the law can price ``net``. Raises DomainError where it is not of such networks."""
        check_priced(self.law, net)

    def measure(self, case: Case, number: int, stop: Stop, tiles: Path | None) -> Round:
        predicted = predict(self.law, case.net, case.batch)
        again = [] if number else [self._done]  # the noise of a sentinel differs from reading to reading
        rng = np.random.default_rng([int(case.key(), 16) % 2**63, number, *again])
        slowdown = self.slowdown()
        self._done += 1
        prices = [(k.kind, k.name, k.ms) for k in predicted.kernels if k.ms > 0]
        ms = np.array([*(price for _, _, price in prices), predicted.overhead_ms])
        lasting = np.exp(self.noise * rng.standard_normal(len(ms)))
        passing = np.exp(self.noise / 4 * rng.standard_normal((2, RUNS, len(ms))))
        plain, profiled = ms * lasting * passing * slowdown
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
            telemetry={names_in(self.law.machine)[name][0]: mhz for name, mhz in self.law.clocks.items()},
        )

    def try_out(self, case: Case) -> None:
        raise BackendError("a simulated board has no memory to fill", "give --batch a number")

    @property
    def clocks(self) -> str | None:
        """How cases say the clocks that they are played back at; None for a law without clocks."""
        return ",".join(f"{name}={mhz:g}" for name, mhz in self.law.clocks.items()) or None

    def slowdown(self) -> float:
        """What the faults multiply the next measurement's times by."""
        return math.prod(fault.slowdown(self._done, self._restarted) for fault in self.faults)

    def sustain(
        self,
        case: Case,
        seconds: float,
        rate_hz: float,
        meanwhile: Callable[[], None],
        every_s: float,
        enough: Callable[[Bins], bool] | None = None,
    ) -> Sustained:
        raise BackendError(
            "a simulated board has no power to measure and nothing to run on and on", "name a runtime"
        )

    def overlap(self, case: Case, depths: Sequence[int], turns: int, turn_s: float) -> tuple[InFlight, ...]:
        raise BackendError("a law knows nothing of several runs at once", "name a runtime")

    def restart(self) -> None:
        self._restarted = self._done

    def close(self) -> None:
        """Nothing to give back."""


def _covered(name: str, known: set[str]) -> tuple[str, ...]:
    """Operators of a simulated kernel: that of its name, or the one that a layout change follows."""
    source = name.rpartition(" after ")[2]
    return (source,) if source in known or source == "input" else (name,)
