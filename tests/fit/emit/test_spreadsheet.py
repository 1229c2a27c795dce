"""A law as a spreadsheet, worked out by a spreadsheet engine (pycel)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.emit.sheet import place
from edgeprof.fit.emit.spreadsheet import csv_sheet
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import NetSpec, net_spec

from ..over_clocks import defined, drawn, of_networks, truth
from .conftest import MAKERS, cases_of, law_of, refused_law

excelformula = pytest.importorskip("pycel.excelformula", reason="there is no pycel")
excelutil = pytest.importorskip("pycel.excelutil", reason="there is no pycel")

COUNTS = {
    "net": 1000,
    "kernel": 100,
    "shipped": 30,
    "awkward": 100,
}  # pycel takes 20 ms for a sheet of kernels: 1,000 on demand
COUNT = os.environ.get("EDGEPROF_NETWORKS")
SHARED = {"IF", "OR", "MAX", "MIN", "INT", "MOD", "SUM", "SUMIF", "SQRT", "POWER", "LOG", "NA"}


class Book:
    """A CSV file whose cells are worked out when they are asked for."""

    def __init__(self, text: str) -> None:
        self.rows = list(csv.reader(io.StringIO(text)))
        self.cells = {
            place(r, c): excelformula.ExcelFormula(cell) if cell.startswith("=") else typed(cell)
            for r, row in enumerate(self.rows, 1)
            for c, cell in enumerate(row)
            if cell
        }
        self.labels = {row[0]: r for r, row in enumerate(self.rows, 1) if row[0]}
        self.values: dict[str, Any] = {}
        self.evaluate = excelformula.ExcelFormula.build_eval_context(self.value, self.range)

    def value(self, name: Any) -> Any:
        if (name := str(name)) not in self.values:
            cell = self.cells.get(name, "")
            if isinstance(cell, excelformula.ExcelFormula):
                cell = cell.compiled_lambda() if cell.compiled_lambda else self.evaluate(cell)
            self.values[name] = cell
        return self.values[name]

    def range(self, name: Any) -> Any:
        return tuple(
            tuple(self.value(cell) for cell in row) for row in excelutil.AddressRange(str(name)).rows
        )

    def latency(self, net: NetSpec, batch: int, clocks: dict[str, float] | None = None) -> Any:
        """What the sheet says when these knobs are typed in."""
        knobs = {**net.model_dump(), "batch": batch, **(clocks or {})}
        self.values = {}
        if "layer" not in self.labels:
            for row, knob in ((r, row[2]) for r, row in enumerate(self.rows, 1) if len(row) > 2):
                if knob in knobs:
                    value = knobs[knob]
                    mean = sum(value) / max(len(value), 1) if isinstance(value, tuple) else value
                    self.values[place(row, 1)] = mean
            self.values |= {place(self.labels[name], 1): mhz for name, mhz in (clocks or {}).items()}
            return self.value(place(self.labels["latency"], 1))
        for knob, value in knobs.items():
            if isinstance(value, tuple):
                column = next(
                    i for i, head in enumerate(self.rows[self.labels["layer"] - 1]) if head.startswith(knob)
                )
                for i, one in enumerate(value):
                    self.values[place(self.labels["layer"] + 1 + i, column)] = one
            else:
                self.values[place(self.labels[knob], 1)] = value
        return self.value(place(self.labels["latency"], 1))


def typed(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell


def test_it_gives_what_predict_gives(named: str) -> None:
    book = Book(csv_sheet(law_of(named)))
    for net, batch, ms in cases_of(named)[: int(COUNT or COUNTS[named])]:
        assert book.latency(net, batch) == pytest.approx(ms, rel=1e-9)
    speed = book.value(place(book.labels["speed"], 1))
    assert speed == pytest.approx(batch / ms)


@pytest.mark.parametrize("knobs", [{"kernel": 7, "conv": 5}, {"conv": 1, "pool": 25}])
def test_a_network_that_cannot_be_has_no_number(knobs: dict[str, Any]) -> None:
    book = Book(csv_sheet(law_of("kernel")))
    possible = net_spec(tile=200, **knobs)
    assert book.latency(possible, 64) > 0
    assert book.latency(possible.model_copy(update={"tile": 28}), 64) == "#N/A"


def test_more_layers_than_there_are_rows_have_no_number() -> None:
    assert Book(csv_sheet(law_of("kernel"))).latency(net_spec(conv=1, fc=6), 64) == "#N/A"


def test_what_predict_refuses_has_no_number() -> None:
    book = Book(csv_sheet(refused_law()))
    assert book.latency(net_spec(depth=50), 64) > 0
    assert book.latency(net_spec(depth=5), 64) == "#N/A"


def test_formulas_use_what_all_spreadsheets_have(named: str) -> None:
    """Excel takes 8,192 characters in a formula, and 64 functions nested."""
    formulas = [c for row in csv.reader(io.StringIO(csv_sheet(law_of(named)))) for c in row if c[:1] == "="]
    for formula in formulas:
        bare = re.sub(r'"[^"]*"', '""', formula)
        assert set(re.findall(r"([A-Z]+[0-9]*)\(", bare)) <= SHARED
        assert re.search(r"[;\[\]{}^%]", bare) is None
        assert len(formula) < 8192
        assert max(bare[:i].count("(") - bare[:i].count(")") for i in range(len(bare))) < 60


def test_text_of_a_stranger_is_no_formula() -> None:
    data = json.loads(law_json(law_of("net")))
    data["groups"][0]["name"] = "=HYPERLINK(1)"
    sheet = csv_sheet(parse_law(json.dumps(data), "law"))
    assert "'=HYPERLINK(1)," in sheet
    rows = list(csv.reader(io.StringIO(csv_sheet(law_of("awkward")))))
    assert [c for row in rows for c in row if c[:1] in ("+", "-", "@")] == []


def test_names_of_cells() -> None:
    assert [place(7, c) for c in (0, 25, 26, 51, 52, 701, 702)] == [
        "A7",
        "Z7",
        "AA7",
        "AZ7",
        "BA7",
        "ZZ7",
        "AAA7",
    ]
    assert place(7, 2, True) == "$C$7"


@pytest.mark.parametrize("law", [truth(), of_networks(), defined()], ids=["kernels", "networks", "defined"])
def test_clocks_are_cells_to_edit(law: Law) -> None:
    book = Book(csv_sheet(law))
    for net, batch, mhz, ms in drawn(law, 40):
        assert book.latency(net, batch, mhz) == pytest.approx(ms, rel=1e-9)
    net = net_spec(conv=2)
    assert book.latency(net, 8) == pytest.approx(predict(law, net, 8).latency_ms, rel=1e-9)


def filled(law: Law, net: NetSpec, batch: int) -> str:
    """The sheet of a law with the knobs of a network in it."""
    text = csv_sheet(law)
    rows, labels = list(csv.reader(io.StringIO(text))), Book(text).labels
    for knob, value in {**net.model_dump(), "batch": batch}.items():
        if "layer" not in labels:
            for row in (row for row in rows if row[2:3] == [knob]):
                row[1] = repr(sum(value) / max(len(value), 1) if isinstance(value, tuple) else value)
        elif isinstance(value, tuple):
            heads = rows[labels["layer"] - 1]
            column = next(i for i, head in enumerate(heads) if head.startswith(knob))
            for i, one in enumerate(value):
                rows[labels["layer"] + i][column] = str(one)
        else:
            rows[labels[knob] - 1][1] = str(value)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


@pytest.mark.skipif(shutil.which("soffice") is None, reason="there is no LibreOffice")
def test_a_spreadsheet_program_gives_what_predict_gives(tmp_path: Path) -> None:
    wanted: dict[str, float | None] = {}
    for name in MAKERS:
        for i, (net, batch, ms) in enumerate(cases_of(name)[:1]):
            wanted[f"{name}{i}.csv"] = ms
            (tmp_path / f"{name}{i}.csv").write_text(filled(law_of(name), net, batch), "utf-8")
    cannot = net_spec(tile=200, kernel=7, conv=5).model_copy(update={"tile": 28})
    (tmp_path / "none.csv").write_text(filled(law_of("kernel"), cannot, 64), "utf-8")
    wanted["none.csv"] = None
    command = [
        "soffice",
        f"-env:UserInstallation={(tmp_path / 'home').as_uri()}",
        "--headless",
        "--convert-to",
        "csv",
    ]
    english = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    english |= {"LANG": "C.UTF-8", "LANGUAGE": "en"}  # the numbers that a sheet is written in
    subprocess.run(
        [*command, "--outdir", "out", *wanted], cwd=tmp_path, env=english, capture_output=True, check=True
    )
    for name, ms in wanted.items():
        with (tmp_path / "out" / name).open(encoding="utf-8", errors="replace") as file:
            told = next(row[1] for row in csv.reader(file) if row[0] == "latency")
        assert told == "#N/A" if ms is None else float(told) == pytest.approx(ms, rel=1e-9), name
