"""File of a law: JSON, its ``version`` in it; ``edgeprof fit --out`` writes it, never a hand."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from edgeprof import catalogue
from edgeprof.boards.spec import read_board
from edgeprof.document import first_problem
from edgeprof.errors import SpecError
from edgeprof.files import write_whole
from edgeprof.fit.datasheet import needs_board, on_board
from edgeprof.fit.law import Law

VERSION = 1


def parse_law(text: str, source: str) -> Law:
    """A law from the text of its file.

    :raises SpecError: no JSON, a newer version, a missing or wrong key, an expression that is not allowed.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} is not JSON: {error}", "edgeprof fit --out writes laws") from None
    if not isinstance(data, dict):
        raise SpecError(f"{source} is no law", "edgeprof fit --out writes laws")
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SpecError(
            f"{source} is a law of version {version}; this edgeprof reads {VERSION}", "upgrade edgeprof"
        )
    try:
        return Law(**data)
    except ValidationError as error:
        raise SpecError(f"{source}: {first_problem(error)}", "edgeprof fit --out writes laws") from None
    except (TypeError, RecursionError) as error:
        raise SpecError(f"{source}: {error}", "edgeprof fit --out writes laws") from None


def read_law(name: str) -> Law:
    """The law called ``name``, or in the file of that name; ``LAW:BOARD`` is a law in a board's peaks, put on that
    board (:mod:`edgeprof.fit.datasheet`).

    :raises CatalogueError: no such law or board. :raises SpecError: the file is wrong, or the law lacks a board.
    """
    own, _, board = (name, "", "") if Path(name).is_file() else name.partition(":")
    path = catalogue.find("laws", own)
    law = parse_law(catalogue.read_text(path), str(path))
    if board:
        return on_board(law, read_board(board))
    if needs_board(law):
        raise SpecError(
            f"law '{law.name}' is in the peaks of a board",
            f"name one: {own}:jetson-nano (edgeprof list boards)",
        )
    return law


def law_json(law: Law) -> str:
    """The text of a law's file."""
    content = law.model_dump(mode="json")
    for key in ("reach", "roofline", "settings", "memory"):  # newer than version 1, and not of every law
        if not content[key]:
            del content[key]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_law(law: Law, path: Path) -> None:
    """Write a law's file, whole or not at all.

    :raises SpecError: where it cannot be written.
    """
    write_whole(path, law_json(law))
