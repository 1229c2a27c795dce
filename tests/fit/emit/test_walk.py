"""The walk's dimensions are those of the operators."""

from __future__ import annotations

import random
from typing import Any

import sympy as sp

from edgeprof.fit.emit.walk import LEFT, OUT, PADS, WALK, WIDTH
from edgeprof.fit.rules import tensor_dims
from edgeprof.nets.network import net_operators

from .conftest import cases_of


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
