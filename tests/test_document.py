"""Documents: the value of a stranger's file, or the first thing that is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from edgeprof.document import shown, value_of
from edgeprof.errors import SpecError


class Size(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = 1
    width: int


def test_a_value_is_what_its_file_says() -> None:
    assert value_of(Size, {"width": 3, "version": 1}, "a.toml", "see b.toml") == Size(width=3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"width": 3, "version": 2}, "a.toml has version 2; this edgeprof reads 1"),
        ({"width": 3, "version": 1 << 20_000}, "a.toml has version this int; this edgeprof reads 1"),
        ({}, "a.toml: width: Field required"),
        ({"width": "x"}, "a.toml: width: Input should be a valid integer"),
        ({"width": 3, "height": 2}, "a.toml: unknown key 'height'"),
        ({"width": 3, 7: 1}, "a.toml: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: dict[Any, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        value_of(Size, data, "a.toml", "see b.toml")
    assert caught.value.message.startswith(says)
    assert caught.value.hint in ("see b.toml", "upgrade edgeprof")


def test_what_a_message_quotes_is_short() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert shown(3) == "3"
    assert shown("ab") == "'ab'"
    assert len(shown("a" * 500)) == 80
    assert shown(1 << 20_000) == "this int"
    assert shown(deep) == "this dict"
