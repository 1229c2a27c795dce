"""Excerpts of texts."""

from __future__ import annotations

import pytest

from edgeprof.excerpt import QUOTED, excerpt


@pytest.mark.parametrize(
    ("text", "longest", "shown"),
    [
        ("", 5, ""),
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("abc def", 5, "abc…"),
        ("abcdef", 1, "…"),
        ("ab\ncd", 4, "ab…"),
    ],
)
def test_it_is_never_longer_than_asked(text: str, longest: int, shown: str) -> None:
    assert excerpt(text, longest) == shown
    assert len(shown) <= longest


def test_a_quotation_has_a_length_of_its_own() -> None:
    assert len(excerpt("x" * 1000)) == QUOTED
