"""Operators of any ONNX graph: multiply-accumulates and parameters against published figures and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import SpecError
from edgeprof.nets.build import build_model
from edgeprof.nets.network import net_operators, total_macs, total_parameters
from edgeprof.nets.operators import Operator, operators, parse_model
from edgeprof.nets.spec import net_spec

Dims = list[int] | list[int | str]


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Dims], weights: dict[str, list[int]], output: str = "out"
) -> onnx.ModelProto:
    """A graph whose weights are shapes without data, so that a large network costs nothing."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [
                TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT)
                for name, dims in weights.items()
            ],
        ),
        ir_version=7,
        opset_imports=[helper.make_opsetid("", 13)],
    )


def one(
    op_type: str, inputs: dict[str, Dims], weights: dict[str, list[int]], order: str, **attributes: Any
) -> Operator:
    """The only operator of a graph of one node, whose inputs are named in ``order``."""
    node = helper.make_node(op_type, order.split(), ["out"], name="op", **attributes)
    (found,) = operators(model([node], inputs, weights))
    return found


class Chain:
    """A network in a row, written as in the papers."""

    def __init__(self, channels: int, size: int) -> None:
        self.shape: Dims = [1, channels, size, size]
        self.width, self.value = channels, "image"
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, list[int]] = {}

    def node(self, op_type: str, weights: list[list[int]], **attributes: Any) -> None:
        name = f"n{len(self.nodes)}"
        names = [f"{name}_{i}" for i in range(len(weights))]
        self.weights.update(zip(names, weights, strict=True))
        self.nodes.append(
            helper.make_node(op_type, [self.value, *names], [f"{name}_out"], name=name, **attributes)
        )
        self.value = f"{name}_out"

    def conv(self, depth: int, kernel: int, stride: int = 1, pad: int = 0) -> Chain:
        self.node(
            "Conv", [[depth, self.width, kernel, kernel], [depth]], strides=[stride] * 2, pads=[pad] * 4
        )
        self.node("Relu", [])
        self.width = depth
        return self

    def pool(self, kernel: int, stride: int) -> Chain:
        self.node("MaxPool", [], kernel_shape=[kernel] * 2, strides=[stride] * 2)
        return self

    def flatten(self, pixels: int) -> Chain:
        self.node("Flatten", [])
        self.width *= pixels
        return self

    def fc(self, neurons: int) -> Chain:
        self.node("Gemm", [[neurons, self.width], [neurons]], transB=1)
        self.width = neurons
        return self

    def found(self) -> tuple[Operator, ...]:
        return operators(model(self.nodes, {"image": self.shape}, self.weights, self.value))


def totals(found: tuple[Operator, ...]) -> tuple[int, int]:
    return sum(op.macs for op in found), sum(op.parameters for op in found)


def test_lenet5() -> None:
    # LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998, §II.B: C1 has 156
    # parameters, C5 48,120 and F6 10,164. Here pooling has none and C3 is fully connected, as it is used today.
    found = (
        Chain(1, 32).conv(6, 5).pool(2, 2).conv(16, 5).pool(2, 2).flatten(25).fc(120).fc(84).fc(10).found()
    )
    layers = [op for op in found if op.parameters]
    assert [op.parameters for op in layers] == [156, 2_416, 48_120, 10_164, 850]
    assert [op.macs for op in layers] == [
        28 * 28 * 6 * 25,
        10 * 10 * 16 * 6 * 25,
        400 * 120,
        120 * 84,
        84 * 10,
    ]
    assert totals(found) == (416_520, 61_706)


def test_lenet5_is_of_the_family() -> None:
    net = net_spec(tile=32, depth=[6, 16], pool=2, pool_before=2, neurons=[120, 84])
    assert (total_macs(net, 1), total_parameters(net)) == (416_520, 61_706)
    assert total_macs(net, 64) == 64 * 416_520


