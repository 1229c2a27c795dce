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
from sympy.printing.numpy import NumPyPrinter

from edgeprof.errors import SpecError
from edgeprof.excerpt import excerpt
from edgeprof.fit.formula import show
from edgeprof.fit.functions import (
    ROUNDINGS,
    BoundedSum,
    Ceil,
    Floor,
    Root,
    Where,
    bounded_sum,
    log2,
    rounded,
)

MAX_CHARACTERS = 2000
MAX_DEPTH = 40
MAX_NODES = 500
MAX_NUMBER = 10**18
MAX_FLOAT = 1e300
MAX_EXPONENT = 8


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
            return np.asarray(result.astype(np.float64, casting="safe"))
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
    return show(_Reader(expression.text, frozenset()).syntax())[0]


@functools.lru_cache(maxsize=1024)
def _compiled(expression: Expression) -> Callable[..., Any]:
    printer = NumPyPrinter(
        {"fully_qualified_modules": True, "allow_unknown_functions": True, "order": "none"}
    )
    symbols = [sp.Symbol(name) for name in sorted(expression.names)]
    own = {"_bounded_sum": bounded_sum, "functools": functools}
    compiled: Callable[..., Any] = sp.lambdify(symbols, expression.tree, [own, "numpy"], printer)
    return compiled


# --- text to tree -------------------------------------------------------------------------------------------

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: rounded(Floor, a, b),
    ast.Mod: lambda a, b: sp.Mod(a, b, evaluate=False),
}
_RELATIONS: dict[type[ast.cmpop], Any] = {
    ast.Lt: sp.Lt,
    ast.LtE: sp.Le,
    ast.Gt: sp.Gt,
    ast.GtE: sp.Ge,
    ast.Eq: sp.Eq,
    ast.NotEq: sp.Ne,
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
        """:raises SpecError: always, with the piece of the text that is meant and what is allowed."""
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
                holds = _RELATIONS[type(op)](self.read(a, names), self.read(b, names), evaluate=False)
                return Where(holds, self.read(yes, names), self.read(no, names))
            case "where", _:
                self.refuse("where() needs one comparison of two expressions, not", args[0])
            case (("ceil" | "floor"), [ast.BinOp(left=left, op=ast.Div(), right=right)]):
                return rounded(ROUNDINGS[name], self.read(left, names), self.read(right, names))
            case "roundup", [_, step] if any(_is_call(part) for part in ast.walk(step)):
                self.refuse("roundup() to multiples of", step, "its second argument must hold no function")
        values = [self.read(arg, names) for arg in args]
        match name:
            case "ceil" | "floor":
                return rounded(ROUNDINGS[name], values[0], sp.Integer(1))
            case "blocks":
                return rounded(Ceil, *values)
            case "roundup":
                return rounded(Ceil, *values) * values[1]
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
    return repr(excerpt(text))
