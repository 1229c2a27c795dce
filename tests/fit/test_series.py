"""Series: which kernels differ in one dimension alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.fit.examples import Example, usable
from edgeprof.fit.series import NETWORK, Series, series_of
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target


def simulated(folder: Path, law: str, net: Mapping[str, Any], vary: Mapping[str, Any]) -> list[Example]:
    """What a sweep of one grid on a law played back, without noise, leaves to fit."""
    with open_target("auto", f"simulated:{law}") as target:
        run_sweep(
            [parse_sweep({"name": "s", "net": {"threads": 1, **net}, "vary": vary}, "s")],
            folder / "s.db",
            target,
        )
    with Store(folder / "s.db") as store:
        return usable(store.measurements())


def sizes(series: Sequence[Series]) -> list[tuple[dict[str, Any], list[int]]]:
    return [(dict(s.others), s.x.tolist()) for s in series]


def test_every_dimension_of_a_product(tmp_path: Path, plain_law: str) -> None:
    """Two hidden layers of n neurons: 784 × n, n × n, n × 10."""
    n = list(range(16, 257, 16))
    found = series_of(simulated(tmp_path, plain_law, {"conv": 0, "fc": 2, "batch": 8}, {"neurons": n}))
    assert {key for key in found if key[0] == "Gemm"} == {("Gemm", "M"), ("Gemm", "N"), ("Gemm", "M=N")}
    assert sizes(found["Gemm", "M"]) == [({"B": 8, "N": 784, "R": 8}, n)]
    assert sizes(found["Gemm", "N"]) == [({"B": 8, "M": 10, "R": 8}, n)]
    assert sizes(found["Gemm", "M=N"]) == [({"B": 8, "R": 8}, n)]
    assert {s.kind for (kind, _), many in found.items() for s in many if kind == "Gemm"} == {"Gemm"}


def test_rows_are_the_batch_and_each_network_has_a_series_of_its_own(tmp_path: Path, plain_law: str) -> None:
    batches = list(range(1, 20))
    found = series_of(
        simulated(tmp_path, plain_law, {"conv": 0, "fc": 1}, {"neurons": [64, 128], "batch": batches})
    )
    rows = found["Gemm", "R"]
    assert sorted((d["N"], d["M"]) for d, _ in sizes(rows)) == [(64, 10), (128, 10), (784, 64), (784, 128)]
    assert {tuple(x) for _, x in sizes(rows)} == {tuple(batches)}
    assert all("B" not in d for d, _ in sizes(rows))  # it is the rows by another name


def test_a_size_far_off_is_left_out(tmp_path: Path, plain_law: str) -> None:
    """Ten neurons make the first product one of 10 columns too, with 784 inputs: beyond the series of inputs."""
    found = series_of(
        simulated(tmp_path, plain_law, {"conv": 0, "fc": 1, "batch": 8}, {"neurons": list(range(2, 40))})
    )
    assert sizes(found["Gemm", "N"]) == [({"B": 8, "M": 10, "R": 8}, list(range(2, 40)))]


def test_the_longest_run_of_sizes_is_kept(tmp_path: Path, plain_law: str) -> None:
    """784 neurons among them: then the classifier, of 10 columns, has as many inputs as the first product."""
    steps = list(range(64, 1025, 48))
    above = series_of(simulated(tmp_path, plain_law, {"conv": 0, "fc": 1, "batch": 8}, {"neurons": steps}))
    assert [x for _, x in sizes(above["Gemm", "M"])] == [steps]


def test_few_values_or_everything_at_once_are_no_series(tmp_path: Path, plain_law: str) -> None:
    few = simulated(tmp_path, plain_law, {"conv": 0, "fc": 1}, {"neurons": list(range(100, 111))})
    assert series_of(few) == {}
    assert series_of([]) == {}


def test_channels_of_a_layer_that_has_as_many_in_as_out_are_one_question(
    tmp_path: Path, plain_law: str
) -> None:
    depths = list(range(8, 72, 4))
    found = series_of(simulated(tmp_path, plain_law, {"conv": 2, "fc": 0, "batch": 64}, {"depth": depths}))
    assert set(found) >= {("MaxPool", "M=C"), ("Conv", "M=C"), ("Conv", "M")}
    assert ("MaxPool", "M") not in found
    assert [x for _, x in sizes(found["Conv", "M"])] == [depths]  # the first layer: one channel in


def test_networks_where_kernels_have_no_dimensions(tmp_path: Path) -> None:
    """The reference study's law knows sums over layers, not kernels."""
    n = list(range(64, 1025, 64))
    found = series_of(simulated(tmp_path, "gtx960-theano", {"conv": 1}, {"fc": [1, 2], "neurons": n}))
    assert set(found) == {(NETWORK, "N")}
    assert [(d["fc"], x) for d, x in sizes(found[NETWORK, "N"])] == [(1, n), (2, n)]
    one = found[NETWORK, "N"][0]
    assert np.all(np.diff(one.ms) > 0)
