"""What tests of fitting share: laws of products, to be played back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.law import Law
from edgeprof.fit.law_file import write_law

KINDS = ("Conv", "MaxPool", "Gemm", "Softmax")
RULES: dict[str, Any] = {
    "operators": {
        **{kind: {"kind": kind} for kind in KINDS},
        **{kind: {"kind": "merged"} for kind in ("Relu", "Flatten")},
    }
}


@pytest.fixture
def law_of(tmp_path: Path) -> Callable[[str], str]:
    """A law file whose products cost ``term``, besides a constant."""

    def write(term: str) -> str:
        law = Law(
            name="truth",
            board="cpu",
            machine={"model": "made up", "lanes": 4},
            backend="ort-cpu",
            runtime="made up 1.0",
            threads=1,
            form="made up",
            scope="kernel",
            unit="run",
            groups=[
                {
                    "name": "Gemm",
                    "kinds": ["Gemm"],
                    "terms": [{"text": term, "coefficient": 2e-8}, {"text": "1", "coefficient": 2e-3}],
                },
                {"name": "other", "kinds": ["*"], "terms": [{"text": "Y", "coefficient": 2e-7}]},
            ],
            overhead=[{"text": "1", "coefficient": 0.01}],
            rules=RULES,
            constants={"V": 4.0},
            domain={"neurons": [1, 2048]},
        )
        path = tmp_path / "truth.json"
        write_law(law, path)
        return str(path)

    return write


@pytest.fixture
def plain_law(law_of: Callable[[str], str]) -> str:
    """A law whose products cost what they multiply."""
    return law_of("R*N*M")
