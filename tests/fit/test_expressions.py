"""The expression language: what it prints, what it computes, and what it refuses."""

from __future__ import annotations

import math
import pickle
import re
import time

import numpy as np
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeprof.errors import SpecError
from edgeprof.fit.expressions import as_text, parse
from edgeprof.fit.functions import MAX_TERMS, BoundedSum

NAMES = {"B", "C", "Cin", "Cout", "D", "F", "H", "K", "N", "W", "t", "x", "y"}
steady = settings(derandomize=True, deadline=None, max_examples=200, database=None)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("F", "F"),
        ("N**2*F", "N²·F"),
        ("N*F", "N·F"),
        ("D*sum((t-4*n)**2, n, 2, C)", "D·Σₙ₌₂..C (t − 4n)²"),
        ("D*sum((t-4*(n-1))**2, n, 2, C)", "D·Σₙ₌₂..C (t − 4(n − 1))²"),
        ("D**2*sum((t-4*n)**2, n, 2, C)", "D²·Σₙ₌₂..C (t − 4n)²"),
        ("B*H*W*K**2*Cin*roundup(Cout,16)", "B·H·W·K²·Cin·⌈Cout/16⌉·16"),
        ("Cout*Cin", "Cout·Cin"),  # the order of the source, not the alphabet's
        ("blocks(B*H*W, 128)*blocks(Cout, 2*K)", "⌈B·H·W/128⌉·⌈Cout/(2K)⌉"),
        ("-x**2 - (x - y)", "−x² − (x − y)"),
        ("(-x)**-2*x**(1/3)", "(−x)⁻²·x^(1/3)"),
        ("sum(x*n, n, C-1, x+1)*B/4", "(Σ[n=C − 1..(x + 1)] x·n)·B/4"),
        ("-sum(n, n, 1, C)*B", "(−Σₙ₌₁..C n)·B"),
        ("x//4*3 + (x+y)%7*2", "⌊x/4⌋·3 + ((x + y) mod 7)·2"),
        ("where(x<=3, x/(4*y), 2*(x-1))", "(x/(4y) if x ≤ 3 else 2(x − 1))"),
        ("sqrt(x)**2 + sqrt(x+y) + log2(max(x,y,1e-3))", "(√x)² + √(x + y) + log₂(max(x, y, 0.001))"),
        ("roundup(x+1, 2*K)**2*2**3*x", "(⌈(x + 1)/(2K)⌉·2K)²·2³·x"),
        ("floor(x/2 + 1)*-y", "⌊x/2 + 1⌋·(−y)"),
    ],
)
def test_printing_for_people(text: str, printed: str) -> None:
    assert as_text(parse(text, NAMES)) == printed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7 // 2 + 7 % 4 - -1", 7),
        ("ceil(2.1) + floor(2.9) + sqrt(16) + log2(2**8)", 17),
        ("min(3, x, y) + max(3, x, y)", 12),
        ("roundup(33, 16) + blocks(33, 16) + ceil(33/16)", 54),
        ("where(x == 10, 1, 2) + where(x != 10, 10, 20) + where(x > y, 100, 200)", 121),
        ("0.1 + 1/3*0", 0.1),
        ("sum(n**2, n, 1, 3) + sum(x*n, n, y, y)", 34),
        ("(x - x)*y", 0),
        ("  x\t", 10),
    ],
)
def test_values(text: str, value: float) -> None:
    result = parse(text, NAMES).evaluate({"x": 10, "y": 2, "unused": "text"})
    assert result.dtype == np.float64
    assert result.shape == ()
    assert result == pytest.approx(value, rel=1e-14)


