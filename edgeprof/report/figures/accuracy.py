"""Accuracy: what a law predicts against what was measured, and the errors that it was judged by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeprof.fit.examples import usable
from edgeprof.fit.law import LEVEL, Law
from edgeprof.fit.validate import Row, Scores, judge, score
from edgeprof.nets.network import net_key
from edgeprof.report.figure import AROUND, Axis, Figure, Guide, Series, Table, log_axis, shown
from edgeprof.timing.measurement import Measurement

SEEN, UNSEEN, UNKNOWN = "fitted on", "not fitted on", "perhaps fitted on"
BAND_PCT = 10.0
MOST_OFF = 10  # networks in the table of those furthest off


@dataclass(frozen=True)
class Judged:
    """A network measured and predicted, and whether the law was fitted on it: :data:`SEEN`, :data:`UNSEEN`, or
    :data:`UNKNOWN` where the law does not tell."""

    row: Row
    seen: str

    @property
    def error_pct(self) -> float:
        """Predicted over measured, less one."""
        return 100 * (self.row.predicted_ms / self.row.measured_ms - 1)


def judged(law: Law, measurements: Sequence[Measurement], level: float = LEVEL) -> tuple[Judged, ...]:
    """What ``law`` says of each of ``measurements``, which are of one setting.

    :raises FitError: they are not. :raises DomainError: the law has nothing to say of them.
    """
    examples = usable(measurements, law.launch)
    known = set(law.seen)
    rows = judge(law, examples, level, known=False)
    return tuple(
        Judged(row, (SEEN if net_key(e.measurement.case.net) in known else UNSEEN) if known else UNKNOWN)
        for row, e in zip(rows, examples, strict=True)
    )


def split(found: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    """Networks that the law was not fitted on, those that it was, and those of which that is not known, where there are
    any."""
    parts = [(name, [j for j in found if j.seen == name]) for name in (UNSEEN, SEEN, UNKNOWN)]
    return [(name, own) for name, own in parts if own]


def measured_against_predicted(found: Sequence[Judged]) -> Figure | None:
    """Predicted latency with its interval against the measured one."""
    series = []
    for name, own in split(found):
        known = any(j.row.low_ms is not None for j in own)
        series.append(
            Series(
                name=name,
                x=tuple(j.row.measured_ms for j in own),
                y=tuple(j.row.predicted_ms for j in own),
                low=tuple(j.row.low_ms or j.row.predicted_ms for j in own) if known else (),
                high=tuple(j.row.high_ms or j.row.predicted_ms for j in own) if known else (),
                notes=tuple(f"{j.row.net} · batch {j.row.batch}" for j in own),
            )
        )
    if not series:
        return None
    values = [v for s in series for v in (*s.x, *s.y)]
    if len(measured := {v for s in series for v in s.x}) == 1:
        values += [v * times for v in measured for times in (1 / AROUND, AROUND)]
    reached = [*values, *(v for s in series for v in (*s.low, *s.high))]
    bars = " Bars are the law's 90 % interval." if any(s.low for s in series) else ""
    if bars and (none := sum(j.row.low_ms is None for j in found)):
        bars += f" {none} of {len(found)} have none: it is not known there."
    return Figure(
        key="measured-against-predicted",
        title="Predicted against measured latency",
        caption=f"A point on the line is right.{bars} Networks that the law was fitted on tell less of its accuracy "
        "than the others.",
        x=log_axis("measured (ms)", values),
        y=log_axis("predicted (ms)", reached),
        series=tuple(series),
        legend="the law was",
        guides=(Guide("as measured", slope=1.0),),
    )


def residuals(found: Sequence[Judged]) -> Figure | None:
    """Errors (%) against the measured latency."""
    series = tuple(
        Series(
            name=name,
            x=tuple(j.row.measured_ms for j in own),
            y=tuple(j.error_pct for j in own),
            notes=tuple(f"{j.row.net} · batch {j.row.batch}" for j in own),
        )
        for name, own in split(found)
    )
    return _errors(
        series,
        "residuals",
        "Residuals: how far predictions are off",
        "measured (ms)",
        "Predicted over measured latency, less one: above zero the law predicts too long. Dashed lines are ±10 %.",
    )


def held_out_errors(law: Law) -> Figure | None:
    """The errors (%) that the law's intervals come from: of networks held out in its fit, against what is predicted."""
    points = sorted(law.conformal)
    series = Series(
        name="held out",
        x=tuple(ms for ms, _ in points),
        y=tuple(100 * (math.exp(-error) - 1) for _, error in points),
    )
    return _errors(
        (series,) if points else (),
        "held-out-errors",
        "Errors on networks held out in the fit",
        "predicted (ms)",
        "Each network was predicted by a law fitted without it; the law's intervals come from these errors. Dashed "
        "lines are ±10 %.",
    )


