"""Notebook: laws and measurements as short pieces of HTML, for what Jupyter and its kin show. Nothing is loaded from
elsewhere, no script runs, and every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgeprof import advice
from edgeprof.fit.emit.text import formula, headline, legend, notes, valid_for
from edgeprof.fit.law import Law
from edgeprof.report.settings import item_of
from edgeprof.timing.measurement import Measurement

KERNELS = 8  # shown of a measurement, the longest first


def law_html(law: Law) -> str:
    """A law: what it is of, its formula, and for what it is valid."""
    more = [*legend(law), *notes(law)]
    return (
        f"<div><strong>{escape(law.name)}</strong> · {escape(_line(headline(law)))}"
        f"<pre>{escape(_text(formula(law)))}</pre>"
        f"<div>valid for {escape(valid_for(law))}</div>"
        f"<details><summary>names and notes</summary><pre>{escape(_text(more))}</pre></details></div>"
    )


def measurement_html(m: Measurement) -> str:
    """A measurement: latency with its interval, its longest kernels, what disturbed it; or why it failed."""
    case = m.case
    where = f"{case.board} {case.machine} · {case.backend} {case.runtime} {case.precision} · {case.launch}"
    threads = f"{case.threads} thread{'' if case.threads == 1 else 's'}"
    head = f"<div><strong>{escape(case.label())}</strong><div>{escape(f'{where} · {threads}')}</div>"
    simulated = "<div>simulated</div>" if m.simulated else ""
    if m.latency_ms is None:
        return f"{head}{simulated}<div>{escape(m.status)}: {escape(m.reason)}</div></div>"
    low_high = f" [{m.ci_ms[0]:.4g}, {m.ci_ms[1]:.4g}]" if m.ci_ms else ""
    facts = [
        ("latency", f"{m.latency_ms:.4g} ms per run{low_high}"),
        ("speed", f"{m.tiles_per_ms:.4g} {item_of([m])}s/ms"),
        ("rounds", f"{', '.join(f'{ms:.4g}' for ms in m.rounds_ms)} ms"),
    ]
    if m.status != "ok":
        facts.append((m.status, m.reason))
    facts += [("warning", line) for line in advice.summary(m.warnings)]
    return f"{head}{simulated}{_table(facts)}{_kernels(m)}</div>"


def _kernels(m: Measurement) -> str:
    if not m.kernels:
        return ""
    longest = sorted(m.kernels, key=lambda kernel: -kernel.ms)
    rows = [(k.name, k.kind, f"{k.ms:.4g} ms", f"{100 * k.share:.1f} %") for k in longest[:KERNELS]]
    if rest := longest[KERNELS:]:
        ms, share = sum(k.ms for k in rest), sum(k.share for k in rest)
        rows.append((f"{len(rest)} more", "", f"{ms:.4g} ms", f"{100 * share:.1f} %"))
    rows.append(("unattributed", "", f"{m.unattributed_ms:.4g} ms", ""))
    return _table(rows, ("kernel", "kind", "time", "share"))


def _table(rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in row) + "</tr>"

    head = f"<thead>{cells('th', heads)}</thead>" if heads else ""
    return f"<table>{head}<tbody>{''.join(cells('td', row) for row in rows)}</tbody></table>"


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _line(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in lines)
