"""Figures as values: axes that suit their numbers, keys, numbers for people."""

from __future__ import annotations

import math

import pytest

from edgeprof.report.figure import (
    MOST_TICKS,
    Series,
    amounts_axis,
    key_of,
    log_axis,
    log_ticks,
    shown,
    steps_axis,
)
from edgeprof.report.interactive import tick_text


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([16, 32, 64, 128, 4096], True),
        ([5, 10, 20, 40, 80], True),
        ([1, 2, 3, 4, 5], False),
        ([128, 512, 2048], False),
        (list(range(64, 1025, 16)), False),
        ([7], False),
        ([0, 10, 100, 1000], False),
    ],
)
def test_an_axis_of_steps_or_of_factors(values: list[float], log: bool) -> None:
    axis = steps_axis("x", values)
    assert axis.log is log
    assert axis.ticks == (tuple(values) if len(values) <= MOST_TICKS else ())


def test_an_axis_of_amounts_begins_at_zero_or_is_logarithmic() -> None:
    assert amounts_axis("ms", [1, 30]).zero
    assert amounts_axis("ms", [0.01, 30]).log
    assert not amounts_axis("ms", [0, 1e9]).log
    assert amounts_axis("ms", []).zero


@pytest.mark.parametrize("span", [1.0, 1.01, 1.1, 1.5, 3.0, 7.0, 40.0, 1e2, 1e5, 1e12, 1e40])
@pytest.mark.parametrize("low", [3e-9, 0.2, 1.0, 4e7])
def test_ticks_are_few_round_and_about_the_data(low: float, span: float) -> None:
    ticks = log_ticks([low, low * span])
    assert len(ticks) <= MOST_TICKS
    assert list(ticks) == sorted(set(ticks))
    slack = max(span**0.05, 1.0001) if span > 1 else 10.01  # drawn too; one value has a decade to either side
    assert all(low / slack <= tick <= low * span * slack for tick in ticks)
    assert len(ticks) >= 3
    assert len({tick_text(tick) for tick in ticks}) == len(ticks)
    if span == 1 or span >= 40:
        leading = {round(tick / 10 ** math.floor(math.log10(tick) + 1e-9)) for tick in ticks}
        assert leading <= {1, 2, 3, 5}
    assert log_axis("x", [low, low * span]).ticks == ticks


def test_values_that_hardly_differ_leave_their_labels_to_the_renderer() -> None:
    assert log_ticks([1.0, 1.0001]) == ()
    assert log_ticks([]) == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.012345, "0.01235"),
        (1234.5678, "1,235"),
        (99999.6, "100,000"),
        (-2.5, "-2.5"),
        (3.2e-9, "3.200e-09"),
        (math.inf, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert shown(value) == text


def test_keys_are_letters_digits_and_hyphens() -> None:
    assert key_of("kernel", "Conv.nchw", 3, 'a"<b>') == "kernel-conv-nchw-3-a-b"
    assert key_of("é✓/../x") == "x"
    assert len(key_of("long " * 99)) <= 80


def test_a_series_is_as_long_as_its_parts() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Series("a", (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="differ in length"):
        Series("a", (1.0,), (1.0,), low=(0.5,))
