"""``edgeprof list`` and ``edgeprof show``: what the catalogue holds."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeprof import catalogue
from edgeprof.cli import options as o
from edgeprof.cli.output import WIDTH, print_json, say
from edgeprof.errors import CatalogueError
from edgeprof.excerpt import excerpt

KINDS = ("sweeps", "boards", "forms", "laws", "backends", "zoo")


def list_names(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    json_: o.Json = False,
) -> int:
    """List sweeps, boards, forms, laws, backends or the networks of the zoo, and where each comes from.

    Example: edgeprof list sweeps
    """
    if kind not in KINDS:
        raise CatalogueError(f"there is no list of '{kind}'", f"lists are of {', '.join(KINDS)}")
    rows: list[dict[str, Any]]
    if kind == "backends":
        from edgeprof.backends.open import BACKENDS

        rows = [_built_in(name, about) for name, (about, _) in BACKENDS.items()]
    elif kind == "zoo":
        from edgeprof.nets.zoo import ZOO

        rows = [_built_in(name, about) for name, (about, _) in ZOO.items()]
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
        origin = f" ({row['origin']})" if row["origin"] == "yours" else ""
        left = WIDTH - 2 - width - len(origin)
        print(f"{row['name']:<{width}}  {excerpt(row['about'], left)}{origin}")
    return 0


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A sweep, board, form or law (datasheet:BOARD too), or a network of the zoo; with --emit a law's file."
        ),
    ],
    emit: o.Emit = None,
    batch: Annotated[
        int | None, typer.Option(min=1, max=2**20, help="Images in one run of a network (1).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the network to this ONNX file instead.")] = None,
    json_: o.Json = False,
) -> int:
    """Show the file of a sweep, board, form or law; a law in another form; or the layers of a network.

    Example: edgeprof show group4

    Example: edgeprof show forms/kernels

    Example: edgeprof show gtx960-theano --emit c > law.h

    Example: edgeprof show gtx960-theano --emit html > law.html

    Example: edgeprof show resnet18 --batch 16 --out resnet18.onnx
    """
    if emit is not None:
        if batch is not None or out is not None:
            raise CatalogueError(
                "--emit is for laws, --batch and --out for networks",
                f"edgeprof show {name} --emit {emit} > FILE",
            )
        return _show_law(name, emit, json_)
    files = _files(name)
    if files:
        kind, path = files[0]
        if batch is not None or out is not None:
            raise CatalogueError(f"{name} is no network: it is a file of {kind}", f"edgeprof show {name}")
        for other, _ in files[1:]:
            say(f"{name} is one of the {other} too: edgeprof show {other}/{name}")
        return _show_file(path.stem, kind, str(path), catalogue.read_text(path), json_)
    if ":" in name:
        from edgeprof.fit.law_file import law_json, read_law

        return _show_file(name, "laws", None, law_json(read_law(name)), json_)
    from edgeprof.cli.network import show_network
    from edgeprof.nets.zoo import ZOO

    if name not in ZOO:
        raise _unknown(name, [*ZOO, *(e.name for kind in catalogue.FOLDERS for e in catalogue.entries(kind))])
    show_network(name, batch or 1, out, json_)
    return 0


def _files(name: str) -> list[tuple[str, Path]]:
    """The kind and path of every catalogue file of this name, or of the one kind of ``KIND/NAME``."""
    wanted, _, own = name.rpartition("/")
    kinds = [kind for kind in catalogue.FOLDERS if wanted in ("", kind)]
    return [(kind, e.path) for kind in kinds for e in catalogue.entries(kind) if e.name == own]


def _show_file(name: str, kind: str, path: str | None, text: str, json_: bool) -> int:
    if json_:
        print_json({"name": name, "kind": kind, "path": path, "text": text})
    else:
        print(text.rstrip())
    return 0


def _unknown(name: str, known: list[str]) -> CatalogueError:
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"did you mean {', '.join(near)}?"
        if near
        else "edgeprof list sweeps|boards|forms|laws|zoo tells names"
    )
    if name.endswith(".json") and Path(name).is_file():
        hint = f"a law's file is shown in a form: edgeprof show {name} --emit text"
    return CatalogueError(f"nothing in the catalogue is called '{name}'", hint)


def _built_in(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "about": about, "origin": "edgeprof", "path": None}


def _show_law(name: str, language: str, json_: bool) -> int:
    from edgeprof.fit.emit import check_language, emit
    from edgeprof.fit.law_file import read_law

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
