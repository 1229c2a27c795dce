"""sympy's printers for the languages of generated code, with a law's own names for its variables and kinds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sympy.printing.c import C99CodePrinter
from sympy.printing.codeprinter import CodePrinter
from sympy.printing.jscode import JavascriptCodePrinter
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.pycode import PythonCodePrinter


class Named(CodePrinter):  # type: ignore[misc]
    """Prints variables by ``names`` and kinds of kernels by ``words`` (what is in neither, as it is); ``prefix`` leads
    the name of helping functions."""

    def __init__(
        self, names: Mapping[str, str], words: Mapping[str, str] | None = None, prefix: str = ""
    ) -> None:
        super().__init__({"order": "none"})
        self.names = names
        self.words = words or {}
        self.prefix = prefix

    def _print_Symbol(self, expr: Any) -> str:
        return str(self.names.get(expr.name, expr.name))

    def _print_Word(self, expr: Any) -> str:
        return self.words.get(expr.name) or json.dumps(str(expr.name))


class C(Named, C99CodePrinter):  # type: ignore[misc]
    """C99."""

    def _print_Mod(self, expr: Any) -> str:
        return f"{self.prefix}modulo({', '.join(self._print(arg) for arg in expr.args)})"


class Javascript(Named, JavascriptCodePrinter):  # type: ignore[misc]
    """JavaScript."""

    _print_Mod = C._print_Mod


class Python(Named, PythonCodePrinter):  # type: ignore[misc]
    """Python."""

    def _print_Relational(self, expr: Any) -> str:
        return f"{self._print(expr.lhs)} {expr.rel_op} {self._print(expr.rhs)}"

    def _print_Word(self, expr: Any) -> str:
        return ascii(str(expr.name))


class Spreadsheet(Named):
    """Formulas that LibreOffice, Excel and Google Sheets read alike: the names are cells."""

    printmethod = "_spreadsheet"
    language = "spreadsheet"

    def _format_code(self, lines: list[str]) -> list[str]:
        return lines

    def _print_Word(self, expr: Any) -> str:
        text = str(expr.name).replace('"', '""')
        return f'"{text}"'

    def _print_Pow(self, expr: Any) -> str:
        """A function: in a spreadsheet −x² is (−x)²."""
        base, exponent = expr.args
        if exponent == -1:
            return f"1/{self.parenthesize(base, PRECEDENCE['Pow'])}"
        return f"POWER({self._print(base)},{self._print(exponent)})"

    def _print_Rational(self, expr: Any) -> str:
        return f"{expr.p}/{expr.q}"

    def _print_Mod(self, expr: Any) -> str:
        return self._called("MOD", expr.args)

    def _print_Max(self, expr: Any) -> str:
        return self._called("MAX", expr.args)

    def _print_Min(self, expr: Any) -> str:
        return self._called("MIN", expr.args)

    def _print_Or(self, expr: Any) -> str:
        return self._called("OR", expr.args)

    def _print_Relational(self, expr: Any) -> str:
        sign = {"==": "=", "!=": "<>"}.get(expr.rel_op, expr.rel_op)
        return f"{self._print(expr.lhs)}{sign}{self._print(expr.rhs)}"

    def _called(self, name: str, args: Any) -> str:
        return f"{name}({','.join(self._print(arg) for arg in args)})"
