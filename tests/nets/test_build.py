"""NetSpec → ONNX: the same bytes, what the graph holds, and that a real runtime runs it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import edgeprof
from edgeprof.errors import SpecError
from edgeprof.nets.build import build_model, model_bytes
from edgeprof.nets.operators import operators
from edgeprof.nets.spec import NetSpec, net_spec

SMALL = {"tile": 16, "channels": 3, "depth": [4, 6], "kernel": 3, "fc": 2, "neurons": [12, 7], "classes": 5}


@st.composite
def small_nets(draw: st.DrawFn) -> NetSpec:
    """Networks small enough to be built by the hundred."""
    conv, fc = draw(st.integers(0, 3)), draw(st.integers(0, 2))

    def per_layer(count: int, one: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(one, min_size=count, max_size=count))

    try:
        return net_spec(
            tile=draw(st.integers(3, 24)),
            channels=draw(st.integers(1, 3)),
            classes=draw(st.integers(1, 5)),
            conv=conv,
            depth=per_layer(conv, st.integers(1, 5)),
            kernel=per_layer(conv, st.integers(1, 5)),
            stride=per_layer(conv, st.integers(1, 3)),
            padding=per_layer(conv, st.sampled_from(["valid", "same", 0, 1, 2])),
            pool=draw(st.integers(1, 3)),
            pool_before=draw(st.integers(1, 2)),
            fc=fc,
            neurons=per_layer(fc, st.integers(1, 9)),
        )
    except SpecError:
        assume(False)
        raise


many = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


def run(data: bytes, tiles: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(["output"], {"input": tiles})[0]


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def test_the_same_spec_gives_the_same_bytes_in_any_process() -> None:
    here = hashlib.sha256(model_bytes(net_spec(**SMALL), 4)).hexdigest()
    assert hashlib.sha256(model_bytes(net_spec(**SMALL), 4)).hexdigest() == here
    script = (
        "import hashlib; from edgeprof.nets.build import model_bytes; from edgeprof.nets.spec import net_spec;"
        f"print(hashlib.sha256(model_bytes(net_spec(**{SMALL!r}), 4)).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(edgeprof.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert there.stdout.strip() == here


def test_another_spec_has_other_weights_and_another_batch_the_same() -> None:
    def weights(batch: int, **knobs: Any) -> bytes:
        model = build_model(net_spec(**{**SMALL, **knobs}), batch)
        return bytes(next(t.raw_data for t in model.graph.initializer if t.name == "conv1_weight"))

    assert weights(4) == weights(8)
    assert weights(4) != weights(4, classes=6)


def test_versions_names_and_shapes() -> None:
    model = onnx.load_from_string(model_bytes(net_spec(**SMALL, pool_before=2), 4))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 7
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert [(n.name, n.op_type) for n in model.graph.node] == [
        ("conv1", "Conv"),
        ("conv1_relu", "Relu"),
        ("pool1", "MaxPool"),
        ("conv2", "Conv"),
        ("conv2_relu", "Relu"),
        ("pool2", "MaxPool"),
        ("flatten", "Flatten"),
        ("fc1", "Gemm"),
        ("fc1_relu", "Relu"),
        ("fc2", "Gemm"),
        ("fc2_relu", "Relu"),
        ("classifier", "Gemm"),
        ("softmax", "Softmax"),
    ]
    (given_,), (out,) = model.graph.input, model.graph.output
    assert [d.dim_value for d in given_.type.tensor_type.shape.dim] == [4, 3, 16, 16]
    assert [d.dim_value for d in out.type.tensor_type.shape.dim] == [4, 5]
    assert (given_.name, out.name) == ("input", "output")


def test_a_pool_of_one_pixel_is_not_in_the_graph() -> None:
    names = [n.name for n in build_model(net_spec(conv=3), 1, weights=False).graph.node]
    assert [n for n in names if n.startswith("pool")] == ["pool3"]
    assert "MaxPool" not in {n.op_type for n in build_model(net_spec(pool=1), 1, weights=False).graph.node}


def test_weights_are_he_initialised_and_biases_zero() -> None:
    # He et al. 2015, equation 10: standard deviation √(2 / fan-in)
    tensors = {
        t.name: numpy_helper.to_array(t)
        for t in build_model(net_spec(depth=[32, 64], kernel=5), 1).graph.initializer
    }
    assert tensors["conv2_weight"].shape == (64, 32, 5, 5)
    assert tensors["conv2_weight"].dtype == np.float32
    assert tensors["conv2_weight"].std() == pytest.approx((2 / (32 * 25)) ** 0.5, rel=0.02)
    assert tensors["fc1_weight"].shape == (64 * 10 * 10, 1024)
    assert tensors["fc1_weight"].std() == pytest.approx((2 / 6400) ** 0.5, rel=0.02)
    assert not any(v.any() for name, v in tensors.items() if name.endswith("_bias"))


@pytest.mark.parametrize(
    "knobs",
    [
        SMALL,
        {**SMALL, "padding": "same", "stride": 2, "kernel": 4},
        {**SMALL, "padding": [2, "valid"], "pool": 3, "pool_before": 2},
        {"conv": 0, "fc": 0, "tile": 8},
        {"conv": 1, "fc": 0, "pool": 1, "tile": 5},
    ],
)
def test_a_real_runtime_runs_it(knobs: dict[str, Any]) -> None:
    net = net_spec(**knobs)
    out = run(model_bytes(net, 3), noise(3, net.channels, net.tile, net.tile))
    assert out.shape == (3, net.classes)
    assert (out >= 0).all()
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("tile", [9, 10])
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_is_what_the_runtime_calls_same(tile: int, kernel: int, stride: int) -> None:
    net = net_spec(tile=tile, depth=4, kernel=kernel, stride=stride, padding="same", pool=1, fc=0)
    ours = build_model(net, 2)
    conv = operators(ours)[0]
    assert conv.outputs == ((2, 4, -(-tile // stride), -(-tile // stride)),)
    theirs = onnx.ModelProto()
    theirs.CopyFrom(ours)
    node = theirs.graph.node[0]
    node.attribute.remove(next(a for a in node.attribute if a.name == "pads"))
    node.attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))
    tiles = noise(2, 1, tile, tile)
    np.testing.assert_allclose(
        run(ours.SerializeToString(), tiles), run(theirs.SerializeToString(), tiles), rtol=1e-5, atol=1e-6
    )


@many
@given(small_nets(), st.integers(1, 4))
def test_pixels_agree_with_shape_inference(net: NetSpec, batch: int) -> None:
    model = build_model(net, batch, weights=False)
    found = {op.name: op for op in operators(model)}
    size, channels = net.tile, net.channels
    for i in range(net.conv):
        size = (size + sum(net.pads(i, size)) - net.kernel[i]) // net.stride[i] + 1
        channels = net.depth[i]
        assert found[f"conv{i + 1}"].outputs == ((batch, channels, size, size),)
        if net.pool_after(i) > 1:
            size //= net.pool_after(i)
            assert found[f"pool{i + 1}"].outputs == ((batch, channels, size, size),)
        assert size > 0
    width = channels * size * size
    assert found["flatten"].outputs == ((batch, width),)
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for name, neurons in [
        *((f"fc{i + 1}", n) for i, n in enumerate(net.neurons)),
        ("classifier", net.classes),
    ]:
        assert weights[f"{name}_weight"] == (width, neurons)
        assert found[name].outputs == ((batch, neurons),)
        width = neurons
    assert found["softmax"].outputs == ((batch, net.classes),)


@settings(many, max_examples=25)
@given(small_nets(), st.integers(1, 3))
def test_every_small_net_is_valid_and_runs(net: NetSpec, batch: int) -> None:
    out = run(model_bytes(net, batch), noise(batch, net.channels, net.tile, net.tile))
    assert out.shape == (batch, net.classes)
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)


def test_weights_beyond_two_gib_are_refused_before_they_are_made() -> None:
    with pytest.raises(SpecError, match="its weights exceed 2 GiB at fc2") as caught:
        build_model(net_spec(fc=2, neurons=60_000), 1, weights=False)
    assert "neurons" in caught.value.hint


def test_without_weights_only_the_shapes_are_there() -> None:
    full, bare = (build_model(net_spec(**SMALL), 2, weights=w) for w in (True, False))
    assert [list(t.dims) for t in full.graph.initializer] == [list(t.dims) for t in bare.graph.initializer]
    assert len(bare.SerializeToString()) < 2_500
    assert not any(t.raw_data for t in bare.graph.initializer)
