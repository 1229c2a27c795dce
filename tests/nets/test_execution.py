"""Execution: what a compiler folds, and what it merges."""

from __future__ import annotations

from collections import Counter

from edgeprof.nets.execution import AGAIN, executed
from edgeprof.nets.nasbench201 import cell_operators


def kinds(cell: str, how: str) -> Counter[str]:
    return Counter(o.op_type for o in executed(cell_operators(cell, 1, "none"), how))  # type: ignore[arg-type]


def test_normalisations_are_folded() -> None:
    assert kinds("300300", "compiled")["BatchNormalization"] == 1  # the last has no convolution before it
    assert kinds("300300", "eager")["BatchNormalization"] > 10


def test_a_relu_is_folded_where_nothing_else_reads_its_input() -> None:
    assert kinds("300030", "compiled")["Relu"] == 3  # a chain: only the stem's and the residual blocks' stay
    beside = kinds("3030S3", "compiled")  # node 1 is read by a ReLU and a skip
    assert beside["Relu"] == 15 + 3
    assert beside[AGAIN] == 0
    assert kinds("300330", "compiled")[AGAIN] == 15  # node 0 is read by two ReLUs


def test_merging_makes_one_wide_convolution() -> None:
    apart = executed(cell_operators("330333", 1, "none"), "compiled")
    merged = executed(cell_operators("330333", 1, "none"), "merged")
    assert sum(o.macs for o in apart) == sum(o.macs for o in merged)
    widths = Counter(int(o.dims["M"]) for o in merged if o.op_type == "Conv" and o.dims["Kh"] == 3)
    assert widths[48] == 5  # three edges of 16 channels leave the input of each cell of the first stage
    assert AGAIN not in {o.op_type for o in merged}


def test_windows_of_two_sizes_are_not_merged() -> None:
    apart, merged = (executed(cell_operators("310003", 1, "none"), how) for how in ("compiled", "merged"))
    assert Counter(o.op_type for o in apart)["Conv"] == Counter(o.op_type for o in merged)["Conv"]


def test_equal_poolings_of_one_tensor_are_one() -> None:
    assert kinds("PP0PSS", "merged")["AveragePool"] == 17
    assert kinds("PP0PSS", "compiled")["AveragePool"] == 47
