"""Kernels of a real optimised graph, traced back to the operators they cover."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.errors import WorkerError
from edgeprof.nets.build import build_model, model_bytes
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import operators
from edgeprof.nets.spec import net_spec
from edgeprof.nets.zoo import zoo_model
from edgeprof.nets.zoo.builder import Builder
from edgeprof.timing.breakdown import band_mean, device_kind, match_events, plain_type, trace

NETS = [
    net_spec(),
    net_spec(conv=0, fc=0),
    net_spec(conv=0, fc=3, neurons=16),
    net_spec(conv=1, depth=8, fc=0),
    net_spec(conv=2, depth=(3, 17), fc=1, neurons=8),
    net_spec(conv=3, depth=16, kernel=3, padding="same", pool_before=2, fc=1, neurons=8),
    net_spec(conv=4, depth=(20, 1, 33, 64), kernel=3, fc=2, neurons=(7, 31)),
    net_spec(conv=2, depth=(16, 20), stride=2, channels=3, fc=1, neurons=8),
    net_spec(conv=3, depth=(20, 17, 5), kernel=3, padding=1, pool_before=3, channels=16, fc=1, neurons=8),
]


def optimised(data, folder):
    """The graph that ONNX Runtime runs for a model."""
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(folder / "optimised.onnx")
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx").graph


def fused(data, folder):
    """The graph with convolution and activation fused, but layouts as they were: as the CUDA provider has it."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(folder / "fused.onnx")
    settings.log_severity_level = 4
    onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "fused.onnx").graph


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.label())
def test_kernels_of_a_gpu_are_told_by_operator(net, tmp_path):
    data = model_bytes(net, 2)
    graph = fused(data, tmp_path)
    ops = net_operators(net, 2)
    kernels = trace(graph, ops, device_kind)
    assert {k.kind for k in kernels} <= {op.op_type for op in ops}
    assert covered(kernels) == sorted(op.name for op in ops)
    convolutions = [k for k in kernels if k.kind == "Conv"]
    assert [k.operators for k in convolutions] == [
        (f"conv{i}", f"conv{i}_relu") for i in range(1, net.conv + 1)
    ]
    assert all(k.name == k.operators[0] for k in convolutions)


def test_a_layout_that_the_gpu_prefers_is_in_the_kind():
    node = helper.make_node("Conv", ["x", "w"], ["y"], domain="com.ms.internal.nhwc")
    assert device_kind(node, (), {}, ()) == "Conv.nhwc"
    assert device_kind(helper.make_node("Transpose", ["x"], ["y"]), (), {}, ()) == "Transpose"


def covered(kernels):
    return sorted(name for kernel in kernels if not kernel.glue for name in kernel.operators)


def by_operator(kernels):
    return {name: kernel for kernel in kernels if not kernel.glue for name in kernel.operators}


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.label())
def test_every_operator_has_one_kernel_and_every_kernel_operators(net, tmp_path):
    graph = optimised(model_bytes(net, 2), tmp_path)
    found = net_operators(net, 2)
    kernels = trace(graph, found)
    assert len(kernels) == len(graph.node)
    assert covered(kernels) == sorted(op.name for op in found)
    order = [op.name for op in found]
    for kernel in kernels:
        assert kernel.operators
        assert kernel.name
        assert kernel.kind.startswith(kernel.op_type)
        if not kernel.glue:
            assert list(kernel.operators) == sorted(kernel.operators, key=order.index)
            assert plain_type(kernel.op_type) in {op.op_type for op in found if op.name in kernel.operators}


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.label())
def test_activations_go_with_the_product_before_them(net, tmp_path):
    kernels = by_operator(trace(optimised(model_bytes(net, 2), tmp_path), net_operators(net, 2)))
    for name, kernel in kernels.items():
        if name.endswith("_relu"):
            assert kernel is kernels[name.removesuffix("_relu")]


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.label())
def test_a_reorder_belongs_to_the_operator_whose_output_it_rewrites(net, tmp_path):
    graph = optimised(model_bytes(net, 2), tmp_path)
    found = net_operators(net, 2)
    kernels = trace(graph, found)
    shapes = {op.name: op.outputs[0] for op in found}
    made = {output: k for k, node in zip(kernels, graph.node, strict=True) for output in node.output}
    for kernel, node in zip(kernels, graph.node, strict=True):
        assert kernel.glue == node.op_type.startswith("Reorder")
        if kernel.glue:
            (source,) = kernel.operators
            before = made.get(node.input[0])
            if before is None:
                assert source == "input"
            else:
                assert source == before.operators[-1]
                assert len(shapes[source]) == 4


