"""A law as JavaScript, run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.emit.javascript import javascript_code
from edgeprof.fit.law import Law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import net_spec

from ..over_clocks import defined, drawn, of_networks, truth
from .conftest import cases_of, law_of, refused_law

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no Node (node)")
MAIN = """
const law = require("./law.js");
const nets = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(nets.map((net) => [law.latency_ms(net), law.ms_per_tile(net), law.tiles_per_ms(net)])));
"""


def run(law: Law, nets: list[dict[str, Any]], folder: Path) -> list[list[float | None]]:
    (folder / "law.js").write_text(javascript_code(law), "utf-8")
    (folder / "main.js").write_text(MAIN, "utf-8")
    done = subprocess.run(
        [str(NODE), "main.js"], cwd=folder, input=json.dumps(nets), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: list[list[float | None]] = json.loads(done.stdout)
    return found


@needs_node
def test_it_gives_what_predict_gives(named: str, tmp_path: Path) -> None:
    cases = cases_of(named)
    found = run(law_of(named), [{**net.model_dump(), "batch": batch} for net, batch, _ in cases], tmp_path)
    for (ms, per_tile, tiles), (_, batch, wanted) in zip(found, cases, strict=True):
        assert ms == pytest.approx(wanted, rel=1e-9)
        assert per_tile == pytest.approx(wanted / batch, rel=1e-9)
        assert tiles == pytest.approx(batch / wanted, rel=1e-9)


@needs_node
def test_a_network_that_cannot_be_is_no_number(tmp_path: Path) -> None:
    bad = [
        {"kernel": 29},
        {"conv": 3, "kernel": 7, "pool_before": 2},
        {"padding": 5},
        {"padding": -2},
        {"padding": "wide"},
        {"pool": 25},
        {"depth": 0},
        {"conv": -1},
        {"depth": [8, 8, 8], "conv": 2},
    ]
    found = run(law_of("kernel"), [{"batch": 64, **net} for net in [*bad, {"depth": [8, 9]}]], tmp_path)
    assert [ms for ms, *_ in found[:-1]] == [None] * len(bad)
    assert found[-1][0] is not None
    deep, flat = run(refused_law(), [{"batch": 64, "depth": depth} for depth in (50, 5)], tmp_path)
    assert deep[0] is not None
    assert flat[0] is None


@needs_node
def test_one_value_stands_for_every_layer(tmp_path: Path) -> None:
    nets = [
        {"batch": 64, "conv": 2, "depth": 8, "padding": "same"},
        {"batch": 64, "depth": [8, 8], "padding": ["same", "same"], "fc": 1},
    ]
    one, other = run(law_of("kernel"), nets, tmp_path)
    assert one == other


@needs_node
@pytest.mark.parametrize("law", [truth(), of_networks(), defined()], ids=["kernels", "networks", "defined"])
def test_clocks_are_inputs(law: Law, tmp_path: Path) -> None:
    cases = drawn(law, 100)
    nets = [{**net.model_dump(), **mhz, "batch": batch} for net, batch, mhz, _ in cases]
    *found, usual, none = run(law, [*nets, {"conv": 2, "batch": 8}, {"batch": 8, "core_mhz": 0}], tmp_path)
    assert [ms for ms, *_ in found] == [pytest.approx(ms, rel=1e-9) for *_, ms in cases]
    assert usual[0] == pytest.approx(predict(law, net_spec(conv=2), 8).latency_ms, rel=1e-9)
    assert none[0] is None
