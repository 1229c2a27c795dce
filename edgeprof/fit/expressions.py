"""The expression language of forms and laws: text → sympy tree → NumPy, C, JavaScript, Python, LaTeX, people.

Catalogue files come from strangers. Text is parsed by ``ast`` and read against a short list of operators,
functions and names; nothing of it ever runs as Python, and its size, depth and numbers are limited before
sympy sees them, so that no text can keep it busy.
"""

from __future__ import annotations

import ast
import functools
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from sympy.codegen import cfunctions
from sympy.printing.numpy import NumPyPrinter
from sympy.printing.precedence import PRECEDENCE

from edgeprof.errors import SpecError

MAX_CHARACTERS = 2000
MAX_DEPTH = 40
MAX_NODES = 500
MAX_NUMBER = 10**18
MAX_FLOAT = 1e300
MAX_EXPONENT = 8
MAX_TERMS = 10_000  # of one sum, when it is evaluated


@dataclass(frozen=True)
class Expression:
    """A formula in named variables.

    :param text: the source, as written.
    :param tree: the same as a sympy expression over plain ``sympy.Symbol(name)``.
    :param names: the variables that it uses.
    """

    text: str
    tree: sp.Expr
    names: frozenset[str]

    def evaluate(self, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """The value of the formula, element by element.

        :param values: a number or an array for each of ``names``, in the variable's own unit; shapes must
            broadcast together. Names that the formula does not use are ignored.
        :returns: float64 of the broadcast shape (0-d when every value is a number). Where the arithmetic
            has no finite answer (a division by zero) the element is inf or nan.
        :raises SpecError: for a missing or unsuitable value, constants without a real result, or a sum whose
            limits are not whole numbers or that has more than ``MAX_TERMS`` terms.
        """
        missing = sorted(self.names - values.keys())
        if missing:
            raise SpecError(
                f"no value for {', '.join(missing)} in the expression {_short(self.text)}",
                f"give a number or an array for each of {', '.join(sorted(self.names))}",
            )
        names = sorted(self.names)
        try:
            arrays = [np.asarray(values[name], dtype=np.float64) for name in names]
            shape = np.broadcast_shapes(*(array.shape for array in arrays))
        except (TypeError, ValueError) as error:
            raise SpecError(
                f"unsuitable values for {', '.join(names)} in the expression {_short(self.text)}: {error}",
                "give numbers, or arrays of numbers whose shapes broadcast together",
            ) from error
        try:
            with np.errstate(all="ignore"):
                result = np.broadcast_to(_compiled(self)(*arrays), shape)
            return np.array(result.astype(np.float64, casting="safe"))
        except (ArithmeticError, TypeError) as error:  # constants that sympy did not work out
            raise SpecError(
                f"no real number: {_short(self.text)}",
                "no division by zero, no roots of negative numbers",
            ) from error


def parse(text: str, allowed: Collection[str]) -> Expression:
    """Read a formula.

    The language: numbers, names, ``+ - * / // % **``, a leading minus, parentheses, and the calls
    ``ceil(x)``, ``floor(x)``, ``min(a, b, …)``, ``max(a, b, …)``, ``sqrt(x)``, ``log2(x)``, ``blocks(x, n)``
    = ⌈x/n⌉, ``roundup(x, n)`` = ⌈x/n⌉·n, ``where(a < b, x, y)``, and ``sum(x, n, low, high)``, n counting in
    ones, which is 0 when high < low.

    :param text: the formula, at most ``MAX_CHARACTERS`` long.
    :param allowed: the names of the variables that it may use.
    :raises SpecError: for anything else; the message shows the offending piece.
    """
    reader = _Reader(text, frozenset(allowed))
    root = reader.syntax()
    try:
        tree = reader.read(root, reader.allowed)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reader.refuse("cannot make sense of", root, f"the algebra says: {error}", error)
    return Expression(text, tree, frozenset(reader.used))


def as_text(expression: Expression) -> str:
    """The formula for people, its parts in the order of the source: ``D·Σₙ₌₂..C (t − 4n)²``."""
    return _show(_Reader(expression.text, frozenset()).syntax())[0]


# --- functions that sympy lacks -----------------------------------------------------------------------------


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


_ROUNDINGS: dict[str, type[_Quotient]] = {"ceil": Ceil, "floor": Floor}


def _rounded(rounding: type[_Quotient], x: Any, n: Any) -> Any:
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
        if language == "numpy":
            return f"numpy.where({condition}, {x}, {y})"
        if language == "python":
            return f"(({x}) if {condition} else ({y}))"
        return f"(({condition}) ? ({x}) : ({y}))"

    def _tex(self, printer: Any) -> str:
        condition, x, y = (printer._print(arg) for arg in self.args)
        return rf"\begin{{cases}} {x} & \text{{if}}\: {condition} \\ {y} & \text{{else}} \end{{cases}}"


class log2(cfunctions.log2):  # type: ignore[misc]
    """log₂ x, printed in JavaScript too; the other printers know it by this name."""

    def _javascript(self, printer: Any) -> str:
        return f"Math.log2({printer._print(self.args[0])})"


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
                "C and JavaScript have no sums: use another form for them, or emit Python",
            )
        return Where(sp.Ge(high, low), sp.summation(sp.expand(term.expr), (n, low, high)), sp.Integer(0))

    def _code(self, printer: Any, language: str) -> str:
        if language in ("c", "javascript"):
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


