"""Hybrid laws: nearer than the readable part, kept in the law's file, and said to be opaque."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import EdgeprofError
from edgeprof.fit.emit import law_text
from edgeprof.fit.hybrid import Hybrid, fit_hybrid
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law
from edgeprof.fit.record_law import predict_records, select_for
from edgeprof.fit.records import Records, read_records

LATENCY = Path(__file__).resolve().parents[1] / "data" / "latency"


@pytest.fixture(scope="module")
def records() -> Records:
    return read_records(LATENCY / "linear.csv", "latency_ms", ["device=Tesla V100-PCIE-32GB"])


@pytest.fixture(scope="module")
def laws(records: Records) -> tuple[Law, Law]:
    train = replace(records, rows=records.rows[:350])
    settings = {"cross_validate": False, "errors": False}
    plain, hybrid = (select_for(train, form, **settings).fit.law for form in ("gpu", "hybrid"))
    return plain, hybrid


def error(law: Law, records: Records) -> float:
    rows = records.rows[350:]
    measured = np.array([r.latency_ms for r in rows])
    return float(np.mean(np.abs(np.array([p.latency_ms for p in predict_records(law, rows)]) / measured - 1)))


def test_nearer(laws: tuple[Law, Law], records: Records) -> None:
    plain, hybrid = laws
    assert (plain.form, hybrid.form) == ("gpu", "gpu+boost")
    assert error(hybrid, records) < error(plain, records)
    assert plain.groups == hybrid.groups  # the readable part is the same


def test_kept_in_the_file(laws: tuple[Law, Law], records: Records) -> None:
    again = parse_law(law_json(laws[1]), "law.json")
    rows = records.rows[350:]
    assert predict_records(again, rows) == predict_records(laws[1], rows)


def test_said_to_be_opaque(laws: tuple[Law, Law]) -> None:
    text = law_text(laws[1])
    assert "no person can read" in text
    assert "no person can read" not in law_text(laws[0])
    assert max(map(len, text.splitlines())) <= 80


def test_broken_trees_are_refused(laws: tuple[Law, Law]) -> None:
    data = json.loads(law_json(laws[1]))
    trees = data["boost"]["Gemm"]
    with pytest.raises(ValueError, match="other features"):
        Hybrid.from_dict({**trees, "ask": ["R"]})
    trees["trees"][0]["left"][0] = 0
    with pytest.raises(EdgeprofError, match="boosted trees are wrong"):
        parse_law(json.dumps(data), "law.json")


def test_a_factor_that_is_known() -> None:
    rng = np.random.default_rng(2)
    dims = [{"R": int(r), "M": int(m)} for r, m in rng.integers(1, 2000, (600, 2))]
    ms = np.array([d["R"] * d["M"] * 1e-6 + 0.1 for d in dims])
    true = np.array([1.5 if d["R"] % 128 < 64 else 0.8 for d in dims])
    found = fit_hybrid(("R", "M", "R*M"), dims, ms, ms * true)
    assert np.mean(np.abs(found.factors(dims, ms) / true - 1)) < 0.02
