"""Signatures: columns tell what a row is, whatever they are called and whatever stands beside them."""

from __future__ import annotations

import pytest

from edgeprof.errors import FitError, SpecError
from edgeprof.fit.signatures import SIGNATURES, Column, signature_of


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["device", "batch", "in_ch", "out_ch", "kernel", "in_size", "latency_ms"], "conv"),
        (["Batch Size", "CIN", "Cout", "Kernel-Size", "Input_Size", "Groups"], "conv"),
        (["b", "m", "n", "k", "ms"], "linear"),
        (["M", "N", "K"], "linear"),
        (["batch", "in_features", "out_features", "rows"], "linear"),
    ],
)
def test_columns_tell(names: list[str], kind: str) -> None:
    found = signature_of(names)
    assert found.name == kind
    assert set(found.found(names).values()) <= set(names)


def test_no_signature() -> None:
    with pytest.raises(FitError, match="conv lacks kernel, in_size") as trouble:
        signature_of(["batch", "cin", "cout", "ms"])
    assert "linear: m, n, k" in trouble.value.hint
    with pytest.raises(FitError, match=r"do not tell what a row is$"):
        signature_of(["ms"])


def test_values() -> None:
    column = Column("padding", least=0)
    assert (column.read(3.0, "line 2"), column.read(0, "line 2")) == (3, 0)
    for wrong in (-1, 1.5, float("nan"), "3", 2**31):
        with pytest.raises(SpecError, match=r"line 2: .* is not a whole number from 0"):
            column.read(wrong, "line 2")
    assert Column("cell", least=None).read(" 3P1 ", "line 2") == "3P1"


def test_optional_columns_are_at_their_defaults() -> None:
    conv = next(s for s in SIGNATURES if s.name == "conv")
    row = {"batch": 2, "in_ch": 4, "out_ch": 6, "kernel": 3, "in_size": 8}
    row |= {c.name: c.default for c in conv.columns if c.default is not None}
    (op,) = conv.operators(row)
    assert {k: op.dims[k] for k in "BCMHSPG"} == {"B": 2, "C": 4, "M": 6, "H": 6, "S": 1, "P": 0, "G": 1}
