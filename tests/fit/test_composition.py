"""Composition: the recurrence of launches that overlap, its unrolled form, and sums."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.fit.composition import overlap_ms, schedule
from edgeprof.fit.forms import Form, Group

FORM = Form(
    name="two",
    scope="kernel",
    composition="overlap",
    group=(
        Group(name="Conv", kinds=("Conv*",), terms=("X",)),
        Group(name="Add", kinds=("Add",), terms=("Y", "1")),
    ),
)


def recurrence(device: np.ndarray, host: np.ndarray) -> float:
    end = launched = 0.0
    for d, h in zip(device, host, strict=True):
        launched += h
        end = max(end, launched) + d
    return end


@pytest.mark.parametrize("seed", range(20))
def test_unrolled_is_the_recurrence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    device, host = rng.exponential(1, 30), rng.exponential(rng.uniform(0.1, 3), 30)
    assert overlap_ms(device, host) == pytest.approx(recurrence(device, host))


def test_limits() -> None:
    device, host = np.full(10, 2.0), np.full(10, 0.5)
    assert overlap_ms(device, host) == pytest.approx(0.5 + 20)  # the device is slower
    assert overlap_ms(host, device) == pytest.approx(20 + 0.5)  # the host is
    assert overlap_ms(np.zeros(0), np.zeros(0)) == 0


def test_sums_and_overlapped_columns() -> None:
    small, large, add = {"X": 1.0}, {"X": 10.0}, {"Y": 3.0}
    runs = [[("Conv", small), ("Add", add), ("Conv.wide", large)], [("Add", add), ("Softmax", small)]]
    of = schedule(FORM, runs, {})
    assert of.sums.tolist() == [[11, 3, 1], [0, 3, 1]]
    assert of.launches(2).tolist() == [[2, 1], [0, 1]]
    prices, host = np.array([1.0, 1.0, 0.0]), np.array([0.1, 0.2])
    active = of.active(prices, host)
    columns = of.overlapped(active, 2)
    ends = columns @ np.concatenate([prices, host])
    assert ends[0] == pytest.approx(recurrence(np.array([1.0, 3, 10]), np.array([0.1, 0.2, 0.1])))
    assert ends[1] == pytest.approx(3.2)
