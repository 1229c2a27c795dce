"""The description behind generated code: the walk's dimensions are those of the operators, and names are safe."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import sympy as sp

from edgeprof.errors import SpecError
from edgeprof.fit.emit.recipe import (
    LEFT,
    OUT,
    PADS,
    WALK,
    WIDTH,
    clean,
    identifiers,
    limited,
    never_negative,
    outcomes,
    recipe,
    slugs,
)
from edgeprof.fit.expressions import parse
from edgeprof.fit.law import Law, law_json, parse_law
from edgeprof.fit.rules import tensor_dims
from edgeprof.nets.operators import net_operators

from .conftest import cases_of, law_of


def worked_out(tree: Any, known: dict[str, Any]) -> Any:
    return sp.sympify(tree).subs(known)


def test_dimensions_are_those_of_the_operators() -> None:
    steps = {s.name: s for s in WALK}
    for net, batch, _ in random.Random(1).sample(cases_of("kernel"), 8):
        operators = net_operators(net, batch)
        known: dict[str, Any] = {"batch": batch, "run_bytes": operators[0].dims["Z"]}
        size, inputs, layer, hidden, total = net.tile, net.channels, -1, -1, 0
        for op in operators:
            if op.op_type == "Conv":
                layer += 1
                known |= {"size": size, "inputs": inputs, "pool": net.pool_after(layer)}
                for knob in ("depth", "kernel", "stride"):
                    known[knob] = getattr(net, knob)[layer]
                known["padding"] = {"valid": 0, "same": -1}.get(net.padding[layer], net.padding[layer])
                for name, tree in (("pads", PADS), ("out", OUT), ("left", LEFT)):
                    known[name] = worked_out(tree, known)
                size, inputs = known["left"], known["depth"]
            if op.op_type == "Flatten":
                known |= {"size": size, "inputs": inputs}
                known["width"] = worked_out(WIDTH, known)
            if op.op_type == "Gemm":
                known["width"] = known.get("neurons", known["width"])
                hidden += 1
                known["neurons"] = (*net.neurons, net.classes)[hidden]
            named = {"MaxPool": "pool", "Relu": "relu" if len(op.outputs[0]) == 4 else "relu_fc"}
            step = steps[named.get(op.op_type, op.op_type.lower())]
            assert {n: worked_out(v, known) for n, v in step.dims.items()} == op.dims
            tensor = {**tensor_dims(op.inputs[0]), "Z": op.dims["Z"]}
            assert {n: worked_out(v, known) for n, v in step.tensor.items()} == tensor
            assert worked_out(step.bytes, known) == op.parameter_bytes + op.output_bytes
            total += worked_out(step.bytes, known)
        assert total == int(known["run_bytes"])


def test_names_are_allowed_in_every_language() -> None:
    assert identifiers(["blocks", "double", "lambda", "π", "INFINITY", "x_1"]) == {
        "blocks": "blocks",
        "double": "defined_2_",
        "lambda": "defined_3_",
        "π": "defined_4_",
        "INFINITY": "defined_5_",
        "x_1": "x_1",
    }
    assert slugs(["Conv, NCHWc", "conv nchwc", "⌈⌉"]) == {
        "Conv, NCHWc": "conv_nchwc",
        "conv nchwc": "conv_nchwc_2",
        "⌈⌉": "x",
    }
    assert clean("a */ b\n/* c\u2028d\x00") == "a * / b / * c d?"


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("B*ceil(C/8) + max(B - 3, 0)", True),
        ("(B - 3)**2 + sqrt(C)", True),
        ("sum((B - 4*n)**2, n, 2, C)", True),
        ("where(B < 3, C, 2)*(B % 5)", True),
        ("B - 3", False),
        ("max(B - 3, C - 2)", False),
        ("log2(B)", False),
        ("min(B, C - 1)", False),
    ],
)
def test_what_cannot_be_negative(text: str, sure: bool) -> None:
    assert never_negative(parse(text, ["B", "C"]).tree, {"B", "C"}) is sure


def test_a_decision_of_kinds_that_cannot_be_is_left_out() -> None:
    between = recipe(law_of("kernel")).between[4]
    assert {o.prices for o in outcomes(between)} == {(), (("price_reorder", 1.0),)}
    assert {o.kernels for o in outcomes(limited(between, "after", {"Softmax"}))} == {0}
    assert (
        limited(between, "before", {"Conv.nchw", "Conv.nchwc", "Conv.im2col", "MaxPool", "MaxPool.nchwc"})
        == between
    )


def test_laws_that_generated_code_cannot_be() -> None:
    data = json.loads(law_json(law_of("kernel")))
    law = parse_law(json.dumps({**data, "table": {"file": "x.csv"}}), "law")
    with pytest.raises(SpecError, match="rows of a table"):
        recipe(law)

    class Composed(Law):
        composition: str = "host"

    with pytest.raises(SpecError, match="composes its kernels by 'host'"):
        recipe(Composed(**data))
