"""Recognising: patterns against facts, and which clause is the better one."""

from __future__ import annotations

from typing import Any

import pytest

from edgeprof.boards.match import fits, likeness

FACTS = {
    "model": "ARMv8 Processor",
    "lanes": 4,
    "memory_mib": 7620,
    "compatible": ("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
    "device_tree": None,
    "gpus": (),
    "gpu_mib": (None, 10240),
}


@pytest.mark.parametrize(
    ("fact", "pattern", "fitting"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "Jetson Nano", True),
        ("NVIDIA Jetson Nano Developer Kit", "jetson nano", False),
        ("Jetson", "*", False),
        (("NVIDIA L40S", "NVIDIA L4"), "NVIDIA L4", True),
        (("NVIDIA L40S",), "NVIDIA L4", False),
        (("NVIDIA GeForce RTX 3060 Ti",), "*RTX 3060", False),
        (["GeForce RTX 3060"], "*RTX 3060", True),
        (("a", "b"), "?", True),
        ((), "*", False),
        (4, "4", True),
        (16, "4", False),
        (7620, "5000..9000", True),
        (7620, "8000..9000", False),
        ((None, 10240), "9000..11000", True),
        ((None,), "*", False),
        (None, "*", False),
        ("7620", "5000..9000", False),
        (True, "True", True),
    ],
)
def test_patterns(fact: Any, pattern: str, fitting: bool) -> None:
    assert fits(fact, pattern) is fitting


def test_a_clause_needs_every_fact_and_any_pattern() -> None:
    assert likeness([{"lanes": ("8", "4"), "model": ("ARMv8",)}], FACTS)
    assert likeness([{"lanes": ("4",), "model": ("ARMv9",)}], FACTS) is None
    assert likeness([{"nothing": ("*",)}], FACTS) is None
    assert likeness([{"device_tree": ("",)}], FACTS) is None
    assert likeness([], FACTS) is None
    assert likeness([{"lanes": ()}], FACTS) is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ([{"lanes": ("4",)}], [{}]),
        ([{"lanes": ("8",)}, {"lanes": ("4",)}], [{}]),
        ([{"lanes": ("4",)}], [{"lanes": ("8",)}, {"lanes": ("4",), "model": ("ARMv8",)}]),
        ([{"lanes": ("4",), "memory_mib": ("1..9999",)}], [{"model": ("ARMv8 Processor",)}]),
        ([{"compatible": ("*-super",)}], [{"compatible": ("*p3767-0005",)}]),
        ([{"model": ("ARMv8 Processor",)}], [{"model": ("ARMv8",)}]),
    ],
)
def test_the_better_clause(better: Any, worse: Any) -> None:
    high, low = likeness(better, FACTS), likeness(worse, FACTS)
    assert high is not None
    assert low is not None
    assert high > low
