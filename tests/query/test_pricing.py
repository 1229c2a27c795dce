"""Pricing: what predict says of each network, for all of a grid at once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.errors import SpecError
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import predict_many
from edgeprof.nets.network import net_operators
from edgeprof.query.pricing import pricer
from edgeprof.query.space import Space, parse_choice, space

DATA = Path(__file__).parents[1] / "data" / "laws"
STUDY = read_law("gtx960-theano")
KERNELS = read_law(str(DATA / "cpu-kernels.json"))

WIDE = {
    "tile": "20,28",
    "channels": "1,3",
    "classes": "7,10",
    "conv": "0..4",
    "depth": "3..40:3,16,32",
    "kernel": "1..5:2",
    "stride": "1,2",
    "padding": "valid,same,1",
    "pool": "1..3",
    "pool_before": "1,2",
    "fc": "0..4",
    "neurons": "8..200:24,512",
    "batch": "5,16,64",
}


def _law(**changes: Any) -> Law:
    return Law(**{**KERNELS.model_dump(), **changes})


def _leaf(kind: str, seen: int = 1, **others: int) -> dict[str, Any]:
    return {"kind": kind, "seen": seen, "others": others}


def _asks(feature: str, test: str, value: Any, yes: Any, no: Any) -> dict[str, Any]:
    return {"if": [feature, test, value], "then": yes, "else": no}


# kernels of which the rules are not sure, that ask where their input comes from, and that are merged now and then
UNSURE = _law(
    name="unsure",
    unit="tile",
    overhead=[{"text": "k", "coefficient": 0.01}, {"text": "F*N + D", "coefficient": 1e-5}],
    rules={
        "operators": {
            "Conv": _asks(
                "from",
                "=",
                "Conv.nchw",
                _leaf("Conv.nchwc"),
                _asks("C", "<", 3, _leaf("Conv.nchw", 3, **{"Conv.im2col": 2}), _leaf("Conv.im2col")),
            ),
            "Relu": _asks("B", "%", 16, _leaf("merged", 3, Relu=1), _leaf("Relu", 2, merged=1)),
            "MaxPool": _leaf("MaxPool", 1, **{"MaxPool.nchwc": 3, "merged": 2}),
            "Flatten": _leaf("merged"),
            "Gemm": _asks(
                "N",
                "<",
                128,
                _leaf("MatMul", 5, Gemm=1),
                _asks("N*M", "%", 64, _leaf("Gemm"), _leaf("Other")),
            ),
            "Softmax": _asks("from", "=", "Gemm", _leaf("Softmax"), _leaf("merged", 2, Softmax=1)),
        },
        "between": {
            "Conv.im2col → Gemm": _asks("C", "<", 500, _leaf("Cast", 2, none=1), _leaf("none", 3, Cast=1)),
            "MatMul → MatMul": _leaf("Cast"),
            "Other → MatMul": _leaf("Cast", 1, none=1),
            "Gemm → Other": _asks("X", "%", 32, _leaf("Cast"), _leaf("none")),
            "Softmax → output": _asks("C", "<", 9, _leaf("Cast"), _leaf("none", 1, Cast=1)),
            "MatMul → output": _leaf("Cast"),
            "Other → Relu": _leaf("Cast"),
        },
    },
)


def _grid(choices: dict[str, str]) -> Space:
    return space({k: parse_choice(k, v) for k, v in choices.items()}, 64)


def _sampled(law: Law, nets: Space, share: float, seed: int) -> list[tuple[int, float]]:
    """(place, latency) of random members of a grid, priced in odd pieces."""
    rng = random.Random(seed)
    found = []
    for slab, _ in nets.slabs(503):
        if rng.random() > share or not len(slab.places):
            continue
        priced = pricer(law)(slab.bodies)
        for heads in nets.heads(60):
            latency = priced(heads)
            for begin, end in ((0, 100), (100, 333)):
                part = slice(begin, end)
                if len(slab.places) <= begin:
                    continue
                ms = latency(part)
                count = len(slab.places[part])
                assert ms.shape == (count, *heads.places.shape)
                for _ in range(2):
                    at = tuple(rng.randrange(n) for n in ms.shape)
                    found.append(
                        (int(slab.places[part][at[0]] * nets.head_count + heads.places[at[1:]]), ms[at])
                    )
    return found


@pytest.mark.parametrize("law", [STUDY, KERNELS, UNSURE], ids=lambda law: law.name)
def test_the_same_as_predict(law: Law) -> None:
    nets = _grid(WIDE)
    found = _sampled(law, nets, 0.15, 3)
    assert len(found) > 150
    wanted = [p.latency_ms for p in predict_many(law, [nets.net(place) for place, _ in found])]
    np.testing.assert_allclose([ms for _, ms in found], wanted, rtol=1e-9)


def test_a_fitted_law_s_networks_differ_enough_to_tell() -> None:
    found = [ms for _, ms in _sampled(UNSURE, _grid(WIDE), 0.05, 4)]
    assert max(found) > 20 * min(found)


def test_where_a_term_is_negative_the_law_has_nothing_to_say() -> None:
    terms = [{"text": "D - 10", "coefficient": 1.0}]
    law = Law(**{**STUDY.model_dump(), "groups": [{"name": "all", "kinds": ["*"], "terms": terms}]})
    nets = _grid({"depth": "8..12"})
    ((slab, _),) = nets.slabs(10)
    (heads,) = nets.heads(10)
    ms = pricer(law)(slab.bodies)(heads)(slice(None)).ravel()
    assert np.isnan(ms).tolist() == [True, True, False, False, False]


COLD = [{"text": "Y*cold", "coefficient": 1e-5}, {"text": "(1 - cold)*B + share", "coefficient": 1e-4}]


def _cold(terms: list[dict[str, Any]], **changes: Any) -> Law:
    group = {"name": "all", "kinds": ["*"], "terms": terms}
    small = {**KERNELS.constants, "L3": 6e6}
    return _law(**{"groups": [group], "constants": small, "define": {"share": "X*cold/2"}, **changes})


def test_what_has_left_the_cache_between_runs() -> None:
    law = _cold(COLD)
    found = _sampled(law, _grid(WIDE), 0.08, 5)
    nets = [_grid(WIDE).net(place) for place, _ in found]
    wanted = [p.latency_ms for p in predict_many(law, nets)]
    np.testing.assert_allclose([ms for _, ms in found], wanted, rtol=1e-9)
    part = [np.clip(4 * net_operators(*net)[0].dims["Z"] / 6e6 - 1, 0, 1) for net in nets]
    assert min(part) == 0
    assert max(part) == 1
    assert sum(0 < p < 1 for p in part) > 3


def test_one_of_two_terms_may_be_of_what_has_left_the_cache() -> None:
    law = _cold([{"text": "where(Y < 4000, 2*Y*cold, B)", "coefficient": 1e-5}])
    found = _sampled(law, _grid(WIDE), 0.02, 6)
    nets = [_grid(WIDE).net(place) for place, _ in found]
    wanted = [p.latency_ms for p in predict_many(law, nets)]
    np.testing.assert_allclose([ms for _, ms in found], wanted, rtol=1e-9)


def test_the_shipped_form_of_kernels_can_be_queried() -> None:
    form = read_form("kernels")
    groups = [
        {"name": g.name, "kinds": g.kinds, "terms": [{"text": t, "coefficient": 1e-9} for t in g.terms]}
        for g in form.group
    ]
    assert pricer(_law(groups=groups, define=form.define)) is not None


@pytest.mark.parametrize("text", ["Y*cold**2", "cold*share", "max(cold, B)", "Z", "where(cold < 1, B, 0)"])
def test_terms_that_are_not_linear_in_cold_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not linear in cold"):
        pricer(_cold([{"text": text, "coefficient": 1.0}]))


def test_kernels_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(SpecError, match="composes kernels by 'overlap'"):
        pricer(Law(**{**STUDY.model_dump(), "composition": "overlap"}))
