"""Kernel rules: learnt from made-up networks and from what ONNX Runtime really executes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgeprof.backends.base import Stop
from edgeprof.fit.learning import Observed, grow, learn
from edgeprof.fit.rules import MERGED, KernelRules, Rule, tensor_dims
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.nets.zoo.builder import Builder
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep, read_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import KernelTimes

FACTS = ("C", "M", "B", "from")


# --- files


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "a", "seen": "many"},
        {"if": ["C", "<", 8]},
        {"if": ["C", "<", 8], "then": {"kind": "a"}},
        {"if": ["C", "<"], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["C", ">", 8], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["C", "<", "8"], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["C", "<", True], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["C", "%", 0], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["C", "%", True], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["C", "%", 1.5], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["from", "<", 8], "then": {"kind": "a"}, "else": {"kind": "b"}},
        {"if": ["from", "%", 8], "then": {"kind": "a"}, "else": {"kind": "b"}},
    ],
)
def test_what_is_no_rule_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Rule.from_dict(data)


def test_a_rule_nested_without_end_is_refused() -> None:
    data: dict[str, Any] = {"kind": "a"}
    for _ in range(30):
        data = {"if": ["C", "<", 8], "then": data, "else": {"kind": "b"}}
    with pytest.raises(ValueError, match="nests deeper"):
        Rule.from_dict(data)


# --- networks


def chain(net: NetSpec, batch: int, kinds: dict[str, str]) -> Observed:
    """What a runtime would do that executes operators of each type as ``kinds`` says, and merges the others."""
    operators = net_operators(net, batch)
    kernels: list[tuple[str, list[str]]] = []
    for op in operators:
        if op.op_type in kinds:
            kernels.append((kinds[op.op_type], [op.name]))
        elif kernels:
            kernels[-1][1].append(op.name)
    return Observed(operators, tuple((kind, tuple(names), False) for kind, names in kernels))


PLAIN = {"Conv": "Conv.im2col", "MaxPool": "MaxPool", "Gemm": "Gemm", "Softmax": "Softmax"}


def test_merged_operators_have_no_kernel_of_their_own() -> None:
    net = net_spec(conv=2, depth=8, fc=2, neurons=64)
    rules = learn([chain(net, 4, PLAIN)])
    assert rules.operators["Relu"].kind == MERGED
    plan = rules.plan(net_operators(net, 4))
    assert [k.kind for k in plan] == [k for k, _, _ in chain(net, 4, PLAIN).kernels]
    assert plan[0].dims["M"] == 8


def test_rules_carry_to_networks_never_seen() -> None:
    def observe(net: NetSpec) -> Observed:
        kind = "Conv.nchwc" if net.depth[0] % 8 == 0 else "Conv.im2col"
        return chain(net, 4, {**PLAIN, "Conv": kind})

    rules = learn(observe(net_spec(depth=d, fc=f, neurons=64)) for d in range(5, 45) for f in (0, 1))
    assert rules.operators["Conv"].text() == "Conv.nchwc if M a multiple of 8, else Conv.im2col"
    for depth in (72, 73, 80):
        net = net_spec(depth=depth, fc=3, neurons=96)
        assert [k.kind for k in rules.plan(net_operators(net, 4))] == [k for k, _, _ in observe(net).kernels]


def test_a_question_is_judged_by_what_a_wrong_guess_costs() -> None:
    """Either question leaves one of ten unexplained; the one that gets the large kernels right is asked."""
    cases = [({"C": 4, "M": 8}, "a")] * 4 + [({"C": 64, "M": 24}, "b")] * 4
    cases += [({"C": 4, "M": 24}, "a"), ({"C": 64, "M": 8}, "a")]
    costs = [1.0] * 8
    asked = [grow(cases, [*costs, *last]).text() for last in ((5.0, 0.1), (0.1, 5.0))]
    assert asked[0] == "b if C a multiple of 64, else a"
    assert asked[1] == "a if M < 16, else b"


def test_where_the_rules_are_not_sure_a_kernel_is_a_mix() -> None:
    net = net_spec(depth=8, fc=0)
    kinds = ["Conv.nchwc"] * 3 + ["Conv.im2col"]
    rules = learn(chain(net, 4, {**PLAIN, "Conv": kind}) for kind in kinds)
    plan = rules.plan(net_operators(net, 4))
    assert plan[0].kind == "Conv.nchwc"
    assert plan[0].mix == (("Conv.nchwc", 0.75), ("Conv.im2col", 0.25))
    assert all(k.mix == ((k.kind, 1.0),) for k in plan[1:])


def test_layout_changes_stand_between_kernels() -> None:
    """Blocked convolutions want a reorder before a plain consumer and, where channels are blocked already, after the
    network's input too."""

    def observe(net: NetSpec) -> Observed:
        plain = chain(net, 2, {**PLAIN, "Conv": "Conv.nchwc", "MaxPool": "MaxPool.nchwc"})
        kernels = [("ReorderInput", ("input",), True), *plain.kernels]
        after = max(i for i, k in enumerate(kernels) if k[0].endswith("nchwc"))
        kernels.insert(after + 1, ("ReorderOutput", (kernels[after][1][-1],), True))
        return Observed(plain.operators, tuple(kernels))

    nets = [net_spec(channels=16, conv=c, depth=16, padding="same", fc=1, neurons=64) for c in (1, 2, 3)]
    rules = learn(observe(net) for net in nets)
    for net in nets:
        plan = rules.plan(net_operators(net, 2))
        assert [k.kind for k in plan] == [kind for kind, _, _ in observe(net).kernels]
        first, put = plan[0], next(k for k in plan if k.kind == "ReorderOutput")
        run_bytes = net_operators(net, 2)[0].dims["Z"]
        assert first.dims == {**tensor_dims((2, 16, 28, 28)), "Z": run_bytes}
        assert put.dims["X"] == 2 * 16 * 14 * 14
        assert put.name.startswith("ReorderOutput after ")
    assert any("ReorderOutput" in line for line in rules.lines())


