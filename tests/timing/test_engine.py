"""What an engine's inspector and profiler tell, traced back to operators.

The documents are written for networks of the family after the formats of TensorRT 8.5 (types spelled out), 10 (metadata
names ONNX nodes) and 11 (types and formats apart); names of layers and kernels are as NVIDIA's published examples have
them. No engine was built here, and the times are made up.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from onnx import TensorProto, helper

from edgeprof.errors import WorkerError
from edgeprof.nets.blocks import block
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import operators
from edgeprof.nets.spec import net_spec
from edgeprof.timing.engine import Layer, fallen_back, match_times, parse_layers, precisions_ran, trace_layers

NET = net_spec(conv=2, depth=(8, 16), fc=1, neurons=32)
OPERATORS = net_operators(NET, 2)
HMMA = "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x64x32_stage5_warpsize2x2x1"
TF32 = "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x64x32_stage5_warpsize2x2x1"
IMMA = "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_nchw_vect_c_32"


def layer(name: str, kind: str, reads: str = "x", makes: str = "y", **more: Any) -> dict[str, Any]:
    """A layer as TensorRT 8.5 tells it."""
    tensors = {
        side: [{"Name": value, "Dimensions": [2, 8], "Format/Datatype": "Row major linear FP32"}]
        for side, value in (("Inputs", reads), ("Outputs", makes))
    }
    return {"Name": name, "LayerType": kind, **tensors, "TacticValue": "0x0", **more}


def document(*layers: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": ["input", "output"]})


EIGHT = document(
    layer(
        "Reformatting CopyNode for Input Tensor 0 to conv1 + conv1_relu",
        "Reformat",
        "input",
        "in2",
        Origin="REFORMAT",
    ),
    layer("conv1 + conv1_relu", "CaskConvolution", "in2", "conv1_relu_out", TacticName=TF32),
    layer(
        "conv2 + conv2_relu",
        "CaskConvolution",
        "conv1_relu_out",
        "conv2_relu_out",
        TacticName="ampere_scudnn_128x64_relu_xregs_large_nn_v1",
    ),
    layer("pool2", "TiledPooling", "conv2_relu_out", "pool2_out"),
    layer("flatten + (Unnamed Layer* 5) [Shuffle]", "NoOp", "pool2_out", "flatten_out"),
    layer(
        "fc1 + fc1_bias + (Unnamed Layer* 9) [Shuffle] + unsqueeze_node_after_fc1_bias + PWN(fc1_relu)",
        "CublasConvolution",
        "flatten_out",
        "fc1_relu_out",
        Weights={"Type": "Float", "Count": 4},
    ),
    layer("classifier", "MatrixMultiply", "fc1_relu_out", "c"),
    layer("softmax", "CudaSoftMax", "c", "output"),
)


def test_layers_of_fused_nodes_are_traced_to_them() -> None:
    kernels = trace_layers(parse_layers(EIGHT), OPERATORS, "tf32")
    assert [(k.kind, k.operators, k.glue) for k in kernels] == [
        ("Reformat", ("input",), True),
        ("Conv.implicit-gemm.tf32.128x64x32", ("conv1", "conv1_relu"), False),
        ("Conv.implicit-gemm.fp32.128x64", ("conv2", "conv2_relu"), False),
        ("MaxPool", ("pool2",), False),
        ("Flatten", ("flatten",), False),
        ("Gemm.fp32", ("fc1", "fc1_relu"), False),
        ("Gemm.fp32", ("classifier",), False),
        ("Softmax", ("softmax",), False),
    ]


def test_every_operator_belongs_to_one_layer() -> None:
    for text in (EIGHT, TEN, ELEVEN, MYELIN, DLA):
        covered = [
            n for k in trace_layers(parse_layers(text), OPERATORS, "fp16") if not k.glue for n in k.operators
        ]
        assert sorted(covered) == sorted(op.name for op in OPERATORS)


def ten(
    name: str, kind: str, nodes: tuple[str, ...], tactic: str = "", types: str = "Half", **more: str
) -> dict[str, Any]:
    """A layer as TensorRT 10 tells it: nodes in the metadata, parted by control characters."""
    told = layer(name, kind, **more)
    for tensor in told["Inputs"] + told["Outputs"]:
        tensor["Format/Datatype"] = types
    parted = "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)
    return {**told, "TacticName": tactic, "StreamId": 0, "Metadata": parted}


TEN = document(
    ten(
        "__myl_Cast_myl0_0",
        "kgen",
        ("cast/input",),
        "__myl_Cast_0x1",
        "Float",
        reads="input",
        makes="cast/input",
    ),
    ten("conv1_myl0_1", "conv", ("conv1", "conv1_relu"), HMMA, makes="conv1_relu_out"),
    ten("conv2_myl0_2", "conv", ("conv2", "conv2_relu"), HMMA, makes="conv2_relu_out"),
    ten("__myl_MaxPool_myl0_3", "kgen", ("pool2",), "__myl_MaxPool_0x2", makes="pool2_out"),
    ten(
        "fc1_myl0_4",
        "gemm",
        ("flatten", "fc1", "fc1_relu"),
        "sm80_xmma_gemm_f16f16_f16f16_f16_tn_n_tilesize64x64x64",
        makes="fc1_relu_out",
    ),
    ten(
        "classifier_myl0_5",
        "gemm",
        ("classifier",),
        "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x128x8",
        makes="c",
    ),
    ten(
        "__myl_MaxSubExpSumDivCast_myl0_6",
        "kgen",
        ("softmax", "cast/output"),
        "__myl_Max_0x3",
        makes="output",
    ),
)


def test_metadata_names_nodes_and_myelin_is_named_as_such() -> None:
    layers = parse_layers(TEN)
    kernels = trace_layers(layers, OPERATORS, "fp16")
    assert [(k.kind, k.operators) for k in kernels] == [
        ("Cast", ("input",)),
        ("Conv.implicit-gemm.fp16.128x64x32", ("conv1", "conv1_relu")),
        ("Conv.implicit-gemm.fp16.128x64x32", ("conv2", "conv2_relu")),
        ("MaxPool.myelin", ("pool2",)),
        ("Gemm.gemm.fp16.64x64x64", ("flatten", "fc1", "fc1_relu")),
        ("Gemm.gemm.fp32.32x128x8", ("classifier",)),
        ("Softmax.myelin", ("softmax",)),
    ]
    assert [one.myelin for one in layers] == [True, False, False, True, False, False, True]


def eleven(name: str, kind: str, nodes: tuple[str, ...], tactic: str, types: str) -> dict[str, Any]:
    """A layer as TensorRT 11 tells it: the number format apart from the layout."""
    tensors = [{"Name": "t", "Dimensions": [2, 8], "Format": "Row major linear (kLINEAR)", "DataType": types}]
    told = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": tensors,
        "Outputs": tensors,
        "TacticName": tactic,
        "Metadata": told,
    }


ELEVEN = json.dumps(
    {
        "Layers": [
            eleven("quantize/input", "Reformat", ("quantize/input",), "", "Float"),
            eleven(
                "quantize/conv1_weight + conv1",
                "CaskConvolution",
                ("quantize/conv1_weight", "conv1", "conv1_relu"),
                IMMA,
                "Int8",
            ),
            eleven(
                "conv2", "CaskConvolution", ("dequantize/conv2_weight", "conv2", "conv2_relu"), "", "Int8"
            ),
            eleven("pool2", "Pooling", ("pool2",), "", "Int8"),
            eleven(
                "fc1", "gemm", ("flatten", "fc1", "fc1_relu"), "sm80_xmma_gemm_i8i8_i8i32_f32_tn_n", "Int8"
            ),
            eleven("quantize/fc1_relu_out", "kgen", ("quantize/fc1_relu_out",), "__myl_x", "Float"),
            eleven("classifier", "gemm", ("classifier",), "sm80_xmma_gemm_i8f32_i8i32_f32_tn_n", "Int8"),
            eleven("softmax", "SoftMax", ("softmax",), "", "Float"),
        ],
        "I/O Tensors": [{"Name": "input", "IOMode": "Input", "DataType": "Float"}],
    }
)


def test_each_layers_real_format() -> None:
    kernels = trace_layers(parse_layers(ELEVEN), OPERATORS, "int8")
    assert [(k.kind, k.operators, k.glue) for k in kernels] == [
        ("Cast", ("input",), True),
        ("Conv.implicit-gemm.int8", ("conv1", "conv1_relu"), False),
        ("Conv", ("conv2", "conv2_relu"), False),
        ("MaxPool", ("pool2",), False),
        ("Gemm.gemm.int8", ("flatten", "fc1", "fc1_relu"), False),
        ("Cast", ("fc1_relu",), True),
        ("Gemm.gemm.int8", ("classifier",), False),
        ("Softmax.fp32", ("softmax",), False),
    ]


@pytest.mark.parametrize(
    ("one", "precision", "words"),
    [
        (
            Layer("a", "CaskConvolution", TF32, formats=("Float", "Row major linear FP32")),
            "tf32",
            "implicit-gemm.tf32.128x64x32",
        ),
        (Layer("a", "CaskConvolution", formats=("Half",)), "fp16", ""),
        (
            Layer(
                "a",
                "CudaDepthwiseConvolution",
                formats=("Thirty-two wide channel vectorized row major Int8 format",),
            ),
            "int8",
            "depthwise",
        ),
        (
            Layer(
                "a",
                "CaskPooling",
                "sm50_xmma_pooling_fw_4d_FP32FP32NCHW_Average",
                formats=("Row major linear FP32",),
            ),
            "fp32",
            "",
        ),
        (Layer("a", "gemm", formats=("BFloat16", "Float")), "bf16", ""),
        (
            Layer("__myl_Add", "kgen", "__myl_Add_0x1", formats=("N/A due to dynamic shapes", "Half")),
            "fp16",
            "myelin",
        ),
        (Layer("{ForeignNode[a...b]}", "DLA", formats=("DLA linear FP16 format",)), "fp16", "dla"),
        (Layer("a"), "", ""),
    ],
)
def test_what_a_layer_tells_of_itself(one: Layer, precision: str, words: str) -> None:
    assert (one.precision, one.words) == (precision, words)


def test_formats_that_products_ran_in_by_time() -> None:
    us = {
        "conv1_myl0_1": 30.0,
        "conv2_myl0_2": 40.0,
        "fc1_myl0_4": 20.0,
        "classifier_myl0_5": 10.0,
        "__myl_Cast_myl0_0": 50.0,
    }
    assert precisions_ran(parse_layers(TEN), OPERATORS, us) == {"fp16": 0.9, "fp32": 0.1}
    assert precisions_ran(parse_layers(TEN), OPERATORS, {}) == {}


MYELIN = document(
    layer("Reformatting CopyNode for Input Tensor 0 to conv1", "Reformat", "input"),
    layer("conv1", "CaskConvolution", makes="conv1_out", TacticName=HMMA),
    layer("{ForeignNode[conv1_relu + conv2...softmax]}", "Myelin", "conv1_out", "output"),
)


def test_a_block_covers_all_between_its_ends() -> None:
    *_, last = trace_layers(parse_layers(MYELIN), OPERATORS, "fp32")
    assert last.kind == "Conv.myelin"
    assert last.operators == tuple(op.name for op in OPERATORS[1:])


DLA = document(
    layer("Reformatting CopyNode for Input Tensor 0 to {ForeignNode[conv1...fc1_relu]}", "Reformat", "input"),
    ten("{ForeignNode[conv1...fc1_relu]}", "DLA", (), reads="in2", makes="fc1_relu_out"),
    layer("Reformatting CopyNode for Input Tensor 0 to classifier", "Reformat", "fc1_relu_out", "r"),
    layer("classifier", "CaskConvolution", "r", "c", TacticName=HMMA),
    layer("softmax", "CudaSoftMax", "c", "output"),
)


def test_what_a_dla_leaves_to_the_gpu_is_listed() -> None:
    layers = parse_layers(DLA)
    assert fallen_back(layers, OPERATORS) == ("classifier", "softmax")
    kernels = trace_layers(layers, OPERATORS, "fp16")
    assert kernels[1].kind == "Conv.dla"
    assert kernels[2].operators == ("fc1_relu",)
    assert fallen_back(parse_layers(EIGHT), OPERATORS) == tuple(op.name for op in OPERATORS)


def test_times_find_their_layers_by_name() -> None:
    kernels = trace_layers(parse_layers(DLA), OPERATORS, "fp16")
    events = [
        {"name": "input to nvm", "us": [3.0]},
        {"name": "{ForeignNode[conv1...fc1_relu]}", "us": [50.0]},
        {"name": "fc1_relu_out from nvm", "us": [400.0]},
        {"name": "classifier", "us": [7.0]},
    ]
    found = match_times(kernels, OPERATORS, events)
    assert [(k.name, k.kind, k.operators, k.glue, e["us"]) for k, e in found] == [
        ("input to nvm", "Copy", ("input",), True, [3.0]),
        ("{ForeignNode[conv1...fc1_relu]}", "Conv.dla", kernels[1].operators, False, [50.0]),
        ("fc1_relu_out from nvm", "Copy", ("fc1_relu",), True, [400.0]),
        ("classifier", "Gemm.implicit-gemm.fp16.128x64x32", ("classifier",), False, [7.0]),
    ]


def test_layers_of_one_name_are_told_apart_by_order() -> None:
    kernels = trace_layers(parse_layers(document("conv1", "conv1", "softmax")), OPERATORS)
    found = match_times(kernels, OPERATORS, [{"name": "conv1", "us": [t]} for t in (1.0, 2.0)])
    assert [k.glue for k, _ in found] == [False, True]


def test_an_engine_without_detail_has_names_alone() -> None:
    layers = parse_layers(
        document(
            "conv1 + conv1_relu",
            "conv2 + conv2_relu",
            "Reformatting CopyNode for Output Tensor 0 to conv2 + conv2_relu",
        )
    )
    assert layers[0] == Layer("conv1 + conv1_relu")
    kernels = trace_layers(layers, OPERATORS)
    assert [k.kind for k in kernels] == ["Conv", "Conv", "Copy"]
    assert kernels[1].operators[0] == "conv2"
    assert kernels[2].operators == ("conv2_relu",)


def only_names(*names: str) -> tuple[Layer, ...]:
    return parse_layers(document(*names))


def test_products_that_run_side_by_side_are_one_layer() -> None:
    """As TensorRT 10 calls queries, keys and values that it makes in one product."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["p"], name="q/MatMul"),
            helper.make_node("MatMul", ["x", "b"], ["q"], name="k/MatMul"),
            helper.make_node("Add", ["q", "c"], ["r"], name="k/Add"),
            helper.make_node("MatMul", ["p", "r"], ["y"], name="out"),
        ],
        "side",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 8])],
        [helper.make_tensor(name, TensorProto.FLOAT, [8, 8], [0.0] * 64) for name in "abc"],
    )
    side = operators(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    layers = only_names(
        "reshape_before_q/MatMul",
        "k/MatMul + k/Add || q/MatMul",
        "reshape_after_k/MatMul_copy_input",
        "Reformatting CopyNode for Input Tensor 0 to out",
        "out",
    )
    kernels = trace_layers(layers, side)
    assert [(k.operators, k.glue) for k in kernels if not k.glue] == [
        (("q/MatMul", "k/MatMul", "k/Add"), False),
        (("out",), False),
    ]
    assert kernels[3].operators == ("q/MatMul",)


def test_what_prepares_for_a_product_does_not_have_it() -> None:
    """A node of the graph may be several layers, which all name it."""
    layers = parse_layers(
        document(
            ten("__myl_Move_myl0_0", "kgen", ("conv1",), "__myl_Move_0x1", reads="input", makes="__mye1"),
            ten("signal_0", "signal", ("conv1",), makes="__mye2"),
            ten("conv1_myl0_1", "conv", ("conv1", "conv1_relu"), HMMA, reads="__mye1", makes="__mye3"),
            ten("conv1_myl0_2", "kgen", ("conv1_relu",), "__myl_Relu_0x2", reads="__mye3", makes="__mye4"),
            ten("rest", "Myelin", tuple(op.name for op in OPERATORS[2:]), reads="__mye4", makes="output"),
        )
    )
    kernels = trace_layers(layers, OPERATORS, "fp16")
    assert [(k.kind, k.operators, k.glue) for k in kernels[:4]] == [
        ("myelin", ("conv1",), True),
        ("signal", ("conv1",), True),
        ("Conv.implicit-gemm.fp16.128x64x32", ("conv1", "conv1_relu"), False),
        ("myelin", ("conv1_relu",), True),
    ]
    assert precisions_ran(layers, OPERATORS, {layer.name: 1.0 for layer in layers}) == {"fp16": 1.0}


def test_a_layer_that_does_nothing_has_no_product() -> None:
    """TensorRT 10 names a product in the metadata of the reshape before it."""
    layers = parse_layers(
        document(
            ten("conv1", "Myelin", tuple(op.name for op in OPERATORS[:5]), makes="pool2_out"),
            ten("flatten + reshape_before_fc1", "NoOp", ("flatten", "fc1"), reads="pool2_out", makes="f"),
            ten(
                "fc1 + (Unnamed Layer* 25) [ElementWise] + fc1_relu",
                "CaskGemmConvolution",
                ("fc1", "fc1_relu"),
            ),
            ten("shape_call_0", "shape_call", ()),
            ten("rest", "Myelin", tuple(op.name for op in OPERATORS[8:]), makes="output"),
        )
    )
    kernels = trace_layers(layers, OPERATORS, "fp16")
    assert [(k.op_type, k.operators) for k in kernels[1:3]] == [
        ("Flatten", ("flatten",)),
        ("Gemm", ("fc1", "fc1_relu")),
    ]
    assert kernels[3].glue


def test_copies_around_a_block_that_is_told_in_parts() -> None:
    """TensorRT 10 names the block in the copies, and in place of the block its parts."""
    block_of = "{ForeignNode[conv2...pool2]}"
    layers = parse_layers(
        document(
            ten("conv1", "CaskConvolution", ("conv1", "conv1_relu"), HMMA, makes="a"),
            layer(f"Reformatting CopyNode for Input Tensor 0 to {block_of}", "Reformat", "a", "b"),
            ten("conv2_myl3_0", "conv", ("conv2", "conv2_relu"), HMMA, reads="b", makes="c"),
            ten("__myl_Max_myl3_1", "kgen", ("pool2",), "__myl_Max_0x1", reads="c", makes="d"),
            layer(f"Reformatting CopyNode for Output Tensor 0 to {block_of}", "Reformat", "d", "e"),
            layer("Reformatting CopyNode for Input Tensor 1 to {ForeignNode[softmax]}", "Reformat", "f", "g"),
            ten("rest", "Myelin", tuple(op.name for op in OPERATORS[5:]), reads="e", makes="output"),
        )
    )
    kernels = trace_layers(layers, OPERATORS, "fp16")
    assert [k.operators for k in kernels if k.glue] == [("conv1_relu",), ("pool2",), ("classifier",)]
    assert kernels[3].kind == "MaxPool.myelin"


def test_a_block_of_one_node() -> None:
    layers = only_names("conv1 + conv1_relu", "{ForeignNode[conv2]}", "softmax")
    kernels = trace_layers(layers, OPERATORS)
    assert (kernels[1].kind, kernels[1].operators[0]) == ("Conv.myelin", "conv2")


def test_nodes_that_have_no_name_in_their_file() -> None:
    """NVIDIA's parser calls them after the first value that they make."""
    nodes = [helper.make_node("Relu", ["x"], ["first"]), helper.make_node("Sigmoid", ["first"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "nameless", ends[:1], ends[1:])
    nameless = operators(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    layers = only_names("PWN(PWN(node_of_first), PWN(node_of_y))")
    assert trace_layers(layers, nameless)[0].operators == tuple(op.name for op in nameless)
    layers = parse_layers(
        document(ten("__myl_Relu_myl0_0", "kgen", ("node_of_first",), reads="x", makes="m"))
    )
    assert trace_layers(layers, nameless)[0].operators[0] == nameless[0].name


def test_what_metadata_says_beside_a_nodes_name() -> None:
    """NVIDIA's parser adds the function that a node is of, and gives a node's constants its metadata too."""
    told = {"Metadata": "[ONNX Layer: conv1 | Local Function: f]\x1e[ONNX Layer: conv1_relu]"}
    constant = {**layer("conv1_weight", "Constant"), **told}
    work = {**layer("conv1 + conv1_relu", "CaskConvolution", TacticName=HMMA), **told}
    layers = parse_layers(document(constant, work, layer("rest", "Myelin", makes="output")))
    assert layers[1].nodes == ("conv1", "conv1_relu")
    kernels = trace_layers(layers, OPERATORS, "fp16")
    assert [(k.kind, k.operators[:2], k.glue) for k in kernels[:2]] == [
        ("Constant", ("conv1",), True),
        ("Conv.implicit-gemm.fp16.128x64x32", ("conv1", "conv1_relu"), False),
    ]


def test_formats_of_constants_come_last() -> None:
    """Newer releases list weights as constants beside what a layer reads."""
    told = eleven("fc1", "gemm", ("fc1",), "", "Half")
    told["Constants"] = [{"Name": "w", "Dimensions": [8, 8], "Datatype": "Float"}]
    assert parse_layers(json.dumps({"Layers": [told]}))[0].precision == "fp16"
    told["Inputs"] = []
    assert parse_layers(json.dumps({"Layers": [told]}))[0].precision == "fp32"


def test_a_layer_without_names_is_known_by_what_it_makes() -> None:
    linear = net_operators(block(of="linear", depth=(8, 8)), 1)
    made = [op.values[0] for op in linear]
    text = document(*(layer(f"__myl_{i}_myl0_{i}", "kgen", makes=value) for i, value in enumerate(made)))
    assert [k.operators for k in trace_layers(parse_layers(text), linear)] == [(op.name,) for op in linear]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"Layers": 3}',
        '{"Layers": [{}]}',
        '{"Layers": [{"Name": "a", "Inputs": [1]}]}',
        '{"Layers": [null]}',
    ],
)
def test_what_is_no_inspector_says_so(text: str) -> None:
    with pytest.raises(WorkerError, match="inspector"):
        parse_layers(text)
