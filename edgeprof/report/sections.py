"""Sections of a report: each says in figures, tables and a few words what one question asks of the measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from edgeprof.boards.spec import read_board
from edgeprof.errors import CatalogueError, FitError, SpecError
from edgeprof.fit.emit import emit, law_text
from edgeprof.fit.examples import usable
from edgeprof.fit.law import Law
from edgeprof.fit.quanta import evidence_of
from edgeprof.report import figures as f
from edgeprof.report.figure import Figure, Section, Table, counted
from edgeprof.report.figures.accuracy import Judged, score_table, worst_table
from edgeprof.report.figures.disturbance import failure_table, reading_table, warning_table
from edgeprof.report.figures.drift import round_table, sentinel_table
from edgeprof.report.figures.kernels import main_kinds
from edgeprof.report.figures.launches import launch_table
from edgeprof.report.figures.ratios import in_both, slower_first
from edgeprof.report.grids import Grid
from edgeprof.report.settings import PARTS, Setting
from edgeprof.roofline import Roofline
from edgeprof.store import Sentinel
from edgeprof.timing.measurement import Measurement
from edgeprof.tradeoff import rivals

MOST_SETTINGS = 4  # that are drawn grid by grid; pairs are of the first and each other


def speed(settings: Sequence[Setting]) -> Section:
    """Tiles per ms of the grids that were measured, and of every network against its work."""
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


def kernels(settings: Sequence[Setting]) -> Section:
    """What share of the latency each kind of kernel has, and how fast the main ones are over each grid."""
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


def ratios(settings: Sequence[Setting]) -> Section:
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


def launches(measurements: Sequence[Measurement]) -> Section | None:
    """Launch modes side by side, where the same case was measured with several."""
    figure, table = f.launch_modes(measurements), launch_table(measurements)
    if figure is None or table is None:
        return None
    return Section("launches", "Launch modes", tables=(table,), figures=(figure,))


def in_flight(measurements: Sequence[Measurement]) -> Section | None:
    """Where several runs at the same time were measured."""
    figure, table = f.in_flight_gain(measurements), f.in_flight_table(measurements)
    if figure is None or table is None:
        return None
    return Section("in-flight", "Several runs at the same time", tables=(table,), figures=(figure,))


def steps(settings: Sequence[Setting]) -> Section:
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


def accuracy(law: Law, settings: Sequence[Setting], known: Mapping[str, Sequence[Judged]]) -> Section:
    """What the law predicts of what was measured, by setting (``known``), and its errors on networks held out."""
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


def fitted(law: Law) -> Section:
    """The law itself as people read it, and the share of the time that each of its groups has."""
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


def roofline(settings: Sequence[Setting]) -> Section:
    """The kernels of the first setting that tells any, against the peaks of its board."""
    for setting in settings:
        figure = f.roofline(setting, _peaks(setting.case.board))
        if figure:
            return Section("roofline", "Roofline", figures=(figure,))
    missing = "No roofline: no kernel that multiplies is traced to the operators of its network."
    return Section("roofline", "Roofline", missing=(missing,))


def energy(settings: Sequence[Setting]) -> Section:
    """Energy of a tile (mJ) and power (mW), where a sensor was read."""
    figures = tuple(figure for figure in (f.energy(settings), f.power(settings)) if figure)
    missing = () if figures else ("No energy and no power: no sensor was read.",)
    return Section("energy", "Energy", figures=figures, missing=missing)


def modes(measurements: Sequence[Measurement]) -> Section | None:
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


def drift(measurements: Sequence[Measurement], sentinels: Sequence[Sentinel]) -> Section:
    """Sentinels over time, and rounds against each other."""
    tables = tuple(table for table in (sentinel_table(sentinels), round_table(measurements)) if table)
    missing = [] if sentinels else ["No drift: no sentinel was measured."]
    if round_table(measurements) is None:
        missing.append("No comparison of rounds: no case has several.")
    return Section("drift", "Drift", tables=tables, figures=f.drift(sentinels), missing=tuple(missing))


def disturbance(measurements: Sequence[Measurement], settings: Sequence[Setting]) -> Section:
    """Warnings, failures, and what the machine was like beside the measurements."""
    tables = (warning_table(measurements), reading_table(measurements), failure_table(measurements))
    found = (f.round_spread(settings), f.tails(settings), f.coverage(settings))
    return Section(
        "disturbance",
        "What disturbed the measurements",
        text=() if tables[0] else ("No measurement carries a warning.",),
        tables=tuple(table for table in tables if table),
        figures=tuple(figure for figure in found if figure),
    )


def environment(measurements: Sequence[Measurement], settings: Sequence[Setting]) -> Section:
    """Where and with what each setting was measured."""
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
