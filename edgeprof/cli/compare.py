"""``edgeprof compare``: how many times as fast one side is as another."""

from __future__ import annotations

import csv
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgeprof.cli import options as o
from edgeprof.cli.output import WIDTH, counted, print_json, say, warn
from edgeprof.errors import SpecError
from edgeprof.excerpt import excerpt

if TYPE_CHECKING:
    from edgeprof.compare import Comparison, Pair
    from edgeprof.compare.gate import Gate
    from edgeprof.compare.side import Side
    from edgeprof.timing.ratio import Ratio

NOT_MET = 3
NAMED = 5  # cases that a gate names
NAME = 33  # letters of a network's name in the table
MARKS = {"faster": "+", "slower": "−", "no difference": "=", "unclear": "?"}


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="FILE.db, FILE.db:KEY=VALUE,… or a law.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same: what is compared with A.")],
    fail_if_slower: Annotated[
        str | None,
        typer.Option(help="Status 3 where B is surely slower by more than this (5%), on any network."),
    ] = None,
    fail_if_unsure: Annotated[
        bool, typer.Option("--fail-if-unsure", help="Status 3 also where that cannot be told.")
    ] = False,
    level: Annotated[str, typer.Option(help="Level of the intervals.")] = "95%",
    top: Annotated[int, typer.Option(min=0, max=100_000, help="Networks to list.")] = 10,
    format_: Annotated[
        Literal["table", "csv"],
        typer.Option("--format", help="What to print; csv has a row for each case and kind of kernel."),
    ] = "table",
    json_: o.Json = False,
) -> int:
    """Compare two boards, backends, precisions, launch modes, threads or versions: speed-up by network and kernel.

    A and B are databases, some cases of one (edgeprof.db:threads=2; :threads=2 for short), or a law on one side.

    Example: edgeprof compare edgeprof.db gtx960-theano

    Example: edgeprof compare desk.db board.db:threads=1 --fail-if-slower 5%
    """
    from edgeprof.compare import compare_sides
    from edgeprof.compare.gate import judged

    if fail_if_unsure and fail_if_slower is None:
        raise SpecError("--fail-if-unsure is of --fail-if-slower", "add --fail-if-slower 5%")
    found = compare_sides(a, b, o.percent(level))
    gate = None if fail_if_slower is None else judged(found, o.percent(fail_if_slower))
    warn([*found.a.warnings, *found.b.warnings])
    if json_:
        print_json(_document(found, gate))
    elif format_ == "csv":
        _csv(found)
    else:
        _show(found, top)
    if gate is None:
        return 0
    _show_gate(found, gate, quiet=json_ or format_ == "csv")
    return NOT_MET if gate.judgement == "fail" or (gate.judgement != "pass" and fail_if_unsure) else 0


# --- for programs


def _document(found: Comparison, gate: Gate | None) -> dict[str, Any]:
    from edgeprof.compare import kind_row, pair_row

    return {
        "a": _side(found.a),
        "b": _side(found.b),
        "differ": {name: {"a": a, "b": b} for name, (a, b) in found.differ.items()},
        "matched": found.matched,
        "alike": found.alike,
        "level": found.level,
        "cases": len(found.pairs),
        "networks": found.networks,
        **_ratio(found, found.speedup),
        "verdicts": found.counted(),
        "pairs": [pair_row(found, pair) for pair in found.pairs],
        "kernels": [kind_row(found, kind) for kind in found.kinds],
        "only_a": [case.identity() for case in found.only_a],
        "only_b": [case.identity() for case in found.only_b],
        "failed": [
            {"side": side, "case": timed.case.identity(), "reason": timed.reason}
            for side, timed in found.failed
        ],
        "notes": found.notes,
        "gate": None if gate is None else _gate(gate),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "source": side.source,
        "kind": side.kind,
        "cases": len(side.cases),
        "warnings": Counter(side.warnings),
    }


def _ratio(found: Comparison, ratio: Ratio) -> dict[str, Any]:
    return {
        "speedup": ratio.speedup,
        "interval": ratio.interval(found.level),
        "verdict": found.verdict(ratio),
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {
        "fail_if_slower_pct": 100 * gate.limit,
        "judgement": gate.judgement,
        "mean_slower": gate.mean,
        "slower": [pair.label for pair in gate.slower],
        "unsure": [pair.label for pair in gate.unsure],
        "broken": [timed.case.label() for timed in gate.broken],
    }


def _csv(found: Comparison) -> None:
    from edgeprof.compare import flat_rows

    rows = flat_rows(found)
    table = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)


# --- for people


def _show(found: Comparison, top: int) -> None:
    for letter, side in (("A", found.a), ("B", found.b)):
        print(f"{letter}  {side.source} · {len(side.cases)} cases {side.kind}"[:WIDTH])
    for line in _sides(found):
        print(line)
    ratio = found.speedup
    print(f"\nB is {_told(found, ratio)} times as fast as A: {found.verdict(ratio)}")
    many = f"geometric mean over {found.networks} networks" if found.networks > 1 else "one network"
    print(f"  {many}; intervals at {100 * found.level:g} %")
    print(f"  cases: {_counts(found)}"[:WIDTH])
    if top:
        _show_pairs(found, top)
    if found.kinds:
        _show_kinds(found)
    for letter, timed in found.failed:
        print(f"  failed in {letter}: {timed.case.label()}: {timed.reason}"[:WIDTH])
    for note in found.notes:
        print(textwrap.fill(note, WIDTH, initial_indent="  note: ", subsequent_indent="        "))


