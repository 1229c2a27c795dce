"""Laws from tables: known coefficients are found again, real layers are predicted, nets are summed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import DomainError, FitError
from edgeprof.fit.emit import law_text
from edgeprof.fit.forms import Form, Group, read_form
from edgeprof.fit.law_file import law_json, parse_law, read_law
from edgeprof.fit.prediction import predict
from edgeprof.fit.record_law import fit_records, predict_records, select_for
from edgeprof.fit.records import Record, Records, read_records
from edgeprof.nets.layers import conv_layer, linear_layer
from edgeprof.nets.spec import net_spec

LATENCY = Path(__file__).resolve().parents[1] / "data" / "latency"
V100 = ["device=Tesla V100-PCIE-32GB"]
PLAIN = Form(
    name="plain",
    scope="kernel",
    group=(
        Group(name="Conv", kinds=("Conv",), terms=("B*H*W*C*M*Kh*Kw", "B*H*W*M")),
        Group(name="Gemm", kinds=("Gemm",), terms=("1", "R*N*M", "N*M")),
    ),
    overhead=("1",),
)


def linear_records(count: int = 200, noise: float = 0.0) -> Records:
    rng = np.random.default_rng(3)
    real = read_records(LATENCY / "linear.csv", "latency_ms", V100)
    rows = []
    for row in real.rows[:count]:
        d = row.operators[0].dims
        ms = 0.05 + 2e-10 * d["R"] * d["N"] * d["M"] + 1e-8 * d["N"] * d["M"]
        rows.append(replace(row, latency_ms=ms * rng.lognormal(0, noise)))
    return replace(real, rows=tuple(rows))


def test_known_coefficients() -> None:
    found = fit_records(linear_records(), PLAIN)
    (group,) = found.law.groups
    assert [t.coefficient for t in group.terms] == pytest.approx([0.05, 2e-10, 1e-8], rel=1e-3)
    assert found.cv is not None
    assert found.cv.mape_pct < 0.1
    assert found.law.table["rows"] == 200


def test_standard_errors_and_interval() -> None:
    found = fit_records(linear_records(noise=0.1), PLAIN)
    for term, true in zip(found.law.groups[0].terms, (0.05, 2e-10, 1e-8), strict=True):
        assert term.standard_error is not None
        assert abs(term.coefficient - true) < 4 * term.standard_error
    assert found.cv is not None
    assert found.cv.covered_pct == pytest.approx(90, abs=5)


@pytest.mark.parametrize(("kind", "at_most"), [("linear", 13), ("conv", 25)])
def test_real_layers(kind: str, at_most: float) -> None:
    records = read_records(LATENCY / f"{kind}.csv", "latency_ms", V100)
    train, test = records.rows[:350], records.rows[350:]
    law = fit_records(replace(records, rows=train), read_form("gpu"), cross_validate=False).law
    again = parse_law(law_json(law), "law.json")
    found = np.array([p.latency_ms for p in predict_records(again, test)])
    measured = np.array([r.latency_ms for r in test])
    assert np.mean(np.abs(found / measured - 1)) * 100 < at_most
    assert not any(p.outside for p in predict_records(again, train))
    assert max(map(len, law_text(law).splitlines())) <= 80


def test_outside_what_was_seen() -> None:
    law = fit_records(linear_records(noise=0.05), PLAIN).law
    records = linear_records(1)
    row = records.rows[0]
    values = {**row.values, "n": 10**6}
    far = replace(row, values=values, operators=linear_layer(values["m"], values["k"], 10**6))
    near, found = predict_records(law, [row, far])
    assert near.outside == ()
    assert [o["what"] for o in found.outside] == ["n"]
    assert near.interval_ms is not None
    assert found.interval_ms is not None
    assert found.interval_ms[1] / found.latency_ms > near.interval_ms[1] / near.latency_ms


def test_a_trend_is_kept_out_of_the_coefficients() -> None:
    calm = linear_records(300, noise=0.03)
    lines = np.array([r.line for r in calm.rows])
    place = (lines - lines.min()) / np.ptp(lines)
    drifting = [
        replace(r, latency_ms=(r.latency_ms or 0) + 0.5 * p) for r, p in zip(calm.rows, place, strict=True)
    ]
    law = fit_records(replace(calm, rows=tuple(drifting)), PLAIN, cross_validate=False).law
    assert law.table["trend_ms"] == pytest.approx(0.5, rel=0.1)
    assert [t.coefficient for t in law.groups[0].terms] == pytest.approx([0.3, 2e-10, 1e-8], rel=0.15)
    assert "last rows took 0.5 ms longer" in " ".join(law_text(law).split())
    assert fit_records(calm, PLAIN, cross_validate=False).law.table["trend_ms"] == 0


def test_what_a_table_does_not_have_is_not_free() -> None:
    law = fit_records(linear_records(), PLAIN, cross_validate=False).law
    row = linear_records(1).rows[0]
    with pytest.raises(DomainError, match="of a table of linear and has no price for Conv"):
        predict_records(law, [replace(row, operators=conv_layer(1, 3, 4, 3, 8))])
    with pytest.raises(DomainError, match="no price for Conv"):
        predict(law, net_spec(conv=1), 16)


def test_networks_are_fitted_on_their_sums() -> None:
    rng = np.random.default_rng(4)
    rows = []
    for i in range(60):
        b, c, m, h = (int(v) for v in rng.integers(1, 64, 4))
        operators = (*conv_layer(b, c, m, 3, h + 3, 1, 1), *linear_layer(b, 16 * m, c))
        conv, gemm = (op.dims for op in operators)
        ms = 0.3 + 1e-8 * conv["B"] * conv["H"] ** 2 * c * m * 9 + 5e-7 * gemm["N"] * gemm["M"]
        rows.append(Record(i, {"batch": b, "width": m}, operators, ms))
    records = replace(linear_records(1), rows=tuple(rows))
    found = fit_records(records, PLAIN)
    assert found.law.overhead[0].coefficient + found.law.groups[1].terms[0].coefficient == pytest.approx(
        0.3, rel=0.02
    )
    assert found.cv is not None
    assert found.cv.mape_pct < 1


def test_refusals() -> None:
    with pytest.raises(FitError, match="variables of a network"):
        fit_records(linear_records(), read_form("eq13"))
    with pytest.raises(FitError, match="needs L2, L3, V of the machine"):
        fit_records(linear_records(), read_form("kernels"))
    with pytest.raises(FitError, match="5 rows are too few"):
        fit_records(linear_records(5), PLAIN)
    only_conv = PLAIN.model_copy(update={"group": PLAIN.group[:1]})
    with pytest.raises(FitError, match="no group for Gemm"):
        fit_records(linear_records(), Form(**only_conv.model_dump()))
    with pytest.raises(DomainError, match="whole networks"):
        predict_records(read_law("gtx960-theano"), linear_records(1).rows)


def test_auto_takes_what_a_table_can_be_fitted_with() -> None:
    found = select_for(linear_records(100, 0.1), "auto")
    assert found.fit.law.form == "gpu"
    assert [c.form for c in found.candidates] == ["gpu"]
