"""Quanta: found where they are, and nowhere else."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeprof.fit.examples import usable
from edgeprof.fit.quanta import SMOOTH, Model, curve, evidence_of, step, weigh
from edgeprof.fit.series import Series
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target

DATA = Path(__file__).parents[1] / "data" / "steps" / "epyc.csv"
FINE = np.arange(1, 161)
COARSE = np.arange(64, 1025, 16)

Sizes = NDArray[np.int64]
Times = NDArray[np.float64]


def blocks(x: Sizes, q: int) -> Times:
    return np.ceil(x / q) * q


def noisy(x: Sizes, ms: Times, noise: float = 0.01, seed: int = 0, kind: str = "Gemm") -> Series:
    rng = np.random.default_rng(seed)
    return Series(kind, "M", (), x, ms * np.exp(noise * rng.standard_normal(len(x))))


@pytest.mark.parametrize(
    ("sizes", "quantum"), [(COARSE, 128), (COARSE, 32), (FINE, 32), (FINE, 12), (FINE, 4)]
)
@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_found(sizes: Sizes, quantum: int, seed: int) -> None:
    (found,) = weigh([noisy(sizes, 0.1 + 0.01 * blocks(sizes, quantum), 0.01, seed)]).found
    assert (found.pattern, found.quantum, found.alike) == ("blocks", quantum, ())
    assert found.effect >= 0.8
    assert found.gain > 0.4
    assert found.bic_difference > 30
    assert (found.rows, found.sees_from) == (len(sizes), 16 if sizes is COARSE else 1)


@pytest.mark.parametrize(
    "shape",
    [
        lambda x: 0.1 + 0.01 * x,
        lambda x: 0.001 * x,
        lambda x: 0.1 + 0.001 * x**1.5,
        lambda x: 0.02 + 1e-6 * x**2 + np.maximum(x - 100, 0) * 1e-3,  # beyond a cache
        lambda x: (0.1 + 0.01 * x) * np.where(x > 90, 1.4, 1),  # one step is no staircase
        lambda x: np.full(len(x), 0.3),
    ],
)
def test_none_is_invented(shape: Callable[[Sizes], Times]) -> None:
    for seed in range(4):
        for sizes in (FINE, COARSE):
            for noise in (0.0, 0.01, 0.05):
                found = weigh([noisy(sizes, shape(sizes), noise, seed)]).found
                assert [q.pattern for q in found] == ["none"], found[0].sentence()


def test_heavy_tails_and_bad_measurements_hide_nothing_and_invent_nothing() -> None:
    rng = np.random.default_rng(1)
    for seed in range(5):
        smooth, stairs = (noisy(FINE, 0.1 + 0.01 * x, 0.01, seed) for x in (FINE, blocks(FINE, 32)))
        bad = rng.choice(len(FINE), 12, replace=False)
        for series in (smooth, stairs):
            series.ms[bad] *= rng.uniform(1.5, 3, len(bad))
        assert weigh([smooth]).found[0].pattern == "none"
        assert weigh([stairs]).found[0].quantum == 32


def test_a_part_of_a_block() -> None:
    """Half of the work is done unit by unit, half block by block."""
    (found,) = weigh([noisy(FINE, 0.1 + 0.01 * (FINE + blocks(FINE, 32)) / 2)]).found
    assert found.quantum == 32
    assert found.effect == pytest.approx(0.5, abs=0.11)
    assert found.example == (33, 64)
    assert "come in blocks of 32; the first of a block costs 5" in found.sentence()


@pytest.mark.parametrize(("height", "word"), [(-0.14, "cheaper"), (0.2, "dearer")])
def test_peaks(height: float, word: str) -> None:
    """400 neurons faster than 200: multiples of 128 stand out from their neighbours."""
    times = (0.1 + 0.001 * COARSE) * np.where(COARSE % 128 == 0, 1 + height, 1)
    (found,) = weigh([noisy(COARSE, times)]).found
    assert (found.pattern, found.quantum) == ("peaks", 128)
    assert found.effect == pytest.approx(height, abs=0.02)
    assert (
        f"multiples of 128 are {100 * abs(found.effect):.0f} % {word} than their neighbours"
        in found.sentence()
    )


def test_blocks_in_sets() -> None:
    """Vectors of 16, in sets of four: both are told."""
    x = np.arange(4, 421, 4)
    found = weigh([noisy(x, 0.1 + 0.01 * (blocks(x, 16) + 0.5 * blocks(x, 64)))]).found
    assert {q.quantum: q.effect for q in found} == pytest.approx({16: 2 / 3, 64: 1 / 3}, abs=0.15)


def test_what_the_data_cannot_see() -> None:
    """Steps of 16 hide blocks of 16."""
    series = noisy(COARSE, 0.1 + 0.01 * blocks(COARSE, 16))
    evidence = weigh([series])
    (found,) = evidence.found
    assert (found.pattern, found.sees_from) == ("none", 16)
    assert found.sentence() == "Gemm: no clear blocks of columns; blocks that divide 16 cannot be seen"
    assert not {2, 4, 8, 16} & {q for _, q in evidence.scores}
    assert 256 not in {q for p, q in evidence.scores}  # four blocks are too few
    offset = noisy(COARSE + 5, 0.1 + 0.01 * blocks(COARSE + 5, 16))
    assert step([offset]) == 16
    assert weigh([offset]).found[0].pattern == "none"


def test_several_series_tell_more_than_one() -> None:
    """Rows of small batches, most of whose time is not in the blocks."""
    many = [
        noisy(FINE, a + 0.001 * blocks(FINE, 8), 0.02, seed) for seed, a in enumerate((0.05, 0.1, 0.2, 0.4))
    ]
    alone = [weigh([one]).found[0] for one in many]
    (together,) = weigh(many).found
    assert together.quantum == 8
    assert together.bic_difference > max(q.bic_difference for q in alone)
    assert together.rows == 4 * len(FINE)


def test_a_series_within_one_block_does_no_harm() -> None:
    """Twelve sizes, all nearest to the same multiple of 128."""
    stairs = noisy(COARSE, 0.1 + 0.001 * blocks(COARSE, 128))
    short = np.arange(100, 112)
    (found,) = weigh([stairs, noisy(short, 0.1 + 0.001 * blocks(short, 128))]).found
    assert found.quantum == 128


def test_the_curve_of_a_model() -> None:
    series = noisy(FINE, 0.1 + 0.01 * blocks(FINE, 32), 0.0)
    at = np.array([1.0, 32.0, 33.0, 64.0, 65.0, 160.0])
    assert curve(series, Model(((32, 1.0),)), at) == pytest.approx(0.1 + 0.01 * blocks(at, 32), rel=0.01)
    smooth = noisy(FINE, 0.1 + 0.01 * FINE, 0.0)
    assert curve(smooth, SMOOTH, at) == pytest.approx(0.1 + 0.01 * at, rel=0.02)


@pytest.mark.parametrize(
    ("term", "quantum", "neurons"),
    [
        ("R*N*roundup(M, 128)", 128, range(64, 1025, 16)),
        ("R*N*roundup(M, 32)", 32, range(1, 161)),
        ("R*N*M", 1, range(1, 161)),
    ],
)
def test_a_law_played_back(
    term: str, quantum: int, neurons: range, law_of: Callable[[str], str], tmp_path: Path
) -> None:
    sweep = {"name": "s", "net": {"conv": 0, "batch": 32, "threads": 1}, "vary": {"neurons": list(neurons)}}
    with open_target("auto", f"simulated:{law_of(term)},noise=1%") as target:
        run_sweep([parse_sweep(sweep, "s")], tmp_path / "s.db", target, rounds=1)
    with Store(tmp_path / "s.db") as store:
        evidence = evidence_of(usable(store.measurements()))
    found = {(q.kind, q.dimension): q.quantum for e in evidence for q in e.found}
    assert found == {("Gemm", "M"): quantum, ("Gemm", "N"): 1}
    assert evidence[0].found[0].quantum == quantum  # the clearest first


def recorded() -> dict[tuple[str, str, str], list[Series]]:
    """What was measured on a processor with 512-bit vectors, by (sweep, kind, dimension)."""
    rows: dict[tuple[str, ...], list[tuple[int, float]]] = {}
    with DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["sweep"], row["kind"], row["dimension"], row["fixed"])
            rows.setdefault(key, []).append((int(row["size"]), float(row["ms"])))
    found: dict[tuple[str, str, str], list[Series]] = {}
    for (sweep, kind, dimension, fixed), pairs in rows.items():
        x, ms = (np.array(column) for column in zip(*pairs, strict=True))
        found.setdefault((sweep, kind, dimension), []).append(Series(kind, dimension, (("", fixed),), x, ms))
    return found


def test_a_real_processor() -> None:
    """ONNX Runtime's kernels on vectors of 16 floats: convolutions in blocks of 16 channels, products in blocks of 16
    columns, and rows in sixes; other kernels are smooth. Steps of 16 show nothing of it."""
    said = {key: weigh(series).found for key, series in recorded().items()}
    assert {key: [(q.pattern, q.quantum) for q in found] for key, found in said.items()} == {
        ("channel-step", "Conv.nchw", "M"): [("blocks", 16)],
        ("channel-step", "Conv.nchwc", "M"): [("blocks", 16)],
        ("channel-step", "Conv.nchwc", "C"): [("blocks", 16)],
        ("channel-step", "Conv.im2col", "C"): [("none", 1)],
        ("channel-step", "MaxPool", "M=C"): [("none", 1)],
        ("neuron-fine", "Gemm", "M"): [("blocks", 16)],
        ("neuron-step", "Gemm", "M"): [("none", 1)],
        ("batch-step", "Gemm", "R"): [("blocks", 6)],
    }
    (columns,) = said["neuron-fine", "Gemm", "M"]
    assert columns.sentence().startswith("Gemm: columns come in blocks of 16: 17 cost as much as 32 (BIC ")
    assert columns.effect == 1
    assert said["neuron-step", "Gemm", "M"][0].sees_from == 16
    (rows,) = said["batch-step", "Gemm", "R"]
    assert rows.sentence().startswith(
        "Gemm: rows come in blocks of 6; the first of a block costs 33 % of it (BIC "
    )
