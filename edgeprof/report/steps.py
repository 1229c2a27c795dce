"""The evidence for and against quanta as a picture: SVG text that needs no library and suits light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from edgeprof.errors import FitError
from edgeprof.files import write_whole
from edgeprof.fit.quanta import CLEAR, SMOOTH, Evidence, Pattern, curve

PATTERNS: tuple[Pattern, ...] = ("blocks", "peaks")
WIDTH, HEIGHT = 860, 300  # of one panel
STYLE = """
.paper { fill: #fff; }
text { font: 12px sans-serif; fill: #222; }
.title { font-weight: bold; }
.faint { font-size: 10px; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.axis { stroke: #888; fill: none; }
.point { stroke: #222; fill: none; opacity: 0.7; }
.model { stroke: #1668b8; stroke-width: 2; fill: none; }
.smooth { stroke: #c2571a; stroke-dasharray: 5 4; fill: none; }
.blocks { fill: #1668b8; }
.peaks { fill: #c2571a; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #16181c; }
  text { fill: #e6e6e6; }
  .point { stroke: #e6e6e6; }
  .model { stroke: #6db3f2; }
  .smooth { stroke: #f0985c; }
  .blocks { fill: #6db3f2; }
  .peaks { fill: #f0985c; }
}
"""


@dataclass(frozen=True)
class Frame:
    """A rectangle of the picture, in pixels, and what its edges stand for."""

    left: float
    top: float
    width: float
    height: float
    low: float
    high: float
    most: float

    def x(self, value: float) -> float:
        """Where a value along the axis is drawn."""
        return self.left + self.width * (value - self.low) / ((self.high - self.low) or 1)

    def y(self, value: float) -> float:
        """Where a height is drawn, from the top."""
        return self.top + self.height * (1 - value / self.most)


def steps_svg(evidence: Sequence[Evidence]) -> str:
    """A panel for each kernel kind and dimension: time against size with the model that fits best, and by how much
    each quantum beats a smooth curve."""
    height = HEIGHT * len(evidence)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">'
    )
    lines = [head, "<title>Blocks that kernels work in</title>", f"<style>{STYLE}</style>"]
    lines.append(f'<rect class="paper" width="{WIDTH}" height="{height}"/>')
    for i, one in enumerate(evidence):
        lines.append(f'<g transform="translate(0 {i * HEIGHT})">')
        for j, quantum in enumerate(one.found):
            lines.append(_text(20, 22 + 16 * j, quantum.sentence(), "title"))
        lines += _times(one)
        lines += _scores(one)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def write_steps(evidence: Sequence[Evidence], path: Path) -> None:
    """Write the picture to ``path``.

    :raises FitError: there is no evidence. :raises SpecError: the file cannot be written.
    """
    if not evidence:
        raise FitError(
            "no kernel was measured at many sizes that differ in one dimension alone",
            "measure channels or neurons in small steps: edgeprof sweep neuron-fine",
        )
    write_whole(path, steps_svg(evidence))


def _times(evidence: Evidence) -> Iterator[str]:
    """Time against size for the series with most sizes, the slowest of them where several have as many."""
    series = max(evidence.series, key=lambda s: (len(np.unique(s.x)), s.ms.max()))
    sizes = np.unique(series.x).astype(np.float64)
    dense = sizes if evidence.model.peak else np.arange(sizes[0], sizes[-1] + 1)
    best, smooth = curve(series, evidence.model, dense), curve(series, SMOOTH, dense)
    most = 1.08 * max(float(np.quantile(series.ms, 0.99)), float(best.max()))
    frame = Frame(70, 62, 430, 180, float(sizes[0]), float(sizes[-1]), most)
    words = evidence.found[0].words
    yield from _axes(frame, words, "ms per run")
    fixed = ", ".join(f"{k} {v:g}" for k, v in series.others if isinstance(v, int | float))
    yield _text(frame.left + frame.width / 2, frame.top + frame.height + 50, fixed, "faint middle")
    for x, ms in zip(series.x, series.ms, strict=True):
        if ms <= most:
            yield f'<circle class="point" cx="{frame.x(x):.1f}" cy="{frame.y(ms):.1f}" r="2.5"/>'
    yield _line(frame, dense, smooth, "smooth")
    if evidence.model != SMOOTH:
        yield _line(frame, dense, best, "model")
    labels = [("smooth", "smooth curve")]
    if evidence.model != SMOOTH:
        labels.insert(0, ("model", " and ".join(f"{q.pattern} of {q.quantum}" for q in evidence.found)))
    for i, (name, label) in enumerate(labels):
        y = frame.top + 8 + 16 * i
        yield f'<path class="{name}" d="M{frame.left + 10} {y}h24"/>'
        yield _text(frame.left + 40, y + 4, label)


def _scores(evidence: Evidence) -> Iterator[str]:
    """By how much each quantum beats the smooth curve, as bars: blocks and peaks."""
    quanta = sorted({q for _, q in evidence.scores})
    best = max([*evidence.scores.values(), 2 * CLEAR])
    frame = Frame(590, 62, 250, 180, 0, len(quanta), 1.08 * best)
    yield from _axes(frame, "quantum", "BIC better than smooth", ticks=False)
    width = frame.width / max(len(quanta), 1)
    for i, quantum in enumerate(quanta):
        for j, pattern in enumerate(PATTERNS):
            value = max(evidence.scores.get((pattern, quantum), 0.0), 0.0)
            left, top = frame.x(i) + width * (0.1 + 0.4 * j), frame.y(value)
            size = f'width="{0.38 * width:.1f}" height="{frame.top + frame.height - top:.1f}"'
            yield f'<rect class="{pattern}" x="{left:.1f}" y="{top:.1f}" {size}/>'
        if len(quanta) <= 9 or i % 2 == 0:
            yield _text(frame.x(i + 0.5), frame.top + frame.height + 16, str(quantum), "middle")
    for j, pattern in enumerate(PATTERNS):
        yield f'<rect class="{pattern}" x="{frame.left + 8 + 70 * j}" y="{frame.top - 12}" width="10" height="10"/>'
        yield _text(frame.left + 22 + 70 * j, frame.top - 3, pattern)


def _axes(frame: Frame, across: str, up: str, ticks: bool = True) -> Iterator[str]:
    bottom = frame.top + frame.height
    yield f'<path class="axis" d="M{frame.left} {frame.top}V{bottom}h{frame.width}"/>'
    yield _text(frame.left + frame.width / 2, bottom + 36, across, "middle")
    middle = frame.top + frame.height / 2
    yield (
        f'<text class="middle" transform="translate({frame.left - 52} {middle}) rotate(-90)">{escape(up)}</text>'
    )
    for value in round_values(0, frame.most):
        yield f'<path class="axis" d="M{frame.left} {frame.y(value):.1f}h-4"/>'
        yield _text(frame.left - 7, frame.y(value) + 4, f"{value:.6g}", "end")
    for value in round_values(frame.low, frame.high) if ticks else ():
        yield f'<path class="axis" d="M{frame.x(value):.1f} {bottom}v4"/>'
        yield _text(frame.x(value), bottom + 16, f"{value:.6g}", "middle")


def round_values(low: float, high: float) -> Iterable[float]:
    """Four to ten round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 8 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    unit = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
    return [i * unit for i in range(math.ceil(low / unit), math.floor(high / unit) + 1)]


def _line(frame: Frame, x: Iterable[float], y: Iterable[float], name: str) -> str:
    points = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{name}" points="{points}"/>'


def _text(x: float, y: float, text: str, name: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{name}">{escape(text)}</text>'
