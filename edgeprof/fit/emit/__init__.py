"""Laws in other forms: text for people, LaTeX, code that gives what ``predict`` gives without edgeprof, and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.errors import SpecError
from edgeprof.fit.emit.text import law_text, selection_lines

if TYPE_CHECKING:
    from edgeprof.fit.law import Law
    from edgeprof.fit.validate import Scores

__all__ = ["LANGUAGES", "check_language", "emit", "law_text", "selection_lines"]

LANGUAGES = ("text", "latex", "c", "python", "javascript", "csv", "html")


def check_language(language: str) -> None:
    """Nothing, where a law can be written in this language.

    :raises SpecError: it cannot.
    """
    if language not in LANGUAGES:
        raise SpecError(f"a law cannot be written as '{language}'", f"use one of {', '.join(LANGUAGES)}")


def emit(law: Law, language: str, cv: Scores | None = None) -> str:
    """A law in one of ``LANGUAGES``; ``cv`` are scores for the text.

    :raises SpecError: another language, or a law that this one cannot express.
    """
    check_language(language)
    match language:
        case "latex":
            from edgeprof.fit.emit.latex import latex_text as written
        case "c":
            from edgeprof.fit.emit.c import c_header as written
        case "python":
            from edgeprof.fit.emit.python import python_module as written
        case "javascript":
            from edgeprof.fit.emit.javascript import javascript_code as written
        case "csv":
            from edgeprof.fit.emit.spreadsheet import csv_sheet as written
        case "html":  # a page stands above laws: found when it is asked for
            from edgeprof.report.design import design_page as written
        case _:
            return law_text(law, cv) + "\n"
    return written(law)