def _sides(found: Comparison) -> Iterator[str]:
    def hanging(head: str, text: str) -> str:
        return textwrap.fill(text, WIDTH, initial_indent=f"  {head:<9}", subsequent_indent=" " * 11)

    if found.differ:
        yield hanging("differ", "; ".join(f"{name} {a} → {b}" for name, (a, b) in found.differ.items()))
    alike = ", ".join(f"{name} {value}" for name, value in found.alike.items())
    yield hanging("alike", alike or "nothing but the networks")
    alone = [f"{len(c)} only in {at}" for at, c in (("A", found.only_a), ("B", found.only_b)) if c]
    alone += [f"{len(found.failed)} failed"] if found.failed else []
    more = f"; {', '.join(alone)}" if alone else ""
    matched = f"{counted(len(found.pairs), 'case')} of {counted(found.networks, 'network')}"
    yield hanging("matched", matched + more)


def _counts(found: Comparison) -> str:
    counted = found.counted()
    told = ", ".join(f"{count} {word}" for word, count in counted.items() if count)
    known = sum(not pair.same and pair.ratio.interval(found.level) is not None for pair in found.pairs)
    if known > 1 and counted["faster"] + counted["slower"]:
        told += f" (by chance alone {(1 - found.level) * known:.1f} would differ)"
    return told


def _show_pairs(found: Comparison, top: int) -> None:
    shown = found.pairs[:top]
    print(f"\n  {'the largest differences':<33}{'A ms':>9}{'B ms':>9}  speed-up")
    for pair, name in zip(shown, _names(found.pairs)[:top], strict=True):
        a_ms, b_ms = pair.latency_ms
        mark = MARKS[found.verdict(pair.ratio)]
        print(f"  {name:<33}{a_ms:>9.4g}{b_ms:>9.4g}  {_told(found, pair.ratio):<22} {mark}"[:WIDTH])
    print(f"  {', '.join(f'{mark} {word}' for word, mark in MARKS.items())}")
    if len(found.pairs) > top:
        print(f"  … and {len(found.pairs) - top} more (--top, --json, --format csv)")


def _names(pairs: Sequence[Pair]) -> list[str]:
    """Each network by the knobs that differ, where that is short; else as it is called."""
    from edgeprof.export import knobs as knobs_of

    knobs = [
        {**{k.removeprefix("net."): v for k, v in knobs_of(p.a.case.net).items()}, "batch": p.a.case.batch}
        for p in pairs
    ]
    one_kind = len({tuple(own) for own in knobs}) == 1
    varied = [k for k in knobs[0] if one_kind and len({own[k] for own in knobs}) > 1]
    found = []
    for pair, own in zip(pairs, knobs, strict=True):
        parts = ["" if own[knob] is None else f"{knob} {own[knob]}" for knob in varied]
        name = " ".join(filter(None, parts))
        name = name if 0 < len(name) <= NAME else pair.label
        found.append(excerpt(name, NAME))
    return found


def _show_kinds(found: Comparison) -> None:
    print(f"\n  {'kernels':<24}{'share of A':>10}{'of B':>9}  {'speed-up':<24}networks")
    for kind in found.kinds:
        share = f"{100 * kind.a_share:>8.1f} %{100 * kind.b_share:>7.1f} %"
        ratio = f"  {_told(found, kind.ratio):<24}{kind.networks:>8}" if kind.ratio else ""
        print(f"  {kind.kind[:24]:<24}{share}{ratio}"[:WIDTH])


def _show_gate(found: Comparison, gate: Gate, quiet: bool) -> None:
    limit = f"{100 * gate.limit:g} %"
    tell = say if quiet else print
    for timed in gate.broken:
        tell(f"  fails in B alone: {timed.case.label()}: {timed.reason}"[:WIDTH])
    for word, pairs in (("slower", gate.slower), ("unsure", gate.unsure)):
        for pair in pairs[:NAMED]:
            tell(f"  {word}: {_told(found, pair.ratio)} · {pair.label}"[:WIDTH])
        if len(pairs) > NAMED:
            tell(f"  {word}: {len(pairs) - NAMED} more")
    text = {
        "pass": f"PASS: no case is slower by more than {limit}",
        "fail": f"FAIL: B is slower by more than {limit}",
        "inconclusive": f"INCONCLUSIVE: cases may be slower by more than {limit}: {len(gate.unsure)}",
    }
    tell(text[gate.judgement])


def _told(found: Comparison, ratio: Ratio) -> str:
    interval = ratio.interval(found.level)
    told = "[unknown]" if interval is None else f"[{_digits(interval[0])}, {_digits(interval[1])}]"
    return f"{_digits(ratio.speedup)} {told}"


def _digits(speedup: float) -> str:
    return f"{speedup:.3f}" if 0.1 <= speedup < 10 else f"{speedup:.3g}"
