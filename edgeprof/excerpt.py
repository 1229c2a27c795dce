"""Excerpt: the beginning of a text that is too long for where it is shown."""

from __future__ import annotations

QUOTED = 80  # letters of a stranger's text in a message


def excerpt(text: str, longest: int = QUOTED) -> str:
    """``text``, or the beginning of it with an ellipsis: at most ``longest`` letters (1 or more)."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
