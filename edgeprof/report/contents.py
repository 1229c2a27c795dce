"""Contents: what a report is made of, from measurements, sentinels and a law. What has no data is named in a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from edgeprof.errors import DomainError, FitError, SpecError
from edgeprof.fit.law import Law
from edgeprof.report import sections
from edgeprof.report.design import design_section
from edgeprof.report.figure import Figure, Section, counted
from edgeprof.report.figures.accuracy import UNSEEN, Judged, judged
from edgeprof.report.settings import Setting, item_of, settings_of
from edgeprof.store import Sentinel
from edgeprof.timing.measurement import Measurement

MOST_NAMED = 5  # figures, in an error


@dataclass(frozen=True)
class Report:
    """A report: its title, a few figures of merit (what, value), its sections, a line for each thing that is missing
    with what would bring it, and the HTML of the sliders of a law (edgeprof.report.design)."""

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    missing: tuple[str, ...] = ()
    design: str = ""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in order."""
        return tuple(figure for section in self.sections for figure in section.figures)


def build_report(
    measurements: Sequence[Measurement],
    law: Law | None = None,
    sentinels: Sequence[Sentinel] = (),
    title: str = "",
) -> Report:
    """The report of ``measurements``, of ``law``, or of both.

    :raises FitError: there is nothing to report.
    """
    if not measurements and law is None:
        raise FitError("there is nothing measured to report", "measure some networks first: edgeprof sweep")
    settings = settings_of(measurements)
    known = _judged(law, settings)
    every: Iterable[Section | None] = (
        sections.speed(settings) if measurements else None,
        sections.kernels(settings) if measurements else None,
        sections.ratios(settings) if measurements else None,
        sections.launches(measurements),
        sections.in_flight(measurements),
        sections.steps(settings) if measurements else None,
        sections.accuracy(law, settings, known) if law else None,
        sections.fitted(law) if law else None,
        sections.roofline(settings) if measurements else None,
        sections.energy(settings) if measurements else None,
        sections.modes(measurements),
        sections.drift(measurements, sentinels) if measurements else None,
        sections.disturbance(measurements, settings) if measurements else None,
        sections.environment(measurements, settings) if measurements else None,
    )
    made = [section for section in every if section]
    design, undesigned = _design(law) if law else ("", ())
    return Report(
        title=title or (f"Law {law.name}" if law else "Measurements"),
        facts=tuple(_facts(measurements, settings, law, known)),
        sections=_unique([s for s in made if s.shows]),
        missing=(*(text for section in made for text in section.missing), *undesigned),
        design=design,
    )


def _facts(
    measurements: Sequence[Measurement],
    settings: Sequence[Setting],
    law: Law | None,
    known: Mapping[str, Sequence[Judged]],
) -> Iterator[tuple[str, str]]:
    """What a reader wants to know first."""
    good = [m for s in settings for m in s.measurements]
    if measurements:
        yield "cases measured", f"{len(good):,}"
        yield "networks", f"{len({m.case.net for m in good}):,}"
        if failed := len(measurements) - len(good):
            yield "failed", f"{failed:,}"
        if good:
            speeds = [m.tiles_per_ms or 0.0 for m in good]
            yield f"{item_of(good)}s/ms, slowest to fastest", f"{min(speeds):.3g} – {max(speeds):.3g}"
        spreads = sorted(m.spread_pct for m in good if m.spread_pct is not None)
        if spreads:
            yield "spread of rounds, median", f"{spreads[len(spreads) // 2]:.1f} %"
        if any(m.simulated for m in good):
            yield "simulated", "played back from a law"
    if law is not None:
        scores = law.scores
        if isinstance(scores.get("mape_pct"), int | float):
            yield "law, error on networks held out", f"{scores['mape_pct']:.1f} %"
        unseen = [abs(j.error_pct) for rows in known.values() for j in rows if j.seen == UNSEEN]
        if unseen:
            yield (
                f"law, error on {counted(len(unseen), 'case')} not fitted on",
                f"{sum(unseen) / len(unseen):.1f} %",
            )


def only(report: Report, patterns: Sequence[str]) -> Report:
    """The report with those figures alone whose key fits one of these shell patterns.

    :raises SpecError: there is none.
    """
    fitting = {g.key for g in report.figures if any(fnmatchcase(g.key, p) for p in patterns)}
    if not fitting:
        known = ", ".join(g.key for g in report.figures[:MOST_NAMED])
        raise SpecError(f"no figure is called {' or '.join(patterns)}", f"some are: {known} (all: --json)")
    sections = (replace(s, figures=tuple(g for g in s.figures if g.key in fitting)) for s in report.sections)
    return replace(report, sections=tuple(s for s in sections if s.shows))


def _unique(sections: Sequence[Section]) -> tuple[Section, ...]:
    """The sections with keys that differ, of figures and sections."""
    seen = {section.key: 1 for section in sections}

    def renamed(figure: Figure) -> Figure:
        seen[figure.key] = seen.get(figure.key, 0) + 1
        number = seen[figure.key]
        return figure if number == 1 else replace(figure, key=f"{figure.key}-{number}")

    return tuple(replace(s, figures=tuple(map(renamed, s.figures))) for s in sections)


def _design(law: Law) -> tuple[str, tuple[str, ...]]:
    """The sliders of a law; what is missing where it cannot have them."""
    try:
        return design_section(law), ()
    except SpecError as error:
        return "", (f"No sliders: {error.message}.",)


def _judged(law: Law | None, settings: Sequence[Setting]) -> dict[str, tuple[Judged, ...]]:
    """By the label of each setting that a law can be judged by, what it says of the measurements there: those of its
    own machine, launch mode, precision and threads, or else those of other machines."""
    if law is None or law.table:
        return {}
    alike = [s for s in settings if _alike(law, s)]
    own = [s for s in alike if s.case.machine == law.machine.get("model", s.case.machine)]
    found = {}
    for setting in own or alike:
        try:
            found[setting.label] = judged(law, setting.measurements)
        except (FitError, DomainError):
            continue
    return found


def _alike(law: Law, setting: Setting) -> bool:
    case = setting.case
    same = (case.launch, case.precision) == (law.launch, law.precision)
    return same and law.threads in (None, 0, case.threads)