def test_a_sum_over_nothing_is_zero_in_every_language() -> None:
    """sympy's own Sum would be minus the terms left out."""
    expression = parse("D*sum((t-4*n)**2, n, 2, C)", NAMES)
    for depth, wanted in {-3: 0, 0: 0, 1: 0, 2: 400, 3: 656}.items():
        values = {"D": 1, "t": 28, "C": depth}
        assert expression.evaluate(values) == wanted
        assert eval(sp.pycode(expression.tree), values | {"math": math}) == wanted
        (total,) = expression.tree.atoms(BoundedSum)
        assert total.closed().subs(values) == wanted
    for emit in (sp.ccode, sp.jscode):
        assert "C >= 2" in emit(expression.tree)
    assert r"\sum_{n=2}^{C}" in sp.latex(expression.tree)


def test_a_sum_with_array_limits() -> None:
    random = np.random.default_rng(3)
    limits = random.integers(0, 64, 100_000)
    tiles = random.integers(20, 60, 100_000)
    started = time.perf_counter()
    values = parse("sum((t-4*n)**2, n, 2, C)", NAMES).evaluate({"C": limits, "t": tiles})
    assert time.perf_counter() - started < 60
    for index in range(0, 100_000, 9973):
        assert values[index] == sum((int(tiles[index]) - 4 * n) ** 2 for n in range(2, limits[index] + 1))
    starts = np.array([0, 10**6, 7])  # far apart, but each sum is short
    assert parse("sum(n, n, x, x + 2)", NAMES).evaluate({"x": starts}).tolist() == [3, 3 * 10**6 + 3, 24]


@given(st.floats(0, 1e300))
@steady
def test_numbers_keep_all_their_digits(number: float) -> None:
    expression = parse(f"{number!r}*x", NAMES)
    assert expression.evaluate({"x": 1}) == number
    assert eval(sp.ccode(expression.tree), {"x": 1.0}) == number


def test_arrays_broadcast() -> None:
    expression = parse("max(x, y, 3)*where(x < y, 1, 0) + x - x", NAMES)
    values = expression.evaluate({"x": np.arange(5), "y": np.arange(3)[:, None]})
    assert values.shape == (3, 5)
    assert values[2].tolist() == [3, 3, 0, 0, 0]
    assert parse("1 + x*0", NAMES).evaluate({"x": np.arange(3)}).tolist() == [1, 1, 1]
    assert expression.evaluate({"x": np.array([]), "y": 1}).shape == (0,)
    assert parse("x*x", NAMES).evaluate({"x": np.int32(10**6)}) == 1e12  # no overflow


