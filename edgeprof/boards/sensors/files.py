"""Small files of ``/proc`` and ``/sys``: what cannot be read is None."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """The text of a file, without blanks and the NUL bytes of device-tree strings at its ends."""
    try:
        return path.read_text(errors="replace").strip(" \t\r\n\0")
    except (OSError, ValueError):
        return None


def number(path: Path) -> float | None:
    """The first number in a file; some drivers write its unit behind it."""
    words = (text(path) or "").split()
    try:
        return float(words[0]) if words else None
    except ValueError:
        return None
