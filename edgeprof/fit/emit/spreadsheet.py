"""A law as a spreadsheet in CSV: cells to edit, and live formulas that LibreOffice, Excel and Google Sheets read alike.

A law of kernels has a row per operator of the largest network of its domain, and one per place where something may run
between two of them; rows that a network does not have count nothing. Decisions become IF, each group's price a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sympy.printing.precedence import PRECEDENCE

from edgeprof.fit.emit.decisions import (
    AFTER,
    BEFORE,
    INPUT,
    NO_PRICE,
    NONE,
    OUTPUT,
    Decision,
    Outcome,
    Word,
    limited,
    outcomes,
)
from edgeprof.fit.emit.printers import Spreadsheet
from edgeprof.fit.emit.recipe import Price, Recipe, recipe
from edgeprof.fit.emit.sheet import Formula, Sheet, place
from edgeprof.fit.emit.source import about
from edgeprof.fit.emit.text import CLOCK_WORDS, KERNEL_WORDS, NET_WORDS
from edgeprof.fit.emit.walk import LEFT, OUT, POSSIBLE, SAME_PADS, WIDTH, Step, axes
from edgeprof.fit.forms import CLOCKS, CONSTANTS, KERNEL_VARIABLES
from edgeprof.fit.law import Law

MOST_LAYERS = 5  # where the domain does not tell
KNOBS = {  # value, unit
    "tile": (28, "pixels"),
    "channels": (1, "of the input"),
    "classes": (10, ""),
    "conv": (2, "conv layers"),
    "pool": (2, "pixels, after the last conv layer"),
    "pool_before": (1, "pixels, after each conv layer before it; 1 is none"),
    "fc": (1, "hidden FC layers"),
    "batch": (64, "tiles in a run"),
}
LAYERS = {"depth": 20, "kernel": 5, "stride": 1, "padding": "valid", "neurons": 1024}
NET_KNOBS = {"t": "tile", "D": "depth", "C": "conv", "N": "neurons", "F": "fc", "K": "kernel", "B": "batch"}
MACHINE = {
    "V": "float32 lanes of a vector",
    "T": "threads",
    "L1": "bytes of cache",
    "L2": "bytes of cache",
    "L3": "bytes of cache",
    "Q": "blocks of work at once",
    "GFLOPS": "float32 peak, 10⁹ a second",
    "GBPS": "memory peak, 10⁹ bytes a second",
}


def csv_sheet(law: Law) -> str:
    """The text of a CSV file with formulas.

    :raises SpecError: a law that is no sum, or a term that spreadsheets cannot express.
    """
    own = recipe(law)
    sheet = Sheet()
    for line in about(law):
        sheet.add(line)
    sheet.add("")
    if own.steps:
        _Kernels(own, sheet).write()
    else:
        _networks(own, sheet)
    return sheet.text()


def _networks(own: Recipe, sheet: Sheet) -> None:
    """A law of whole networks: the knobs are its own variables; a row per group."""
    law, prices = own.law, (*own.groups, own.overhead)
    used = {n for p in prices for n in p.arguments} | {"B"}
    sheet.add("quantity", "value", "edit the values")
    cells: dict[str, str] = {"k": str(len(law.groups))}
    for name, words in NET_WORDS.items():
        if name in used:
            knob = NET_KNOBS[name]
            usual = {**LAYERS, **{k: v for k, (v, _) in KNOBS.items()}}[knob]
            cells[name] = place(sheet.add(f"{words} {name}", _within(law, knob, usual), knob), 1, True)
    cells |= _clocks(law, sheet)
    latency = _results(sheet, cells["B"])
    sheet.add("")
    sheet.add("name", "value")
    for price in prices:
        for name, tree in price.definitions:
            if name not in cells:
                cells[name] = place(sheet.add(name, Formula(_printed(tree, cells))), 1, True)
    sheet.add("")
    sheet.add("group", f"ms per {law.unit}")
    rows = [sheet.add(p.title, Formula(_summed(p, cells))) for p in prices]
    total = f"SUM({place(rows[0], 1)}:{place(rows[-1], 1)})"
    sheet.set(latency, 1, Formula(f"{total}*{cells['B']}" if law.unit == "tile" else total))


def _clocks(law: Law, sheet: Sheet) -> dict[str, str]:
    """A cell to edit for each clock of a law."""
    return {
        name: place(sheet.add(name, mhz, f"MHz, {CLOCK_WORDS[name]}"), 1, True)
        for name, mhz in law.clocks.items()
    }


def _within(law: Law, knob: str, usual: Any) -> Any:
    """A usual value, moved into the law's domain."""
    seen = law.domain.get(knob)
    if not seen:
        return usual
    if knob == "padding":
        return usual if usual in seen else seen[0]
    return min(max(usual, seen[0]), seen[-1])


