"""Records: tables of somebody else, and everything that may be wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from edgeprof.errors import EdgeprofError, FitError, SpecError
from edgeprof.fit.records import read_records

LATENCY = Path(__file__).resolve().parents[1] / "data" / "latency"
P4 = ["device=Tesla P4"]


def table(folder: Path, text: str) -> Path:
    path = folder / "t.csv"
    path.write_text(text, "utf-8")
    return path


def test_a_real_table() -> None:
    found = read_records(LATENCY / "conv.csv", "latency_ms", P4)
    assert (found.signature.name, found.device, len(found.rows)) == ("conv", "Tesla P4", 60)
    first = found.rows[0]
    line = (LATENCY / "conv.csv").read_text("utf-8").splitlines()[first.line - 1].split(",")
    assert [str(first.values[k]) for k in ("batch", "in_ch", "out_ch")] == line[1:4]
    assert first.latency_ms == float(line[8])
    assert first.kernel == line[9]
    assert first.operators[0].dims["M"] == first.values["out_ch"]


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "linear.csv.gz"
    path.write_bytes(gzip.compress((LATENCY / "linear.csv").read_bytes()))
    assert (
        read_records(path, "latency_ms", P4).rows
        == read_records(LATENCY / "linear.csv", "latency_ms", P4).rows
    )


def test_without_latencies(tmp_path: Path) -> None:
    rows = read_records(table(tmp_path, "device,m,n,k\nA,1,2,3\nB,4,5,6\n")).rows
    assert [r.values for r in rows] == [{"b": 1, "m": 1, "n": 2, "k": 3}, {"b": 1, "m": 4, "n": 5, "k": 6}]
    assert [r.latency_ms for r in rows] == [None, None]


def test_batches_in_the_names_of_columns(tmp_path: Path) -> None:
    text = "in_ch,out_ch,kernel,in_size,gpu_1,gpu_32,other_1\n3,4,3,8,0.1,0.5,9\n3,8,3,8,0.2,0.6,9\n"
    found = read_records(table(tmp_path, text), "gpu_{batch}").rows
    assert sorted((r.values["out_ch"], r.values["batch"], r.latency_ms) for r in found) == [
        (4, 1, 0.1),
        (4, 32, 0.5),
        (8, 1, 0.2),
        (8, 32, 0.6),
    ]
    assert len({r.key for r in found}) == 2


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("m,n,k,ms\n1,2,3,0.5\n", ["device=X"], "'device=X' is no condition"),
        ("m,n,k,ms\n1,2,3,0.5\n", ["m"], "'m' is no condition"),
        ("m,n,k,ms\n1,2,3,0.5\n", ["m=2"], "no row of t.csv has m=2"),
        ("m,n,k\n1,2,3\n", [], "t.csv has no column ms"),
        ("m,n,k,ms\n", [], "has no rows"),
        ("", [], "is no table"),
        ('m,n,k,ms\n"1,2,3,0.5\n', [], "is no table"),
        ("m,n,k,ms\n1,2,3,-0.5\n", [], "line 2: ms is -0.5"),
        ("m,n,k,ms\n1,2,3,1\n1,2,3,\n", [], "line 3: ms is nan"),
        ("m,n,k,ms\n1,2,3,fast\n", [], "line 2: ms is fast"),
        ("m,n,k,ms\n1,2,0,1\n", [], "line 2, k: 0 is not a whole number from 1"),
        ("gpu,m,n,k,ms\nA,1,2,3,1\nB,1,2,3,1\n", [], "t.csv is of 2 devices: A, B"),
        ("batch,cin,cout,kernel,size,ms\n1,3,4,9,5,1\n", [], "line 2: a kernel of 9 leaves no pixels"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, where: list[str], message: str) -> None:
    with pytest.raises(EdgeprofError) as trouble:
        read_records(table(tmp_path, text), "ms", where)
    assert message in trouble.value.message
    assert trouble.value.hint


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="no table"):
        read_records(tmp_path / "none.csv")
    with pytest.raises(FitError, match="is no table"):
        read_records(tmp_path)


def test_where_names_numbers_as_people_do(tmp_path: Path) -> None:
    path = table(tmp_path, "m,n,k,ms,clock\n1,2,3,1,900.0\n2,2,3,1,\n")
    assert [r.values["m"] for r in read_records(path, "ms", ["Clock=900"]).rows] == [1]
    with pytest.raises(FitError, match="no row"):
        read_records(path, "ms", ["clock=901"])


def test_a_bad_value_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"line 3, n: 2\.5"):
        read_records(table(tmp_path, "m,n,k\n1,2,3\n1,2.5,3\n"))