def test_alexnet() -> None:
    # torchvision.models.alexnet (Krizhevsky 2014, "One weird trick"): 61,100,840 parameters and 0.71 GMACs at 224×224:
    # https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.alexnet.html
    net = Chain(3, 224).conv(64, 11, 4, 2).pool(3, 2).conv(192, 5, 1, 2).pool(3, 2)
    net = net.conv(384, 3, 1, 1).conv(256, 3, 1, 1).conv(256, 3, 1, 1).pool(3, 2)
    assert totals(net.flatten(36).fc(4096).fc(4096).fc(1000).found()) == (714_188_480, 61_100_840)


def test_vgg16() -> None:
    # Simonyan and Zisserman 2015, configuration D; torchvision.models.vgg16: 138,357,544 parameters and 15.47 GMACs:
    # https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vgg16.html
    net = Chain(3, 224)
    for depth, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            net.conv(depth, 3, 1, 1)
        net.pool(2, 2)
    found = net.flatten(49).fc(4096).fc(4096).fc(1000).found()
    assert totals(found) == (15_470_264_320, 138_357_544)
    assert sum(op.parameter_bytes for op in found) == 4 * 138_357_544


@pytest.mark.parametrize(
    ("image", "weight", "attributes", "macs", "out"),
    [
        # plain: 2·10·10·8 outputs, 4·9 each
        ([2, 4, 12, 12], [8, 4, 3, 3], {}, 2 * 100 * 8 * 36, (2, 8, 10, 10)),
        # depthwise: each output sees one channel
        ([1, 32, 14, 14], [32, 1, 3, 3], {"group": 32, "pads": [1] * 4}, 196 * 32 * 9, (1, 32, 14, 14)),
        # two groups: half the channels
        (
            [1, 96, 27, 27],
            [256, 48, 5, 5],
            {"group": 2, "pads": [2] * 4},
            729 * 256 * 48 * 25,
            (1, 256, 27, 27),
        ),
        # dilated: the kernel spans 5 pixels, but has 9 taps
        ([1, 3, 12, 12], [6, 3, 3, 3], {"dilations": [2, 2]}, 64 * 6 * 27, (1, 6, 8, 8)),
        # strided, not square
        ([1, 3, 11, 20], [5, 3, 1, 7], {"strides": [2, 3]}, 6 * 5 * 5 * 21, (1, 5, 6, 5)),
        # one dimension
        ([3, 4, 50], [8, 4, 5], {}, 3 * 46 * 8 * 20, (3, 8, 46)),
    ],
)
def test_convolutions(
    image: list[int], weight: list[int], attributes: dict[str, Any], macs: int, out: tuple[int, ...]
) -> None:
    op = one("Conv", {"x": image}, {"w": weight, "b": weight[:1]}, "x w b", **attributes)
    assert (op.macs, op.outputs) == (macs, (out,))
    assert op.parameters == math.prod(weight) + weight[0]
    assert op.activation_bytes == 4 * (math.prod(image) + math.prod(out))


def test_numbers_that_laws_are_written_in() -> None:
    conv = one(
        "Conv",
        {"x": [2, 8, 12, 16]},
        {"w": [6, 4, 3, 5]},
        "x w",
        group=2,
        strides=[2, 2],
        pads=[1, 2, 0, 1],
    )
    assert dict(conv.dims) == {
        "B": 2,
        "C": 8,
        "M": 6,
        "Hi": 12,
        "Wi": 16,
        "H": 6,
        "W": 8,
        "Kh": 3,
        "Kw": 5,
        "S": 2,
        "P": 3,
        "G": 2,
        "I": 4,
        "A": 0,
        "E": 0,
        "X": 2 * 8 * 12 * 16,
        "Y": 2 * 6 * 6 * 8,
        "Z": 4 * (2 * 6 * 6 * 8 + 6 * 4 * 3 * 5),
    }
    softmax = one("Softmax", {"x": [4, 10]}, {}, "x")
    assert dict(softmax.dims) == {"B": 4, "X": 40, "Y": 40, "M": 10, "Z": 160}
    assert (softmax.macs, softmax.parameters) == (0, 0)
    pool = one("MaxPool", {"x": [1, 3, 9, 9]}, {}, "x", kernel_shape=[3, 3], strides=[2, 2])
    assert (pool.macs, pool.dims["Kh"], pool.dims["S"], pool.dims["H"]) == (0, 3, 2, 4)


