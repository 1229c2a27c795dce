"""A formula for people, from the parsed source text, so that its parts keep the order of the source."""

from __future__ import annotations

import ast

_MOD, _SUM, _PRODUCT, _POWER, _ATOM = range(5)  # how tightly a piece of text holds together
RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "≤",
    ast.Gt: ">",
    ast.GtE: "≥",
    ast.Eq: "=",
    ast.NotEq: "≠",
}
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SUBSCRIPT = dict(zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))


def show(node: ast.AST) -> tuple[str, int]:
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
            power = show(right)[0].replace("−", "-")
            if power.lstrip("-").isdigit():
                return _at_least(_ATOM, left) + power.translate(_SUPERSCRIPT), _POWER
            return f"{_at_least(_ATOM, left)}^{_at_least(_ATOM, right)}", _POWER
        case ast.Call(func=ast.Name(id=name), args=args):
            return _show_call(name, args)
    raise TypeError(node)


def _show_call(name: str, args: list[ast.expr]) -> tuple[str, int]:
    match name, args:
        case "ceil", [x]:
            return f"⌈{show(x)[0]}⌉", _ATOM
        case "floor", [x]:
            return f"⌊{show(x)[0]}⌋", _ATOM
        case "blocks", [x, n]:
            return f"⌈{_ratio(x, n)}⌉", _ATOM
        case "roundup", [x, n]:
            return f"⌈{_ratio(x, n)}⌉·{_at_least(_PRODUCT, n)}", _PRODUCT
        case "sqrt", [x]:
            return f"√{_at_least(_ATOM, x)}", _POWER
        case "where", [ast.Compare(left=left, ops=[op], comparators=[right]), yes, no]:
            condition = f"{show(left)[0]} {RELATIONS[type(op)]} {show(right)[0]}"
            return f"({show(yes)[0]} if {condition} else {show(no)[0]})", _ATOM
        case "sum", [term, ast.Name(id=n), low, high]:
            start = f"{n}={show(low)[0]}"
            tight = start.replace(" ", "")
            under = "".join(_SUBSCRIPT.get(letter, "") for letter in tight)
            above = _at_least(_ATOM, high)
            limits = f"{under}..{above}" if len(under) == len(tight) else f"[{start}..{above}]"
            return f"Σ{limits} {_at_least(_PRODUCT, term)}", _PRODUCT
    label = "log₂" if name == "log2" else name
    return f"{label}({', '.join(show(arg)[0] for arg in args)})", _ATOM


def _at_least(level: int, node: ast.AST) -> str:
    text, tightness = show(node)
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
        piece, tightness = show(part)
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