def _bounded_sum(
    term: Callable[[NDArray[np.float64]], Any], low: ArrayLike, high: ArrayLike
) -> NDArray[np.float64]:
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


@functools.lru_cache(maxsize=1024)
def _compiled(expression: Expression) -> Callable[..., Any]:
    printer = NumPyPrinter(
        {"fully_qualified_modules": True, "allow_unknown_functions": True, "order": "none"}
    )
    symbols = [sp.Symbol(name) for name in sorted(expression.names)]
    own = {"_bounded_sum": _bounded_sum, "functools": functools}
    compiled: Callable[..., Any] = sp.lambdify(symbols, expression.tree, [own, "numpy"], printer)
    return compiled


# --- text to tree -------------------------------------------------------------------------------------------

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: _rounded(Floor, a, b),
    ast.Mod: lambda a, b: sp.Mod(a, b, evaluate=False),
}
_RELATIONS: dict[type[ast.cmpop], tuple[Any, str]] = {
    ast.Lt: (sp.Lt, "<"),
    ast.LtE: (sp.Le, "≤"),
    ast.Gt: (sp.Gt, ">"),
    ast.GtE: (sp.Ge, "≥"),
    ast.Eq: (sp.Eq, "="),
    ast.NotEq: (sp.Ne, "≠"),
}
_PARTS = (ast.expr, ast.keyword, ast.comprehension, ast.arguments)
_ARGUMENTS = {  # least and greatest number of arguments
    "ceil": (1, 1),
    "floor": (1, 1),
    "min": (2, MAX_NODES),
    "max": (2, MAX_NODES),
    "sqrt": (1, 1),
    "log2": (1, 1),
    "blocks": (2, 2),
    "roundup": (2, 2),
    "where": (3, 3),
    "sum": (4, 4),
}


