"""Explain: what the law itself says of a network's neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeprof.errors import SpecError
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import predict
from edgeprof.nets.network import total_macs
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.query.explain import Change, explain

STUDY = read_law("gtx960-theano")
KERNELS = read_law(str(Path(__file__).parents[1] / "data" / "laws" / "cpu-kernels.json"))
PER_LAYER = ("depth", "kernel", "stride", "padding", "neurons")


def _blocks(size: int) -> Law:
    """Channels and neurons in blocks of a size."""
    groups = [
        {"name": "Conv", "kinds": ["Conv"], "terms": [{"text": f"B*blocks(M, {size})", "coefficient": 1.0}]},
        {
            "name": "Gemm",
            "kinds": ["Gemm"],
            "terms": [{"text": f"B*blocks(M, {4 * size})", "coefficient": 0.1}],
        },
    ]
    changes = {"groups": groups, "rules": {}, "unit": "run", "overhead": [{"text": "1", "coefficient": 1.0}]}
    return Law(**{**KERNELS.model_dump(), **changes})


def _changed(net: NetSpec, batch: int, change: Change) -> tuple[NetSpec, int]:
    if change.knob == "batch":
        return net, int(change.to)
    knobs = {k: v[0] if isinstance(v, tuple) and v else v for k, v in net.model_dump().items() if v != ()}
    return net_spec(**{**knobs, change.knob: change.to}), batch


@pytest.mark.parametrize(
    ("law", "knobs", "batch"),
    [
        (STUDY, {"conv": 3, "fc": 2, "depth": 21, "neurons": 500}, 1024),
        (KERNELS, {"conv": 2, "fc": 1, "depth": 33, "kernel": 3, "neurons": 300, "padding": "same"}, 64),
        (KERNELS, {"conv": 1, "fc": 0, "depth": 17}, 128),
    ],
)
def test_changes_are_what_predict_says(law: Law, knobs: dict[str, int | str], batch: int) -> None:
    net = net_spec(**knobs)
    found = explain(law, net, batch)
    assert found.prediction == predict(law, net, batch)
    assert len(found.changes) >= 4
    now = found.prediction.ms_per_tile, total_macs(net, 1)
    for change in found.changes:
        other = _changed(net, batch, change)
        told = predict(law, *other)
        assert change.time_pct == pytest.approx(100 * (told.ms_per_tile / now[0] - 1), abs=1e-6)
        assert change.macs_pct == pytest.approx(100 * (total_macs(other[0], 1) / now[1] - 1), abs=1e-6)
        assert told.in_domain


def test_the_largest_depth_in_the_same_blocks_is_free() -> None:
    found = explain(_blocks(8), net_spec(conv=2, depth=21, fc=1, neurons=512), 64)
    (free,) = [c for c in found.changes if c.kind == "free"]
    assert (free.knob, free.value, free.to) == ("depth", 21, 24)
    assert abs(free.time_pct) < 0.1
    assert free.text().startswith("depth 21 → 24 costs nothing: +")


def test_just_above_a_block_is_a_cliff() -> None:
    found = explain(_blocks(16), net_spec(conv=2, depth=33, fc=1, neurons=512), 64)
    (cliff,) = [c for c in found.changes if c.kind == "cliff"]
    assert (cliff.knob, cliff.value, cliff.to) == ("depth", 33, 32)
    assert cliff.time_pct < -25
    assert -8 < cliff.macs_pct < 0
    assert cliff.text().startswith("depth 33 → 32 saves ")


def test_at_the_end_of_a_block_nothing_is_free() -> None:
    found = explain(_blocks(16), net_spec(conv=2, depth=32, fc=1, neurons=512), 64)
    assert {c.kind for c in found.changes} == {"step"}


def test_a_real_law_tells_where_the_vector_ends() -> None:
    found = explain(KERNELS, net_spec(conv=2, depth=33, fc=2, neurons=1024, kernel=3), 64)
    (cliff,) = [c for c in found.changes if c.kind == "cliff" and c.knob == "depth"]
    assert (cliff.value, cliff.to) == (33, 32)


def test_layers_that_differ_are_refused() -> None:
    with pytest.raises(SpecError, match="differ in depth"):
        explain(KERNELS, net_spec(depth=(8, 16), fc=1), 64)


def test_no_layers_at_all() -> None:
    found = explain(STUDY, net_spec(conv=0, fc=0), 1024)
    assert found.changes == ()
