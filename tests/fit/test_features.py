"""Features: variables of kernels and networks as columns, and terms over them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.errors import DomainError, SpecError
from edgeprof.fit.expressions import Expression, parse
from edgeprof.fit.features import columns, design, machine_constants, net_values
from edgeprof.fit.forms import read_form
from edgeprof.nets.spec import net_spec


def test_machine_constants() -> None:
    machine = {"lanes": 16, "l1d_kib": 32, "l2_kib": 1024, "l3_kib": 32768}
    assert machine_constants(machine, 2) == {"V": 16, "T": 2, "L1": 2**15, "L2": 2**20, "L3": 2**25}


def test_a_cache_that_is_not_known_is_as_large_as_the_one_before() -> None:
    assert machine_constants({"l1d_kib": 48}, 1) == {"V": 4, "T": 1, "L1": 49152, "L2": 49152, "L3": 49152}
    assert machine_constants({}, 1)["L3"] == 32 * 1024
    assert machine_constants({"l1d_kib": None, "l2_kib": 512, "l3_kib": 0}, 1)["L3"] == 512 * 1024


def test_net_values_are_means_over_layers() -> None:
    net = net_spec(conv=2, depth=(8, 16), kernel=(3, 5), fc=3, neurons=(64, 128, 192))
    assert net_values(net, 32) == {"t": 28, "C": 2, "F": 3, "D": 12, "K": 4, "N": 128, "B": 32}
    assert net_values(net_spec(conv=0, fc=0), 1) == {"t": 28, "C": 0, "F": 0, "D": 0, "K": 0, "N": 0, "B": 1}


def test_columns_hold_what_every_row_has() -> None:
    found = columns([{"B": 1, "M": 2, "H": 3}, {"B": 4, "M": 5, "Q": 6}], {"V": 16.0, "B": 99.0})
    assert {name: column.tolist() for name, column in found.items()} == {
        "B": [1, 4],
        "M": [2, 5],
        "V": [16, 16],
    }
    assert all(column.dtype == np.float64 for column in found.values())
    assert {name: len(column) for name, column in columns([], {"V": 16}).items()} == {"V": 0}


def design_of(terms: list[str], values: dict[str, list[float]], **define: str) -> np.ndarray:
    definitions: dict[str, Expression] = {}
    for name, text in define.items():
        definitions[name] = parse(text, (*values, *definitions))
    parsed = [parse(term, (*values, *definitions)) for term in terms]
    count = len(next(iter(values.values())))
    return design(parsed, definitions, {k: np.array(v, float) for k, v in values.items()}, count)


def test_design_has_a_column_a_term() -> None:
    found = design_of(
        ["1", "B*blocks", "sets"], {"B": [1, 2], "M": [16, 17]}, blocks="ceil(M/16)", sets="blocks + 1"
    )
    assert found.tolist() == [[1, 1, 2], [1, 4, 3]]


def test_only_the_definitions_that_are_needed_are_worked_out() -> None:
    """Padding is unknown for a matrix product: what is defined by it does no harm where it is not used."""
    define = {"inner": parse("W - P", ("W", "P")), "two": parse("2*M", ("M",))}
    found = design([parse("two", ("two",))], define, {"M": np.array([3.0])}, 1)
    assert found.tolist() == [[6]]
    with pytest.raises(SpecError, match="no value for P, W"):
        design([parse("inner", ("inner",))], define, {"M": np.array([3.0])}, 1)


@pytest.mark.parametrize(
    ("term", "values"),
    [("B - M", {"B": [1], "M": [2]}), ("B/M", {"B": [1], "M": [0]}), ("log2(B)", {"B": [0.5], "M": [0]})],
)
def test_a_term_must_be_a_time(term: str, values: dict[str, list[float]]) -> None:
    with pytest.raises(DomainError, match="negative or not finite"):
        design_of([term], values)


def test_no_terms_and_no_rows() -> None:
    assert design([], {}, {"B": np.ones(3)}, 3).shape == (3, 0)
    assert design([parse("B", ("B",))], {}, {"B": np.ones(0)}, 0).shape == (0, 1)


def test_cold_rises_between_a_quarter_and_a_half_of_the_last_cache() -> None:
    mib = 2.0**20
    sizes = [1, 8, 10, 12, 16, 64]
    found = columns([{"Z": z * mib} for z in sizes], {"L3": 32 * mib})["cold"]
    assert found.tolist() == [0, 0, 0.25, 0.5, 1, 1]
    assert "cold" not in columns([{"B": 1}], {"L3": 32 * mib})


def test_a_gpu_has_waves_and_the_form_for_it_needs_no_more() -> None:
    found = machine_constants({"lanes": 16, "l3_kib": 1, "gpu_sms": 132, "gpu_l2_kib": 51200}, 1)
    assert found == {"V": 32, "T": 1, "Q": 132, "L1": 50 * 2**20, "L2": 50 * 2**20, "L3": 50 * 2**20}
    form = read_form("cuda")
    assert form.constants <= found.keys()
    assert form.constants - machine_constants({"lanes": 16}, 1).keys() == {"Q"}  # a processor is told so
    assert [form.group_of(kind).name for kind in ("Conv", "Conv.nhwc", "Gemm", "Relu")] == [
        "Conv",
        "Conv",
        "Gemm",
        "other",
    ]
