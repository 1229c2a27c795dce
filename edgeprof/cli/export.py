"""``edgeprof export``: measurements as JSON, CSV or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import json_text, print_json, say
from edgeprof.errors import SpecError

FORMATS = ("json", "csv", "parquet")


def export(
    db: o.Db = Path("edgeprof.db"),
    format_: Annotated[
        str | None, typer.Option("--format", help="json, csv or parquet (what --out ends in, or json).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; standard output else.")] = None,
    json_: o.Json = False,
) -> int:
    """Write every measurement of a database in another format.

    Example: edgeprof export --db edgeprof.db --format csv --out measured.csv
    """
    from edgeprof.export import as_dict, table
    from edgeprof.files import write_whole
    from edgeprof.store import Store

    if format_ is None:
        suffix = out.suffix[1:] if out else ""
        format_ = suffix if suffix in FORMATS else "json"
    if format_ not in FORMATS:
        raise SpecError(f"there is no format '{format_}'", f"formats are {', '.join(FORMATS)}")
    if format_ != "json" and json_ and out is None:
        raise SpecError(f"--json and --format {format_} are two formats", "leave one out, or add --out FILE")
    if format_ == "parquet" and out is None:
        raise SpecError("parquet is no text: it needs a file", "add --out measured.parquet")
    with Store(db) as store:
        measurements = store.measurements()
    text = (
        json_text([as_dict(m) for m in measurements]) if format_ == "json" else table(measurements, format_)
    )
    if out is None:
        sys.stdout.write(text if isinstance(text, str) else text.decode())
        return 0
    write_whole(out, text)
    if json_:
        print_json({"measurements": len(measurements), "out": str(out)})
    else:
        say(f"{len(measurements)} measurements in {out}")
    return 0
