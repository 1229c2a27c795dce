"""Static: a figure as a picture for a paper (PNG, SVG, PDF), drawn by matplotlib, which needs no browser."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof.errors import BackendError, SpecError
from edgeprof.files import write_whole
from edgeprof.report.figure import Axis, Figure, Series, short
from edgeprof.report.interactive import MANY, guide_ends, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
SIZE_IN = (6.4, 4.0)
BAR_IN, LINE_IN = 0.19, 0.17  # height of a bar with its label, and of a name in a legend
BESIDE = 16  # letters of a name in a legend that stands beside the plot
DPI = 200  # of a PNG
COLOURS = ("#1668b8", "#b04a10", "#1f7a3a", "#9c2f7d", "#6b4fc0", "#7a6200", "#0b7285", "#8a3b3b", "#5a5f66")
SYMBOLS = ("o", "s", "D", "^", "X", "*", "v", "P", "h")
FAINT = "#80868f"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.columnspacing": 1.0,
    "legend.handlelength": 1.6,
    "text.parse_math": False,
    "pdf.fonttype": 42,  # letters stay letters
    "svg.hashsalt": "edgeprof",  # the same data give the same file
}


def write_figures(figures: Sequence[Figure], folder: Path, format_: str) -> tuple[Path, ...]:
    """Write each figure to ``folder``, as ``KEY.png`` and so on.

    :raises SpecError: no such format, or nothing can be written there. :raises BackendError: matplotlib is missing.
    """
    if format_ not in FORMATS:
        raise SpecError(f"a figure cannot be written as '{format_}'", f"use one of {', '.join(FORMATS)}")
    _matplotlib()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            f"cannot write to {folder}: {error.strerror}", "give another folder with --out"
        ) from None
    return tuple(_written(figure, folder / f"{figure.key}.{format_}") for figure in figures)


def draw(figure: Figure) -> Any:
    """A figure as matplotlib's, to be changed or saved.

    :raises BackendError: matplotlib is missing.
    """
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=_size_in(figure), layout="constrained")
        axes = canvas.add_subplot()
        for number, series in enumerate(figure.series):
            _draw(axes, series, figure, number)
        for guide in figure.guides:
            (x0, y0), (x1, y1) = guide_ends(guide, figure)
            axes.plot([x0, x1], [y0, y1], color=FAINT, linewidth=0.8, linestyle="--", zorder=1)
        _axis(axes.xaxis, figure.x, axes.set_xscale, axes.set_xlim)
        _axis(axes.yaxis, figure.y, axes.set_yscale, axes.set_ylim)
        axes.set_title("\n".join(textwrap.wrap(figure.title, 80)))
        if len(figure.series) > 1:
            columns = _columns(figure)
            where = (
                {"loc": "outside lower center", "ncols": columns}
                if columns
                else {"loc": "outside right upper"}
            )
            canvas.legend(title=figure.legend or None, **where)
        return canvas


def _columns(figure: Figure) -> int:
    """Of the legend below the plot; 0 where it stands beside it."""
    if len(figure.series) <= 4:
        return len(figure.series)
    return 2 if max(len(short(series.name)) for series in figure.series) > BESIDE else 0


def _size_in(figure: Figure) -> tuple[float, float]:
    """Width and height of a picture, higher for many bars and for a long legend below."""
    width, height = SIZE_IN
    bars = len(figure.y.categories) * max(len(figure.series), 1)
    names = -(-len(figure.series) // 2) if len(figure.series) > 4 and _columns(figure) else 0
    return width, max(height, 1.0 + BAR_IN * bars) + LINE_IN * names


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise BackendError("pictures need matplotlib", "pip install 'edgeprof[report]'") from None
    return matplotlib


def _written(figure: Figure, path: Path) -> Path:
    matplotlib, canvas, data = _matplotlib(), draw(figure), BytesIO()
    format_ = path.suffix[1:]
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format_]
    with matplotlib.rc_context(STYLE):
        canvas.savefig(data, format=format_, dpi=DPI, metadata={"Title": figure.title, **undated})
    write_whole(path, data.getvalue())
    return path


def _draw(axes: Axes, series: Series, figure: Figure, number: int) -> None:
    colour = FAINT if series.muted else COLOURS[number % len(COLOURS)]
    symbol = SYMBOLS[number % len(SYMBOLS)]
    if series.mark == "bars":
        _bars(axes, series, figure, number, colour)
        return
    many = len(series.x) > MANY
    if series.low:
        away = [
            [max(y - v, 0.0) for v, y in zip(series.low, series.y, strict=True)],
            [max(v - y, 0.0) for v, y in zip(series.high, series.y, strict=True)],
        ]
        axes.errorbar(
            series.x,
            series.y,
            yerr=away,
            fmt="none",
            ecolor=colour,
            elinewidth=0.7,
            alpha=0.5,
            capsize=0 if many else 2,
        )
    lines = {"line": "-", "curve": "-", "dashed": "--"}
    points = series.mark == "points" or (series.mark == "line" and len(series.x) <= MANY * 3)
    axes.plot(
        series.x,
        series.y,
        label=short(series.name),
        color=colour,
        marker=symbol if points else "",
        markersize=2.5 if many else 4,
        markeredgewidth=0,
        alpha=0.75 if series.mark == "points" else 1,
        linestyle=lines.get(series.mark, ""),
        linewidth=1.4,
    )


def _bars(axes: Axes, series: Series, figure: Figure, number: int, colour: str) -> None:
    width = 0.8 / len(figure.series)
    shift = (number + 0.5) * width - 0.4
    if figure.y.categories:
        places = [y + shift for y in series.y]
        axes.barh(places, series.x, width, label=short(series.name), color=colour)
    else:
        places = [x + shift for x in series.x]
        axes.bar(places, series.y, width, label=short(series.name), color=colour)


def _axis(axis: Any, description: Axis, scale: Any, limit: Any) -> None:
    axis.set_label_text(description.title)
    if description.categories:
        axis.set_ticks(
            range(len(description.categories)), labels=[short(name) for name in description.categories]
        )
        axis.grid(False)
        return
    if description.log:
        scale("log")
        axis.set_ticks([], minor=True)
    if description.ticks:
        axis.set_ticks(description.ticks, labels=[tick_text(v) for v in description.ticks])
    if description.zero:
        limit(0, None)