def shares(law: Law) -> Figure | None:
    """Each group's share (%) of the time of the networks that the law was fitted on."""
    known = sorted((g.share, g.name) for g in law.groups if g.share is not None)
    if not known:
        return None
    return Figure(
        key="law-shares",
        title="What the law's terms account for",
        caption="Share of the time of the networks that the law was fitted on, by group of kernels priced alike.",
        x=Axis("share of the time (%)", zero=True),
        y=Axis("group", categories=tuple(name for _, name in known)),
        series=(
            Series(
                name="share",
                x=tuple(100 * share for share, _ in known),
                y=tuple(float(i) for i in range(len(known))),
                mark="bars",
            ),
        ),
    )


def score_table(found: Sequence[Judged], level: float = LEVEL) -> Table:
    """The scores of each part of :func:`split`."""
    columns = ("the law was", "cases", "MAPE (%)", "median (%)", "95th percentile (%)", "bias (%)")
    return Table(
        "Error of the predictions",
        (*columns, "within ±5 % (%)", "within ±10 % (%)", f"covered at {100 * level:.0f} % (%)"),
        tuple(_score_row(name, score([j.row for j in own], level)) for name, own in split(found)),
        (False, *[True] * 8),
    )


def _score_row(name: str, s: Scores) -> tuple[str, ...]:
    within = (f"{w.pct:.0f} [{w.low_pct:.0f}, {w.high_pct:.0f}]" for w in (s.within_5_pct, s.within_10_pct))
    covered = "–" if s.covered_pct is None else f"{s.covered_pct:.0f}"
    errors = (f"{s.mape_pct:.2f}", f"{s.mdape_pct:.2f}", f"{s.p95_ape_pct:.1f}", f"{s.bias_pct:+.2f}")
    return name, str(s.nets), *errors, *within, covered


def worst_table(found: Sequence[Judged]) -> Table:
    """The networks that are furthest off."""
    worst = sorted(found, key=lambda j: -abs(j.error_pct))[:MOST_OFF]
    rows = tuple(
        (
            j.row.net,
            str(j.row.batch),
            shown(j.row.measured_ms),
            shown(j.row.predicted_ms),
            f"{j.error_pct:+.1f}",
        )
        + (j.seen,)
        for j in worst
    )
    columns = ("network", "batch", "measured ms", "predicted ms", "error (%)", "the law was")
    return Table("Networks furthest off", columns, rows, (False, True, True, True, True, False))


def _errors(series: tuple[Series, ...], key: str, title: str, across: str, caption: str) -> Figure | None:
    if not series:
        return None
    return Figure(
        key=key,
        title=title,
        caption=caption,
        x=log_axis(across, [v for s in series for v in s.x]),
        y=Axis("error (%)"),
        series=series,
        legend="the law was" if len(series) > 1 else "",
        guides=(
            Guide("no error"),
            Guide(f"+{BAND_PCT:.0f} %", level=BAND_PCT),
            Guide(f"−{BAND_PCT:.0f} %", level=-BAND_PCT),
        ),
    )
