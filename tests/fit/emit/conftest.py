"""What tests of emission share: laws, and random networks with the latencies that ``predict`` gives."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgeprof.errors import SpecError
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law, read_law
from edgeprof.fit.prediction import predict_many
from edgeprof.nets.spec import NetSpec, net_spec

DATA = Path(__file__).resolve().parents[2] / "data" / "laws"
BATCHES = (16, 33, 100, 128)
TREES = {"ask": ["C"], "features": 4, "start": 0.1, "rate": 0.05, "trees": []}  # of a law with an opaque part
Case = tuple[NetSpec, int, float]  # network, batch, ms


def awkward() -> Law:
    """A law with all that real ones have seldom: mixed leaves, questions of the kernel before and of products, merged
    kernels with a price, names that languages keep, text that would end a comment, a price per tile."""
    data = json.loads(law_json(read_law(str(DATA / "cpu-kernels.json"))))
    groups = [
        {
            "name": "Conv */ \" ' \\",
            "kinds": ["Conv*"],
            "terms": [
                {"text": "double*char*(R0 + 10)", "coefficient": 2.5e-6},
                {"text": "log2(M + 1) + sqrt(C)*((C - 9) % 5)", "coefficient": 1e-4},
                {"text": "C - 1 + H", "coefficient": 1e-5},
            ],
        },
        {
            "name": "=Gemm",
            "kinds": ["Gemm"],
            "terms": [{"text": "R*N*sum(n, n, 1, 3) + M**0.75", "coefficient": 3e-8}],
        },
        {"name": "rest", "kinds": ["*"], "terms": [{"text": "Y*where(Y > 4096, 2, 1)", "coefficient": 1e-7}]},
    ]
    rules: dict[str, Any] = {
        "operators": {
            "Conv": {
                "if": ["C*M", "<", 300],
                "then": {"kind": "Conv.a", "seen": 6, "others": {"Conv.b": 3, "merged": 1}},
                "else": {
                    "if": ["from", "=", "input"],
                    "then": {"kind": "Conv.b", "seen": 2},
                    "else": {
                        "if": ["S", "=", 2],
                        "then": {"kind": 'odd"kind*/', "seen": 2},
                        "else": {"kind": "Conv.a", "seen": 2},
                    },
                },
            },
            "Relu": {"kind": "merged", "seen": 5, "others": {"Relu": 2}},
            "MaxPool": {
                "if": ["from", "=", "Conv.a"],
                "then": {"kind": "merged", "seen": 2},
                "else": {"kind": "MaxPool", "seen": 4},
            },
            "Flatten": {"kind": "merged", "seen": 9},
            "Softmax": {"kind": "Softmax", "seen": 1},
        },
        "between": {
            "input → Conv.a": {"kind": "In", "seen": 3, "others": {"none": 1}},
            'odd"kind*/ → Conv.a': {
                "if": ["X", "<", 5000],
                "then": {"kind": "none", "seen": 1},
                "else": {"kind": "Mid", "seen": 1},
            },
            "Conv.a → Gemm": {"kind": "Mid", "seen": 1},
            "Gemm → Gemm": {"kind": "none", "seen": 3, "others": {"Mid": 1}},
            "Softmax → output": {"kind": "Out", "seen": 1},
        },
    }
    data |= {
        "name": "9 awkward */ \n law",
        "about": '"""*/ */\n#error',
        "unit": "tile",
        "define": {"double": "ceil(C/8)", "char": "H*double", "R0": "(H - 3)/2 - 7"},
        "groups": groups,
        "rules": rules,
        "overhead": [{"text": "k", "coefficient": 1e-4}, {"text": "D + N*F + t", "coefficient": 1e-6}],
        "domain": {**data["domain"], "conv": [0, 4], "fc": [0, 3], "padding": ["same", "valid", 1, 2]},
    }
    return parse_law(json.dumps(data), "awkward")


MAKERS = {
    "net": lambda: read_law("gtx960-theano"),
    "kernel": lambda: read_law(str(DATA / "cpu-kernels.json")),
    "shipped": lambda: read_law("amd-epyc-avx512"),  # the terms of the present form
    "awkward": awkward,
}


@functools.lru_cache
def law_of(name: str) -> Law:
    """A law of ``MAKERS``."""
    return MAKERS[name]()


@functools.lru_cache
def cases_of(name: str, count: int = 1000) -> tuple[Case, ...]:
    """Random networks of a law's domain, layers differing, with their latencies."""
    law, rng = law_of(name), random.Random(20161121)
    batches = BATCHES if name != "net" else (1, 64, 1024)
    nets: list[tuple[NetSpec, int]] = []
    while len(nets) < count:
        conv, fc = (rng.randint(*law.domain[k]) for k in ("conv", "fc"))
        knobs: dict[str, Any] = {"conv": conv, "fc": fc}
        for knob, layers in (("depth", conv), ("kernel", conv), ("stride", conv), ("neurons", fc)):
            knobs[knob] = tuple(rng.randint(*law.domain[knob]) for _ in range(layers))
        knobs["padding"] = tuple(rng.choice(law.domain["padding"]) for _ in range(conv))
        knobs |= {
            k: rng.randint(*law.domain[k]) for k in ("tile", "channels", "classes", "pool", "pool_before")
        }
        try:
            nets.append((net_spec(**knobs), rng.choice(batches)))
        except SpecError:
            continue
    found = predict_many(law, nets)
    return tuple((net, batch, p.latency_ms) for (net, batch), p in zip(nets, found, strict=True))


@pytest.fixture(params=list(MAKERS))
def named(request: pytest.FixtureRequest) -> str:
    """The name of each law in turn."""
    return str(request.param)


def refused_law() -> Law:
    """A law that has nothing to say of networks of a depth under 20: there a term is negative."""
    data = json.loads(law_json(law_of("net")))
    data["groups"][0]["terms"] = [{"text": "D - 20", "coefficient": 1e-3}]
    return parse_law(json.dumps(data), "refused")
