"""Page: a report as one HTML file that needs no other file and no network. Everything that comes from a database or a
law is escaped; the page's policy forbids the browser to fetch anything."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from edgeprof import __version__
from edgeprof.errors import BackendError
from edgeprof.files import write_whole
from edgeprof.report.contents import Report
from edgeprof.report.figure import Figure, Section, Table, short
from edgeprof.report.interactive import as_json, plotly_figure, table_rows

BAR_REM = 1.7  # height of a bar with what is around it
PLOT_REM, LINE_REM = 21.0, 1.1  # height of a plot, and of a name in its legend
LEGEND = 100  # letters of names from which on a legend takes room
LAW = "law"  # the section that the sliders follow
MISSING = "What is missing"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def page(report: Report) -> str:
    """The HTML of a report.

    :raises BackendError: plotly is missing.
    """
    plots = {figure.key: plotly_figure(figure) for figure in report.figures}
    parts = {
        "title": escape(report.title),
        "version": escape(__version__),
        "policy": escape(POLICY),
        "style": _file("page.css"),
        "facts": "".join(
            f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in report.facts
        ),
        "nav": "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in _contents(report)),
        "sections": "\n".join(_body(report)),
        "plotly": _plotly(),
        "figures": as_json(plots),
        "script": _file("page.js"),
    }
    return re.sub(r"\$(\w+)", lambda found: parts[found[1]], _file("page.html"))


def write_page(report: Report, path: Path) -> int:
    """Write the HTML of a report, whole or not at all; its size in bytes.

    :raises BackendError: plotly is missing. :raises SpecError: the file cannot be written.
    """
    data = page(report).encode("utf-8", "replace")
    write_whole(path, data)
    return len(data)


def _contents(report: Report) -> Iterator[tuple[str, str]]:
    for section in report.sections:
        yield section.key, section.title
        if section.key == LAW and report.design:
            yield "design", "Design"
    if report.missing:
        yield "missing", MISSING


def _body(report: Report) -> Iterator[str]:
    for section in report.sections:
        yield _section(section)
        if section.key == LAW:
            yield report.design
    yield from _missing(report)


def _missing(report: Report) -> Iterator[str]:
    if report.missing:
        lines = "".join(f"<li>{escape(text)}</li>" for text in report.missing)
        yield f'<section id="missing"><h2>{MISSING}</h2><ul>{lines}</ul></section>'


def _section(section: Section) -> str:
    parts = [f'<section id="{section.key}" aria-labelledby="{section.key}-title">']
    parts.append(f'<h2 id="{section.key}-title">{escape(section.title)}</h2>')
    parts += [f"<p>{escape(text)}</p>" for text in section.text]
    parts += [_listing(title, text, shown=i == 0) for i, (title, text) in enumerate(section.listings)]
    parts += [_scrolled(table.title, _table(table)) for table in section.tables]
    if section.figures:
        parts += ['<div class="figures">', *(_figure(figure) for figure in section.figures), "</div>"]
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure) -> str:
    columns, rows = table_rows(figure)
    key, title = figure.key, escape(figure.title)
    numeric = tuple(all(_is_number(row[i]) for row in rows) for i in range(len(columns)))
    flat, names = figure.y.categories, [short(series.name) for series in figure.series]
    size = ""
    if flat:
        size = f' bars" style="height: {6 + BAR_REM * len(flat) * max(len(names), 1):.1f}rem'
    elif len(names) > 1 and sum(map(len, names)) > LEGEND:
        size = f'" style="height: {PLOT_REM + LINE_REM * len(names):.1f}rem'
    return f"""\
<figure id="{key}" aria-labelledby="{key}-title">
<h3 id="{key}-title">{title}</h3>
<div class="plot{size}" data-figure="{key}" role="img" aria-label="{title}. {escape(figure.caption)}"></div>
<figcaption><p>{escape(figure.caption)}</p></figcaption>
<details><summary>Data of this figure ({len(rows):,} row{"s"[: len(rows) != 1]})</summary>
{_scrolled(f"Data: {figure.title}", _table(Table("", columns, tuple(rows), numeric)))}</details>
</figure>"""


def _scrolled(title: str, table: str) -> str:
    """A table that scrolls by itself where it is too large, by keys too."""
    return f'<div class="table" tabindex="0" role="region" aria-label="{escape(title)}">{table}</div>'


def _table(table: Table) -> str:
    numeric = table.numeric or (False,) * len(table.columns)
    kinds = [' class="number"' if n else "" for n in numeric]
    head = "".join(f'<th scope="col"{k}>{escape(c)}</th>' for k, c in zip(kinds, table.columns, strict=True))
    body = "\n".join(
        f"<tr>{''.join(f'<td{k}>{escape(cell)}</td>' for k, cell in zip(kinds, row, strict=True))}</tr>"
        for row in table.rows
    )
    title = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _listing(title: str, text: str, shown: bool) -> str:
    return (
        f"<details{' open' * shown}><summary>{escape(title)}</summary>"
        f'<pre tabindex="0" role="region" aria-label="{escape(title)}">{escape(text)}</pre></details>'
    )


def _is_number(text: str) -> bool:
    return not text or text == "–" or text.replace(",", "").replace("−", "-").lstrip("+-")[:1].isdigit()


def _plotly() -> str:
    """Plotly's script, compressed, in letters: a third of its size."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise BackendError("the page of a report needs plotly", "pip install 'edgeprof[report]'") from None
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
