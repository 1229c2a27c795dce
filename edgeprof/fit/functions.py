"""Functions of the expression language that sympy lacks, with their code in C, JavaScript, Python, NumPy, spreadsheets
and LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from sympy.codegen import cfunctions
from sympy.printing.precedence import PRECEDENCE

from edgeprof.errors import SpecError

MAX_TERMS = 10_000  # of one sum, when it is evaluated

_LIBRARY = {"c": "", "javascript": "Math.", "python": "math.", "numpy": "numpy."}


class _Own(sp.Function):  # type: ignore[misc]
    """A function that sympy leaves alone, and that knows how it is written in every language."""

    is_commutative = True
    is_number = False  # lest sympy try to work out its value

    def _code(self, printer: Any, language: str) -> str:
        raise NotImplementedError

    def _tex(self, printer: Any) -> str:
        raise NotImplementedError

    def _ccode(self, printer: Any) -> str:
        return self._code(printer, "c")

    def _javascript(self, printer: Any) -> str:
        return self._code(printer, "javascript")

    def _pythoncode(self, printer: Any) -> str:
        return self._code(printer, "python")

    def _numpycode(self, printer: Any) -> str:
        return self._code(printer, "numpy")

    def _spreadsheet(self, printer: Any) -> str:
        return self._code(printer, "spreadsheet")

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        text = self._tex(printer)
        return rf"\left({text}\right)^{{{exp}}}" if exp else text


class _Quotient(_Own):
    """⌈x/n⌉ or ⌊x/n⌋, with the division kept: sympy's own ceiling(x/12) is printed as ceil((1/12)*x), which
    is off by one block for some multiples of 12."""

    nargs = 2
    _word = ""

    @classmethod
    def eval(cls, x: Any, n: Any) -> Any:
        if n.is_Number and n == 0:
            return sp.zoo
        if x.is_Number and n.is_Number:
            return (sp.ceiling if cls._word == "ceil" else sp.floor)(x / n)
        return None

    def _code(self, printer: Any, language: str) -> str:
        x, n = self.args
        if language == "spreadsheet":  # INT rounds down, and is exact where CEILING of a product is not
            ratio = printer.parenthesize(x, PRECEDENCE["Mul"])
            ratio += "" if n == 1 else f"/{printer.parenthesize(n, PRECEDENCE['Pow'])}"
            return f"-INT(-{ratio})" if self._word == "ceil" else f"INT({ratio})"
        if n == 1:
            return f"{_LIBRARY[language]}{self._word}({printer._print(x)})"
        cast = "(double)" if language == "c" else ""
        top, bottom = printer.parenthesize(x, PRECEDENCE["Mul"]), printer.parenthesize(n, PRECEDENCE["Pow"])
        return f"{_LIBRARY[language]}{self._word}({cast}{top}/{bottom})"

    def _tex(self, printer: Any) -> str:
        x, n = (printer._print(arg) for arg in self.args)
        ratio = x if self.args[1] == 1 else rf"\frac{{{x}}}{{{n}}}"
        return rf"\left\l{self._word} {ratio} \right\r{self._word}"


class Ceil(_Quotient):
    """⌈x/n⌉."""

    _word = "ceil"


class Floor(_Quotient):
    """⌊x/n⌋."""

    _word = "floor"


ROUNDINGS: dict[str, type[_Quotient]] = {"ceil": Ceil, "floor": Floor}


def rounded(rounding: type[_Quotient], x: Any, n: Any) -> Any:
    """``x/n`` rounded, its own denominator put below the line first."""
    top, bottom = sp.fraction(x)
    return rounding(top, bottom * n)


class Root(_Own):
    """x to a power that is no whole number. Of sympy's own roots it would ask the sign of x, at any price."""

    nargs = 2

    @classmethod
    def eval(cls, x: Any, exponent: Any) -> Any:
        if x.is_Number:
            return sp.nan if x < 0 else x**exponent
        return None

    def _code(self, printer: Any, language: str) -> str:
        x, exponent = (printer._print(arg) for arg in self.args)
        if language == "spreadsheet":
            return f"SQRT({x})" if self.args[1] == sp.Rational(1, 2) else f"POWER({x},{exponent})"
        if self.args[1] == sp.Rational(1, 2):
            return f"{_LIBRARY[language]}sqrt({x})"
        return f"{_LIBRARY[language]}{'power' if language == 'numpy' else 'pow'}({x}, {exponent})"

    def _tex(self, printer: Any) -> str:
        x, exponent = (printer._print(arg) for arg in self.args)
        return rf"\sqrt{{{x}}}" if self.args[1] == sp.Rational(1, 2) else rf"\left({x}\right)^{{{exponent}}}"


