"""A law as LaTeX."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeprof.fit.emit.latex import escaped, latex_text
from edgeprof.fit.law_file import law_json, parse_law

from ..over_clocks import truth
from .conftest import MAKERS, TREES, law_of


def test_the_study_s_law() -> None:
    text = latex_text(law_of("net"))
    assert r"& t_{\text{Dot22}} = 6.8\times 10^{-6} \, F \\" in text
    assert r"& \quad + 6.6\times 10^{-11} \, F \, N^{2} \\" in text
    assert r"3.03\times 10^{-8} \, D^{2} \, \left(\sum_{n=2}^{C} \left(t - 4 \, n\right)^{2}\right)" in text
    assert r"& t_{\text{overhead}} = 0.0098" in text
    assert "$D$ depth" in text


def test_coefficients_are_rounded_to_their_standard_errors() -> None:
    text = latex_text(law_of("kernel"))
    assert r"2.78(2)\times 10^{-7} \, B \, C \, K_{w} \, \mathrm{blocks}" in text
    assert r"& \mathrm{blocks} = \left\lceil \frac{M}{V} \right\rceil \\" in text
    assert "& V = 16" in text
    assert "2.7777" not in text


def test_it_is_balanced(named: str) -> None:
    lines = [
        re.sub(r"\\[{}]", "", line) for line in latex_text(law_of(named)).splitlines() if line[:1] != "%"
    ]
    text = "\n".join(lines)
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") - text.count(r"\left\l") >= 0
    assert len(re.findall(r"\\left(?![a-z])", text)) == len(re.findall(r"\\right(?![a-z])", text))
    assert text.count(r"\begin{align*}") == text.count(r"\end{align*}") >= 1
    for block in re.findall(r"\\begin{align\*}\n(.*?)\n\\end{align\*}", text, re.DOTALL):
        assert not block.endswith("\\\\")
        found = 1
        while found:  # the innermost first
            block, found = re.subn(r"\\begin{cases}((?!\\begin{cases}).)*?\\end{cases}", "", block)
        for row in block.splitlines():
            assert row.count("&") == 1


def test_what_cannot_be_read_is_told() -> None:
    data = {**json.loads(law_json(law_of("kernel"))), "boost": {"Conv": TREES}}
    text = latex_text(parse_law(json.dumps(data), "law"))
    assert text.endswith(
        "Opaque: the formula times exp of boosted trees, which no person can read (Conv: 0 trees on C).\n"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("1–5", "1--5"),
        ("a\nb", "a b"),
        ("7×7 ✓", "7×7 (U+2713)"),
    ],
)
def test_text_of_a_stranger_is_text(text: str, wanted: str) -> None:
    assert escaped(text) == wanted


def test_clocks_are_variables() -> None:
    text = latex_text(truth())
    assert r"\frac{Y}{\mathrm{memory\_mhz}}" in text
    assert r"clock of what computes (MHz)" in text
    assert "1300" not in text.partition(r"\begin")[2]


def test_a_choice_that_is_nothing_else_is_a_bracket() -> None:
    text = latex_text(law_of("kernel"))
    assert r"B \, C \, H \, K_{h} \, K_{w} \, W \, \left[S = 1\right]" in text
    assert r"$[\,\cdot\,]$ 1 where it holds, else 0" in text
    assert r"\left(\left[" not in text
    assert "cases" not in text
    assert r"\begin{cases} 2 & \text{if}\: Y > 4096 \\ 1 & \text{else} \end{cases}" in latex_text(
        law_of("awkward")
    )
    assert r"[\,\cdot\,]" not in latex_text(law_of("net"))


def has_tex() -> bool:
    """Whether there is pdflatex with the package that equations need."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "amsmath.sty"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_tex(), reason="there is no pdflatex with amsmath")
def test_a_tex_engine_sets_it_and_loses_nothing(tmp_path: Path) -> None:
    strange = {**json.loads(law_json(law_of("kernel"))), "name": "✓ % $x$ \\input{x}", "about": "a_b & ~^#{}"}
    strange["groups"][0]["name"] = "Conv ✓ 7×7 %_&#{}$~^\\"
    laws = [*(law_of(name) for name in MAKERS), truth(), parse_law(json.dumps(strange), "strange")]
    body = "\n".join(latex_text(law) for law in laws)
    lines = [
        r"\documentclass{article}",
        r"\usepackage{amsmath}",
        r"\begin{document}",
        body,
        r"\end{document}",
    ]
    (tmp_path / "laws.tex").write_text("\n".join(lines), "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "laws.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    told = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, told[-2000:]
    assert (tmp_path / "laws.pdf").stat().st_size > 10_000
    assert "Overfull \\vbox" not in told  # rows below the page
    assert "Missing character" not in (tmp_path / "laws.log").read_text("utf-8", "replace")