def test_a_transposed_convolution_multiplies_per_input_pixel() -> None:
    op = one("ConvTranspose", {"x": [1, 8, 7, 7]}, {"w": [8, 4, 2, 2]}, "x w", strides=[2, 2])
    assert op.outputs == ((1, 4, 14, 14),)
    assert op.macs == 49 * 8 * 4 * 4


@pytest.mark.parametrize(
    ("a", "b", "rows", "inner", "columns"),
    [
        ([5, 7], [7, 3], 5, 7, 3),
        ([2, 4, 5, 7], [2, 4, 7, 3], 2 * 4 * 5, 7, 3),  # a stack of products, as in attention
        ([6, 5, 7], [7, 3], 6 * 5, 7, 3),
        ([7], [7, 3], 1, 7, 3),
        ([7], [7], 1, 7, 1),
    ],
)
@pytest.mark.parametrize("weights", ["none", "left", "right"])
def test_matrix_products(
    a: list[int], b: list[int], rows: int, inner: int, columns: int, weights: str
) -> None:
    held = {"left": {"a": a}, "right": {"b": b}}.get(weights, {})
    given_: dict[str, Dims] = {name: [*dims] for name, dims in (("a", a), ("b", b)) if name not in held}
    op = one("MatMul", given_, held, "a b")
    assert op.macs == rows * inner * columns
    assert (op.dims["R"], op.dims["N"], op.dims["M"]) == (rows, inner, columns)
    assert op.parameters == sum(math.prod(dims) for dims in held.values())
    assert len(op.inputs) == 2 - len(held)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("weights", ["a", "b", ""])
def test_gemm_with_its_operands_transposed(trans_a: int, trans_b: int, weights: str) -> None:
    a, b = ([7, 5] if trans_a else [5, 7]), ([3, 7] if trans_b else [7, 3])
    held = {"a": {"a": a}, "b": {"b": b}}.get(weights, {})
    given_: dict[str, Dims] = {name: [*dims] for name, dims in (("a", a), ("b", b)) if name not in held}
    op = one("Gemm", given_, held, "a b", transA=trans_a, transB=trans_b)
    assert op.outputs == ((5, 3),)
    assert op.macs == 5 * 7 * 3
    assert (op.dims["R"], op.dims["N"], op.dims["M"]) == (5, 7, 3)


def test_constants_count_as_parameters_and_producers_are_named() -> None:
    table = numpy_helper.from_array(np.ones((4, 3), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["table"], name="constant", value=table),
        helper.make_node("MatMul", ["x", "table"], ["product"], name="product"),
        helper.make_node("Relu", ["product"], ["relu_out"]),  # without a name
        helper.make_node("Add", ["product", "relu_out"], ["out"], name="sum"),
    ]
    product, relu, total = operators(model(nodes, {"x": [2, 4]}, {}))
    assert (product.macs, product.parameters, product.producers) == (24, 12, ())
    assert (relu.name, relu.producers) == ("Relu_2", ("product",))
    assert total.producers == ("product", "Relu_2")
    assert total.values == ("out",)
    assert total.inputs == ((2, 3), (2, 3))


