"""Contents: what a report is made of, from measurements, sentinels and a law. What has no data is named in a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

from edgeprof.boards.spec import read_board
from edgeprof.errors import CatalogueError, DomainError, FitError, SpecError
from edgeprof.fit.emit import emit, law_text
from edgeprof.fit.examples import usable
from edgeprof.fit.law import Law
from edgeprof.fit.quanta import evidence_of
from edgeprof.report import figures as f
from edgeprof.report.design import design_section
from edgeprof.report.figure import Figure, Section, Table, counted
from edgeprof.report.figures.accuracy import UNSEEN, Judged, judged, score_table, worst_table
from edgeprof.report.figures.disturbance import failure_table, reading_table, warning_table
from edgeprof.report.figures.drift import round_table, sentinel_table
from edgeprof.report.figures.kernels import main_kinds
from edgeprof.report.figures.launches import launch_table
from edgeprof.report.figures.ratios import in_both, slower_first
from edgeprof.report.grids import Grid
from edgeprof.report.settings import PARTS, Setting, item_of, settings_of
from edgeprof.roofline import Roofline
from edgeprof.store import Sentinel
from edgeprof.timing.measurement import Measurement
from edgeprof.tradeoff import rivals

MOST_NAMED = 5  # figures, in an error
MOST_SETTINGS = 4  # that are drawn grid by grid; pairs are of the first and each other


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
    sections: Iterable[Section | None] = (
        _speed(settings) if measurements else None,
        _kernels(settings) if measurements else None,
        _ratios(settings) if measurements else None,
        _launches(measurements),
        _in_flight(measurements),
        _steps(settings) if measurements else None,
        _accuracy(law, settings, known) if law else None,
        _law(law) if law else None,
        _roofline(settings) if measurements else None,
        _energy(settings) if measurements else None,
        _modes(measurements),
        _drift(measurements, sentinels) if measurements else None,
        _disturbance(measurements, settings) if measurements else None,
        _environment(measurements, settings) if measurements else None,
    )
    made = [section for section in sections if section]
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


def _speed(settings: Sequence[Setting]) -> Section:
    found = [figure for s, grid in _grids(settings) for figure in [f.throughput(grid, _named(s, settings))]]
    missing = []
    if not found:
        missing.append(
            "No figure against two variables: no networks differ in two variables alone. "
            "Measure a grid: edgeprof sweep group1 group2 group3 group4."
        )
    every = f.every_network(settings)
    if every is None:
        missing.append("No speed against work: of no network measured are the operators known.")
    return Section(
        "speed",
        "Speed",
        figures=(*found, *([every] if every else [])),
        missing=(*missing, *_left_out(settings)),
    )


def _kernels(settings: Sequence[Setting]) -> Section:
    shares = f.kernel_shares(settings)
    if shares is None:
        return Section(
            "kernels", "Kernels", missing=("No figure of kernels: no measurement has a breakdown by kernel.",)
        )
    order: dict[tuple[str, ...], list[Figure]] = {}
    for s, grid in _grids(settings):
        for kind in main_kinds(grid):
            figure = f.kernel_speed(grid, kind, _named(s, settings))
            order.setdefault((grid.across, grid.along, kind), []).append(figure)
    found = chain.from_iterable(order.values())
    return Section("kernels", "Kernels", figures=(shares, *found))


def _ratios(settings: Sequence[Setting]) -> Section:
    """Every other setting against the first, as far as both measured the same networks."""
    found: list[Figure | None] = []
    for pair in ((settings[0], other) for other in settings[1:MOST_SETTINGS]):
        if not in_both(*pair):
            continue
        first, other = slower_first(*pair)
        labels = (first.label, other.label)
        found += [f.network_ratios(first, other), f.kernel_ratios(first, other)]
        for a, b in _grid_pairs(first, other):
            found.append(f.grid_ratio(a, b, labels))
            kinds = [kind for kind in main_kinds(a) if kind in main_kinds(b)]
            found += [f.kernel_ratio(a, b, kind, labels) for kind in kinds]
    figures = tuple(figure for figure in found if figure)
    missing = () if figures else ("No speed-ups: no two settings measured the same network.",)
    return Section("speed-ups", "Speed-ups", figures=figures, missing=missing)


def _launches(measurements: Sequence[Measurement]) -> Section | None:
    """Launch modes side by side, where the same case was measured with several."""
    figure, table = f.launch_modes(measurements), launch_table(measurements)
    if figure is None or table is None:
        return None
    return Section("launches", "Launch modes", tables=(table,), figures=(figure,))


def _in_flight(measurements: Sequence[Measurement]) -> Section | None:
    """Where several runs at the same time were measured."""
    figure, table = f.in_flight_gain(measurements), f.in_flight_table(measurements)
    if figure is None or table is None:
        return None
    return Section("in-flight", "Several runs at the same time", tables=(table,), figures=(figure,))


def _steps(settings: Sequence[Setting]) -> Section:
    """The clear steps of the first setting that shows any, drawn; what is not clear, said."""
    text: tuple[str, ...] = ()
    for setting in settings:
        try:
            evidence = evidence_of(usable(setting.measurements, setting.case.launch))
        except FitError:  # kernels of no operator of their network
            continue
        clear = [one for one in evidence if one.found[0].pattern != "none"]
        text = text or tuple(f"{one.found[0].sentence()}." for one in evidence if one not in clear)
        if clear:
            found = [figure for one in clear for figure in (f.step_times(one), f.step_gains(one)) if figure]
            return Section("steps", "Steps", text=text, figures=tuple(found))
    missing = "No steps: no dimension of a kernel varies alone in small steps. Measure one: edgeprof sweep neuron-fine."
    return Section("steps", "Steps", text=text, missing=() if text else (missing,))


def _accuracy(law: Law, settings: Sequence[Setting], known: Mapping[str, Sequence[Judged]]) -> Section:
    tables, found = [], [f.held_out_errors(law)]
    for label, rows in known.items():
        where = f" on {label}" if len(known) > 1 else ""
        tables += [_called(score_table(rows), where), _called(worst_table(rows), where)]
    rows = list(chain.from_iterable(known.values()))
    if rows:
        found = [f.measured_against_predicted(rows), f.residuals(rows), *found]
    missing = []
    if not rows:
        missing.append(
            "Nothing predicted is compared with what was measured: "
            f"no measurement has the law's launch mode ({law.launch}), precision ({law.precision}) and threads "
            f"({law.threads or 'any'})."
        )
    if not law.conformal:
        missing.append("No interval: the law has no errors on networks held out.")
    return Section(
        "accuracy",
        "Predicted against measured",
        text=_strangers(law, settings, known),
        tables=tuple(tables),
        figures=tuple(figure for figure in found if figure),
        missing=tuple(missing),
    )


def _strangers(
    law: Law, settings: Sequence[Setting], known: Mapping[str, Sequence[Judged]]
) -> tuple[str, ...]:
    """That the law is of another machine or runtime than what was measured."""
    cases = [s.case for s in settings if s.label in known]
    lines = []
    for what, fitted, names in (
        ("machine", law.machine.get("model"), {case.machine for case in cases}),
        ("runtime", law.runtime, {case.runtime for case in cases}),
    ):
        if fitted and names - {fitted}:
            there = ", ".join(sorted(names - {fitted}))
            lines.append(
                f"The law is of {what} {fitted}, and this is {there}: the errors tell how far it carries."
            )
    return tuple(lines)


def _law(law: Law) -> Section:
    found = f.shares(law)
    listings = [("The law", law_text(law))]
    missing = []
    try:
        listings.append(("The law in LaTeX", emit(law, "latex")))
    except SpecError as error:
        missing.append(f"No LaTeX: {error.message}.")
    return Section(
        "law",
        f"The law {law.name}",
        text=tuple(text for text in (law.about, law.source) if text),
        listings=tuple(listings),
        figures=(found,) if found else (),
        missing=tuple(missing),
    )


def _design(law: Law) -> tuple[str, tuple[str, ...]]:
    """The sliders of a law; what is missing where it cannot have them."""
    try:
        return design_section(law), ()
    except SpecError as error:
        return "", (f"No sliders: {error.message}.",)


def _roofline(settings: Sequence[Setting]) -> Section:
    for setting in settings:
        figure = f.roofline(setting, _peaks(setting.case.board))
        if figure:
            return Section("roofline", "Roofline", figures=(figure,))
    missing = "No roofline: no kernel that multiplies is traced to the operators of its network."
    return Section("roofline", "Roofline", missing=(missing,))


def _energy(settings: Sequence[Setting]) -> Section:
    figures = tuple(figure for figure in (f.energy(settings), f.power(settings)) if figure)
    missing = () if figures else ("No energy and no power: no sensor was read.",)
    return Section("energy", "Energy", figures=figures, missing=missing)


def _modes(measurements: Sequence[Measurement]) -> Section | None:
    """Where networks were measured in several power modes."""
    groups = rivals(measurements)
    if not groups:
        return None
    table = f.mode_table(measurements)
    return Section(
        "power-modes",
        "Power modes",
        text=f.always_dominated(groups),
        tables=(table,) if table else (),
        figures=f.mode_figures(measurements),
        missing=() if table else ("No table of power modes: no network was measured in all of them.",),
    )


def _drift(measurements: Sequence[Measurement], sentinels: Sequence[Sentinel]) -> Section:
    tables = tuple(table for table in (sentinel_table(sentinels), round_table(measurements)) if table)
    missing = [] if sentinels else ["No drift: no sentinel was measured."]
    if round_table(measurements) is None:
        missing.append("No comparison of rounds: no case has several.")
    return Section("drift", "Drift", tables=tables, figures=f.drift(sentinels), missing=tuple(missing))


def _disturbance(measurements: Sequence[Measurement], settings: Sequence[Setting]) -> Section:
    tables = (warning_table(measurements), reading_table(measurements), failure_table(measurements))
    found = (f.round_spread(settings), f.tails(settings), f.coverage(settings))
    return Section(
        "disturbance",
        "What disturbed the measurements",
        text=() if tables[0] else ("No measurement carries a warning.",),
        tables=tuple(table for table in tables if table),
        figures=tuple(figure for figure in found if figure),
    )


def _environment(measurements: Sequence[Measurement], settings: Sequence[Setting]) -> Section:
    rows: dict[str, list[str]] = {}
    for i, setting in enumerate(settings):
        facts = {part.replace("_", " "): value for part, value in setting.parts}
        facts |= dict(_flat("", setting.measurements[-1].environment))
        facts["estimator of the latency"] = setting.measurements[0].estimator
        for name, value in facts.items():
            if value not in (None, "", [], ()):
                rows.setdefault(name, [""] * len(settings))[i] = _told(value)
    table = Table(
        "Where and with what it was measured",
        ("what", *(setting.label for setting in settings)),
        tuple((name, *values) for name, values in rows.items()),
    )
    text = (
        f"{counted(len(measurements), 'case')}; a setting is all that a case has but its network and batch: "
    )
    return Section(
        "environment",
        "Environment",
        text=(text + ", ".join(part.replace("_", " ") for part in PARTS) + ".",),
        tables=(table,) if rows else (),
        missing=() if rows else ("No environment: no case was measured.",),
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


# --- pieces


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


def _grids(settings: Sequence[Setting]) -> Iterator[tuple[Setting, Grid]]:
    """The grids of each setting; those over the same variables together."""
    every = [(s, grid) for s in settings[:MOST_SETTINGS] for grid in s.grids]
    order = list(dict.fromkeys((g.across, g.along) for _, g in every))
    yield from sorted(every, key=lambda one: order.index((one[1].across, one[1].along)))


def _grid_pairs(first: Setting, second: Setting) -> Iterator[tuple[Grid, Grid]]:
    """Grids that both have."""
    for a in first.grids:
        for b in second.grids:
            if (a.across, a.along, a.fixed) == (b.across, b.along, b.fixed):
                yield a, b


def _named(setting: Setting, settings: Sequence[Setting]) -> str:
    return setting.label if len(settings) > 1 else ""


def _left_out(settings: Sequence[Setting]) -> Iterator[str]:
    if len(settings) > MOST_SETTINGS:
        left = ", ".join(s.label for s in settings[MOST_SETTINGS:])
        yield f"Grids are drawn of {MOST_SETTINGS} settings; left out: {left}. Choose with --where."
    for s, grid in _grids(settings):
        if grid.others:
            where = f" on {s.label}" if len(settings) > 1 else ""
            yield f"Of the grids over {grid.title}{where}, {grid.others} smaller ones are not drawn."


def _peaks(board: str) -> Roofline | None:
    """The peaks that a board's file has from its datasheet."""
    try:
        peaks = read_board(board).peaks
    except (CatalogueError, SpecError):
        return None
    if peaks is None or not peaks.fp32_gflops or not peaks.dram_gbps:
        return None
    return Roofline(peaks.fp32_gflops, peaks.dram_gbps, peaks.source)


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        words = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(f"{words}: ", value)
        else:
            yield words, value


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _called(table: Table, where: str) -> Table:
    return replace(table, title=f"{table.title}{where}")


def _unique(sections: Sequence[Section]) -> tuple[Section, ...]:
    """The sections with keys that differ, of figures and sections."""
    seen = {section.key: 1 for section in sections}

    def renamed(figure: Figure) -> Figure:
        seen[figure.key] = seen.get(figure.key, 0) + 1
        number = seen[figure.key]
        return figure if number == 1 else replace(figure, key=f"{figure.key}-{number}")

    return tuple(replace(s, figures=tuple(map(renamed, s.figures))) for s in sections)
