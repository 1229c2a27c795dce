"""An answer of ``edgeprof query``: JSON and CSV for programs, tables for people."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.cli.output import WIDTH

if TYPE_CHECKING:
    from edgeprof.query import Answer, Found, Goal, LawAnswer
    from edgeprof.query.explain import Explanation

SHORT = {"neurons": "neur", "channels": "chan", "classes": "cls", "padding": "pad", "pool_before": "pool<"}


# --- for programs


def document(found: Answer, goal: Goal, level: float, why: Explanation | None) -> dict[str, Any]:
    """An answer as one JSON document, ``level`` that of its intervals."""
    return {
        "nets": [_record(net) for net in found.nets],
        "considered": found.considered,
        "skipped": found.skipped,
        "target_tiles_per_ms": found.target,
        "probability": goal.probability,
        "level": level,
        "laws": [
            {
                "law": own.law,
                "board": own.board,
                "memory_fitted": own.memory_fitted,
                "room_mib": own.room_mib,
                "reaching": own.reaching,
                "reaching_outside": own.reaching_outside,
                "outside": own.outside,
                "far_outside": own.far_outside,
                "unpriced": own.unpriced,
                "best": _record(own.nets[0]) if own.nets else None,
                "front_size": own.front_size,
                "front": [_record(net) for net in own.front],
            }
            for own in found.laws
        ],
        "elapsed_s": found.elapsed_s,
        **({"explain": _reasons(why)} if why else {}),
    }


def _record(net: Found) -> dict[str, Any]:
    return {**vars(net), "net": net.net.model_dump(mode="json")}


def _reasons(why: Explanation) -> dict[str, Any]:
    told = why.prediction
    return {
        "net": told.net.model_dump(mode="json"),
        "batch": told.batch,
        "latency_ms": told.latency_ms,
        "kernels": [vars(kernel) for kernel in told.kernels],
        "overhead_ms": told.overhead_ms,
        "changes": [vars(change) for change in why.changes],
    }


def print_csv(rows: Sequence[Found]) -> None:
    """A row a network, one column a number, on standard output."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    for i, net in enumerate(rows):
        knobs = {
            k: (v[0] if v else "") if isinstance(v, tuple) else v for k, v in net.net.model_dump().items()
        }
        low_high = {
            f"{end}_{key}": (value[place] if value else "")
            for key, value in (
                ("ms", net.interval_ms),
                ("tiles_per_ms", net.interval),
                ("memory_mib", net.memory_interval_mib),
            )
            for place, end in enumerate(("low", "high"))
        }
        numbers = {
            k: "" if v is None else v
            for k, v in vars(net).items()
            if k not in ("net", "interval_ms", "interval", "memory_interval_mib", "outside")
        }
        flat = {**knobs, **numbers, **low_high, "outside": " ".join(item["what"] for item in net.outside)}
        if i == 0:
            table.writerow(flat)
        table.writerow(flat.values())


# --- for people


def show(found: Answer, goal: Goal, rows: Sequence[Found], axes: Sequence[str] | None) -> None:
    """Counts by law, then the networks of ``rows`` as a table: the Pareto front of ``axes``, or the best."""
    wanted = _wanted(found, goal)
    for own in found.laws:
        room = f"fit in {goal.max_memory_mib:.4g} MiB" if goal.max_memory_mib else ""
        parts = [
            f"reach {wanted}" if wanted else "",
            room or ("fit" if goal.max_parameters and not wanted else ""),
        ]
        mark = "✓" if own.reaching else "✗"
        told = " and ".join(filter(None, parts)) or "priced"
        print(f"{mark} {own.law}: {own.reaching:,} of {found.considered:,} networks {told}"[:WIDTH])
        for line in _notes(own, goal):
            print(f"    {line}")
    if goal.image:
        print(
            f"  for an image of {goal.image[0]}×{goal.image[1]} pixels, cut in tiles, {goal.fps:g} times a second"
        )
    if found.skipped:
        print(f"  skipped {found.skipped:,} that are no networks: no pixels left, or over 2 GiB")
    names = [own.law for own in found.laws]
    if rows and axes:
        print(f"Pareto front of {' against '.join(axes)}:")
    elif rows and wanted and not any(own.reaching for own in found.laws):
        print("The nearest to it:")
    if rows and len(names) > 1 and not axes:
        _side_by_side(rows, names)
    elif rows:
        _table(rows)
    print(
        f"  {found.considered:,} networks × {len(names)} law{'s'[: len(names) - 1]} in {found.elapsed_s:.2f} s"
    )


def _wanted(found: Answer, goal: Goal) -> str:
    parts = []
    if found.target:
        parts.append(f"{found.target:.4g} tiles/ms")
    elif goal.image:
        parts.append(f"{goal.fps:g} images/s")
    if goal.at_most_ms:
        parts.append(f"{goal.at_most_ms:g} ms a run")
    return " and ".join(parts)


def _notes(own: LawAnswer, goal: Goal) -> list[str]:
    from edgeprof.fit.intervals import FAR_OUTSIDE, NO_ERRORS

    found = []
    chances = [net.probability for net in own.nets]
    if own.reaching and chances and chances[0] is None and own.nets[0].interval_unknown == NO_ERRORS:
        found.append("by point predictions: the law has no errors to judge by")
    if own.reaching_outside:
        found.append(f"{own.reaching_outside:,} of them are outside what the law has seen (?), ranked last")
    if own.far_outside:
        by_errors = goal.probability > 0.5 or (goal.max_memory_mib and own.memory_fitted)
        judged = "not known, not counted" if goal.timed and by_errors else "no interval is known"
        found.append(f"{own.far_outside:,} are {FAR_OUTSIDE}: {judged}")
    if own.unpriced:
        found.append(f"{own.unpriced:,} networks get no finite time from this law")
    if goal.max_memory_mib and not own.memory_fitted:
        found.append("MiB is the least needed: the law has no memory model, so more may not fit")
    elif own.memory_fitted and own.nets and own.room_mib and not goal.max_memory_mib:
        fits = sum(
            net.memory_interval_mib is not None and net.memory_interval_mib[1] <= own.room_mib
            for net in own.nets
        )
        found.append(
            f"{fits} of the best {len(own.nets)} fit in the {own.room_mib:,.0f} MiB that the board had left"
        )
    return found


