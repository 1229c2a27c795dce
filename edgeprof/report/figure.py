"""Figure: what is drawn, as frozen values with their data; :mod:`edgeprof.report.interactive` and
:mod:`edgeprof.report.static` turn it into a plot of the page or a picture for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edgeprof.excerpt import excerpt

Mark = Literal["line", "points", "curve", "dashed", "bars"]
MOST_TICKS = 10
FEWEST_TICKS = 3  # of a logarithmic axis; with fewer round numbers its labels are evenly apart
AROUND = 1.5  # times to either side of a single point that a sloping guide goes
LONGEST = 44  # letters of a name in a figure
FEW = 20  # values of a variable that may be given by factors; more are given by steps
WIDE = 200.0  # greatest over least value from which on an axis of values above zero is logarithmic


@dataclass(frozen=True)
class Axis:
    """An axis: its title with the unit, where its labels are (empty: the renderer chooses), and whether it is
    logarithmic or begins at zero. With ``categories`` its values are places in them, from 0."""

    title: str
    log: bool = False
    ticks: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    zero: bool = False


@dataclass(frozen=True)
class Series:
    """Points that belong together: ``low`` and ``high`` are ends of the y values' intervals, ``notes`` what each point
    is; each of these is empty or as long as ``x``. ``mark`` tells how they are drawn: points joined by a ``line``,
    ``points`` alone, a ``curve`` or ``dashed`` curve without points, or ``bars``; ``muted`` ones in grey."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    mark: Mark = "points"
    muted: bool = False

    def __post_init__(self) -> None:
        parts = (self.y, *(part for part in (self.low, self.high, self.notes) if part))
        if any(len(part) != len(self.x) for part in parts) or bool(self.low) != bool(self.high):
            raise ValueError(f"series '{self.name}': its parts differ in length")


@dataclass(frozen=True)
class Guide:
    """A thin line to compare with: y = ``slope`` · x, or y = ``level`` where ``slope`` is None."""

    name: str
    level: float = 0.0
    slope: float | None = None


@dataclass(frozen=True)
class Figure:
    """A figure. ``key`` names its anchor and its file: small letters, digits, hyphens. ``caption`` says what it shows,
    for those who do not see it too; ``legend`` what tells the series apart."""

    key: str
    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    legend: str = ""
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of texts; ``numeric`` tells which columns are set flush right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the report: paragraphs, text set as it is (``listing``), tables, figures, and a line for each thing
    that is missing, with what would bring it."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    listings: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def shows(self) -> bool:
        """Whether there is more than what is missing."""
        return bool(self.text or self.listings or self.tables or self.figures)


def key_of(*parts: object) -> str:
    """A key from words of any kind."""
    text = "-".join(str(part) for part in parts).lower()
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in text)
    return "-".join(filter(None, letters.split("-")))[:80]


def steps_axis(title: str, values: Sequence[float]) -> Axis:
    """An axis of the values that a variable was given: labelled with them where they are few, logarithmic where they
    grow by factors."""
    known = sorted(set(values))
    log = (
        3 < len(known) <= FEW
        and known[0] > 0
        and _unevenness(known) > _unevenness([math.log(v) for v in known])
    )
    few = tuple(known) if len(known) <= MOST_TICKS else ()
    return Axis(title, log=log, ticks=few or (log_ticks(known) if log else ()))


def amounts_axis(title: str, values: Sequence[float]) -> Axis:
    """An axis of measured amounts: from zero, or logarithmic where they differ widely."""
    known = [v for v in values if math.isfinite(v)]
    if known and min(known) > 0 and max(known) / min(known) > WIDE:
        return log_axis(title, known)
    return Axis(title, zero=True)


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis, labelled at round numbers. All values are above zero."""
    return Axis(title, log=True, ticks=log_ticks(values))


def log_ticks(values: Sequence[float]) -> tuple[float, ...]:
    """Round numbers from the least of ``values`` to the greatest, at most :data:`MOST_TICKS`: parts of decades, or
    evenly apart where these are too few. None where the values hardly differ."""
    if not values:
        return ()
    low, high = math.log10(min(values)), math.log10(max(values))
    slack = 0.04 * (high - low) or 1.0  # as far beyond the data as is drawn
    low, high = low - slack, high + slack
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [
            f * 10.0**e
            for e in range(math.floor(low) - 1, math.ceil(high) + 1)
            for f in factors
            if low <= math.log10(f) + e <= high
        ]
        if len(found) < FEWEST_TICKS:
            return _even_ticks(10**low, 10**high)
        if len(found) <= MOST_TICKS:
            return tuple(found)
    step = -(-len(found) // MOST_TICKS)
    return tuple(found[::step])


def _even_ticks(low: float, high: float) -> tuple[float, ...]:
    """Multiples of a round number between both ends."""
    rough = (high - low) / 7.5  # so that there are three to eight
    if rough < 1e-3 * high:  # more digits than a label has
        return ()
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return tuple(i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1))


def counted(count: int, noun: str) -> str:
    """``1 case``, ``2 cases``, ``1,024 cases``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown(value: float) -> str:
    """A number for people: four digits, and no exponent where it can be helped."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    if 1e-4 <= abs(value) < 1e7:
        digits = max(3 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3e}"


def short(text: str) -> str:
    """A name that fits beside an axis or in a legend."""
    return excerpt(text, LONGEST)


def _unevenness(values: Sequence[float]) -> float:
    """Spread of the distances between values, over their mean."""
    gaps = [b - a for a, b in pairwise(values)]
    mean = sum(gaps) / len(gaps)
    return math.sqrt(sum((g - mean) ** 2 for g in gaps) / len(gaps)) / mean
