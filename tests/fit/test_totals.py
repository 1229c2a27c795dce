"""Totals: prices of kernels are found again from the latency of networks alone."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.errors import DomainError
from edgeprof.fit.composition import Schedule, schedule
from edgeprof.fit.forms import Form, Group
from edgeprof.fit.totals import fit_totals, overhead_columns, typical_terms

FORM = Form(
    name="two",
    scope="kernel",
    group=(
        Group(name="Conv", kinds=("Conv",), terms=("B*X",)),
        Group(name="Add", kinds=("Add",), terms=("B*Y",)),
    ),
)
TRUE = np.array([0.02, 0.005])
HOST = np.array([0.3, 0.1])


def networks(batches: tuple[int, ...], seed: int = 0) -> tuple[Schedule, np.ndarray]:
    rng = np.random.default_rng(seed)
    runs, of_batch = [], []
    shapes = {
        (b, size): ({"B": float(b), "X": float(size)}, {"B": float(b), "Y": float(size)})
        for b in batches
        for size in (1, 4)
    }
    for _ in range(40):
        plan = [(rng.choice(["Conv", "Add"]), int(rng.choice([1, 4]))) for _ in range(rng.integers(5, 40))]
        for b in batches:
            runs.append([(kind, shapes[b, size][kind == "Add"]) for kind, size in plan])
            of_batch.append(b)
    return schedule(FORM, runs, {}), np.array(of_batch)


def test_sum() -> None:
    of, _ = networks((1,))
    latency = of.sums @ TRUE + 0.5
    found = fit_totals(of, np.ones((len(latency), 1)), latency, 2)
    assert found.coefficients == pytest.approx(TRUE, rel=1e-4)
    assert found.overhead == pytest.approx([0.5], rel=1e-3)
    assert found.latency(of, np.ones((len(latency), 1)), "sum") == pytest.approx(latency, rel=1e-4)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_overlap_tells_launches_from_work(noise: float) -> None:
    """Small batches are bound by launches, large ones by work: one law has both."""
    of, _ = networks((1, 8, 64))
    ones = np.ones((len(of.order), 1))
    exact = of.overlapped(of.active(TRUE, HOST), 2) @ np.concatenate([TRUE, HOST]) + 1.0
    latency = exact * np.random.default_rng(1).lognormal(0, noise, len(exact))
    found = fit_totals(of, ones, latency, 2, "overlap")
    assert found.coefficients == pytest.approx(TRUE, rel=0.02)
    assert found.host_ms == pytest.approx(HOST, rel=0.05)
    off = np.abs(found.latency(of, ones, "overlap") / exact - 1)
    assert off.mean() < 0.003 + noise / 2


def test_a_column_like_the_overhead_is_the_overheads() -> None:
    of, _ = networks((1,))
    same = Schedule(np.hstack([of.x, np.ones((len(of.x), 1))]), of.group, tuple(o[:3] for o in of.order))
    found = fit_totals(same, np.ones((len(of.order), 1)), np.full(len(of.order), 2.0), 2)
    assert found.coefficients[2] == 0
    assert found.overhead[0] == pytest.approx(2)


def test_typical_terms() -> None:
    of, _ = networks((1,))
    kernels = np.mean([len(o) for o in of.order])
    assert typical_terms(of)[0] == pytest.approx(2.5 * kernels, rel=0.1)


def test_overhead() -> None:
    assert overhead_columns(["1", "k", "1/B"], [1, 4], [10, 20], {}).tolist() == [[1, 10, 1], [1, 20, 0.25]]
    with pytest.raises(DomainError, match="overhead is in D"):
        overhead_columns(["D"], [1], [1], {})
