"""``edgeprof report``: everything measured and predicted as one page, or as pictures for a paper."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import print_json, say, working
from edgeprof.errors import SpecError

FORMATS = ("html", "png", "svg", "pdf")


def report(
    db: Annotated[
        list[Path] | None,
        typer.Option("--db", help="A database of measurements (edgeprof.db); may be repeated."),
    ] = None,
    law: Annotated[
        str | None, typer.Option("--law", help="A law too: a file, or a name (edgeprof list laws).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page (report.html), or the folder of the pictures (figures).")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="html, or png, svg or pdf: a picture for each figure.")
    ] = "html",
    figure: Annotated[
        list[str] | None,
        typer.Option(
            help="Only figures with this key, such as 'speed-*'; may be repeated (--json lists them)."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only cases with KEY=VALUE, such as threads=1; may be repeated."),
    ] = None,
    json_: o.Json = False,
) -> int:
    """Write one page with every figure that the measurements and the law allow; it opens without a network.

    With --law and no --db the report is of the law alone.

    Example: edgeprof report --db edgeprof.db --law law.json --out report.html

    Example: edgeprof report --db edgeprof.db --format pdf --figure tails
    """
    from edgeprof.fit.law_file import read_law
    from edgeprof.report.contents import build_report, only
    from edgeprof.report.page import write_page
    from edgeprof.report.sources import read_databases
    from edgeprof.report.static import write_figures

    if format_ not in FORMATS:
        raise SpecError(f"there is no format '{format_}'", f"formats are {', '.join(FORMATS)}")
    begin = time.monotonic()
    found_law = read_law(law) if law else None
    paths = db or ([] if law else [Path("edgeprof.db")])
    with working("reporting"):
        measurements, sentinels, doubles = read_databases(paths, where or [])
        title = " and ".join(path.name for path in paths)
        made = build_report(measurements, found_law, sentinels, title=title)
        made = only(made, figure) if figure else made
        if format_ == "html":
            written = [out or Path("report.html")]
            size = write_page(made, written[0])
        else:
            written = list(write_figures(made.figures, out or Path("figures"), format_))
            size = sum(path.stat().st_size for path in written)
    if doubles:
        say(f"{doubles} cases lie in several databases: the first counts (edgeprof compare compares them)")
    wall_s = time.monotonic() - begin
    if json_:
        print_json(
            {
                "out": [str(path) for path in written],
                "figures": [
                    {"key": f.key, "title": f.title, "caption": f.caption, "section": s.key}
                    for s in made.sections
                    for f in s.figures
                ],
                "missing": made.missing,
                "bytes": size,
                "wall_s": wall_s,
            }
        )
        return 0
    for text in made.missing:
        say(text)
    where_to = written[0] if format_ == "html" else f"{len(written)} files in {out or 'figures'}"
    print(f"{len(made.figures)} figures · {size / 1e6:.1f} MB · {wall_s:.1f} s · {where_to}")
    return 0
