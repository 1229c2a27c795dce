"""``edgeprof merge``: several databases into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import print_json
from edgeprof.errors import StoreError


def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="A.db B.db...", help="The databases.")],
    out: Annotated[Path, typer.Option(help="The database to make or to add to.")],
    json_: o.Json = False,
) -> int:
    """Put the measurements of several databases into one. Nothing is lost: of a round measured twice both are kept.

    Example: edgeprof merge desk.db board.db --out all.db
    """
    from edgeprof.store import Store

    if any(source.resolve() == out.resolve() for source in sources):
        raise StoreError(f"{out} is among the databases to merge", "give --out another file")
    added = kept = 0
    opened = [Store(source) for source in sources]
    with Store(out, create=True) as target:
        for source in opened:
            more, known = source.copy_into(target)
            added, kept = added + more, kept + known
            source.close()
        cases = len(target.measurements())
    if json_:
        print_json({"cases": cases, "rounds_added": added, "rounds_known": kept, "db": str(out)})
    else:
        print(f"{out}: {cases} cases, {added} rounds added, {kept} were there already")
    return 0
