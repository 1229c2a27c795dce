"""``edgeprof list`` and ``edgeprof show``: what the catalogue holds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgeprof import catalogue
from edgeprof.cli import options as o
from edgeprof.cli.output import print_json
from edgeprof.errors import CatalogueError

KINDS = ("sweeps", "boards", "forms", "laws", "backends")


def list_names(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    json_: o.Json = False,
) -> int:
    """List sweeps, boards, forms, laws or backends, and where each comes from.

    Example: edgeprof list sweeps
    """
    if kind not in KINDS:
        raise CatalogueError(f"there is no list of '{kind}'", f"lists are of {', '.join(KINDS)}")
    rows: list[dict[str, Any]]
    if kind == "backends":
        from edgeprof.backends.open import BACKENDS

        rows = [
            {"name": name, "about": about, "origin": "edgeprof", "path": None}
            for name, (about, _) in BACKENDS.items()
        ]
    else:
        rows = [
            {
                "name": e.name,
                "about": _about(e.path.read_text("utf-8")),
                "origin": e.origin,
                "path": str(e.path),
            }
            for e in catalogue.entries(kind)  # type: ignore[arg-type]
        ]
    if json_:
        print_json(rows)
        return 0
    width = max((len(r["name"]) for r in rows), default=0)
    for row in rows:
        origin = "" if row["origin"] == "shipped" else f" ({row['origin']})"
        print(f"{row['name']:<{width}}  {row['about'][: 76 - width - len(origin)]}{origin}")
    return 0


def show(
    name: Annotated[
        str, typer.Argument(help="A sweep, board, form or law; with --emit a law's file will do.")
    ],
    emit: o.Emit = None,
    json_: o.Json = False,
) -> int:
    """Show the file of a sweep, board, form or law; or a law in another form.

    Example: edgeprof show group4

    Example: edgeprof show gtx960-theano --emit c > law.h
    """
    if emit is not None:
        return _show_law(name, emit, json_)
    for kind in catalogue.FOLDERS:
        found = next((e.path for e in catalogue.entries(kind) if e.name == name), None)
        if found is not None:
            text = catalogue.read_text(found)
            if json_:
                print_json({"name": name, "kind": kind, "path": str(found), "text": text})
            else:
                print(text.rstrip())
            return 0
    raise CatalogueError(
        f"nothing in the catalogue is called '{name}'", "edgeprof list sweeps|boards|forms|laws tells names"
    )


def _show_law(name: str, language: str, json_: bool) -> int:
    from edgeprof.fit.emit import check_language, emit
    from edgeprof.fit.law import read_law

    check_language(language)
    text = emit(read_law(name), language)
    if json_:
        print_json({"name": name, "kind": "laws", "emit": language, "text": text})
    else:
        print(text, end="")
    return 0


def _about(text: str) -> str:
    """The ``about`` of a catalogue file; empty where it has none or does not parse."""
    import json

    try:
        data = json.loads(text) if text.lstrip().startswith("{") else catalogue.parse_toml(text, "")
    except (ValueError, CatalogueError):
        return "(cannot be read)"
    about = data.get("about") if isinstance(data, dict) else ""
    return about if isinstance(about, str) else ""
