"""``edgeprof export``: measurements as JSON, CSV or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import print_json, say
from edgeprof.errors import SpecError, StoreError

FORMATS = ("json", "csv", "parquet")


def export(
    db: o.Db = Path("edgeprof.db"),
    format_: Annotated[str, typer.Option("--format", help="json, csv or parquet.")] = "json",
    out: Annotated[Path | None, typer.Option(help="The file; standard output else.")] = None,
    json_: o.Json = False,
) -> int:
    """Write every measurement of a database in another format.

    Example: edgeprof export --db edgeprof.db --format csv --out measured.csv
    """
    from edgeprof.export import as_dict, rows
    from edgeprof.store import Store

    if format_ not in FORMATS:
        raise SpecError(f"there is no format '{format_}'", f"formats are {', '.join(FORMATS)}")
    if format_ == "parquet" and out is None:
        raise SpecError("parquet is no text: it needs a file", "add --out measured.parquet")
    with Store(db) as store:
        measurements = store.measurements()
    if format_ == "json" and out is None:
        print_json([as_dict(m) for m in measurements])
        return 0
    if format_ == "json":
        import json

        text = json.dumps([as_dict(m) for m in measurements], ensure_ascii=False, indent=1) + "\n"
    else:
        import pandas

        frame = pandas.DataFrame(rows(measurements))
        if format_ == "parquet":
            try:
                frame.to_parquet(out)
            except ImportError:
                raise StoreError("parquet needs pyarrow", "pip install 'edgeprof[parquet]'") from None
            text = ""
        else:
            text = frame.to_csv(index=False)
    if out is None:
        sys.stdout.write(text)
        return 0
    if text:
        part = out.with_name(out.name + ".part")
        try:
            part.write_text(text, "utf-8")
            part.replace(out)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    if json_:
        print_json({"measurements": len(measurements), "out": str(out)})
    else:
        say(f"{len(measurements)} measurements in {out}")
    return 0
