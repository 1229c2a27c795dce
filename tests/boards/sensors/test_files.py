"""Small files of ``/sys``: text, numbers, and what is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeprof.boards.sensors.files import number, text


@pytest.mark.parametrize(
    ("content", "said", "value"),
    [
        ("5000\n", "5000", 5000),
        ("warn 3\n", "warn 3", None),
        ("32760 ma\n", "32760 ma", 32760),
        ("-256000", "-256000", -256000),
        (b"gv11b\0", "gv11b", None),
        ("", "", None),
        (b"\xff\xfe", "\ufffd\ufffd", None),
        (None, None, None),
    ],
)
def test_a_file(tree: Callable[..., Path], content: str, said: str | None, value: float | None) -> None:
    root = tree({"file": content})
    assert (text(root / "file"), number(root / "file")) == (said, value)


def test_no_file(tmp_path: Path) -> None:
    assert text(tmp_path / "none") is number(tmp_path / "none") is None
