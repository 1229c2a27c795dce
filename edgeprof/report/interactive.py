"""Interactive: a figure as plotly's JSON, without colours, which the page gives it by its theme."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from edgeprof.report.figure import AROUND, Axis, Figure, Guide, Series, short, shown

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "triangle-down", "cross", "hexagon")
MANY = 60  # points of a series from which on they are small, and lines have none
NUMBER = ":.4~g"


def plotly_figure(figure: Figure) -> dict[str, Any]:
    """``data`` and ``layout`` of a figure. Texts are escaped: plotly reads some HTML in them."""
    flat = bool(figure.y.categories)
    data = [_guide(guide, figure) for guide in figure.guides]
    data += [_trace(series, figure, number, flat) for number, series in enumerate(figure.series)]
    layout: dict[str, Any] = {
        "xaxis": _axis(figure.x),
        "yaxis": _axis(figure.y),
        "showlegend": len(figure.series) > 1,
        "legend": {"title": {"text": _text(figure.legend)}},
        "barmode": "group",
        "hovermode": "closest",
    }
    return {"data": data, "layout": layout}


def _trace(series: Series, figure: Figure, number: int, flat: bool) -> dict[str, Any]:
    if series.mark == "bars":
        return _bars(series, figure, flat)
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": _text(short(series.name)),
        "x": _numbers(series.x),
        "y": _numbers(series.y),
        "mode": _mode(series),
        "meta": "muted" if series.muted else "series",
    }
    if series.notes:
        trace["text"] = [_text(note) for note in series.notes]
    if series.mark in ("line", "points"):
        trace["marker"] = {
            "symbol": SYMBOLS[number % len(SYMBOLS)],
            "size": 5 if len(series.x) > MANY else 8,
            "opacity": 0.75 if series.mark == "points" else 1,
        }
    if series.mark in ("line", "curve", "dashed"):
        dash = "dash" if series.mark == "dashed" else "solid"
        trace["line"] = {"width": 2, "dash": dash}
    if series.low:
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": _numbers(tuple(h - y for h, y in zip(series.high, series.y, strict=True))),
            "arrayminus": _numbers(tuple(y - v for v, y in zip(series.low, series.y, strict=True))),
            "thickness": 1,
            "width": 0 if len(series.x) > MANY else 3,
        }
        trace["customdata"] = [[shown(a), shown(b)] for a, b in zip(series.low, series.high, strict=True)]
    trace["hovertemplate"] = _hover(series, figure)
    return trace


def _bars(series: Series, figure: Figure, flat: bool) -> dict[str, Any]:
    """Bars, lying where the categories are on the y axis."""
    named = figure.y if flat else figure.x
    place, value = (series.y, series.x) if flat else (series.x, series.y)
    across, up = ("y", "x") if flat else ("x", "y")
    names = [named.categories[int(i)] for i in place]
    notes = series.notes or ("",) * len(place)
    trace: dict[str, Any] = {
        "type": "bar",
        "name": _text(short(series.name)),
        across: list(place),
        up: _numbers(value),
        "orientation": "h" if flat else "v",
        "meta": "series",
        "text": [_text(": ".join(filter(None, parts))) for parts in zip(names, notes, strict=True)],
        "textposition": "none",
        "hovertemplate": f"%{{text}}<br>{_bare((figure.x if flat else figure.y).title)}: %{{{up}{NUMBER}}}",
    }
    return trace


def _guide(guide: Guide, figure: Figure) -> dict[str, Any]:
    """A line from one side of the data to the other."""
    ends = guide_ends(guide, figure)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": _text(guide.name),
        "x": [x for x, _ in ends],
        "y": [y for _, y in ends],
        "meta": "guide",
        "line": {"width": 1, "dash": "dash"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def guide_ends(guide: Guide, figure: Figure) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a guide begins and ends, in the figure's numbers."""
    if figure.x.categories:
        low, high = -0.5, len(figure.x.categories) - 0.5
    else:
        values = [x for series in figure.series for x in series.x]
        low, high = min(values), max(values)
        if low == high:  # a line to either side of a single point
            times = 10.0 if guide.slope is None else AROUND
            low, high = (low / times, high * times) if figure.x.log else (low - 1, high + 1)
    if guide.slope is None:
        return (low, guide.level), (high, guide.level)
    return (low, guide.slope * low), (high, guide.slope * high)


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": _text(axis.title)}, "automargin": True}
    if axis.categories:
        names = [_text(short(name)) for name in axis.categories]
        places = {"tickvals": list(range(len(names))), "ticktext": names}
        return {**found, **places, "type": "linear", "showgrid": False, "zeroline": False}
    found["type"] = "log" if axis.log else "linear"
    if axis.ticks:
        found |= {"tickvals": list(axis.ticks), "ticktext": [tick_text(v) for v in axis.ticks]}
    if axis.zero:
        found["rangemode"] = "tozero"
    return found


def tick_text(value: float) -> str:
    """A label of an axis: powers of ten with prefixes where they are long."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{shown(value / (1e3 if letter == 'k' else limit))}{letter}"
    return shown(value).replace(",", "")


def _mode(series: Series) -> str:
    match series.mark:
        case "line":
            return "lines" if len(series.x) > MANY * 3 else "lines+markers"
        case "points":
            return "markers"
    return "lines"


def _hover(series: Series, figure: Figure) -> str:
    """What is said of a point: what it is, then its numbers. Names stand in the data, never in this template."""
    lines = ["%{text}"] if series.notes else []
    lines += [f"{_bare(figure.x.title)}: %{{x{NUMBER}}}", f"{_bare(figure.y.title)}: %{{y{NUMBER}}}"]
    if series.low:
        lines.append("interval %{customdata[0]} to %{customdata[1]}")
    return "<br>".join(lines)


def _bare(text: str) -> str:
    """A text that plotly's templates do not take for one of theirs."""
    return _text(text.replace("%{", "% {"))


def _text(text: str) -> str:
    return escape(text, quote=False)


def _numbers(values: tuple[float, ...]) -> list[float | None]:
    """Six digits, which is more than a screen shows; what is not finite is left out."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]


def table_rows(figure: Figure) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The data behind a figure as a table for those who do not see it: names of its columns, and its rows."""
    several = len(figure.series) > 1
    noted = any(s.notes for s in figure.series)
    ends = any(s.low for s in figure.series)
    columns = [figure.legend or "series"] if several else []
    columns += ["what"] if noted else []
    columns += [figure.x.title, figure.y.title]
    columns += ["from", "to"] if ends else []
    rows = []
    for series in figure.series:
        for i in range(len(series.x)):
            row = [series.name] if several else []
            row += [series.notes[i] if series.notes else ""] if noted else []
            row += [_cell(figure.x, series.x[i]), _cell(figure.y, series.y[i])]
            if ends:
                row += [shown(series.low[i]), shown(series.high[i])] if series.low else ["", ""]
            rows.append(tuple(row))
    return tuple(columns), rows


def _cell(axis: Axis, value: float) -> str:
    return axis.categories[int(value)] if axis.categories else shown(value)


def as_json(value: Mapping[str, Any]) -> str:
    """JSON that may stand in a script of a page, whatever its texts hold."""
    import json

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
