"""Laws: the published one's numbers, files, intervals, domains, and files of strangers."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof import catalogue
from edgeprof.errors import CatalogueError, DomainError, EdgeprofError, SpecError
from edgeprof.fit.emit.text import law_text
from edgeprof.fit.law import (
    Law,
    domain_of,
    law_json,
    outside,
    parse_law,
    predict,
    predict_many,
    read_law,
    write_law,
)
from edgeprof.nets.network import ZooNet
from edgeprof.nets.spec import NetSpec, net_spec

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


# --- the published law


@pytest.mark.parametrize(("conv", "fc", "tiles_per_ms"), [(5, 1, 35.7676), (1, 5, 87.7360), (3, 3, 41.4215)])
def test_the_study_s_table_2(conv: int, fc: int, tiles_per_ms: float) -> None:
    found = predict(STUDY, net_spec(conv=conv, fc=fc), 1024)
    assert f"{found.tiles_per_ms:.4f}" == f"{tiles_per_ms:.4f}"
    assert found.in_domain
    assert math.fsum([found.overhead_ms, *(k.ms for k in found.kernels)]) == found.latency_ms
    assert [k.kind for k in found.kernels] == ["Dot22", "Elemwise", "Alloc", "Pool", "Conv"]


def test_the_study_s_equations_one_by_one() -> None:
    t, n, d, c, f = 28, 512, 40, 3, 2
    squares = [(t - 4 * i) ** 2 for i in range(1, 6)]
    found = predict(STUDY, net_spec(conv=c, depth=d, fc=f, neurons=n), 1024)
    wanted = {
        "Dot22": (6.8e-6 + 6.6e-11 * n**2) * f,
        "Elemwise": (4.9e-5 + 1.9e-7 * n) * f + 2.4e-7 * d * sum(squares[1:c]),
        "Alloc": 3.5e-8 * d * sum(squares[: c - 1]),
        "Pool": 8.2e-8 * d * sum(squares[: c - 1]),
        "Conv": 3.03e-8 * d**2 * sum(squares[1:c]),
    }
    assert {k.kind: k.ms / 1024 for k in found.kernels} == pytest.approx(wanted, rel=1e-12)
    assert found.overhead_ms / 1024 == pytest.approx(9.8e-3)
    assert found.ms_per_tile == pytest.approx(sum(wanted.values()) + 9.8e-3)


# --- predictions of a law of kernels


def test_kernels_are_priced_one_by_one() -> None:
    law = Law(**SMALL)
    found = predict(law, net_spec(depth=8, neurons=64), 16)
    kinds = [k.kind for k in found.kernels]
    assert kinds == ["Conv.nchw", "MaxPool.nchwc", "ReorderOutput", "Flatten", "Gemm", "Gemm", "Softmax"]
    prices = [k.ms for k in found.kernels]
    assert prices[0] == pytest.approx(1e-6 * 16 * 24 * 24 * 25 + 0.002)
    assert prices[2] == pytest.approx(1e-6 * 16 * 8 * 12 * 12)
    assert prices[4] == pytest.approx(2e-8 * 16 * 1152 * 64)
    assert found.overhead_ms == pytest.approx(0.007)
    assert predict(law, net_spec(depth=9, neurons=64), 16).kernels[2].kind == "Flatten"


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    nets = [(net_spec(conv=c, depth=d, fc=f), 16) for c in (1, 2) for d in (5, 16) for f in (0, 2)]
    for law in (STUDY, Law(**SMALL)):
        many = predict_many(law, nets)
        one = [predict(law, *net) for net in nets]
        assert [p.latency_ms for p in many] == pytest.approx([p.latency_ms for p in one], rel=1e-12)
        assert [p.kernels for p in many] == [p.kernels for p in one]
        assert predict_many(law, []) == []


def test_a_law_that_says_nothing_is_refused() -> None:
    zero = {**SMALL, "groups": [{**g, "terms": [{"text": "1", "coefficient": 0}]} for g in SMALL["groups"]]}
    law = Law(**{**zero, "overhead": [{"text": "1", "coefficient": 0}]})
    with pytest.raises(DomainError, match="no time at all"):
        predict(law, net_spec(), 16)
    huge = Law(**{**zero, "overhead": [{"text": "k", "coefficient": 1.7e308}]})
    with pytest.raises(DomainError, match="no finite time"):
        predict(huge, net_spec(), 16)


# --- intervals


def test_the_interval_is_the_conformal_quantile() -> None:
    law = Law(**SMALL)
    assert law.interval(10, 0.9) == pytest.approx(
        (10 / math.exp(0.1), 10 * math.exp(0.1))
    )  # rank ⌈11·0.9⌉ = 10
    assert law.interval(10, 0.5) == pytest.approx((10 / math.exp(0.06), 10 * math.exp(0.06)))
    beyond = 0.1 + 0.005 * math.log(1 / (11 * 0.05))  # eleven errors would be needed: the tail's mean excess
    assert law.interval(10, 0.95) == pytest.approx((10 / math.exp(beyond), 10 * math.exp(beyond)))
    assert STUDY.interval(10, 0.9) is None
    far = law.interval(
        10, 0.9, 1e6
    )  # from a law of three networks, say: beyond what a float's exponent takes
    assert far is not None
    assert 0 < far[0] < far[1] < math.inf
    found = predict(law, net_spec(depth=8), 16, 0.5)
    assert found.interval_ms == law.interval(found.latency_ms, 0.5)
    assert found.level == 0.5


# --- domain


def test_outside_says_what_and_by_how_much() -> None:
    net = net_spec(conv=2, depth=(4, 100), kernel=3)
    found = predict(STUDY, net, 64)
    assert not found.in_domain
    assert [(item["what"], item["value"], item["seen"]) for item in found.outside] == [
        ("depth", 4, [5, 80]),
        ("depth", 100, [5, 80]),
        ("kernel", 3, [5, 5]),
        ("batch", 64, [1024, 1024]),
    ]
    assert outside(STUDY, net_spec(padding="same"), 1024)[0]["seen"] == ["valid"]
    assert outside(STUDY, net_spec(fc=0), 1024) == ({"what": "fc", "value": 0, "seen": [1, 5]},)


def test_the_domain_of_networks_is_what_was_seen() -> None:
    nets = [(net_spec(depth=8, padding=2), 16), (net_spec(conv=2, depth=(5, 30), padding="same", fc=0), 4)]
    found = domain_of(nets)
    assert found["depth"] == (5, 30)
    assert found["padding"] == (2, "same")
    assert (found["batch"], found["fc"], found["neurons"]) == ((4, 16), (0, 1), (1024, 1024))
    law = Law(**{**FILE, "domain": found})
    assert all(not outside(law, net, batch) for net, batch in nets)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.integers(1, 200), st.sampled_from(["valid", "same"]), st.integers(1, 64))
def test_a_network_is_in_its_own_domain(fc: int, depth: int, padding: str, batch: int) -> None:
    net = net_spec(conv=2, depth=(depth, 3), padding=padding, fc=fc)
    assert not outside(Law(**{**FILE, "domain": domain_of([(net, batch)])}), net, batch)


# --- files


@pytest.mark.parametrize("law", [STUDY, Law(**SMALL)], ids=["net", "kernel"])
def test_a_file_holds_the_whole_law(law: Law, tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    write_law(law, path)
    again = read_law(str(path))
    assert again == law
    assert law_json(again) == path.read_text() == law_json(law)
    net: NetSpec = net_spec(conv=2, depth=12)
    assert predict(again, net, 1024) == predict(law, net, 1024)
    assert [p.name for p in tmp_path.iterdir()] == ["law.json"]


def test_every_shipped_law_is_what_fit_would_write() -> None:
    for entry in catalogue.entries("laws"):
        law = parse_law(entry.path.read_text("utf-8"), entry.name)
        assert law.name == entry.name
        assert json.loads(entry.path.read_text("utf-8")) == json.loads(law_json(law))


def test_a_law_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot write") as caught:
        write_law(STUDY, tmp_path / "no" / "law.json")
    assert "another file" in caught.value.hint
    folder = tmp_path / "law.json"
    folder.mkdir()
    with pytest.raises(SpecError):
        write_law(STUDY, folder)
    assert [p.name for p in tmp_path.iterdir()] == ["law.json"]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(CatalogueError, match="there is no law called 'gtx980'") as caught:
        read_law("gtx980")
    assert "gtx960-theano" in caught.value.hint
    with pytest.raises(CatalogueError, match=r"no such file: nowhere\.json"):
        read_law("nowhere.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "law.json is not JSON"),
        ("{", "law.json is not JSON"),
        ("[" * 100_000, "law.json is not JSON"),
        ('{"version": ' + "9" * 5000 + "}", "law.json is not JSON"),
        ("[]", "law.json is no law"),
        ("null", "law.json is no law"),
        ("{}", "law.json: name: Field required"),
        (json.dumps({**FILE, "version": 2}), "law.json is a law of version 2; this edgeprof reads 1"),
        (json.dumps({**FILE, "version": "1"}), "law.json: version"),
        (json.dumps({**FILE, "colour": "red"}), "law.json: unknown key 'colour'"),
        (json.dumps({**FILE, "groups": []}), "law.json: "),
        (json.dumps({**FILE, "conformal": [[1, 1e4]]}), "law.json: conformal.0"),
        (json.dumps({**FILE, "conformal": [[0, 0.1]]}), "law.json: conformal.0"),
        (json.dumps({**FILE, "conformal": [[1, math.nan]]}), "law.json: conformal.0"),
        (json.dumps({**FILE, "domain": {"depth": []}}), "law.json: domain: depth"),
        (json.dumps({**FILE, "domain": {"depth": ["a", "b"]}}), "law.json: domain: depth"),
        (json.dumps({**FILE, "domain": {"depth": [math.inf, 5]}}), "law.json: domain: depth"),
        (json.dumps({**FILE, "rules": {"operators": {"Conv": {}}}}), "a kernel rule is wrong"),
        (
            json.dumps({**FILE, "rules": {"operators": {"Conv": {"kind": "a", "seen": math.inf}}}}),
            "a kernel rule",
        ),
    ],
)
def test_what_is_no_law_is_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_law(text, "law.json")
    assert says in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 600


def test_coefficients_are_times() -> None:
    for wrong in (-1e-9, math.inf, math.nan, None, "many"):
        data = copy.deepcopy(FILE)
        data["groups"][0]["terms"][0]["coefficient"] = wrong
        with pytest.raises(SpecError, match=r"groups\.0\.terms\.0\.coefficient"):
            parse_law(json.dumps(data), "law.json")


# --- strangers' files


@pytest.mark.parametrize(
    "attack",
    [
        "__import__('os').system('touch {}')",
        "F + __import__('pathlib').Path('{}').touch()",
        "[open('{}', 'w') for n in range(1)]",
        'exec(\'open("{}", "w")\')',
        "F.__class__.__mro__",
    ],
)
@pytest.mark.parametrize("where", ["term", "overhead", "define"])
def test_a_law_that_tries_to_run_code_is_refused_and_nothing_runs(
    attack: str, where: str, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    text = attack.format(mark)
    data = copy.deepcopy(FILE)
    if where == "term":
        data["groups"][0]["terms"][0]["text"] = text
    elif where == "overhead":
        data["overhead"][0]["text"] = text
    else:
        data["define"] = {"q": text}
    path = tmp_path / "law.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SpecError):
        read_law(str(path))
    assert not mark.exists()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1", "B", "F*N", "1/0", "sum(n, n, 1, 9**8)", "Conv", "\ud800", "28", "\x1b[2J\n"])
    | st.sampled_from([0, -1, 1e308, 5e-324, 1e-300, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is in a JSON document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += places(item, (*path, i))
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_law_with_anything_in_it_is_a_law_or_an_error(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from([FILE, SMALL])))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(document)))
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if action == "drop":
            del holder[path[-1]]
        elif action == "add" and isinstance(holder, dict):
            holder[data.draw(st.text(max_size=5))] = data.draw(JSON)
        else:
            holder[path[-1]] = data.draw(JSON)
    try:
        law = parse_law(json.dumps(document), "stranger.json")
        assert isinstance(law, Law)
        found = predict(law, net_spec(conv=2, depth=(8, 20)), 16)
        assert found.latency_ms > 0
        assert all(len(line) > 0 or line == "" for line in law_text(law).splitlines())
        assert parse_law(law_json(law), "again").name == law.name
    except EdgeprofError as error:
        refusal = error
    else:
        return
    assert refusal.hint
    assert "\n" not in refusal.message + refusal.hint


def test_the_shipped_law_of_a_processor_predicts_what_it_never_saw() -> None:
    """ResNet-18 took 33.5 ms on the machine that the law is of (benchmarks/RESULTS.md)."""
    found = predict(read_law("amd-epyc-avx512"), ZooNet(name="resnet18"), 1)
    assert found.latency_ms == pytest.approx(33.5, rel=0.1)
    assert found.gaps == ()
    assert found.interval_ms is not None
    assert found.interval_ms[0] < 33.5 < found.interval_ms[1]