def _columns(rows: Sequence[Found]) -> tuple[list[str], list[list[str]], str]:
    """The knobs that differ as columns; what is common to all as a text."""
    knobs = [
        {k: v[0] if isinstance(v, tuple) and v else v for k, v in net.net.model_dump().items()}
        | {"batch": net.batch}
        for net in rows
    ]
    varied = [k for k in knobs[0] if len({str(own[k]) for own in knobs}) > 1]
    if "batch" in varied or len(rows) == 1:
        common = ""
    else:
        common = f"batch {rows[0].batch}"
    fixed = [
        f"{k.replace('_', '-')} {knobs[0][k]}"
        for k in ("conv", "depth", "kernel", "padding", "fc", "neurons")
        if k not in varied and knobs[0][k] != ()
    ]
    cells = [["–" if own[k] == () else str(own[k]) for k in varied] for own in knobs]
    return [SHORT.get(k, k) for k in varied], cells, " · ".join([*fixed, *([common] if common else [])])


def _table(rows: Sequence[Found]) -> None:
    heads, cells, common = _columns(rows)
    numbers: dict[str, list[str]] = {
        "tiles/ms": [f"{net.tiles_per_ms:.4g}" for net in rows],
        "interval": [
            f"[{net.interval[0]:.3g}, {net.interval[1]:.3g}]" if net.interval else "" for net in rows
        ],
        "P": ["" if net.probability is None else f"{net.probability:.2f}" for net in rows],
        "MMAC/tile": [f"{net.macs_per_tile / 1e6:.4g}" for net in rows],
        "params": [_thousands(net.parameters) for net in rows],
        "MiB": [f"{net.memory_mib:.3g}" for net in rows],
        "": [("*" if net.pareto else "") + ("" if net.in_domain else "?") for net in rows],
    }
    shown = {head: column for head, column in numbers.items() if any(column)}
    for least in ("MiB", "interval", "params", "P"):
        if sum(_widths([*heads, *shown], cells, shown)) > WIDTH:
            shown.pop(least, None)
    _print([*heads, *shown], [[*own, *(shown[h][i] for h in shown)] for i, own in enumerate(cells)])
    legend = ["* on the Pareto front"] if any(net.pareto for net in rows) else []
    legend += ["? outside the domain"] if any(not net.in_domain for net in rows) else []
    for line in (common, "; ".join(legend)):
        if line:
            print(f"  {line}"[:WIDTH])


def _widths(heads: Sequence[str], cells: Sequence[Sequence[str]], shown: dict[str, list[str]]) -> list[int]:
    rows = [[*own, *(shown[h][i] for h in shown)] for i, own in enumerate(cells)]
    return [2 + max(len(head), *(len(row[j]) for row in rows)) for j, head in enumerate(heads)]


def _side_by_side(rows: Sequence[Found], laws: Sequence[str]) -> None:
    """One line a network: tiles/ms by each law, ✓ where the goal is met."""
    nets: dict[tuple[str, int], dict[str, Found]] = {}
    for net in rows:
        nets.setdefault((net.net.model_dump_json(), net.batch), {})[net.law] = net
    firsts = [next(iter(own.values())) for own in nets.values()]
    heads, cells, common = _columns(firsts)
    for law in laws:
        for own, line in zip(nets.values(), cells, strict=True):
            told = own.get(law)
            mark = ("✓" if told.reaches else " ") + ("" if told.in_domain else "?") if told else ""
            line.append(f"{told.tiles_per_ms:.4g} {mark}" if told else "–")
    for first, line in zip(firsts, cells, strict=True):
        line.append(f"{first.macs_per_tile / 1e6:.4g}")
    _print([*heads, *(law if len(law) <= 16 else f"…{law[-15:]}" for law in laws), "MMAC/tile"], cells)
    if common:
        print(f"  {common}"[:WIDTH])
    print("  tiles/ms by law; ✓ meets the goal, ? outside the domain")


def _print(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    widths = [max(len(head), *(len(row[j]) for row in cells)) for j, head in enumerate(heads)]
    for row in (heads, *cells):
        line = "".join(f"  {text:>{width}}" for text, width in zip(row, widths, strict=True))
        print(line[:WIDTH].rstrip())


def _thousands(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} k"


def show_why(why: Explanation) -> None:
    """What the kernels of a network cost, and what to change about it."""
    told = why.prediction
    print(f"\n{told.net.label()} · batch {told.batch}: {told.latency_ms:.4g} ms"[:WIDTH])
    parts = [(kernel.name, kernel.ms) for kernel in told.kernels if kernel.ms > 0]
    for name, ms in sorted([*parts, ("overhead", told.overhead_ms)], key=lambda part: -part[1])[:10]:
        print(f"  {name[:48]:<48} {ms:>10.4g} ms {100 * ms / told.latency_ms:>5.1f} %")
    for change in why.changes:
        print(f"  {change.text()}"[:WIDTH])
