"""File systems of boards, as far as edgeprof reads them, written from documented paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write files under a root of one's own: text, bytes, or None for one that cannot be read."""

    def write(files: Mapping[str, str | bytes | None]) -> Path:
        for name, content in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir()  # reading it is an OSError, for root too
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        (tmp_path / "root").mkdir(exist_ok=True)
        return tmp_path / "root"

    return write