class Where(_Own):
    """``Where(condition, x, y)``: x where the condition holds, else y. sympy's own Piecewise would simplify
    its conditions, and can do so for ever."""

    nargs = 3

    @classmethod
    def eval(cls, condition: Any, x: Any, y: Any) -> Any:
        return {sp.true: x, sp.false: y}.get(condition)

    def _code(self, printer: Any, language: str) -> str:
        condition, x, y = (printer._print(arg) for arg in self.args)
        if language == "spreadsheet":
            return f"IF({condition},{x},{y})"
        if language == "numpy":
            return f"numpy.where({condition}, {x}, {y})"
        if language == "python":
            return f"(({x}) if {condition} else ({y}))"
        return f"(({condition}) ? ({x}) : ({y}))"

    def _tex(self, printer: Any) -> str:
        condition, x, y = (printer._print(arg) for arg in self.args)
        if self.args[2] == 0:  # Iverson's bracket, which is shorter: 1 where it holds, else 0
            bracket = rf"\left[{condition}\right]"
            factor = rf"\left({x}\right)" if self.args[1].is_Add else x
            return bracket if self.args[1] == 1 else rf"{factor} \, {bracket}"
        return rf"\begin{{cases}} {x} & \text{{if}}\: {condition} \\ {y} & \text{{else}} \end{{cases}}"


class log2(cfunctions.log2):  # type: ignore[misc]
    """log₂ x, printed in JavaScript and spreadsheets too; the other printers know it by this name."""

    def _javascript(self, printer: Any) -> str:
        return f"Math.log2({printer._print(self.args[0])})"

    def _spreadsheet(self, printer: Any) -> str:
        return f"LOG({printer._print(self.args[0])},2)"


class BoundedSum(_Own):
    """``BoundedSum(Lambda(n, x), low, high)``: Σ x for n = low, low + 1, … high, and 0 when high < low.

    sympy's own Sum is negative there (Karr's convention), and sympy cannot print it in C or JavaScript.
    """

    nargs = 3

    def closed(self) -> Any:
        """The same without a loop, as a polynomial of its limits.

        :raises SpecError: when the summand is no polynomial of the counter.
        """
        term, low, high = self.args
        (n,) = term.variables
        if not term.expr.is_polynomial(n):
            raise SpecError(
                f"a sum over {n} of something that is no polynomial in {n} has no closed form: {term.expr}",
                "C, JavaScript and spreadsheets have no sums: use another form for them, or emit Python",
            )
        return Where(sp.Ge(high, low), sp.summation(sp.expand(term.expr), (n, low, high)), sp.Integer(0))

    def _code(self, printer: Any, language: str) -> str:
        if language in ("c", "javascript", "spreadsheet"):
            return str(printer._print(self.closed()))
        n, term, low, high = self._printed(printer)
        if language == "numpy":
            return f"_bounded_sum(lambda {n}: {term}, {low}, {high})"
        return f"sum({term} for {n} in range(int({low}), int({high}) + 1))"

    def _tex(self, printer: Any) -> str:
        n, _, low, high = self._printed(printer)
        term = printer.parenthesize(self.args[0].expr, PRECEDENCE["Mul"])
        return rf"\left(\sum_{{{n}={low}}}^{{{high}}} {term}\right)"

    def _printed(self, printer: Any) -> list[str]:
        term, low, high = self.args
        return [printer._print(part) for part in (term.variables[0], term.expr, low, high)]


def bounded_sum(
    term: Callable[[NDArray[np.float64]], Any], low: ArrayLike, high: ArrayLike
) -> NDArray[np.float64]:
    """The sum of ``term`` over whole numbers from ``low`` to ``high``, element by element; 0 where there are none.

    :raises SpecError: limits that are no whole numbers, or more than :data:`MAX_TERMS` of them.
    """
    first, last = np.broadcast_arrays(np.asarray(low, np.float64), np.asarray(high, np.float64))
    if not all(np.all(np.isfinite(limit) & (limit == np.floor(limit))) for limit in (first, last)):
        raise SpecError("the limits of a sum are not whole numbers", "use ceil() or floor() in the limits")
    terms = int(np.max(last - first, initial=-1)) + 1
    if terms > MAX_TERMS:
        raise SpecError(f"a sum of {terms} terms is too long", f"keep sums under {MAX_TERMS} terms")
    total = np.zeros(first.shape)
    for step in range(terms):
        total = total + np.where(first + step <= last, term(first + step), 0.0)
    return total