def test_what_is_learnt_counts_as_parameters() -> None:
    top, shape = (
        numpy_helper.from_array(np.float32(6), "top"),
        numpy_helper.from_array(np.array([8]), "shape"),
    )
    nodes = [
        helper.make_node("Clip", ["x", "", "top"], ["clipped"], name="clip"),
        helper.make_node("Reshape", ["clipped", "shape"], ["flat"], name="reshape"),
        helper.make_node("PRelu", ["flat", "slope"], ["out"], name="prelu"),
    ]
    graph = model(nodes, {"x": [2, 4]}, {"slope": [1]})
    graph.graph.initializer.extend([top, shape])
    assert [op.parameters for op in operators(graph)] == [0, 0, 1]
    assert [op.parameter_bytes for op in operators(graph)] == [4, 8, 4]


def test_bytes_follow_the_data_type() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["out"], name="op")
    graph = model([node], {}, {})
    graph.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT16, [2, 4]))
    graph.graph.initializer.append(TensorProto(name="w", dims=[4, 8], data_type=TensorProto.FLOAT16))
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("out", TensorProto.FLOAT16, [2, 8]))
    (op,) = operators(graph)
    assert (op.parameters, op.parameter_bytes, op.activation_bytes) == (32, 64, 2 * (8 + 16))


def test_an_optional_input_may_be_left_out() -> None:
    node = helper.make_node("Clip", ["x", "", "top"], ["out"], name="op")
    (clip,) = operators(model([node], {"x": [2, 4]}, {"top": []}))
    assert (clip.inputs, clip.outputs) == (((2, 4),), ((2, 4),))


@pytest.mark.parametrize("batch", ["N", ""])
def test_a_dynamic_axis_is_refused(batch: str) -> None:
    shape: list[int | str] = [batch or "unnamed", 4]
    graph = model([helper.make_node("Relu", ["x"], ["out"], name="act")], {"x": shape}, {})
    if not batch:
        graph.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    with pytest.raises(SpecError, match=r"operator act \(Relu\): the shape of 'x' is unknown") as caught:
        operators(graph)
    assert "dynamic axis" in caught.value.hint


@pytest.mark.parametrize("domain", ["", "com.example"])
def test_an_operator_that_onnx_does_not_define_is_refused(domain: str) -> None:
    nodes = [
        helper.make_node("Mystery", ["x"], ["mid"], name="odd", domain=domain),
        helper.make_node("Relu", ["mid"], ["out"], name="act"),
    ]
    graph = model(nodes, {"x": [1, 4]}, {})
    if domain:
        graph.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(SpecError, match=r"operator odd \(Mystery\): the shape of 'mid' is unknown"):
        operators(graph)
    odd, act = operators(graph, partial=True)
    assert (odd.known, act.known) == (False, False)
    assert (odd.inputs, odd.outputs, odd.macs, odd.activation_bytes) == (((1, 4),), (), 0, 16)
    assert act.producers == ("odd",)


def test_a_graph_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(SpecError):
        one("MatMul", {"a": [2, 3], "b": [4, 5]}, {}, "a b")


def test_an_attribute_of_another_type_is_refused() -> None:
    graph = onnx.shape_inference.infer_shapes(build_model(net_spec(conv=1, depth=2), 1))
    (pads,) = (
        a for node in graph.graph.node if node.op_type == "Conv" for a in node.attribute if a.name == "pads"
    )
    for value in (helper.make_attribute("pads", graph.graph), onnx.AttributeProto(name="pads")):
        pads.CopyFrom(value)
        with pytest.raises(SpecError, match=r"operator conv1 \(Conv\) is not as ONNX defines it"):
            operators(graph)


