"""Columns: the same numbers as ONNX shape inference gives, for many networks at once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edgeprof.errors import SpecError
from edgeprof.nets import columns
from edgeprof.nets.columns import BODY, SAME, Bodies, pixels_left
from edgeprof.nets.network import net_operators, total_macs, total_parameters
from edgeprof.nets.operators import Operator
from edgeprof.nets.spec import NetSpec, net_spec

RNG = random.Random(20)


def _draw() -> dict[str, int | str]:
    return {
        "tile": RNG.choice((20, 28, 33)),
        "channels": RNG.choice((1, 3)),
        "conv": RNG.randint(0, 4),
        "depth": RNG.randint(1, 40),
        "kernel": RNG.choice((1, 2, 3, 5, 7)),
        "stride": RNG.choice((1, 1, 2, 3)),
        "padding": RNG.choice(("valid", "same", 0, 1, 4)),
        "pool": RNG.choice((1, 2, 3)),
        "pool_before": RNG.choice((1, 1, 2)),
        "batch": RNG.choice((1, 16, 100)),
    }


def _bodies(draws: list[dict[str, int | str]]) -> Bodies:
    numbers = [
        {**d, "padding": {"valid": 0, "same": SAME}.get(str(d["padding"]), d["padding"])} for d in draws
    ]
    return Bodies({knob: np.array([own[knob] for own in numbers], np.int64) for knob in BODY})


def _net(draw: dict[str, int | str]) -> NetSpec | None:
    try:
        return net_spec(**{k: v for k, v in draw.items() if k != "batch"}, fc=0)
    except SpecError:
        return None


def _own(op: Operator) -> dict[str, float]:
    """Its dimensions, the bytes of the whole run apart."""
    return {name: value for name, value in op.dims.items() if name != "Z"}


def test_networks_are_those_that_netspec_takes() -> None:
    draws = [_draw() for _ in range(600)]
    left = pixels_left(_bodies(draws).knobs)
    assert left.tolist() == [_net(d) is not None for d in draws]
    assert 100 < left.sum() < 550


def test_operators_are_those_of_the_graph() -> None:
    draws = [d for d in (_draw() for _ in range(80)) if _net(d)]
    bodies = _bodies(draws)
    found: list[list[columns.Operators]] = [[] for _ in draws]
    for operators in bodies.operators():
        for place, row in enumerate(operators.rows):
            dims = {k: int(v[place]) if np.ndim(v) else v for k, v in operators.dims.items()}
            shape = tuple(int(size[place]) for size in operators.entering)
            found[row].append(columns.Operators(operators.op_type, np.array([row]), dims, shape))
    for draw, own in zip(draws, found, strict=True):
        net = _net(draw)
        assert net is not None
        graph = net_operators(net, int(draw["batch"]))
        body = graph[: len(graph) - 2]  # the classifier and softmax are the head
        assert [o.op_type for o in own] == [o.op_type for o in body]
        assert [o.dims for o in own] == [_own(o) for o in body]
        assert [o.entering for o in own] == [o.inputs[0] for o in body]


@pytest.mark.parametrize("fc", [0, 1, 3])
def test_macs_parameters_and_what_a_layer_holds(fc: int) -> None:
    draws = [d for d in (_draw() for _ in range(40)) if _net(d)]
    bodies = _bodies(draws)
    neurons = 37 if fc else 0
    for i, draw in enumerate(draws):
        net = net_spec(**{k: v for k, v in draw.items() if k != "batch"}, fc=fc, neurons=37, classes=7)
        head = (int(bodies.flat[i]), fc, neurons, 7)
        assert bodies.macs[i] + columns.head_macs(*head) == total_macs(net, 1)
        assert bodies.parameters[i] + columns.head_parameters(*head) == total_parameters(net)
        layers = [o for o in net_operators(net, 1) if o.op_type in ("Conv", "MaxPool", "Gemm")]
        most = max(o.dims["X"] + o.dims["Y"] for o in layers)
        assert max(bodies.held().live[i], columns.head_live(*head)) == most
        values = bodies.results[i] + columns.head_results(*head[1:])
        run_bytes = 4 * (bodies.parameters[i] + columns.head_parameters(*head) + 3 * values)
        assert run_bytes == net_operators(net, 3)[0].dims["Z"]


def test_the_layers_of_a_head_are_those_of_the_graph() -> None:
    net = net_spec(conv=1, fc=1, neurons=37, classes=7)
    fc1, relu, classifier, softmax = net_operators(net, 16)[-4:]
    one, rows = np.array([16]), np.array([0])
    flat = np.array([fc1.inputs[0][1]])
    mine = (
        columns.product(one, flat, np.array([37]), rows),
        columns.elementwise("Relu", one, np.array([37]), rows),
        columns.product(one, np.array([37]), np.array([7]), rows),
        columns.elementwise("Softmax", one, np.array([7]), rows),
    )
    for own, op in zip(mine, (fc1, relu, classifier, softmax), strict=True):
        assert own.op_type == op.op_type
        assert own.dims == _own(op)
        assert own.entering == op.inputs[0]