def _results(sheet: Sheet, batch: str) -> int:
    """The three lines of results; the number of the first, whose formula is still to come."""
    sheet.add("")
    row = sheet.add("latency", "", "ms per run")
    sheet.add("time of a tile", Formula(f"{place(row, 1)}/{batch}"), "ms per tile")
    sheet.add("speed", Formula(f"{batch}/{place(row, 1)}"), "tiles per ms")
    return row


def _printed(tree: Any, names: Mapping[str, str]) -> str:
    return str(Spreadsheet(names).doprint(tree))


def _number(value: float) -> str:
    return repr(value).upper()


def _summed(price: Price, names: Mapping[str, str]) -> str:
    """A price's terms, its definitions being cells."""
    printer = Spreadsheet(names)
    terms = []
    for coefficient, tree, checked in price.terms:
        text = printer.parenthesize(tree, PRECEDENCE["Mul"], strict=True)
        if checked:
            text = f"IF({printer.doprint(tree)}<0,NA(),{printer.doprint(tree)})"
        terms.append(_number(coefficient) if tree == 1 else f"{_number(coefficient)}*{text}")
    return "+".join(terms) or "0"


class _Kernels:
    """A law of kernels: knobs, layers, and a row per operator that works out which kernel runs and its price."""

    def __init__(self, own: Recipe, sheet: Sheet) -> None:
        self.own, self.sheet, self.law = own, sheet, own.law
        self.most = {k: int(own.law.domain.get(k, (0, MOST_LAYERS))[-1]) for k in ("conv", "fc")}
        decisions = [*(s.decision for s in own.steps.values()), *own.between.values()]
        dims = {n for d in decisions for n in own.arguments(d)} - {BEFORE, AFTER, *CLOCKS}
        self.definitions = {n: t for p in own.groups for n, t in p.definitions if n not in CONSTANTS}
        self.heads = {
            "operator": "operator",
            "layer": "layer",
            "runs": "runs (1 or 0)",
            "before": "kind before",
            "pixels": "pixels out",
            "columns": "channels or columns out",
            "pads": "padding of both sides (pixels)",
            "impossible": "impossible (1 or 0)",
            **{n: f"{n}: {KERNEL_WORDS.get(n, n)}" for n in KERNEL_VARIABLES if n in dims},
            **{n: n for n in self.definitions},
            **{p.name: f"{p.title} (ms)" for p in own.groups},
            "kernel": "kernel",
            "kernels": "kernels",
            "ms": "ms",
            "bytes": "bytes",
            "after": "kind after",
        }
        self.columns = {name: i for i, name in enumerate(self.heads)}
        self.cells: dict[str, str] = {}

    def write(self) -> None:
        """All of the sheet."""
        sheet, law = self.sheet, self.law
        sheet.add("quantity", "value", "edit the values here, and those of the layers")
        for knob, (usual, unit) in KNOBS.items():
            row = sheet.add(knob, _within(law, knob, usual), unit)
            self.cells[knob] = place(row, 1, True)
        self.cells |= _clocks(law, sheet)
        latency = _results(sheet, self.cells["batch"])
        kernels = sheet.add("kernels", "", "in a run")
        touched = sheet.add("weights and results", "", "bytes per run")
        self.cells["run_bytes"] = place(touched, 1, True)
        for name, value in {
            n: t for p in self.own.groups for n, t in p.definitions if n in CONSTANTS
        }.items():
            self.cells[name] = place(sheet.add(name, _printed(value, {}), MACHINE[name]), 1, True)
        sheet.add("")
        self._layers()
        sheet.add("")
        sheet.add(*self.heads.values())
        first = sheet.next
        self._walk()
        sums = {
            name: f"SUM({place(first, self.columns[name], True)}:{place(sheet.next - 1, self.columns[name], True)})"
            for name in ("ms", "kernels", "bytes", "impossible")
        }
        sheet.set(kernels, 1, Formula(sums["kernels"]))
        sheet.set(touched, 1, Formula(sums["bytes"]))
        overhead = _summed(self.own.overhead, self._network(place(kernels, 1)))
        scale = f"{self.cells['batch']}*" if law.unit == "tile" else ""
        too_many = (f"{self.cells[knob]}>{most}" for knob, most in self.most.items())
        refused = f"OR({','.join(too_many)},{sums['impossible']}>0)"
        sheet.set(latency, 1, Formula(f"IF({refused},NA(),{sums['ms']}+{scale}({overhead}))"))

    def _layers(self) -> None:
        """The knobs of each layer, and the pooling after it."""
        self.sheet.add(
            "layer",
            "depth (channels)",
            "kernel (pixels)",
            "stride (pixels)",
            "padding (valid, same or pixels)",
            "neurons of FC layer",
            "pool (pixels)",
        )
        self.first = self.sheet.next
        for layer in range(1, max(*self.most.values(), 1) + 1):
            values = [_within(self.law, knob, usual) for knob, usual in LAYERS.items()]
            last, pools = self.cells["conv"], f"{self.cells['pool_before']},{self.cells['pool']}"
            self.sheet.add(layer, *values, Formula(f"IF({place(self.sheet.next, 0)}<{last},{pools})"))
        self.last = self.sheet.next - 1

    def _layer(self, layer: int) -> dict[str, str]:
        """The cells of a layer's knobs, layers counting from 1."""
        return {knob: place(self.first + layer - 1, i + 1, True) for i, knob in enumerate((*LAYERS, "pool"))}

    def _network(self, kernels: str) -> dict[str, str]:
        """A network's own variables, for the overhead."""
        found = {"t": "tile", "C": "conv", "F": "fc", "B": "batch"}
        cells = {n: self.cells[knob] for n, knob in found.items()} | {"k": kernels}
        for name, knob, count in (("D", "depth", "conv"), ("K", "kernel", "conv"), ("N", "neurons", "fc")):
            column = 1 + list(LAYERS).index(knob)
            layers, values = (
                f"{place(self.first, i, True)}:{place(self.last, i, True)}" for i in (0, column)
            )
            n = self.cells[count]
            cells[name] = f'IF({n}>0,SUMIF({layers},"<="&{n},{values})/{n},0)'
        return {**cells, **{n: c for n, c in self.cells.items() if n in (*CONSTANTS, *CLOCKS)}}

    def _walk(self) -> None:
        """A row per operator, in the order of a network's graph."""
        cells, steps = self.cells, self.own.steps
        start = {"operator": "input", "pixels": Formula(cells["tile"]), "columns": Formula(cells["channels"])}
        self._add({**start, "after": INPUT})
        for layer in range(1, self.most["conv"] + 1):
            knobs, runs = self._layer(layer), f"{cells['conv']}>={layer}"
            self._operator(steps["conv"], layer, runs, knobs, pixels=OUT, columns=knobs["depth"])
            self._operator(steps["relu"], layer, runs, {})
            pooled = f"({runs})*({knobs['pool']}>1)=1"
            self._operator(steps["pool"], layer, pooled, {"pool": knobs["pool"]}, pixels=LEFT)
        self._operator(steps["flatten"], "", "", {}, pixels=1, columns=WIDTH)
        for layer in range(1, self.most["fc"] + 1):
            knobs, runs = self._layer(layer), f"{cells['fc']}>={layer}"
            self._operator(
                steps["gemm"], layer, runs, {"neurons": knobs["neurons"]}, columns=knobs["neurons"]
            )
            self._operator(steps["relu_fc"], layer, runs, {})
        classes = {"neurons": cells["classes"]}
        self._operator(steps["gemm"], "", "", classes, columns=cells["classes"])
        self._operator(steps["softmax"], "", "", {})
        self._operator(steps["output"], "", "", {})

    def _operator(
        self,
        step: Step,
        layer: Any,
        runs: str,
        knobs: Mapping[str, str],
        pixels: Any = None,
        columns: Any = None,
    ) -> None:
        """The row of an operator that is there where ``runs`` holds, after one for what may run before it; none where
        neither costs anything. ``pixels`` and ``columns`` say how the tensor changes."""
        kinds = {o.kind for o in outcomes(step.decision)}
        between = limited(self.own.between[axes(step)], AFTER, kinds) if kinds != {None} else NONE
        idle = step.decision == NONE and not self.own.whole and columns is None and pixels is None
        if idle or (step.name == OUTPUT and between == NONE):
            return
        last, row = self.sheet.next - 1, self.sheet.next + (between != NONE)
        was_pixels, was_columns = self._at(last, "pixels"), self._at(last, "columns")
        known = {
            **self.cells,
            "inputs": was_columns,
            "size": was_pixels,
            "depth": was_columns,
            "neurons": was_columns,
            **knobs,
            "out": self._at(row, "pixels") if step.name == "conv" else was_pixels,
            "left": self._at(row, "pixels"),
            "width": self._at(row, "columns") if step.name == "flatten" else was_columns,
            "pads": self._at(row, "pads"),
        }
        if between != NONE:
            self._add(
                {
                    "operator": "between",
                    "layer": layer,
                    "runs": Formula(f'IF({self._at(row, "kernel")}="",0,1)'),
                    **self._priced(between, step.tensor, known, self._at(row, "kernel")),
                    "after": Formula(self._at(last, "after")),
                }
            )
        here = self._at(row, "runs")
        cells: dict[str, Any] = {
            "operator": step.title,
            "layer": layer,
            "runs": Formula(f"IF({runs},1,0)") if runs else 1,
        }
        if step.name == "conv":
            same, padding = _printed(SAME_PADS, known), known["padding"]
            cells["pads"] = Formula(f'IF({padding}="same",{same},IF({padding}="valid",0,2*{padding}))')
            possible = "0"
            for condition in reversed(POSSIBLE):
                possible = f"IF({_printed(condition, known)},{possible},1)"
            cells["impossible"] = Formula(f"IF({here}=1,{possible},0)")
        for name, change, was in (("pixels", pixels, was_pixels), ("columns", columns, was_columns)):
            if change is not None:
                text = change if isinstance(change, str) else _printed(change, known)
                cells[name] = Formula(f"IF({here}=1,{text},{was})")
        kernel = _tree(step.decision, lambda o: _printed(Word(o.kind or ""), {}), self._names(row, BEFORE))
        self._add(
            {
                **cells,
                **self._priced(step.decision, step.dims, known, ""),
                "kernel": Formula(f'IF({here}=1,{kernel},"")'),
                "bytes": Formula(f"IF({here}=1,{_printed(step.bytes, known)},0)"),
                "after": Formula(
                    f'IF({self._at(row, "kernel")}="",{self._at(row, "before")},{self._at(row, "kernel")})'
                ),
            }
        )

    def _priced(
        self, decision: Decision, dims: Mapping[str, Any], known: Mapping[str, str], after: str
    ) -> dict[str, Formula]:
        """The cells of the next row that say what a decision costs: dimensions, definitions, prices, kernels, ms."""
        row = self.sheet.next
        here, names = self._at(row, "runs"), self._names(row, BEFORE, after)
        found = {
            n: Formula(f"IF({here}=1,{_printed(dims[n], known)},0)")
            for n in self.own.arguments(decision)
            if n in dims
        }
        for name in dict.fromkeys(name for o in outcomes(decision) for name, _ in o.prices if name):
            price = self.own.price(name)
            for own, tree in price.definitions:
                if own in self.columns:
                    found[own] = Formula(f"IF({here}=1,{_printed(tree, names)},0)")
            found[name] = Formula(f"IF({here}=1,{_summed(price, names)},0)")
        if decision != NONE:
            found["kernels"] = Formula(f"IF({here}=1,{_tree(decision, lambda o: str(o.kernels), names)},0)")
            found["ms"] = Formula(
                f"IF({here}=1,{_tree(decision, lambda o: self._weighted(o, row), names)},0)"
            )
        return found

    def _weighted(self, outcome: Outcome, row: int) -> str:
        parts = [
            "NA()" if name == NO_PRICE else (f"{_number(w)}*" if w != 1 else "") + self._at(row, name)
            for name, w in outcome.prices
        ]
        return "+".join(parts) or "0"

    def _names(self, row: int, before: str, after: str = "") -> dict[str, str]:
        """How formulas of a row call its variables."""
        own = {n: self._at(row, n) for n in self.columns if n in KERNEL_VARIABLES or n in self.definitions}
        return {**self.cells, **own, before: self._at(row, "before"), AFTER: after}

    def _at(self, row: int, name: str) -> str:
        return place(row, self.columns[name])

    def _add(self, cells: Mapping[str, Any]) -> None:
        """A row; what is not given is as in the row before."""
        row = self.sheet.next
        carried = (
            {}
            if cells.get("operator") == INPUT
            else {
                "before": Formula(self._at(row - 1, "after")),
                "pixels": Formula(self._at(row - 1, "pixels")),
                "columns": Formula(self._at(row - 1, "columns")),
            }
        )
        filled = {**carried, **cells}
        self.sheet.add(*(filled.get(name, "") for name in self.columns))


def _tree(decision: Decision, value: Callable[[Outcome], str], names: Mapping[str, str]) -> str:
    """A decision as nested IFs; one value where every end has the same."""
    if isinstance(decision, Outcome):
        return value(decision)
    yes, no = _tree(decision.yes, value, names), _tree(decision.no, value, names)
    return yes if yes == no else f"IF({_printed(decision.condition, names)},{yes},{no})"