def test_bytes_that_are_no_network_are_refused() -> None:
    with pytest.raises(SpecError, match=r"net\.onnx is not ONNX"):
        parse_model(b"\xff" * 40, "net.onnx")


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), max_size=3),
    st.lists(st.integers(1, 20), max_size=3),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_totals_of_the_family_by_hand(
    convs: list[tuple[int, int]], neurons: list[int], channels: int, batch: int
) -> None:
    net = net_spec(
        tile=20,
        channels=channels,
        depth=[d for d, _ in convs],
        kernel=[k for _, k in convs],
        neurons=neurons,
        classes=7,
    )
    macs = parameters = 0
    size, width = 20, channels
    for depth, kernel in convs:
        size = size - kernel + 1
        macs += size**2 * depth * width * kernel**2
        parameters += depth * (width * kernel**2 + 1)
        width = depth
    width *= (size // 2 if convs else size) ** 2
    for outputs in [*neurons, 7]:
        macs += width * outputs
        parameters += (width + 1) * outputs
        width = outputs
    assert (total_macs(net, batch), total_parameters(net)) == (batch * macs, parameters)


def test_weights_make_no_difference() -> None:
    net = net_spec(tile=12, depth=[3, 4], kernel=3, neurons=9)
    assert operators(build_model(net, 2)) == net_operators(net, 2)
    assert hash(net_operators(net, 2)) == hash(operators(build_model(net, 2)))


def test_the_bytes_of_a_run() -> None:
    """Z counts every weight once and every result once, and is the same for all operators."""
    net = net_spec(conv=1, depth=4, fc=0)
    found = net_operators(net, 2)
    weights = 4 * total_parameters(net)
    pixels = 2 * 4 * 24 * 24
    results = 4 * (
        pixels + pixels + pixels // 4 + pixels // 4 + 2 * 10 + 2 * 10
    )  # Conv, Relu, MaxPool, Flatten, Gemm, Softmax
    assert {op.dims["Z"] for op in found} == {float(weights + results)}


@pytest.mark.parametrize(
    ("op_type", "inputs", "weights", "names", "attributes", "macs"),
    [
        # sequences of 6, batch 2, 5 inputs, 3 hidden: gates of W [1, 4·3, 5] and R [1, 4·3, 3] at every step
        (
            "LSTM",
            {"x": [6, 2, 5]},
            {"w": [1, 12, 5], "r": [1, 12, 3]},
            "x w r",
            {"hidden_size": 3},
            6 * 2 * 96,
        ),
        ("GRU", {"x": [6, 2, 5]}, {"w": [1, 9, 5], "r": [1, 9, 3]}, "x w r", {"hidden_size": 3}, 6 * 2 * 72),
        ("Einsum", {"a": [2, 3, 4], "b": [2, 5, 4]}, {}, "a b", {"equation": "bic,bjc->bij"}, 2 * 3 * 5 * 4),
        ("Einsum", {"a": [2, 3]}, {}, "a", {"equation": "ij->ji"}, 0),
    ],
)
def test_recurrent_layers_and_sums_over_indices(
    op_type: str,
    inputs: dict[str, Dims],
    weights: dict[str, list[int]],
    names: str,
    attributes: dict[str, Any],
    macs: int,
) -> None:
    node = helper.make_node(op_type, names.split(), ["out"], name="op", **attributes)
    assert operators(model([node], inputs, weights))[0].macs == macs


def test_quantised_products() -> None:
    def quantised(name: str, kind: int, shape: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def constant(name: str, shape: list[int]) -> onnx.TensorProto:
        return TensorProto(
            name=name, dims=shape, data_type=TensorProto.INT8, raw_data=bytes(math.prod(shape))
        )

    nodes = [
        helper.make_node("ConvInteger", ["x", "w"], ["c"], name="conv", kernel_shape=[3, 3]),
        helper.make_node("MatMulInteger", ["y", "m"], ["p"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            quantised("x", TensorProto.UINT8, [1, 4, 10, 10]),
            quantised("y", TensorProto.UINT8, [7, 16]),
        ],
        [quantised("c", TensorProto.INT32, [1, 8, 8, 8]), quantised("p", TensorProto.INT32, [7, 5])],
        [constant("w", [8, 4, 3, 3]), constant("m", [16, 5])],
    )
    conv, product = operators(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    assert conv.macs == 8 * 8 * 8 * 4 * 9
    assert product.macs == 7 * 16 * 5
    assert (conv.parameters, conv.parameter_bytes) == (288, 288)
