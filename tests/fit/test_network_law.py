"""Laws from the latency of whole networks: real boards, one law for all batches, transfer, files and predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import DomainError, FitError
from edgeprof.fit.emit import law_text
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law
from edgeprof.fit.network_law import choose_execution, first_networks, fit_networks, transfer_networks
from edgeprof.fit.record_law import fit_records, predict_records
from edgeprof.fit.records import Record, Records, read_records
from edgeprof.nets.nasbench201 import cell_kernels

LATENCY = Path(__file__).resolve().parents[1] / "data" / "latency"


@cache
def records(target: str) -> Records:
    name = "cells_gpu.csv" if target[0].isdigit() else "cells.csv"
    return read_records(LATENCY / name, target, batch=256 if target.endswith("256") else None)


def apart(target: str, networks: int) -> tuple[Records, list[Record]]:
    train = first_networks(records(target), networks)
    keys = {row.key for row in train.rows}
    return train, [row for row in records(target).rows if row.key not in keys]


def mape(law: Law, rows: list[Record], of: Records) -> float:
    found = predict_records(law, rows, signature=of.signature)
    return 100 * float(
        np.mean([abs(p.latency_ms / (r.latency_ms or 0) - 1) for p, r in zip(found, rows, strict=True)])
    )


@pytest.mark.parametrize(
    ("target", "execution", "limit"),
    [
        ("jetson_nano_fp32_ms", "compiled", 4.5),
        ("jetson_nano_fp16_ms", "merged", 4.5),
        ("jetson_tx2_ms", "compiled, zeros added", 4.5),
        ("2080ti_256", "eager", 0.5),
    ],
)
def test_sixty_networks(target: str, execution: str, limit: float) -> None:
    train, test = apart(target, 60)
    law = fit_networks(train, read_form("networks"), cross_validate=False, errors=False).law
    assert law.execution == execution
    assert mape(law, test, train) < limit


def test_one_law_for_all_batches() -> None:
    train, test = apart("2080ti_{batch}", 30)
    fit = fit_records(train, read_form("launches"), cross_validate=False, errors=False)
    law = parse_law(law_json(fit.law), "law.json")
    assert law.composition == "overlap"
    assert mape(law, test, train) < 2.5
    text = law_text(law)
    assert "launched in" in text
    assert max(map(len, text.splitlines())) <= 80
    priced = predict_records(law, test[:1], signature=train.signature)[0]
    assert sum(k.ms for k in priced.kernels) < priced.latency_ms
    assert next(k for k in priced.kernels if k.kind == "wait").ms > 0  # batch 1 waits for the host


def test_intervals_and_errors() -> None:
    fit = fit_networks(first_networks(records("jetson_nano_fp32_ms"), 60), read_form("networks"))
    assert fit.cv is not None
    assert fit.cv.covered_pct == pytest.approx(90, abs=4)
    assert len(fit.law.conformal) == 60
    sure = [t for g in fit.law.groups for t in g.terms if t.coefficient > 0 and not t.note]
    assert sure
    assert all(t.standard_error is not None and t.standard_error < t.coefficient for t in sure)


def priced(execution: str, price: Callable[[str], float]) -> Records:
    base = first_networks(records("jetson_tx2_ms"), 30)
    rows = [
        replace(r, latency_ms=sum(price(op.op_type) for op in cell_kernels(r.values["cell"], 1, execution)))
        for r in base.rows
    ]
    return replace(base, rows=tuple(rows))


@pytest.mark.parametrize("execution", ["eager", "merged", "compiled, zeros kept"])
def test_the_execution_is_found(execution: str) -> None:
    costs = {"Conv": 0.1, "AveragePool": 0.05, "Add": 0.02, "Mul": 0.03}
    assert (
        choose_execution(priced(execution, lambda kind: costs.get(kind, 0.01)), read_form("networks"))
        == execution
    )


def test_transfer_beats_a_map() -> None:
    prior = fit_networks(
        apart("jetson_nano_fp32_ms", 60)[0], read_form("networks"), cross_validate=False, errors=False
    ).law
    train, test = apart("jetson_tx2_ms", 10)
    fit = transfer_networks(train, prior, name="b")
    assert fit.law.prior["law"] == prior.name
    assert fit.law.name == "b"
    assert mape(parse_law(law_json(fit.law), "b.json"), test, train) < 9
    assert fit.cv is not None
    assert fit.cv.nets == 10


def test_refusals() -> None:
    with pytest.raises(FitError, match="150 networks, not 151"):
        first_networks(records("jetson_tx2_ms"), 151)
    with pytest.raises(FitError, match="asks more than"):
        fit_networks(records("jetson_tx2_ms"), read_form("gpu"))
    law = fit_networks(
        first_networks(records("jetson_tx2_ms"), 12), read_form("networks"), cross_validate=False
    ).law
    with pytest.raises(DomainError, match="networks told by cell"):
        predict_records(law, records("jetson_tx2_ms").rows[:1])
