"""Prices, decisions and the walk of a recipe as source code; each language brings its own punctuation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Template
from textwrap import indent
from typing import Any

from sympy.printing.precedence import PRECEDENCE

from edgeprof import __version__
from edgeprof.fit.emit.decisions import AFTER, BEFORE, NO_PRICE, NONE, OUTPUT, Decision, Outcome, Word
from edgeprof.fit.emit.names import clean
from edgeprof.fit.emit.printers import Named
from edgeprof.fit.emit.recipe import Price, Recipe
from edgeprof.fit.emit.text import valid_for
from edgeprof.fit.emit.walk import IMAGES, LEFT, OUT, PADS, POSSIBLE, ROWS, WALK, WIDTH, axes
from edgeprof.fit.forms import CLOCKS
from edgeprof.fit.law import Law

TAB = "    "
MEANS = {
    "D": ("depth", "conv", 20),
    "K": ("kernel", "conv", 5),
    "N": ("neurons", "fc", 1024),
}  # of layers; default
BETWEEN = {IMAGES: "between_images", ROWS: "between_rows"}


@dataclass(frozen=True)
class Dialect:
    """How a language writes what a recipe holds: formats of its statements and values. ``prefix`` leads the name of
    every function, ``before`` and ``after`` are the walk's names of the kinds around a tensor."""

    printer: Named
    prefix: str
    let: str  # {name}, {value}
    opened: str  # {condition}
    closed: str
    end: str
    nan: str
    kernel: str  # {kind}, {kernels}, {ms}: the value that a decision returns
    no_kind: str
    visit: str  # {own}, {between}: an operator of the walk
    account: str  # {bytes}: the bytes that it touches
    before: str
    after: str
    clock: str = "{name}"  # how the walk writes a clock

    def name(self, tree: Any) -> str:
        """An expression, a relation or a word."""
        return str(self.printer.doprint(tree))


def price_body(price: Price, language: Dialect) -> str:
    """The statements of a price's function."""
    names = language.printer.names
    lines = [
        language.let.format(name=names.get(name, name), value=language.name(tree))
        for name, tree in price.definitions
    ]
    terms = [_term(*term, language) for term in price.terms] or ["0.0"]
    if len(terms) == 1:
        lines.append(f"return {terms[0]}{language.end}")
    else:
        summed = [f"{TAB}{'+ ' if i else '  '}{term}" for i, term in enumerate(terms)]
        lines += ["return (", *summed, f"){language.end}"]
    return "\n".join(lines)


def _term(coefficient: float, tree: Any, checked: bool, language: Dialect) -> str:
    if tree == 1:
        return repr(coefficient)
    if checked:
        return f"{coefficient!r}*{language.prefix}checked({language.name(tree)})"
    return f"{coefficient!r}*{language.printer.parenthesize(tree, PRECEDENCE['Mul'], strict=True)}"


def decision_body(decision: Decision, recipe: Recipe, language: Dialect) -> str:
    """The statements of a decision's function."""
    if isinstance(decision, Outcome):
        return f"return {kernel(decision, recipe, language)}{language.end}"
    parts = [
        language.opened.format(condition=language.name(decision.condition)),
        indent(decision_body(decision.yes, recipe, language), TAB),
        language.closed,
        decision_body(decision.no, recipe, language),
    ]
    return "\n".join(part for part in parts if part)


def kernel(outcome: Outcome, recipe: Recipe, language: Dialect) -> str:
    """The value that a decision ends with."""
    parts = []
    for name, weight in outcome.prices:
        call = language.nan if name == NO_PRICE else _call(name, recipe.price(name).arguments, language)
        parts.append(call if weight == 1 else f"{weight!r}*{call}")
    kind = language.no_kind if outcome.kind is None else language.name(Word(outcome.kind))
    return language.kernel.format(kind=kind, kernels=outcome.kernels, ms=" + ".join(parts) or "0.0")


def _call(name: str, arguments: Iterable[str], language: Dialect) -> str:
    return f"{language.prefix}{name}({', '.join(arguments)})"


@dataclass(frozen=True)
class Function:
    """A function of generated code: of a price it returns a number, else a kernel."""

    name: str
    about: str
    arguments: tuple[str, ...]
    body: str
    is_price: bool = False


def functions(recipe: Recipe, language: Dialect) -> list[Function]:
    """Every function of a recipe, in order of use."""
    found = [
        Function(p.name, clean(f"{p.title}: ms"), p.arguments, price_body(p, language), True)
        for p in (*recipe.groups, recipe.overhead)
    ]
    decisions = [
        (f"choose_{s.name}", f"{s.title}: which kernel it becomes, and its ms", s.decision)
        for s in recipe.steps.values()
        if not isinstance(s.decision, Outcome) or s.decision.prices
    ]
    decisions += [
        (BETWEEN[n], "what runs between two kernels", d) for n, d in recipe.between.items() if d != NONE
    ]
    return found + [
        Function(name, clean(what), recipe.arguments(d), decision_body(d, recipe, language))
        for name, what, d in decisions
    ]


