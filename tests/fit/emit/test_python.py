"""A law as a Python module."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.emit.python import python_module
from edgeprof.fit.law import Law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import net_spec

from ..over_clocks import defined, drawn, of_networks, truth
from .conftest import cases_of, law_of, refused_law


def load(text: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(compile(text, "law.py", "exec"), space)
    return space


def test_it_gives_what_predict_gives(named: str) -> None:
    law = load(python_module(law_of(named)))
    for net, batch, ms in cases_of(named):
        knobs = net.model_dump()
        assert law["latency_ms"](batch, **knobs) == pytest.approx(ms, rel=1e-9)
    assert law["ms_per_tile"](batch, **knobs) == pytest.approx(ms / batch)
    assert law["tiles_per_ms"](batch, **knobs) == pytest.approx(batch / ms)


def test_one_value_stands_for_every_layer_and_a_list_sets_their_number() -> None:
    law = load(python_module(law_of("kernel")))["latency_ms"]
    assert law(64, conv=2, depth=8, padding="same") == law(64, depth=[8, 8], padding=["same"])
    assert law(64, padding="valid") == law(64, padding=0)
    assert law(64) == law(64, conv=1, fc=1, depth=20, kernel=5, neurons=1024)


@pytest.mark.parametrize(
    "knobs",
    [
        {"kernel": 29},
        {"conv": 3, "kernel": 7, "pool_before": 2},
        {"padding": 5},
        {"padding": -2},
        {"pool": 25},
        {"depth": 0},
        {"conv": -1},
        {"depth": [8, 8, 8], "conv": 2},
    ],
)
def test_a_network_that_cannot_be(named: str, knobs: dict[str, Any]) -> None:
    law = load(python_module(law_of(named)))["latency_ms"]
    with pytest.raises(ValueError, match=r"pixels left|at least 1|per layer"):
        law(64, **knobs)


def test_what_predict_refuses_is_refused() -> None:
    law = load(python_module(refused_law()))["latency_ms"]
    assert math.isfinite(law(64, depth=50))
    with pytest.raises(ValueError, match="no finite time"):
        law(64, depth=5)


def test_it_needs_nothing_but_python(tmp_path: Path, named: str) -> None:
    (tmp_path / "law.py").write_text(python_module(law_of(named)), "utf-8")
    code = "import law; print(law.latency_ms(64, conv=2, depth=[8, 16]))"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.append({str(tmp_path)!r}); {code}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert float(done.stdout) > 0


@pytest.mark.parametrize("law", [truth(), of_networks(), defined()], ids=["kernels", "networks", "defined"])
def test_clocks_are_inputs(law: Law) -> None:
    latency_ms = load(python_module(law))["latency_ms"]
    for net, batch, mhz, ms in drawn(law, 100):
        assert latency_ms(batch, **net.model_dump(), **mhz) == pytest.approx(ms, rel=1e-9)
    assert latency_ms(8, conv=2) == pytest.approx(predict(law, net_spec(conv=2), 8).latency_ms, rel=1e-9)
    with pytest.raises(ValueError, match="above 0 MHz"):
        latency_ms(8, core_mhz=0)