def test_reorders_were_among_the_networks_tried(tmp_path):
    kinds = set()
    for i, net in enumerate(NETS):
        (tmp_path / str(i)).mkdir()
        kinds |= {
            k.kind for k in trace(optimised(model_bytes(net, 2), tmp_path / str(i)), net_operators(net, 2))
        }
    if not any(kind.endswith("nchwc") for kind in kinds):
        pytest.skip("this processor's ONNX Runtime has no blocked layout")
    assert {"ReorderInput", "ReorderOutput", "Conv.nchwc", "Conv.nchw", "Gemm", "MaxPool", "Softmax"} <= kinds


class Graph:
    """A small model of any shape."""

    def __init__(self):
        self.nodes, self.weights = [], []
        self._rng = np.random.default_rng(0)

    def node(self, op_type, name, *inputs, **attributes):
        self.nodes.append(helper.make_node(op_type, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def weight(self, name, *shape, positive=False):
        values = self._rng.random(shape, np.float32) + np.float32(0.5 if positive else -0.5)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, name, value, channels, depth):
        weights = self.weight(f"{name}_w", depth, channels, 3, 3), self.weight(f"{name}_b", depth)
        return self.node("Conv", name, value, *weights, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def model(self, output, shape):
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [2, 16, 8, 8])]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "graph", inputs, outputs, self.weights)
        model = helper.make_model(graph, ir_version=7, opset_imports=[helper.make_opsetid("", 13)])
        onnx.checker.check_model(model)
        return model


def traced(model, folder):
    found = operators(model)
    kernels = trace(optimised(model.SerializeToString(), folder), found)
    assert covered(kernels) == sorted(op.name for op in found)
    return kernels, by_operator(kernels)


def test_a_removed_dropout_and_identity_go_with_their_neighbours(tmp_path):
    g = Graph()
    value = g.node("Identity", "same", g.node("Relu", "relu", g.conv("conv", "input", 16, 16)))
    value = g.node("Dropout", "dropout", g.node("Flatten", "flatten", value))
    value = g.node("Gemm", "gemm", value, g.weight("w", 1024, 4), g.weight("b", 4))
    kernels, by_name = traced(g.model(value, [2, 4]), tmp_path)
    assert not {"Dropout", "Identity"} & {kernel.op_type for kernel in kernels}
    assert by_name["same"] is by_name["conv"]
    assert "dropout" in {*by_name["flatten"].operators, *by_name["gemm"].operators}


def test_a_residual_sum_goes_with_its_convolution(tmp_path):
    g = Graph()
    first = g.node("Relu", "relu1", g.conv("conv1", "input", 16, 16))
    total = g.node("Add", "add", g.conv("conv2", first, 16, 16), first)
    kernels, by_name = traced(g.model(g.node("Relu", "relu2", total), [2, 16, 8, 8]), tmp_path)
    convs = [k for k in kernels if k.op_type == "Conv"]
    assert len(convs) == 2
    if "Add" not in {k.op_type for k in kernels}:
        assert by_name["add"] is by_name["conv2"]
    assert by_name["conv1"] is not by_name["conv2"]


def test_a_batch_normalisation_is_folded_into_its_convolution(tmp_path):
    g = Graph()
    scales = [g.weight(f"n{i}", 16, positive=True) for i in range(4)]
    value = g.node("BatchNormalization", "norm", g.conv("conv", "input", 16, 16), *scales)
    kernels, by_name = traced(g.model(g.node("Relu", "relu", value), [2, 16, 8, 8]), tmp_path)
    assert "BatchNormalization" not in {k.op_type for k in kernels}
    assert by_name["norm"] is by_name["conv"] is by_name["relu"]
    assert by_name["conv"].operators == ("conv", "norm", "relu")


def test_a_residual_block_with_folded_normalisations_goes_with_its_convolutions(tmp_path):
    g = Graph()

    def normalised(name, value):
        scales = [g.weight(f"{name}_n{i}", 16, positive=True) for i in range(4)]
        return g.node("BatchNormalization", f"{name}_norm", g.conv(name, value, 16, 16), *scales)

    first = g.node("Relu", "relu1", normalised("conv1", "input"))
    shortcut = normalised("conv3", first)
    total = g.node("Add", "add", normalised("conv2", first), shortcut)
    _, by_name = traced(g.model(g.node("Relu", "relu2", total), [2, 16, 8, 8]), tmp_path)
    assert len({id(by_name[f"conv{i}"]) for i in (1, 2, 3)}) == 3
    for i in (1, 2, 3):
        assert by_name[f"conv{i}_norm"] is by_name[f"conv{i}"]
        assert by_name[f"conv{i}"].op_type == "Conv"