def visits(recipe: Recipe, language: Dialect) -> dict[str, str]:
    """By the name of each step, the walk's statements that take it; empty where nothing runs."""
    found = dict.fromkeys((step.name for step in WALK), "")
    for step in WALK:
        taken = recipe.steps.get(step.name, step).decision if recipe.steps else NONE
        lines = []
        if taken != NONE:
            glue = recipe.between[axes(step)]
            if step.name == OUTPUT and glue == NONE:
                continue
            between = kernel(NONE, recipe, language)
            if glue != NONE:
                arguments = _filled(recipe.arguments(glue), step.tensor, language)
                between = _call(BETWEEN[axes(step)], arguments, language)
            if isinstance(taken, Outcome) and not taken.prices:
                own = kernel(taken, recipe, language)
            else:
                own = _call(
                    f"choose_{step.name}", _filled(recipe.arguments(taken), step.dims, language), language
                )
            lines.append(language.visit.format(own=own, between=between))
        if recipe.whole and step.bytes != 0:
            lines.append(language.account.format(bytes=language.name(step.bytes)))
        found[step.name] = "\n".join(lines)
    return found


def _filled(arguments: Iterable[str], dims: Mapping[str, Any], language: Dialect) -> list[str]:
    known = {BEFORE: language.before, AFTER: language.after, **_clocks(language)}
    return [known.get(n) or language.name(dims[n]) for n in arguments]


def _clocks(language: Dialect) -> dict[str, str]:
    return {name: language.clock.format(name=name) for name in CLOCKS}


def prices(recipe: Recipe, values: Mapping[str, str], language: Dialect) -> str:
    """The ms of what is priced once for a network: the overhead, and the groups of a law of whole networks.

    :param values: how the walk's end writes a network's own variables.
    """
    values = {**values, **_clocks(language)}
    once = (*(() if recipe.steps else recipe.groups), recipe.overhead)
    total = " + ".join(_call(p.name, (values[n] for n in p.arguments), language) for p in once)
    return f"{values['B']}*({total})" if recipe.law.unit == "tile" else total


def geometry(language: Dialect) -> dict[str, str]:
    """How the pixels of a network shrink, for the walk's template."""
    return {
        "PADS": language.name(PADS),
        "OUT": language.name(OUT),
        "LEFT": language.name(LEFT),
        "WIDTH": language.name(WIDTH),
        **{f"POSSIBLE{i + 1}": language.name(condition) for i, condition in enumerate(POSSIBLE)},
    }


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with its ``$names`` replaced. A line that is nothing but a name takes several lines, each as deep
    as it stands, or none."""
    lines = []
    for line in template.splitlines():
        name = line.strip()[1:]
        if line.strip().startswith("$") and name in parts:
            lines += [indent(parts[name], line[: line.index("$")])] if parts[name] else []
        else:
            lines.append(Template(line).substitute(parts))
    return "\n".join(lines) + "\n"


def about(law: Law) -> list[str]:
    """Where a law comes from and what it is good for, one line each, for a comment."""
    accuracy = []
    if isinstance(mape := law.scores.get("mape_pct"), int | float):
        within = law.scores.get("within_10_pct")
        share = within.get("pct") if isinstance(within, Mapping) else None
        more = f", {share:.0f} % within ±10 %" if isinstance(share, int | float) else ""
        what = f"{law.networks} networks" if law.networks else law.scores.get("how", "")
        accuracy.append(f"held out: MAPE {mape:.1f} %{more} ({what})")
    machine = " ".join(str(part) for part in (law.board, law.machine.get("model", "")) if part)
    threads = f", {law.threads} thread{'s' if law.threads != 1 else ''}" if law.threads else ""
    told = [
        f"Law {law.name}: {law.about}" if law.about else f"Law {law.name}",
        f"{machine}{threads}; {law.runtime} {law.precision}, {law.launch} launches"
        + ("; simulated" if law.simulated else ""),
        f"fitted {law.date} on {law.networks} networks"
        if law.networks
        else f"of {law.date}"
        if law.date
        else "",
        *([f"source: {law.source}"] if law.source else []),
        *accuracy,
        f"valid for {valid_for(law)}",
        f"Written by edgeprof {__version__} (edgeprof show --emit).",
    ]
    return [clean(line) for line in told if line]