def test_an_operator_type_never_seen_becomes_a_kernel_of_its_name() -> None:
    net = net_spec(fc=1, neurons=64)
    kinds = [k.kind for k in KernelRules({}, {}).plan(net_operators(net, 1))]
    assert kinds == [op.op_type for op in net_operators(net, 1)]


def test_tensor_dims() -> None:
    assert tensor_dims((2, 3, 4, 5)) == {"B": 2, "C": 3, "H": 4, "W": 5, "M": 3, "X": 120, "Y": 120}
    assert tensor_dims((2, 3)) == {"B": 2, "C": 3, "M": 3, "X": 6, "Y": 6}
    assert tensor_dims(()) == {"M": 1, "X": 1, "Y": 1}


# --- what ONNX Runtime really does


@pytest.fixture(scope="module")
def runtime_nets() -> list[tuple[NetSpec, int, tuple[KernelTimes, ...]]]:
    """Small networks and the kernels that ONNX Runtime executed for them."""
    sweep = read_sweep("family").resampled(20, 3)
    extra = parse_sweep(
        {
            "net": {"fc": 1, "neurons": 64, "threads": 1, "batch": 2},
            "vary": {"channels": [1, 16], "depth": [5, 8, 16, 20, 32], "padding": ["same"]},
        },
        "extra",
    )
    works = [*expand(sweep.override({"batch": (2,)})), *expand(extra)]
    found = []
    stop = Stop(target_ci=0.9, min_runs=2, min_s=0.0, max_s=0.01)
    with open_target("cpu", "ort-cpu") as target:
        for work in works:
            case = target.case(work)
            measured = target.backend.measure(case, 1, stop, None)
            found.append((work.net, work.batch, measured.kernels))
    return found


def observed_of(net: NetSpec, batch: int, kernels: tuple[KernelTimes, ...]) -> Observed:
    return Observed(net_operators(net, batch), tuple((k.kind, k.operators, k.glue) for k in kernels))


def test_plans_reproduce_the_kernels_that_the_runtime_executed(
    runtime_nets: list[tuple[NetSpec, int, tuple[KernelTimes, ...]]],
) -> None:
    rules = learn(observed_of(*seen) for seen in runtime_nets)
    for net, batch, kernels in runtime_nets:
        plan = rules.plan(net_operators(net, batch))
        assert Counter(k.kind for k in plan) == Counter(k.kind for k in kernels), net.label()
        own = [k.kind for k in plan if " after " not in k.name]
        assert own == [k.kind for k in kernels if not k.glue]


def test_rules_of_the_runtime_go_through_a_file(
    runtime_nets: list[tuple[NetSpec, int, tuple[KernelTimes, ...]]], tmp_path: Path
) -> None:
    rules = learn(observed_of(*seen) for seen in runtime_nets)
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({k: r.as_dict() for k, r in rules.operators.items()}))
    assert {k: Rule.from_dict(d) for k, d in json.loads(path.read_text()).items()} == rules.operators
    assert rules.operators["Relu"].text() == MERGED
    assert all("\n" not in line for line in rules.lines())


def branch(*kinds: str) -> tuple[Observed, tuple[Operator, ...]]:
    """A convolution read by a second one and by a plain pooling, and both side by side: what ran as ``kinds``."""
    builder = Builder("branch", 1, weights=False, fold=True)
    x = builder.conv("first", builder.image(3, 8), 16, 1)
    left, right = builder.conv("second", x, 16, 1), builder.max_pool("pool", x, 1, 1)
    found = operators(builder.model(builder.concat("both", (left, right))))
    names = ("first", "second", "pool", "both")
    kernels = [(kind, (name,), False) for kind, name in zip(kinds, names, strict=True)]
    kernels += [("ReorderOutput", ("first",), True), ("ReorderOutput", ("second",), True)]
    return Observed(found, tuple(kernels)), found


def test_a_tensor_that_several_read_changes_its_layout_once() -> None:
    observed, found = branch("Conv.nchw", "Conv.pointwise", "MaxPool", "Concat")
    rules = learn([observed])
    plan = [kernel.name for kernel in rules.plan(found)]
    glue = ["ReorderOutput after first", "ReorderOutput after second"]
    assert sorted(plan) == sorted(["first", "second", "pool", "both", *glue])
    assert rules.between["Conv.nchw → MaxPool"].kind == "ReorderOutput"
    assert rules.between["Conv.nchw → Conv.pointwise"].kind == "none"
    assert rules.between["blocked → plain"].kind == "ReorderOutput"


def test_a_pair_never_seen_goes_by_its_layouts() -> None:
    rules = learn([branch("Conv.nchw", "Conv.pointwise", "MaxPool", "Concat")[0]])
    assert rules.put_between("Conv.depthwise", "Gemm", {}) == (("ReorderOutput", 1.0),)
    assert rules.put_between("Conv.depthwise", "Conv.pointwise", {}) == ()
    assert rules.put_between("Gemm", "Softmax", {}) == ()
    pairs = {
        (before, after) for before, after, rule in rules.pairs({"Conv.nchw", "Gemm"}) if rule.kind != "none"
    }
    assert ("Conv.nchw", "Gemm") in pairs
    assert ("Gemm", "Conv.nchw") not in pairs


def test_a_chain_learns_pairs_alone() -> None:
    observed = chain(net_spec(conv=1, fc=0), 1, PLAIN)
    assert not {"blocked → plain", "plain → plain"} & learn([observed]).between.keys()