@pytest.mark.parametrize("step", [3, 7, 10, 12, 49, 100])
def test_blocks_are_exact(step: int) -> None:
    """ceil((1/12)*x) would be off by one for some multiples; so in every language."""
    x = np.arange(0, 20_000)
    wanted = -(-x // step)
    for text in (f"blocks(x, {step})", f"ceil(x/{step})", f"ceil(1/{step}*x)", f"ceil((x + x)/2/{step})"):
        assert np.array_equal(parse(text, NAMES).evaluate({"x": x}), wanted)
    assert np.array_equal(parse(f"x // {step}", NAMES).evaluate({"x": x}), x // step)
    tree = parse(f"blocks(x, {step})", NAMES).tree
    assert sp.ccode(tree) == f"ceil((double)x/{step})"
    assert sp.jscode(tree) == f"Math.ceil(x/{step})"
    assert sp.pycode(tree) == f"math.ceil(x/{step})"
    assert sp.latex(tree**2) == rf"\left(\left\lceil \frac{{x}}{{{step}}} \right\rceil\right)^{{2}}"


def test_an_expression_is_a_value() -> None:
    expression = parse("N*F", NAMES)
    expression.evaluate({"N": 1, "F": 2})
    assert expression == parse("N*F", NAMES)
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert expression.names == {"N", "F"}
    assert expression.tree == sp.Symbol("N") * sp.Symbol("F")


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("B*Q", "'Q'"),
        ("", "''"),
        ("x +", "'x +'"),
        ("x.real", "'x.real'"),
        ("x[0]", "'x[0]'"),
        ("lambda: 1", "'lambda: 1'"),
        ("f'{x}'", "not allowed"),
        ("'x'", "not allowed"),
        ("True", "'True'"),
        ("1j", "'1j'"),
        ("+x", "'+x'"),
        ("(x := 2)", "'x := 2'"),
        ("x if y else 1", "not allowed"),
        ("x < 3", "'x < 3'"),
        ("[x for x in y]", "not allowed"),
        ("min(*x)", "2 or more arguments"),
        ("min(x, *y)", "'*y'"),
        ("min(x, y, key=x)", "unknown function"),
        ("exp(x)", "'exp(x)'"),
        ("ceil(x, 2)", "takes 1 arguments"),
        ("__import__('os').system('x')", "unknown function"),
        ("().__class__", "not allowed"),
        ("x**y", "exponent 'y'"),
        ("9**9**9", "exponent '9'"),
        ("x**9", "exponent '9'"),
        ("((((8**8)**8)**8)**8)**8", "too large"),
        ("(((x*1e18)**8)**8)**8", "too large"),
        ("1e999", "too large"),
        ("9" * 1900, "too large"),
        ("1/0", "no finite real number"),
        ("x % 0 + blocks(x, 0)", "no finite real number: 'blocks(x, 0)'"),
        ("sqrt(-1)", "no finite real number"),
        ("(-2)**(1/3)", "no finite real number"),
        ("log2(0)", "no finite real number"),
        ("where(x, 1, 2)", "one comparison"),
        ("where(1 < x < 3, 1, 2)", "one comparison"),
        ("where(x is 3, 1, 2)", "one comparison"),
        ("sum(n, x, 1, 3)", "counter of a sum: 'x'"),
        ("sum(n, 3, 1, 3)", "counter of a sum: '3'"),
        ("sum(n, nn, 1, 3)", "counter of a sum: 'nn'"),
        ("sum(n, n, 1, n)", "unknown name 'n'"),
        ("sum(sum(n, n, 1, 3), m, 1, 3)", "a sum inside a sum"),
        ("roundup(x, ceil(y))", "roundup()"),
        ("x\0", "not an expression"),
        ("\ud800", "not an expression"),
        ("(" * 5000, "2000 characters"),
        ("(" * 1000 + "1" + ")" * 999, "not an expression"),
        ("-" * 1999 + "1", "40 deep"),
        ("+".join(["x"] * 42), "40 deep"),
        (f"max({','.join(['x'] * 600)})", "500 parts"),
        ("x" * 2001, "2000 characters"),
    ],
)
def test_refusals_name_the_piece(text: str, piece: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, NAMES)
    assert piece in caught.value.message
    assert len(caught.value.message) < 250
    assert caught.value.hint
    caught.value.message.encode()


def test_the_hint_lists_what_is_allowed() -> None:
    with pytest.raises(SpecError) as caught:
        parse("x*foo", {"x", "y"})
    assert caught.value.message == "unknown name 'foo' in 'x*foo'"
    assert "roundup()" in caught.value.hint
    assert "names x, y" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "values", "piece"),
    [
        ("1/(2**(1/3) - 1.2599210498948732)", {}, "no real number"),
        ("x*y", {"x": 1}, "no value for y"),
        ("x", {"x": "a"}, "unsuitable values"),
        ("x*y", {"x": [1, 2], "y": [1, 2, 3]}, "unsuitable values"),
        ("sum(n, n, 1, x)", {"x": 2.5}, "not whole"),
        ("sum(n, n, 1, x)", {"x": math.nan}, "not whole"),
        ("sum(n, n, 1, x)", {"x": -math.inf}, "not whole"),
        ("sum(n, n, 1, x)", {"x": MAX_TERMS + 1}, "too long"),
        ("sum(n, n, 1, 1e18)", {}, "too long"),
    ],
)
def test_values_that_do_not_fit(text: str, values: dict[str, object], piece: str) -> None:
    with pytest.raises(SpecError, match=piece):
        parse(text, NAMES).evaluate(values)  # type: ignore[arg-type]


