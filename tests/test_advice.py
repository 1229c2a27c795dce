"""Every warning says what to do about it, once."""

from __future__ import annotations

from edgeprof.advice import ADVICE, summary


def test_every_warning_has_a_remedy() -> None:
    for code, advice in ADVICE.items():
        assert min(len(advice.text), len(advice.remedy)) > 10, code


def test_each_once_the_most_frequent_first() -> None:
    few, drift = ADVICE["few-rounds"], ADVICE["drift"]
    assert summary(["drift", "few-rounds", "few-rounds"]) == [
        f"{few.text} (2 cases) · {few.remedy}",
        f"{drift.text} · {drift.remedy}",
    ]


def test_a_warning_of_another_version() -> None:
    assert summary(["from-2031"]) == ["warning 'from-2031' · a newer edgeprof may know what it means"]
