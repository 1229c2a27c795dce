"""Requirements: limits judged from intervals."""

from __future__ import annotations

import pytest

from edgeprof.errors import SpecError
from edgeprof.requirements import Quantity, Requirement, all_met, exact, judge, parse_requirement, speeds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p99_ms<33", Requirement("p99_ms", "<", 33.0)),
        (" tiles_per_ms >= 40 ", Requirement("tiles_per_ms", ">=", 40.0)),
        ("memory_mib<=1.5e3", Requirement("memory_mib", "<=", 1500.0)),
    ],
)
def test_requirements_are_read(text: str, found: Requirement) -> None:
    assert parse_requirement(text) == found
    assert parse_requirement(found.text()) == found


@pytest.mark.parametrize(
    "text", ["p99_ms", "p99_ms=3", "<3", "p99_ms<", "p99_ms<x", "p99_ms<1.2.3", "a<3<4", ""]
)
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(SpecError, match="is no requirement"):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "low", "high", "outcome"),
    [
        ("x<10", 8.0, 9.0, "PASS"),
        ("x<10", 8.0, 11.0, "INCONCLUSIVE"),
        ("x<10", 11.0, 12.0, "FAIL"),
        ("x<10", 10.0, 12.0, "FAIL"),
        ("x<=10", 10.0, 12.0, "INCONCLUSIVE"),
        ("x<=10", 8.0, 10.0, "PASS"),
        ("x<10", 8.0, 10.0, "INCONCLUSIVE"),
        ("x>10", 11.0, 12.0, "PASS"),
        ("x>10", 9.0, 12.0, "INCONCLUSIVE"),
        ("x>10", 8.0, 10.0, "FAIL"),
        ("x>=10", 8.0, 10.0, "INCONCLUSIVE"),
        ("x<10", None, 9.0, "PASS"),
        ("x<10", 8.0, None, "INCONCLUSIVE"),
        ("x<10", 11.0, None, "FAIL"),
        ("x>10", 11.0, None, "PASS"),
        ("x<10", None, None, "INCONCLUSIVE"),
    ],
)
def test_the_interval_judges(text: str, low: float | None, high: float | None, outcome: str) -> None:
    (verdict,) = judge([parse_requirement(text)], {"x": Quantity(9.5, low, high)})
    assert verdict.outcome == outcome
    assert all_met([verdict]) == (outcome == "PASS")


def test_what_was_not_measured_is_inconclusive_and_what_there_is_not_is_refused() -> None:
    wanted = [parse_requirement("energy_mj<60")]
    (verdict,) = judge(wanted, {"energy_mj": None})
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.quantity.why
    with pytest.raises(SpecError, match="no quantity 'energy_mj'") as caught:
        judge(wanted, {"latency_ms": exact(1.0)})
    assert "latency_ms" in caught.value.hint
    assert all_met([])


def test_speeds_turn_the_interval_round() -> None:
    found = speeds(8.0, (4.0, 16.0), 32)
    assert found["ms_per_tile"] == Quantity(0.25, 0.125, 0.5)
    assert found["tiles_per_ms"] == Quantity(4.0, 2.0, 8.0)
    assert speeds(8.0, None, 32, "why")["latency_ms"] == Quantity(8.0, None, None, "why")
