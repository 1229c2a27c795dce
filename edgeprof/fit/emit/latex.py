"""A law as LaTeX (amsmath): a row per term, its coefficient rounded to what the standard errors warrant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp

from edgeprof.fit.emit.names import clean
from edgeprof.fit.emit.source import about
from edgeprof.fit.emit.text import CLOCK_WORDS, KERNEL_WORDS, NET_WORDS, opaque, used_names, with_error
from edgeprof.fit.expressions import Expression
from edgeprof.fit.forms import CONSTANTS
from edgeprof.fit.law import Law, Term

BRACKETED = r"\\left\((\\left\[[^()\[\]]*\\right\])\\right\)"  # twice
SPECIAL = {**{c: f"\\{c}" for c in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
SPECIAL |= {"^": r"\textasciicircum{}", "–": "--", "⌈": r"$\lceil$", "⌉": r"$\rceil$"}


def latex_text(law: Law) -> str:
    """An ``align*`` with the sum, and one with the definitions; comments say where the law comes from."""
    form = law.as_form
    names = {n: _symbol(n) for n in (*form.variables, *form.definitions, "k")}
    per = rf"\text{{ms per {law.unit}}}"
    groups = [(g.name, g.terms, form.expressions[g.name]) for g in law.groups]
    priced = [
        (rf"t_{{\text{{{escaped(name)}}}}}", terms)
        for name, own, expressions in [*groups, ("overhead", law.overhead, law.parsed)]
        if (terms := _terms(own, expressions, names))
    ]
    whole = r"\sum_{\text{kernels}} t_{\text{kernel}} + t_{\text{overhead}}"
    if law.scope == "net":
        whole = " + ".join(name for name, _ in priced) or "0"
    rows = [rf"& {per} = {whole}"]
    for name, terms in priced:
        rows += [f"& {name} = {terms[0]}", *(rf"& \quad + {term}" for term in terms[1:])]
    lines = [*(f"% {line}" for line in about(law)), r"{\allowdisplaybreaks", *_aligned(rows)]
    used = used_names(law)
    defined = [f"& {names[n]} = {_tex(e.tree, names)}" for n, e in form.definitions.items() if n in used]
    defined += [
        f"& {names[n]} = {law.constants[n]:.10g}" for n in CONSTANTS if n in used & law.constants.keys()
    ]
    if defined:
        lines += _aligned(defined)
    lines.append("}%")
    words = KERNEL_WORDS if law.scope == "kernel" else NET_WORDS
    words = {**words, **{name: f"{text} (MHz)" for name, text in CLOCK_WORDS.items()}}
    told = [f"${names[n]}$ {escaped(text)}" for n, text in words.items() if n in used]
    if any(r"\left[" in line for line in lines):
        told.append(r"$[\,\cdot\,]$ 1 where it holds, else 0")
    lines += [f"with {'; '.join(told)}."] if told else []
    lines += [escaped(f"Opaque: {' '.join(opaque(law)).replace('opaque', '')}.")] if law.hybrids else []
    return "\n".join(lines) + "\n"


def _aligned(rows: list[str]) -> list[str]:
    return [r"\begin{align*}", *(rf"{row} \\" for row in rows[:-1]), rows[-1], r"\end{align*}"]


def _terms(terms: Iterable[Term], expressions: Iterable[Expression], names: Mapping[str, str]) -> list[str]:
    """Terms that cost something, each with its rounded coefficient."""
    found = []
    for term, expression in zip(terms, expressions, strict=True):
        if term.coefficient > 0:
            value = _number(with_error(term.coefficient, term.standard_error))
            text = _tex(expression.tree, names)
            if isinstance(expression.tree, sp.Add):
                text = rf"\left({text}\right)"
            found.append(value if expression.tree == 1 else rf"{value} \, {text}")
    return found


def _tex(tree: Any, names: Mapping[str, str]) -> str:
    symbols = {sp.Symbol(n): text for n, text in names.items()}
    text = str(sp.latex(tree, symbol_names=symbols, mul_symbol=r" \, ", order="none"))
    return re.sub(BRACKETED, r"\1", text)


def _number(text: str) -> str:
    """``2.9(1)e-08`` as ``2.9(1)\\times 10^{-8}``."""
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa}\times 10^{{{int(exponent)}}}" if exponent else mantissa


def _symbol(name: str) -> str:
    """A letter, a letter with an index (``K_h``), or a word."""
    if len(name) == 1:
        return name if name.isascii() else rf"\text{{{name}}}"
    if len(name) == 2 and name.isascii() and name.isalnum():
        return f"{name[0]}_{{{name[1]}}}"
    return rf"\mathrm{{{escaped(name)}}}"


def escaped(text: str) -> str:
    """Text as LaTeX prints it, whatever it holds: letters that pdfTeX has not are told by their number."""
    return "".join(SPECIAL.get(c, c if c < "\u0100" else f"(U+{ord(c):04X})") for c in clean(text))
