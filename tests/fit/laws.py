"""Laws that several tests ask: the published one, and a small one of kernels."""

from __future__ import annotations

import json
from typing import Any

from edgeprof.fit.law_file import law_json, read_law

STUDY = read_law("gtx960-theano")
FILE: dict[str, Any] = json.loads(law_json(STUDY))
SMALL: dict[str, Any] = {  # a law of kernels, with a rule of each sort
    "version": 1,
    "name": "small",
    "board": "cpu",
    "backend": "ort-cpu",
    "runtime": "onnxruntime 1.31.1",
    "threads": 1,
    "form": "small",
    "scope": "kernel",
    "unit": "run",
    "define": {"blocks": "ceil(M/V)"},
    "groups": [
        {
            "name": "Conv",
            "kinds": ["Conv.*"],
            "terms": [
                {"text": "B*H*W*Kh*Kw*C*blocks", "coefficient": 1e-6, "standard_error": 1e-8},
                {"text": "1", "coefficient": 0.002},
            ],
        },
        {"name": "Gemm", "kinds": ["Gemm"], "terms": [{"text": "R*N*M", "coefficient": 2e-8}]},
        {"name": "other", "kinds": ["*"], "terms": [{"text": "Y", "coefficient": 1e-6}]},
    ],
    "overhead": [{"text": "k", "coefficient": 0.001}],
    "rules": {
        "operators": {
            "Conv": {
                "if": ["C", "<", 16],
                "then": {"kind": "Conv.nchw", "seen": 3},
                "else": {"kind": "Conv.nchwc"},
            },
            "Relu": {"kind": "merged"},
            "MaxPool": {
                "if": ["from", "=", "Gemm"],
                "then": {"kind": "a"},
                "else": {"kind": "MaxPool.nchwc"},
            },
        },
        "between": {
            "MaxPool.nchwc → Flatten": {
                "if": ["C", "%", 4],
                "then": {"kind": "ReorderOutput"},
                "else": {"kind": "none"},
            }
        },
    },
    "constants": {"V": 16.0},
    "domain": {"tile": [28, 28], "depth": [5, 80], "padding": ["same", "valid"], "batch": [16, 64]},
    "family": {"knobs": {"conv": "1..3", "batch": [16]}},
    "conformal": [(1 + i, (-1) ** i * (1 + i) / 100) for i in range(10)],
}