@steady
@given(st.text(max_size=60) | st.text("xyBn0123456789.()+-*/%<>=,e", max_size=60))
@example("0o777 0xg 1is 2 \\")
@example("x\n#\n")
@example("ﬁ*µ")
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        expression = parse(text, NAMES)
    except SpecError:
        return
    assert as_text(expression)
    assert expression.evaluate(dict.fromkeys(NAMES, 2.0)).shape == ()


leaves = st.sampled_from(["x", "y", "2", "3", "16", "7"])
texts = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.builds("({} {} {})".format, part, st.sampled_from(["+", "-", "*", "//", "%"]), part),
        st.builds("-{}".format, part),
        st.builds("({})**{}".format, part, st.sampled_from([2, 3])),
        st.builds("{}({})".format, st.sampled_from(["ceil", "floor"]), part),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max", "blocks"]), part, part),
        st.builds("roundup({}, {})".format, part, leaves),
        st.builds("where({} <= {}, {}, {})".format, part, part, part, part),
        st.builds("sum(n*{}, n, {}, {})".format, leaves, leaves, leaves),
    ),
    max_leaves=12,
)
python = {
    "ceil": math.ceil,
    "floor": math.floor,
    "min": min,
    "max": max,
    "blocks": lambda a, n: -(-a // n),
    "roundup": lambda a, n: -(-a // n) * n,
    "where": lambda condition, a, b: a if condition else b,
}


@steady
@given(texts, st.integers(1, 40), st.integers(1, 40))
def test_values_agree_with_whole_number_arithmetic(text: str, x: int, y: int) -> None:
    source = re.sub(
        r"sum\(n\*(\w+), n, (\w+), (\w+)\)", r"sum([n*\1 for n in range(int(\2), int(\3) + 1)])", text
    )
    try:
        expression = parse(text, NAMES)
        wanted = eval(source, {**python, "x": x, "y": y})
        rounded = eval(source, {**python, "x": float(x), "y": float(y)})
    except (SpecError, ArithmeticError):  # a sum inside a sum, a division by zero, a number of 300 digits
        return
    assert as_text(expression)
    if rounded == wanted:  # else doubles are too short for it
        assert expression.evaluate({"x": x, "y": y}) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("max(x, ", ")"),
        ("ceil(1/", ")"),
        ("where(x < y, 3, ", ")"),
        ("roundup(y + ", ", x + y)"),
        ("2 - (", ")*x"),
        ("sqrt(x + ", ")"),
        ("(y + ", ")**8"),
        ("(y*", ")**8"),
        ("where(", " < y, 3, x)"),
        ("where(x < y, 1, x + ", ")**2"),
        ("sqrt(1/(y + x**-8 + ", "))"),
        ("(", " + x) % 7"),
        ("1/(x + ", ")"),
    ],
)
def test_deep_and_wide_texts_stay_cheap(opening: str, closing: str) -> None:
    started = time.perf_counter()
    done = 0
    for depth in (5, 10, 13, 19, 38):
        text = opening * depth + "x" + closing * depth
        try:
            expression = parse(text, NAMES)
            expression.evaluate({"x": 1.5, "y": 2.0})
            as_text(expression)
            done += 1
        except SpecError:
            pass
    assert done
    assert time.perf_counter() - started < 60


def test_a_page_of_text_stays_cheap() -> None:
    started = time.perf_counter()
    wide = ", ".join(f"{i}*x + y/{i + 1}" for i in range(30))
    parse(f"max({wide}) - min({wide.replace(', ', '*x, ', 10)})", NAMES).evaluate({"x": 1, "y": 2})
    terms = "*".join(f"where(n < {i}, x, y)" for i in range(36))
    parse(f"sum({terms}, n, 1, C)", NAMES).evaluate({"x": 1, "y": 2, "C": 5})
    assert time.perf_counter() - started < 60
