"""NAS-Bench-201: published sizes, the graph's structure, and what becomes of edges that are none."""

from __future__ import annotations

import itertools
from collections import Counter

import onnx
import pytest

from edgeprof.errors import SpecError
from edgeprof.nets.nasbench201 import (
    EXECUTIONS,
    cell_edges,
    cell_kernels,
    cell_model,
    cell_operators,
)
from edgeprof.nets.operators import operators


def parameters(cell: str) -> int:
    """As published: the running mean and variance of a normalisation are none."""
    return sum(
        o.parameters // (2 if o.op_type == "BatchNormalization" else 1) for o in cell_operators(cell, 1)
    )


@pytest.mark.parametrize(
    ("cell", "millions", "flops"),
    [("333333", 1.531546, 220.11969), ("SSSSSS", 0.073306, 7.78305), ("PPPPPP", 0.073306, 7.78305)],
)
def test_published_sizes(cell: str, millions: float, flops: float) -> None:
    """The greatest and least of the published table (CIFAR-10); its operations are multiply-accumulates."""
    assert parameters(cell) == round(millions * 1e6)
    assert sum(o.macs for o in cell_operators(cell, 1)) / 1e6 == pytest.approx(flops, rel=3e-6)


@pytest.mark.parametrize("cell", ["333333", "0S1P30", "000000", "3P0S10"])
@pytest.mark.parametrize("zeros", ["run", "input", "empty", "none"])
def test_operators_are_those_of_the_model(cell: str, zeros: str) -> None:
    model = cell_model(cell, 2, zeros)  # type: ignore[arg-type]
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    found, expected = cell_operators(cell, 2, zeros), operators(model)  # type: ignore[arg-type]
    for one, other in zip(found, expected, strict=True):
        dims = {k: v for k, v in other.dims.items() if k != "Z"}
        assert {**vars(one), "dims": dict(one.dims)} == {**vars(other), "dims": dims}


def test_every_edge_is_run_where_nothing_is_removed() -> None:
    for cell in ("31P0S0", "000000", "0S3001"):
        kinds = Counter(o.op_type for o in cell_operators(cell, 1))
        counts = Counter(cell)
        assert kinds["Mul"] == 15 * counts["0"]
        assert kinds["Conv"] == 15 * (counts["1"] + counts["3"]) + 7
        assert kinds["AveragePool"] == 15 * counts["P"] + 2
        assert kinds["Add"] == 15 * 3 + 2


def test_edges_that_do_not_reach_the_output_are_dropped() -> None:
    assert cell_edges("333S30", "none") == ((0, 1, "3"), (0, 3, "S"), (1, 3, "3"))
    assert cell_edges("000003", "none") == ()


def test_edges_from_nodes_that_hold_nothing() -> None:
    assert cell_edges("033303", "none") == ((0, 2, "3"), (0, 3, "3"), (2, 3, "3"))
    assert cell_edges("033303", "empty") == (
        (0, 1, "0"),
        (0, 2, "3"),
        (1, 2, "3"),
        (0, 3, "3"),
        (2, 3, "3"),
    )
    assert (0, 3, "0") in cell_edges("330033", "input")
    assert (0, 3, "0") not in cell_edges("330033", "empty")


def test_fewer_kernels_the_more_is_removed() -> None:
    for letters in itertools.islice(itertools.product("03S", repeat=6), 0, None, 41):
        cell = "".join(letters)
        counts = {how: len(cell_kernels(cell, 1, how)) for how in EXECUTIONS}
        assert counts["merged"] <= counts["compiled"] <= counts["compiled, zeros kept"]
        assert counts["compiled, zeros kept"] <= counts["compiled, zeros added"] <= counts["eager"]


def test_a_batch_scales_the_work() -> None:
    one, many = cell_kernels("31PS03", 1, "compiled"), cell_kernels("31PS03", 32, "compiled")
    assert [o.op_type for o in one] == [o.op_type for o in many]
    assert sum(o.macs for o in many) == 32 * sum(o.macs for o in one)


@pytest.mark.parametrize("cell", ["33333", "33333X", ""])
def test_no_cell(cell: str) -> None:
    with pytest.raises(SpecError, match="no cell"):
        cell_kernels(cell, 1)


def test_no_execution() -> None:
    with pytest.raises(SpecError, match="no execution"):
        cell_kernels("333333", 1, "fast")
