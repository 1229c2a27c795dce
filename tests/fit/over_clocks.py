"""A law over clocks that is made up, and sweeps played back from it at several settings, for the tests of clocks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeprof.fit.forms import parse_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import write_law
from edgeprof.fit.prediction import predict_many
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Measurement

TERMS = {  # ms, with clocks in MHz
    "Conv": {
        "B*H*W*Kh*Kw*C*M": 0.0,
        "(B*H*W*Kh*Kw*C*M)/core_mhz": 2e-5,
        "Y": 0.0,
        "(Y)/memory_mhz": 4e-3,
        "1": 0.02,
    },
    "Gemm": {"(R*N*M)/core_mhz": 1.5e-5, "(N*M)/memory_mhz": 6e-3, "1": 0.01},
    "other": {"(Y)/memory_mhz": 3e-3},
}
FORM = parse_form(
    {
        "name": "small",
        "scope": "kernel",
        "terms": "needed",
        "group": [
            {"name": "Conv", "kinds": ["Conv"], "terms": ["B*H*W*Kh*Kw*C*M", "Y", "1"]},
            {"name": "Gemm", "kinds": ["Gemm"], "terms": ["R*N*M", "N*M", "1"]},
            {"name": "other", "kinds": ["*"], "terms": ["Y"]},
        ],
    },
    "small",
)
CORE, MEMORY = (400.0, 800.0, 1300.0), (1000.0, 2000.0)
RULES: dict[str, Any] = {
    "operators": {
        **{name: {"kind": name} for name in ("Conv", "MaxPool", "Gemm", "Softmax")},
        **{name: {"kind": "merged"} for name in ("Relu", "Flatten")},
    },
    "between": {},
}
SAMPLE = parse_sweep(
    {
        "name": "sample",
        "sample": {
            "nets": 16,
            "seed": 5,
            "channels": [1, 3, 16],
            "conv": "1..3",
            "fc": "0..2",
            "depth": "4..64 log",
            "kernel": [3, 5],
            "padding": ["same", "valid"],
            "neurons": "64..1024 log",
            "batch": [1, 4, 16, 64],
        },
    },
    "sample",
)


def truth(terms: dict[str, dict[str, float]] = TERMS, **settings: Any) -> Law:
    """The law that is played back."""
    groups = [
        {
            "name": name,
            "kinds": ["*"] if name == "other" else [name],
            "terms": [{"text": text, "coefficient": ms} for text, ms in own.items()],
        }
        for name, own in terms.items()
    ]
    data = {
        "name": "truth",
        "board": "made-up",
        "backend": "ort-cuda",
        "runtime": "made up 1.0",
        "threads": 1,
        "form": "small",
        "scope": "kernel",
        "unit": "run",
        "groups": groups,
        "overhead": [{"text": "1", "coefficient": 0.05}],
        "rules": RULES,
        "constants": {"core_mhz": CORE[-1], "memory_mhz": MEMORY[-1]},
        "domain": {"depth": [4, 64]},
        "machine": {"model": "made up", "gpu_sms": 8, "gpu_l2_kib": 2048},
    }
    return Law(**{**data, **settings})


def played(
    law: Law,
    settings: Sequence[dict[str, float]],
    folder: Path,
    noise: str = "1%",
    rounds: int = 1,
    sweep: Any = SAMPLE,
) -> list[Measurement]:
    """What sweeps at these clocks leave in one database."""
    write_law(law, folder / "truth.json")
    for clocks in settings:
        given = "".join(f",{name}={mhz:g}" for name, mhz in clocks.items())
        with open_target("auto", f"simulated:{folder / 'truth.json'},noise={noise}{given}") as target:
            run_sweep([sweep], folder / "clocks.db", target, rounds=rounds)
    with Store(folder / "clocks.db") as store:
        return store.measurements()


def grid(core: Sequence[float] = CORE, memory: Sequence[float] = MEMORY) -> list[dict[str, float]]:
    """Every combination of these clocks."""
    return [{"core_mhz": c, "memory_mhz": m} for c in core for m in memory]


Drawn = tuple[NetSpec, int, dict[str, float], float]


def drawn(law: Law, count: int) -> list[Drawn]:
    """Random networks of a law at random clocks: network, batch, clocks, and the ms that the law predicts."""
    rng = random.Random(11)
    nets: list[tuple[NetSpec, int]] = []
    while len(nets) < count:
        conv, fc = rng.randint(0, 3), rng.randint(0, 2)
        knobs: dict[str, Any] = {"conv": conv, "fc": fc, "channels": rng.choice((1, 3))}
        knobs["depth"] = tuple(rng.randint(4, 64) for _ in range(conv))
        knobs["kernel"] = tuple(rng.choice((3, 5)) for _ in range(conv))
        knobs["padding"] = tuple(rng.choice(("same", "valid")) for _ in range(conv))
        knobs["neurons"] = tuple(rng.randint(64, 512) for _ in range(fc))
        nets.append((net_spec(**knobs), rng.choice((1, 16, 50))))
    clocks = [{name: rng.uniform(mhz / 3, 2 * mhz) for name, mhz in law.clocks.items()} for _ in nets]
    found = predict_many(law, nets, clocks=clocks)
    return [(*net, mhz, p.latency_ms) for net, mhz, p in zip(nets, clocks, found, strict=True)]


def of_networks() -> Law:
    """A law of whole networks over clocks, its overhead too."""
    return truth(
        {
            "Conv": {"C*D*B/core_mhz": 2.0, "D*B": 1e-5},
            "other": {"N*F*B/memory_mhz": 0.03, "K*B/(core_mhz + memory_mhz)": 0.1},
        },
        scope="net",
        overhead=[{"text": "1/cpu_mhz", "coefficient": 40.0}, {"text": "k", "coefficient": 0.01}],
        constants={"core_mhz": CORE[-1], "memory_mhz": MEMORY[-1], "cpu_mhz": 1500.0},
        rules={},
        domain={"depth": [4, 64], "core_mhz": [400, 1300]},
    )


def defined() -> Law:
    """A law of kernels whose definitions name clocks."""
    terms = {"other": {"Y*cycle + slow": 3e-6, "max(slow - 1, 0)*B": 1e-3}}
    return truth(terms, define={"cycle": "1000/core_mhz", "slow": "cycle*B*core_mhz/memory_mhz"})