def test_a_graph_that_was_not_optimised_has_a_kernel_for_each_operator():
    net = net_spec(conv=1, fc=1, neurons=8)
    kernels = trace(build_model(net, 2).graph, net_operators(net, 2))
    assert [k.operators for k in kernels] == [(op.name,) for op in net_operators(net, 2)]
    assert kernels[0].kind == "Conv.im2col"


def test_a_kernel_of_nowhere_is_an_error():
    net = net_spec(conv=1, fc=1, neurons=8)
    graph = build_model(net, 2).graph
    graph.node.append(helper.make_node("Erf", ["elsewhere"], ["nowhere"], name="stray"))
    with pytest.raises(WorkerError, match="stray"):
        trace(graph, net_operators(net, 2))


def events_of(kernels, shapes, rename):
    return [
        {
            "name": rename(k) if k.glue else k.name,
            "op_type": k.op_type,
            "inputs": [],
            "outputs": [list(shapes[k.operators[0]])] if k.glue and k.operators[0] in shapes else [],
        }
        for k in kernels
    ]


def test_events_find_their_kernels_whatever_number_a_layout_change_has(tmp_path):
    net = NETS[4]
    found = net_operators(net, 2)
    kernels = trace(optimised(model_bytes(net, 2), tmp_path), found)
    shapes = {op.name: op.outputs[0] for op in found}
    events = events_of(kernels, shapes, lambda k: f"{k.op_type}_token_99")
    assert [kernel for kernel, _ in match_events(kernels, found, events)] == list(kernels)


def test_an_event_of_no_kernel_is_an_error():
    net = NETS[1]
    found = net_operators(net, 2)
    kernels = trace(build_model(net, 2).graph, found)
    stray = {"name": "stray", "op_type": "Gemm", "inputs": [], "outputs": []}
    with pytest.raises(WorkerError, match="stray"):
        match_events(kernels, found, [stray])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([4.0], 4.0), ([1, 3], 2.0), ([9, 1, 2, 3], 2.5), ([1, 2, 3, 4, 5, 6, 7, 1000], 4.5)],
)
def test_band_mean_is_the_mean_of_the_middle_half(values, expected):
    assert band_mean(values) == expected


@pytest.mark.parametrize("name", ["densenet40", "mobilenet-v3", "efficientnet-b0", "vit-tiny"])
def test_networks_with_branches_and_fused_patterns_are_traced(name, tmp_path):
    graph = optimised(zoo_model(name).SerializeToString(), tmp_path)
    found = operators(zoo_model(name, weights=False))
    kernels = trace(graph, found)
    assert len(kernels) == len(graph.node)
    assert {op.name for op in found} <= {name for kernel in kernels for name in kernel.operators}
    blocked = {k.kind.partition(".")[2] for k in kernels if k.op_type in ("Mul", "Concat", "QuickGelu")}
    assert blocked <= {"", "nchwc"}


def test_blocked_kernels_tell_their_implementation(tmp_path):
    graph = optimised(zoo_model("mobilenet-v2").SerializeToString(), tmp_path)
    kinds = by_operator(trace(graph, operators(zoo_model("mobilenet-v2", weights=False))))
    assert kinds["conv1"].kind == "Conv.nchw"
    assert kinds["block2_1_dw"].kind == "Conv.depthwise"
    assert kinds["block2_1_expand"].kind == "Conv.pointwise"
    assert kinds["block2_2_add"] is kinds["block2_2_project"]


def test_a_normalisation_done_as_a_convolution_keeps_its_name(tmp_path):
    graph = optimised(zoo_model("densenet40").SerializeToString(), tmp_path)
    kinds = by_operator(trace(graph, operators(zoo_model("densenet40", weights=False))))
    assert kinds["dense1_1_bn"].kind == "BatchNormalization.nchwc"
    assert kinds["dense1_2_bn"].kind == "BatchNormalization"


def test_a_fused_pattern_has_all_that_lies_between_its_values(tmp_path):
    builder = Builder("pattern", 1, weights=True, fold=True)
    x = builder.activation("before", builder.image(4, 8), "tanh")
    x = builder.activation("after", builder.layer_norm("norm", x), "sigmoid")
    model = builder.model(x)
    found = operators(model)
    kernels = trace(optimised(model.SerializeToString(), tmp_path), found)
    assert [k.op_type for k in kernels] == ["Tanh", "LayerNormalization", "Sigmoid"]
    assert [set(k.operators) for k in kernels] == [
        {"before_tanh"},
        {op.name for op in found if op.name.startswith("norm")},
        {"after_sigmoid"},
    ]