class _Reader:
    """Reads one text. Functions are kept unevaluated: sympy's own simplification of Max, Piecewise and the
    like can take minutes on a page of text."""

    def __init__(self, text: str, allowed: frozenset[str]) -> None:
        self.text = text.strip()
        self.allowed = allowed
        self.used: set[str] = set()

    def refuse(
        self, what: str, node: ast.AST | None = None, hint: str = "", cause: Exception | None = None
    ) -> NoReturn:
        piece = ast.get_source_segment(self.text, node) if node is not None else None
        context = f" in {_short(self.text)}" if piece and piece != self.text else ""
        calls = ", ".join(f"{name}()" for name in _ARGUMENTS)
        names = f"the names {', '.join(sorted(self.allowed))}" if self.allowed else "no names"
        raise SpecError(
            f"{what} {_short(piece or self.text)}{context}",
            hint or f"allowed: numbers, + - * / // % **, parentheses, {calls}; {names}",
        ) from cause

    def syntax(self) -> ast.expr:
        """The syntax tree, its size checked."""
        if len(self.text) > MAX_CHARACTERS:
            self.refuse(f"more than {MAX_CHARACTERS} characters:", hint="split it into several terms")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                root = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            self.refuse("not an expression:", cause=error)
        parts = 0
        level: list[ast.AST] = [root]
        for _ in range(MAX_DEPTH):
            parts += len(level)
            children = [child for node in level for child in ast.iter_child_nodes(node)]
            level = [child for child in children if isinstance(child, _PARTS)]
        if level:
            self.refuse(f"nested more than {MAX_DEPTH} deep:", hint="split it into several terms")
        if parts > MAX_NODES:
            self.refuse(f"more than {MAX_NODES} parts:", hint="split it into several terms")
        return root

    def read(self, node: ast.AST, names: frozenset[str]) -> Any:
        """The sympy tree of a node in which ``names`` may occur."""
        tree = self._read(node, names)
        if tree.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
            self.refuse("no finite real number:", node, "no division by zero, no roots of negative numbers")
        for number in tree.atoms(sp.Number):  # small numbers here keep the powers above small
            size = max(abs(number.p), number.q) if number.is_Rational else abs(float(number)) / MAX_FLOAT
            if size > (MAX_NUMBER if number.is_Rational else 1):
                self.too_large(node)
        return tree

    def too_large(self, node: ast.AST) -> NoReturn:
        self.refuse("too large a number:", node, f"whole numbers and fractions go up to {MAX_NUMBER:.0e}")

    def _read(self, node: ast.AST, names: frozenset[str]) -> Any:
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return sp.Integer(number) if number <= MAX_NUMBER else self.too_large(node)
            case ast.Constant(value=float() as number):
                return sp.Float(repr(number), 17) if number <= MAX_FLOAT else self.too_large(node)
            case ast.Name(id=name) if name in names:
                if name in self.allowed:
                    self.used.add(name)
                return sp.Symbol(name)
            case ast.Name():
                self.refuse("unknown name", node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.read(operand, names)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                exponent = self.read(right, names)
                if not exponent.is_Number or abs(exponent) > MAX_EXPONENT:
                    self.refuse("exponent", right, f"use a number between -{MAX_EXPONENT} and {MAX_EXPONENT}")
                base = self.read(left, names)
                return base**exponent if exponent.is_Integer else Root(base, exponent)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self.read(left, names), self.read(right, names))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _ARGUMENTS:
                least, most = _ARGUMENTS[name]
                if not least <= len(args) <= most:
                    wanted = f"{least} arguments" if least == most else f"{least} or more arguments"
                    self.refuse(f"{len(args)} arguments where {name}() takes {wanted}:", node)
                return self._call(name, args, names)
            case ast.Call():
                self.refuse("unknown function", node)
            case _:
                self.refuse("not allowed:", node)

    def _call(self, name: str, args: list[ast.expr], names: frozenset[str]) -> Any:
        match name, args:
            case "sum", [term, counter, low, high]:
                if any(_is_call(part, "sum") for arg in args for part in ast.walk(arg)):
                    self.refuse("a sum inside a sum:", term, "write sums side by side")
                if not isinstance(counter, ast.Name) or len(counter.id) > 1 or counter.id in names:
                    self.refuse("counter of a sum:", counter, "use a letter that no variable has, such as n")
                body = self.read(term, names | {counter.id})
                limits = self.read(low, names), self.read(high, names)
                return BoundedSum(sp.Lambda(sp.Symbol(counter.id), body), *limits)
            case "where", [ast.Compare(left=a, ops=[op], comparators=[b]), yes, no] if type(op) in _RELATIONS:
                holds = _RELATIONS[type(op)][0](self.read(a, names), self.read(b, names), evaluate=False)
                return Where(holds, self.read(yes, names), self.read(no, names))
            case "where", _:
                self.refuse("where() needs one comparison of two expressions, not", args[0])
            case (("ceil" | "floor"), [ast.BinOp(left=left, op=ast.Div(), right=right)]):
                return _rounded(_ROUNDINGS[name], self.read(left, names), self.read(right, names))
            case "roundup", [_, step] if any(_is_call(part) for part in ast.walk(step)):
                self.refuse("roundup() to multiples of", step, "its second argument must hold no function")
        values = [self.read(arg, names) for arg in args]
        match name:
            case "ceil" | "floor":
                return _rounded(_ROUNDINGS[name], values[0], sp.Integer(1))
            case "blocks":
                return _rounded(Ceil, *values)
            case "roundup":
                return _rounded(Ceil, *values) * values[1]
            case "sqrt":
                return Root(values[0], sp.Rational(1, 2))
            case "log2":
                return log2(values[0])
            case _:
                return (sp.Min if name == "min" else sp.Max)(*values, evaluate=False)


def _is_call(node: ast.AST, name: str | None = None) -> bool:
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
    return bool(called) and name in (None, called)


def _short(text: str) -> str:
    """A piece of a stranger's text, fit for a one-line message."""
    return repr(text if len(text) <= 60 else text[:57] + "…")


# --- tree to text for people --------------------------------------------------------------------------------

_MOD, _SUM, _PRODUCT, _POWER, _ATOM = range(5)  # how tightly a piece of text holds together
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SUBSCRIPT = dict(zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))


