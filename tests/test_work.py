"""Work: bytes and multiply-accumulates of kernels, by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.nets.operators import Operator, operators
from edgeprof.work import Work, work_of


@pytest.fixture(scope="module")
def found() -> tuple[Operator, ...]:
    """conv (1×2×4×4 → 1×3×4×4) → relu → add of the image's own branch → flatten → gather."""
    weights = {"w": np.zeros((3, 2, 1, 1), np.float32), "table": np.zeros((1000, 48), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Add", ["r", "c"], ["a"], name="add"),
        helper.make_node("Flatten", ["a"], ["f"], name="flat"),
        helper.make_node("Gather", ["table", "i"], ["g"], name="lookup"),
        helper.make_node("Add", ["f", "g"], ["out"], name="join"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 48])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    return operators(model)


X, C, W = 4 * 32, 4 * 48, 4 * 6  # bytes of the image, of every value between, of the weights


def test_one_operator_a_kernel(found: tuple[Operator, ...]) -> None:
    kernels = [(op.op_type, (op.name,), False) for op in found]
    assert work_of(kernels, found) == (
        Work(16 * 3 * 2, X + C + W),
        Work(0, 2 * C),
        Work(0, 3 * C),
        Work(0, 0),  # a view
        Work(0, 8 + C + C),  # the rows that it looks up, not the table
        Work(0, 3 * C),
    )


def test_what_a_gpu_runs_beside_a_nodes_work_has_none_of_it(found: tuple[Operator, ...]) -> None:
    covered = ("conv", "relu", "add")
    kinds = ("layout", "Conv.implicit-gemm.tf32.128x128x16", "layout", "memset")
    nothing = Work(0, 0)
    assert work_of([(kind, covered, False) for kind in kinds], found) == (
        nothing,
        Work(96, X + W + C),
        nothing,
        nothing,
    )


def test_what_stays_inside_a_kernel_does_not_count(found: tuple[Operator, ...]) -> None:
    fused = work_of([("Conv.nchwc", ("conv", "relu", "add"), False)], found)
    assert fused == (Work(96, X + W + C),)
    # relu's result is read by the addition, and conv's by both: they go to memory
    assert work_of([("Conv.nchwc", ("conv", "relu"), False)], found) == (Work(96, X + W + 2 * C),)


def test_a_change_of_layout_reads_and_writes_a_value(found: tuple[Operator, ...]) -> None:
    kernels = [("ReorderInput", ("input",), True), ("ReorderOutput", ("relu",), True)]
    assert work_of(kernels, found) == (Work(0, 2 * X), Work(0, 2 * C))


def test_an_operator_counts_once(found: tuple[Operator, ...]) -> None:
    kernels = [("Reshape", ("conv",), False), ("Conv.im2col", ("conv",), False), ("Conv", ("conv",), False)]
    first, own, last = work_of(kernels, found)
    assert (first, last) == (Work(), Work())
    assert own.macs == 96
    assert work_of([("Mystery", ("nobody",), False)], found) == (Work(),)
    assert work_of([("Reshape", ("add",), False)], found) == (
        Work(),
    )  # the runtime's way to an operator's shape


def test_what_is_there_before_a_run_counts_as_a_weight() -> None:
    shape = numpy_helper.from_array(np.array([8, 4]), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["w"], name="weights"),
        helper.make_node("Shape", ["x"], ["s"], name="size"),
        helper.make_node("MatMul", ["x", "w"], ["m"], name="product"),
        helper.make_node("Reshape", ["m", "s2"], ["out"], name="view"),
        helper.make_node("Identity", ["s"], ["s2"], name="same"),
    ]
    nodes.insert(2, nodes.pop())
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    found = operators(model, partial=True)
    merged = ("weights", "size", "same", "product")  # as a trace gives what the runtime folded
    assert work_of([("Gemm", merged, False)], found)[0] == Work(64, 4 * (16 + 32 + 8))
    assert work_of([("Reshape", merged, False), ("Gemm", ("product",), False)], found)[0] == Work()
