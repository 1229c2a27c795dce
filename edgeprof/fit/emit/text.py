"""A law as people read it: the formula with standard errors, its accuracy, what it is valid for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from edgeprof.fit.clocks import setting_name, told
from edgeprof.fit.expressions import as_text, parse
from edgeprof.fit.forms import CLOCKS, CONSTANTS, NET_VARIABLES
from edgeprof.fit.intervals import quantile
from edgeprof.fit.law import Law, LawGroup, Term
from edgeprof.fit.memory import MemoryModel
from edgeprof.fit.select import Selection
from edgeprof.fit.validate import Scores

WIDTH = 80
KERNEL_WORDS = {
    "B": "batch",
    "C": "channels in",
    "M": "channels or columns out",
    "H": "rows out",
    "W": "columns out",
    "Hi": "rows in",
    "Wi": "columns in",
    "Kh": "kernel rows",
    "Kw": "kernel columns",
    "S": "stride",
    "P": "padding of both sides",
    "G": "groups",
    "R": "rows of a product",
    "N": "its inner size",
    "X": "elements in",
    "Y": "elements out",
    "A": "results that an activation goes through after the kernel",
    "E": "exponentials that it takes",
    "Z": "bytes of the whole run",
    "cold": "part of the run's bytes out of cache: 0 below Z = L3/4, 1 above L3/2",
    "k": "kernels",
}
NET_WORDS = {
    "t": "tile (pixels)",
    "D": "depth",
    "C": "conv layers",
    "N": "neurons",
    "F": "hidden FC layers",
    "K": "kernel",
    "B": "batch",
}
CLOCK_WORDS = {
    "core_mhz": "clock of what computes",
    "memory_mhz": "clock of its memory",
    "cpu_mhz": "clock of the processor that launches kernels",
}
MEMORY_WORDS = {
    "weights": "weights",
    "live": "values alive at once",
    "largest": "largest output",
    "results": "all outputs",
}
SMALL_SHARE = 0.02  # groups below this part of the time share one line


def law_text(law: Law, cv: Scores | None = None) -> str:
    """The law in at most 80 columns."""
    lines = [*headline(law), "", *formula(law), *legend(law), *opaque(law), ""]
    if cv is not None:
        lines += accuracy(cv)
    elif isinstance(mape := law.scores.get("mape_pct"), int | float):
        lines += _hanging("  held out   ", f"MAPE {mape:.1f} %, {law.scores.get('how', '')}")
    lines += [*_hanging("  valid for  ", valid_for(law))]
    for head, line in zip(["  settings   ", *[" " * 13] * len(law.settings)], settings(law), strict=False):
        lines += _hanging(head, line)
    for head, step in zip(["  steps      ", *[" " * 13] * len(law.steps)], steps(law), strict=False):
        lines += _hanging(head, step)
    if (rules := _own_rules(law)) and not law.table:
        lines += _hanging("  rules      ", "; ".join(rules))
    if trend := law.table.get("trend_ms"):
        lines += _hanging(
            "  trend      ",
            f"the table's last rows took {trend:.2g} ms {'longer' if trend > 0 else 'less'} than its first, whatever "
            "they are: measured by something that drifts. The law is for the middle, and the error above counts it",
        )
    if law.memory is not None:
        lines += _hanging("  memory     ", memory(law.memory))
    for note in notes(law):
        lines += _hanging("  note       ", note)
    if law.source:
        lines += _hanging("  source     ", law.source)
    return "\n".join(lines)


def headline(law: Law) -> list[str]:
    """Board, runtime, and what was measured."""
    if law.table:
        rows = f"{law.table.get('rows')} rows of {law.table.get('signature')}"
        return _hanging("", f"{law.board} · {law.table.get('file')}, {law.table.get('target')} · {rows}")
    machine = law.machine.get("model", "")
    threads = f", {law.threads} thread{'s' if law.threads != 1 else ''}" if law.threads else ""
    noise = f", noise {law.noise_pct:.1f} %" if law.noise_pct is not None else ""
    simulated = " · simulated" if law.simulated else ""
    what = f"{law.board} {machine}{threads} · {law.runtime} {law.precision}"
    parts = f"{what} · {law.networks} network{'' if law.networks == 1 else 's'}{noise}{simulated}"
    return (
        _hanging("", parts)
        if law.networks
        else _hanging("", f"{law.board} {machine} · {law.runtime} {law.precision}")
    )


def opaque(law: Law) -> list[str]:
    """That a part of the law cannot be read."""
    if not law.hybrids:
        return []
    parts = (
        f"{kind}: {len(h.boost.trees)} trees on {', '.join(n.replace('*', '·') for n in h.ask)}"
        for kind, h in law.hybrids.items()
    )
    text = f"the formula times exp of boosted trees, which no person can read ({'; '.join(parts)})"
    return _hanging("  opaque     ", text)


def formula(law: Law) -> list[str]:
    """The sum, one group of kernels a paragraph, with its part of the time of the networks seen."""
    per = "ms per tile =" if law.unit == "tile" else "ms per tile = 1/B × ( ms per run of B tiles:"
    if law.table:
        per = "ms ="
    if law.composition == "overlap":
        per = "ms = end of the last kernel + overhead; kernel i ends at"
    lines = [f"  {per:<70} share" if _shares(law) else f"  {per}"]
    if law.composition == "overlap":
        lines.append("    max(end of kernel i − 1, end of its launch) + d, d being")
    small = [g for g in law.groups if g.share is not None and g.share < SMALL_SHARE and law.scope == "kernel"]
    for group in law.groups:
        if group in small or not any(t.coefficient > 0 for t in _all_terms(group)):
            continue
        lines += _group_lines(law, group)
    if small:
        share = sum(g.share or 0 for g in small)
        names = ", ".join(g.name for g in small)
        lines += _with_share(_hanging("    ", f"{names}: see the law's file"), share)
    overhead = " + ".join(_term(t, (*NET_VARIABLES,)) for t in law.overhead if t.coefficient > 0) or "0"
    lines.append(f"    {'overhead':<14} {overhead}{'' if law.unit == 'tile' or law.table else '  )'}")
    return lines


def used_names(law: Law) -> set[str]:
    """Every name in the terms that cost something, and in the definitions that those use."""
    used = {
        name
        for g in law.groups
        for t, e in zip(g.terms, law.as_form.expressions[g.name], strict=True)
        if t.coefficient > 0
        for name in e.names
    }
    for name, expression in reversed(list(law.as_form.definitions.items())):
        used |= expression.names if name in used else set()
    beside = {"k", *CLOCKS}
    return used.union(
        *(e.names & beside for t, e in zip(law.overhead, law.parsed, strict=True) if t.coefficient > 0)
    )


def legend(law: Law) -> list[str]:
    """What the names in the formula stand for."""
    used = used_names(law)
    parts = [f"{n} = {as_text(e)}" for n, e in law.as_form.definitions.items() if n in used]
    words = KERNEL_WORDS if law.scope == "kernel" else NET_WORDS
    parts += [f"{name} {text}" for name, text in (words | CLOCK_WORDS).items() if name in used]
    parts += [
        f"{name} = {law.constants[name]:.10g}" for name in CONSTANTS if name in used and name in law.constants
    ]
    return _hanging("    with ", "; ".join(parts)) if parts else []


def _group_lines(law: Law, group: LawGroup) -> list[str]:
    form = law.as_form
    allowed = (*form.variables, *form.definitions)
    terms = [_term(t, allowed) for t in group.terms if t.coefficient > 0]
    head = f"    {group.name:<14} "
    terms = terms or ["0"]
    lines = _sum_lines(head if len(head) <= 20 else f"    {group.name} ", terms)
    if law.scope == "kernel" and len(head) > 20:
        lines = [f"    {group.name}", *_sum_lines(" " * 8, terms)]
    if law.table and (asked := _branch(law, group)):
        lines = [*_hanging(f"    {group.name:<14} if ", asked), *_sum_lines(" " * 19, terms)]
    if group.host is not None and group.host.coefficient > 0:
        lines.append(" " * 19 + f"launched in {_term(group.host, allowed)}")
    return _with_share(lines, group.share)


def _all_terms(group: LawGroup) -> tuple[Term, ...]:
    return (*group.terms, group.host) if group.host else group.terms


def _branch(law: Law, group: LawGroup) -> str:
    """What leads to a group of one kind: ``R < 64, M ≥ 128``."""
    leaves = (path for rule in law.kernel_rules.operators.values() for path in rule.paths())
    return next((text for leaf, text in leaves if (leaf.kind,) == group.kinds), "")


def _sum_lines(head: str, terms: Sequence[str]) -> list[str]:
    """Terms joined by plus signs, broken between terms."""
    lines, line = [], head
    for i, term in enumerate(terms):
        piece = term if i == 0 else f" + {term}"
        if len(line) + len(piece) > 72 and line.strip() and line != head:
            lines.append(line)
            line = " " * len(head) + piece.lstrip()
        else:
            line += piece
    return [part for line in [*lines, line] for part in _folded(line, len(head) + 4)]


def _folded(line: str, indent: int) -> list[str]:
    """A line broken before the last factors that do not fit."""
    place = line.rfind("·", indent + 1, WIDTH)
    if len(line) <= WIDTH or place < 0:
        return [line]
    return [line[:place], *_folded(" " * indent + line[place:], indent)]


def _with_share(lines: list[str], share: float | None) -> list[str]:
    if share is None:
        return lines
    shown = f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
    first = lines[0]
    return [f"{first:<72}{shown:>8}" if len(first) <= 72 else first, *lines[1:]]


def _shares(law: Law) -> bool:
    return any(g.share is not None for g in law.groups)


def _term(term: Term, allowed: Sequence[str]) -> str:
    text = as_text(parse(term.text, allowed))
    value = with_error(term.coefficient, term.standard_error)
    if text.startswith("1/"):
        return f"{value}{text[1:]}"
    return value if text == "1" else f"{value}·{_bracketed(text)}"


def _bracketed(text: str) -> str:
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "(⌈⌊[{") - (character in ")⌉⌋]}")
        if depth == 0 and i and text[i : i + 3] in (" + ", " − "):
            return f"({text})"
    return text


def with_error(value: float, error: float | None) -> str:
    """``2.93(12)e-08``: the error in units of the last digit shown; three digits where no error is known, or all of a
    value that was given with fewer."""
    if value == 0:
        return "0"
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.3g}" if 1e-3 <= value < 1e4 else _trimmed(f"{value:.2e}")
    if error >= value > 1e-300:
        exponent = math.floor(math.log10(value))
        exponent += round(value / 10.0**exponent) >= 10
        return f"{value / 10.0**exponent:.0f}({error / 10.0**exponent:.0f}){_power(exponent)}"
    if value <= 1e-300:
        return _trimmed(f"{value:.2e}")
    exponent = math.floor(math.log10(value))
    digits = min(max(exponent - math.floor(math.log10(error)), 0), 6)
    if round(value / 10.0**exponent, digits) >= 10:
        exponent, digits = exponent + 1, digits + 1
    units = round(error / 10.0 ** (exponent - digits))
    return f"{value / 10.0**exponent:.{digits}f}({units}){_power(exponent)}"


def _power(exponent: int) -> str:
    return f"e{exponent:+03d}" if exponent else ""


def _trimmed(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def accuracy(cv: Scores) -> list[str]:
    """The cross-validated scores."""
    w = cv.within_10_pct
    lines = _hanging(
        "  held out   ",
        f"MAPE {cv.mape_pct:.1f} %, median {cv.mdape_pct:.1f} %, {w.pct:.0f} %"
        f" [{w.low_pct:.0f}, {w.high_pct:.0f}] within ±10 %, bias {cv.bias_pct:+.1f} %",
    )
    known = []
    if cv.covered_pct is not None:
        known.append(f"the interval covers {cv.covered_pct:.0f} % at {100 * cv.level:.0f} %")
    if cv.noise_pct is not None:
        known.append(f"noise between rounds {cv.noise_pct:.1f} %")
    if cv.floor_mape_pct is not None:
        known.append(f"sum of measured kernels {cv.floor_mape_pct:.1f} % off")
    if cv.wrong_guess_pct is not None:
        known.append(f"wrong guesses of what runs {cv.wrong_guess_pct:.1f} %")
    return [*lines, *_hanging("             ", ", ".join(known))] if known else lines


def selection_lines(selection: Selection) -> list[str]:
    """The forms that were compared, one a line, where there were several."""
    if len(selection.candidates) < 2:
        return []
    lines: list[str] = []
    for c in selection.candidates:
        chosen = " · chosen" if c.chosen else ""
        head = "  forms      " if not lines else "             "
        lines.append(
            f"{head}{c.form:<12} MAPE {c.mape_pct:.1f} ± {c.standard_error_pct:.1f} %, {c.terms} terms{chosen}"
        )
    if selection.nested_mape_pct is not None:
        lines.append(f"             held out from the choice too: MAPE {selection.nested_mape_pct:.1f} %")
    return lines


def valid_for(law: Law) -> str:
    """The domain in words."""
    parts = []
    for knob, seen in law.domain.items():
        if knob == "padding":
            parts.append(f"padding {', '.join(str(v) for v in seen)}")
        elif seen[0] == seen[1]:
            parts.append(f"{knob} {seen[0]}")
        else:
            parts.append(f"{knob} {seen[0]}–{seen[1]}")
    return ", ".join(parts)


def settings(law: Law) -> list[str]:
    """The settings of a law over clocks, each with its error on networks held out, and what the law predicts for."""
    found = []
    for setting in law.settings:
        clocks = {name: float(setting[name]) for name in law.clocks if name in setting}
        name = setting_name(setting.get("power_mode"), setting.get("clocks"))
        off, bias = setting.get("mape_pct"), setting.get("bias_pct")
        score = "" if off is None or bias is None else f": MAPE {off:.1f} %, bias {bias:+.1f} %"
        if (left_out := setting.get("left_out_mape_pct")) is not None:
            score += f"; never seen {left_out:.1f} %"
        found.append(f"{f'{name}, ' if name and '=' not in name else ''}{told(clocks)}{score}")
    return [*found, f"predicted at {told(law.clocks)} unless others are asked for"] if found else []


def memory(model: MemoryModel) -> str:
    """The memory model in words."""

    def told(part: Mapping[Any, float]) -> str:
        terms = [
            f"{value:.3g}" if name == "base" else f"{value:.3g}·{MEMORY_WORDS[name]}"
            for name, value in part.items()
            if value > 0
        ]
        return " + ".join(terms) or "0"

    where = {"process": "", "gpu": " of the GPU", "board": " of the board, processor and GPU together"}[
        model.of
    ]
    blocks = f" (channels in blocks of {model.block})" if model.block > 1 else ""
    text = f"MiB{where} = {told(model.most)}{blocks}, or to build {told(model.build)} where that is more"
    if isinstance(mape := model.scores.get("mape_pct"), int | float):
        text += (
            f"; held out: MAPE {mape:.1f} %, 95th percentile {model.scores.get('p95_pct', math.nan):.0f} %"
        )
    if model.errors:
        text += f"; 19 of 20 take at most {math.exp(quantile(model.errors, 0.95)):.2f} times as much"
    return text


def steps(law: Law) -> list[str]:
    """The blocks that kernels work in; what shows none, in one line."""
    found = [q.sentence() for q in law.steps if q.pattern != "none"]
    smooth = [q for q in law.steps if q.pattern == "none"]
    if smooth:
        seen = [f" (in steps of {q.sees_from})" if q.sees_from > 1 else "" for q in smooth]
        what = ", ".join(f"{q.kind} {q.words}{step}" for q, step in zip(smooth, seen, strict=True))
        blind = "; blocks that divide a step cannot be seen" if any(seen) else ""
        found.append(f"no clear blocks: {what}{blind}")
    return found


def _own_rules(law: Law) -> list[str]:
    return [
        f"{op} → {rule.text()}"
        for op, rule in sorted(law.kernel_rules.operators.items())
        if rule.ask is not None
    ]


def notes(law: Law) -> list[str]:
    """What the data did not tell; terms and groups of which the same is to be said share a line."""
    form = law.as_form
    allowed = (*form.variables, *form.definitions)
    terms: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    for group in law.groups:
        if group.note:
            groups.setdefault(group.note, []).append(group.name)
        for term in group.terms:
            if term.note and (law.scope == "net" or term.note.startswith("the data cannot")):
                named = f"{group.name}, {as_text(parse(term.text, allowed))}"
                terms.setdefault(term.note, []).append(named)
    told = (*terms.items(), *groups.items())
    return [f"{'; '.join(names)}: {note}" for note, names in told]


def _hanging(head: str, text: str) -> list[str]:
    """``text`` broken at blanks to 80 columns, under a hanging ``head``."""
    return wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