def _show(node: ast.AST) -> tuple[str, int]:
    """The text of a node that has been read before, and how tightly it holds together."""
    match node:
        case ast.Constant(value=value):
            return str(value), _ATOM
        case ast.Name(id=name):
            return name, _ATOM
        case ast.UnaryOp(operand=operand):
            return "−" + _at_least(_PRODUCT, operand), _SUM
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = "+" if isinstance(op, ast.Add) else "−"
            return f"{_at_least(_SUM, left)} {sign} {_at_least(_PRODUCT, right)}", _SUM
        case ast.BinOp(op=ast.Mult() | ast.Div()):
            return _product(node), _PRODUCT
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            return f"⌊{_ratio(left, right)}⌋", _ATOM
        case ast.BinOp(left=left, op=ast.Mod(), right=right):
            return f"{_at_least(_POWER, left)} mod {_at_least(_POWER, right)}", _MOD
        case ast.BinOp(left=left, right=right):
            power = _show(right)[0].replace("−", "-")
            if power.lstrip("-").isdigit():
                return _at_least(_ATOM, left) + power.translate(_SUPERSCRIPT), _POWER
            return f"{_at_least(_ATOM, left)}^{_at_least(_ATOM, right)}", _POWER
        case ast.Call(func=ast.Name(id=name), args=args):
            return _show_call(name, args)
    raise TypeError(node)


def _show_call(name: str, args: list[ast.expr]) -> tuple[str, int]:
    match name, args:
        case "ceil", [x]:
            return f"⌈{_show(x)[0]}⌉", _ATOM
        case "floor", [x]:
            return f"⌊{_show(x)[0]}⌋", _ATOM
        case "blocks", [x, n]:
            return f"⌈{_ratio(x, n)}⌉", _ATOM
        case "roundup", [x, n]:
            return f"⌈{_ratio(x, n)}⌉·{_at_least(_PRODUCT, n)}", _PRODUCT
        case "sqrt", [x]:
            return f"√{_at_least(_ATOM, x)}", _POWER
        case "where", [ast.Compare(left=left, ops=[op], comparators=[right]), yes, no]:
            condition = f"{_show(left)[0]} {_RELATIONS[type(op)][1]} {_show(right)[0]}"
            return f"({_show(yes)[0]} if {condition} else {_show(no)[0]})", _ATOM
        case "sum", [term, ast.Name(id=n), low, high]:
            start = f"{n}={_show(low)[0]}"
            tight = start.replace(" ", "")
            under = "".join(_SUBSCRIPT.get(letter, "") for letter in tight)
            above = _at_least(_ATOM, high)
            limits = f"{under}..{above}" if len(under) == len(tight) else f"[{start}..{above}]"
            return f"Σ{limits} {_at_least(_PRODUCT, term)}", _PRODUCT
    label = "log₂" if name == "log2" else name
    return f"{label}({', '.join(_show(arg)[0] for arg in args)})", _ATOM


def _at_least(level: int, node: ast.AST) -> str:
    text, tightness = _show(node)
    return text if tightness >= level else f"({text})"


def _ratio(x: ast.expr, n: ast.expr) -> str:
    return _product(ast.BinOp(x, ast.Div(), n))


def _product(node: ast.AST) -> str:
    """A chain of factors: ``2*n*x/y`` is 2n·x/y. Only the last may be a Σ without parentheses."""
    factors: list[tuple[str, ast.AST]] = []

    def flatten(part: ast.AST, sign: str) -> None:
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult | ast.Div) and sign != "/":
            flatten(part.left, sign)
            flatten(part.right, "·" if isinstance(part.op, ast.Mult) else "/")
        else:
            factors.append((sign, part))

    flatten(node, "")
    text = ""
    for place, (sign, part) in enumerate(factors):
        piece, tightness = _show(part)
        loose = tightness < (_POWER if sign == "/" else _PRODUCT)
        if loose and isinstance(part, ast.UnaryOp) and place == 0:
            loose = False
        if "Σ" in piece and tightness < _POWER and place < len(factors) - 1:
            loose = True
        if loose:
            piece = f"({piece})"
        if place == 1 and sign == "·" and _juxtaposed(factors[0][1], part, piece):
            sign = ""
        text += sign + piece
    return text


def _juxtaposed(first: ast.AST, second: ast.AST, piece: str) -> bool:
    """Whether a whole number and what follows it are written 4n, 4n² or 4(n − 1)."""
    if not (isinstance(first, ast.Constant) and isinstance(first.value, int)):
        return False
    base = second.left if isinstance(second, ast.BinOp) and isinstance(second.op, ast.Pow) else second
    return piece.startswith("(") or (isinstance(base, ast.Name) and len(base.id) == 1)
