"""Measurements to report, played back from laws without a database; some with names that a stranger may have chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.backends.base import Stop
from edgeprof.backends.simulated import SimulatedBackend
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law, read_law
from edgeprof.nets.spec import net_spec
from edgeprof.store import Sentinel
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep, read_sweep
from edgeprof.timing.measurement import Measurement, Round, measurement

KERNELS = Path(__file__).resolve().parents[1] / "data" / "laws" / "cpu-kernels.json"
HOSTILE = '</script><script>hacked = 1</script><img src=x onerror="hacked = 1"> \' & %{y} $title'
GRID = {"fc": [1, 2, 3], "batch": [16, 32, 64, 128]}


@lru_cache
def kernel_law() -> Law:
    """A real law of kernels, with errors of networks held out."""
    return read_law(str(KERNELS))


@lru_cache
def study_law() -> Law:
    """The published law, in the variables of networks."""
    return read_law("gtx960-theano")


def changed(law: Law, **changes: Any) -> Law:
    """A law with other fields."""
    return parse_law(json.dumps({**json.loads(law_json(law)), **changes}), "changed")


def played(law: Law, sweep: Any, rounds: int = 3, **case: Any) -> tuple[Measurement, ...]:
    """What the networks of a sweep would take by ``law``, with 1 % of noise; ``case`` changes their cases."""
    backend = SimulatedBackend(law, 0.01)
    found = []
    for work in expand(sweep):
        given = {
            "precision": "fp32",
            "threads": 1,
            "launch": law.launch,
            "board": law.board,
            "machine": law.machine.get("model", "made up"),
            "backend": backend.name,
            "runtime": law.runtime,
            **case,
        }
        one = Case(net=work.net, batch=work.batch, **given)
        measured = [backend.measure(one, number, Stop(), None) for number in range(1, rounds + 1)]
        found.append(measurement(one, measured, "low-decile", rounds, True))
    return tuple(found)


def grid(vary: dict[str, Any] | None = None, **net: Any) -> Any:
    """A sweep over a grid of few small networks."""
    fixed = {"conv": 1, "depth": 8, "neurons": 64, "tile": 28, **net}
    return parse_sweep({"name": "grid", "net": fixed, "vary": vary or GRID}, "grid")


@lru_cache
def gridded() -> tuple[Measurement, ...]:
    """FC layers by batch, on the board of :func:`kernel_law`."""
    return played(kernel_law(), grid())


@lru_cache
def gridded_twice() -> tuple[Measurement, ...]:
    """The same on two machines; the other takes twice as long."""
    return (*gridded(), *played(slower(2.0), grid(), machine="slow machine"))


@lru_cache
def slower(factor: float) -> Law:
    """:func:`kernel_law` of a slower machine."""
    data = json.loads(law_json(kernel_law()))
    for term in [*(t for g in data["groups"] for t in g["terms"]), *data["overhead"]]:
        term["coefficient"] *= factor
    return parse_law(json.dumps(data), "slower")


@lru_cache
def random_nets(nets: int = 30) -> tuple[Measurement, ...]:
    """Random networks of the family."""
    return played(kernel_law(), read_sweep("family").resampled(nets, 3), machine="AMD EPYC")


def with_telemetry(measurements: tuple[Measurement, ...], **telemetry: Any) -> tuple[Measurement, ...]:
    """The same with readings of sensors."""
    return tuple(replace(m, telemetry=telemetry) for m in measurements)


def in_modes(**modes: tuple[float, float | None]) -> tuple[Measurement, ...]:
    """:func:`gridded` in several power modes, each so many times slower at so much power (mW)."""
    return tuple(
        replace(
            m,
            case=m.case.model_copy(update={"power_mode": name}),
            latency_ms=(m.latency_ms or 0.0) * factor,
            telemetry={"energy_mj_per_tile": power * factor * (m.ms_per_tile or 0.0) / 1e3} if power else {},
        )
        for name, (factor, power) in modes.items()
        for m in gridded()
    )


def failed(reason: str) -> Measurement:
    """A case that failed."""
    return measurement(
        gridded()[0].case.model_copy(update={"net": net_spec(fc=0)}),
        [Round(number=1, status="failed", reason=reason)],
        "minimum",
        3,
        False,
    )


def sentinels(name: str = "compute", count: int = 40) -> tuple[Sentinel, ...]:
    """Readings of one session, one every twenty seconds; two of them slow."""
    begin = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    ms = 1 + 0.01 * np.random.default_rng(0).random(count)
    ms[[7, 20]] = 1.2
    return tuple(
        Sentinel("s1", (begin + timedelta(seconds=20 * i)).isoformat(), name, float(v), 0.1)
        for i, v in enumerate(ms)
    )


@lru_cache
def hostile() -> tuple[Measurement, ...]:
    """Measurements whose every name is hostile."""
    found = []
    for m in gridded():
        case = m.case.model_copy(
            update={"machine": HOSTILE, "board": HOSTILE, "runtime": HOSTILE, "backend": HOSTILE}
        )
        kernels = tuple(
            replace(k, kind=f"{k.kind}{HOSTILE}", name=HOSTILE) if i == 0 else k
            for i, k in enumerate(m.kernels)
        )
        found.append(
            replace(m, case=case, kernels=kernels, environment={HOSTILE: HOSTILE}, warnings=(HOSTILE, "busy"))
        )
    return (*found, failed(HOSTILE))


@lru_cache
def hostile_law() -> Law:
    """A law whose names are hostile."""
    data = json.loads(law_json(kernel_law()))
    data["groups"][0]["name"] = HOSTILE[:60]
    return changed(
        kernel_law(),
        name=HOSTILE,
        about=HOSTILE,
        source=HOSTILE,
        machine={"model": HOSTILE},
        groups=data["groups"],
    )
