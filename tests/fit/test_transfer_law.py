"""Transfer of a law of kernels: from one simulated board to another, with a few of its networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import FitError
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import Form, Group
from edgeprof.fit.law_file import read_law, write_law
from edgeprof.fit.prediction import predict_many
from edgeprof.fit.transfer_law import first_measurements, transfer_law
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Measurement

FORM = Form(
    name="small",
    scope="kernel",
    group=(
        Group(name="Gemm", kinds=("Gemm",), terms=("R*N*M", "1")),
        Group(name="other", kinds=("*",), terms=("Y",)),
    ),
)
SWEEP = {
    "name": "few",
    "sample": {"nets": 24, "seed": 3, "conv": "1..2", "fc": "1..3", "depth": "4..16", "neurons": "32..256"},
    "net": {"batch": 16, "threads": 1},
}


def measured(law: str, folder: Path, name: str) -> list[Measurement]:
    db = folder / f"{name}.db"
    with open_target("auto", f"simulated:{law},noise=1%") as target:
        run_sweep([parse_sweep(SWEEP, name)], db, target, rounds=1)
    with Store(db) as store:
        return list(store.measurements())


@pytest.fixture
def boards(plain_law: str, tmp_path: Path) -> tuple[list[Measurement], list[Measurement]]:
    """Two boards: products are four times as slow on the second, all else twice."""
    law = read_law(plain_law)
    groups = [
        g.model_copy(
            update={
                "terms": tuple(
                    t.model_copy(update={"coefficient": t.coefficient * (4 if g.name == "Gemm" else 2)})
                    for t in g.terms
                )
            }
        )
        for g in law.groups
    ]
    other = tmp_path / "other.json"
    write_law(law.model_copy(update={"groups": tuple(groups)}), other)
    return measured(plain_law, tmp_path, "a"), measured(str(other), tmp_path, "b")


def test_few_networks_move_a_law(boards: tuple[list[Measurement], list[Measurement]]) -> None:
    here, there = boards
    prior = fit_law(here, FORM, name="a").law
    few = first_measurements(there, 5)
    law = transfer_law(few, prior, name="b").law
    assert law.networks == 5
    assert law.prior["law"] == "a"
    gemm, other = ({t.text: t.coefficient for t in g.terms} for g in law.groups)
    assert gemm["R*N*M"] == pytest.approx(8e-8, rel=0.05)
    assert other["Y"] == pytest.approx(4e-7, rel=0.05)
    rest = [m for m in there if m not in few and m.latency_ms is not None]
    found = predict_many(law, [(m.case.net, m.case.batch) for m in rest])
    off = [abs(p.latency_ms / (m.latency_ms or 0) - 1) for p, m in zip(found, rest, strict=True)]
    assert np.mean(off) < 0.03


def test_standard_errors_of_a_transferred_law(
    boards: tuple[list[Measurement], list[Measurement]],
) -> None:
    here, there = boards
    prior = fit_law(here, FORM, name="a").law
    law = transfer_law(first_measurements(there, 12), prior, name="b").law
    gemm, other = (group.terms[0] for group in law.groups)
    assert 0 < (gemm.standard_error or 0) < 0.02 * 8e-8
    assert abs(gemm.coefficient - 8e-8) < 5 * (gemm.standard_error or 0)
    assert 0 < (other.standard_error or 0) < 0.02 * 4e-7
    few = transfer_law(first_measurements(there, 5), prior).law
    assert all(t.standard_error is None for g in few.groups for t in g.terms)


def test_refusals(boards: tuple[list[Measurement], list[Measurement]], law_of: Callable[[str], str]) -> None:
    here, _ = boards
    with pytest.raises(FitError, match="no prior"):
        transfer_law(here, read_law("gtx960-theano"))
    with pytest.raises(FitError, match="needs 3 networks"):
        transfer_law(first_measurements(here, 2), fit_law(here, FORM).law)
    with pytest.raises(FitError, match="24 networks were measured"):
        first_measurements(here, 25)
