"""The gallery: every block of Python in docs/gallery.md runs, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery.md"
BLOCK = re.compile(r"```python\n(.*?)```\n+```text\n(.*?)```", re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """(code, what it prints) of each block."""
    return [(code, printed) for code, printed in BLOCK.findall(text)]


def test_every_block_prints_what_stands_below_it(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(in_folder))
    text = GALLERY.read_text("utf-8")
    found = blocks(text)
    assert len(found) == text.count("```python") > 5
    names: dict[str, Any] = {}
    for code, printed in found:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(GALLERY), "exec"), names)
        assert [line.rstrip() for line in out.getvalue().splitlines()] == printed.splitlines(), code
