"""Names and comments of generated code, safe in every language whatever a law calls its parts."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What generated code calls, words that one of the languages keeps for itself, and columns of a spreadsheet.
_WORDS = """
Math abs batch ceil checked floor fmax fmin fmod int log2 math max min modulo nan pow range sqrt sum and arguments
as assert async auto await break case catch char class const continue debugger def default del delete do double elif
else enum eval except export extends extern finally float for from function global goto if implements import in
inline instanceof interface is lambda let long new nonlocal not null or package pass private protected public raise
register restrict return short signed sizeof static struct super switch this throw true false try typedef typeof
union unsigned var void volatile while with yield False None True
after before bytes columns impossible kernel kernels layer ms operator pads pixels runs
"""
KEPT = frozenset(_WORDS.split())


def identifiers(definitions: Iterable[str]) -> dict[str, str]:
    """A name for each definition that is allowed in every language: its own, if it can be."""
    found: dict[str, str] = {}
    for i, name in enumerate(definitions):
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and not (name.isupper() and len(name) > 1)
        found[name] = name if plain and name not in KEPT else f"defined_{i + 1}_"
    return found


def slugs(texts: Iterable[str]) -> dict[str, str]:
    """A piece of an identifier for each text, no two alike: ``Conv, NCHWc`` becomes ``conv_nchwc``."""
    found: dict[str, str] = {}
    for text in texts:
        slug = base = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "x"
        count = 1
        while slug in found.values():
            count += 1
            slug = f"{base}_{count}"
        found[text] = slug
    return found


def clean(text: str) -> str:
    """A text that may stand in a comment of any language: one line, nothing invisible, no end of a comment."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line.replace("*/", "* /").replace("/*", "/ *")
