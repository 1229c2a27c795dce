"""Case: its identity, and the key that a database keeps it under."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edgeprof.nets.model import ModelFile
from edgeprof.nets.network import ZooNet
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case, Workload

PARTS: dict[str, Any] = {
    "net": net_spec(),
    "batch": 64,
    "precision": "fp32",
    "threads": 1,
    "launch": "blocking",
    "board": "cpu",
    "machine": "a machine",
    "backend": "ort-cpu",
    "runtime": "1.18.0",
}
CHANGES: dict[str, Any] = {
    "net": net_spec(depth=21),
    "batch": 65,
    "precision": "fp16",
    "threads": 2,
    "launch": "async",
    "power_mode": "15W",
    "provider_options": (("cudnn_conv_algo_search", "HEURISTIC"),),
    "board": "jetson",
    "machine": "another machine",
    "backend": "ort-cuda",
    "runtime": "1.19.0",
    "inputs": "tiles",
    "clocks": "max",
}

KEPT = (  # as the first databases hold it
    '{"backend": "ort-cpu", "batch": 64, "board": "cpu", "inputs": "noise", "launch": "blocking", "machin'
    'e": "a machine", "net": {"channels": 1, "classes": 10, "conv": 2, "depth": [8, 16], "fc": 0, "kernel'
    '": [5, 5], "neurons": [], "padding": ["valid", "valid"], "pool": 2, "pool_before": 1, "stride": [1, '
    '1], "tile": 28}, "power_mode": null, "precision": "fp32", "provider_options": [],'
    ' "runtime": "1.18.0", "threads": 1}'
)


def test_the_key_never_changes() -> None:
    # Databases hold it: a new key means that everything is measured again.
    assert Case(**PARTS).key() == "af3b5aaf34a36e05a0c1"


def test_cases_of_the_family_that_a_database_holds_can_be_read() -> None:
    case = Case.model_validate_json(KEPT)
    assert case.net == net_spec(conv=2, depth=(8, 16), fc=0)
    assert case.key() == "742b0bb2a7fca88b0529"
    assert json.dumps(case.identity(), sort_keys=True) == KEPT


@pytest.mark.parametrize(
    "net",
    [
        ZooNet(name="resnet18"),
        ModelFile(name="m", sha256="ab", shapes=(("x", (1, 3)), ("scale", ()))),
    ],
)
def test_a_case_is_of_any_kind_of_network(net: Any) -> None:
    case = Case(**{**PARTS, "net": net})
    assert Case.model_validate_json(case.model_dump_json()) == case
    assert type(Case(**json.loads(json.dumps(case.identity()))).net) is type(net)
    assert len({case.key(), Case(**PARTS).key()}) == 2
    with pytest.raises(ValidationError):
        Case(**{**PARTS, "net": {**net.model_dump(), "depth": 3}})
    with pytest.raises(ValidationError):
        Case(**{**PARTS, "net": {"kind": "teapot"}})


def test_the_key_depends_on_the_identity_alone() -> None:
    case = Case(**PARTS)
    assert Case(**dict(reversed(PARTS.items()))).key() == case.key()
    assert Case.model_validate_json(case.model_dump_json()) == case
    assert Case.model_validate_json(case.model_dump_json()).key() == case.key()


def test_every_part_of_the_identity_changes_the_key() -> None:
    assert set(CHANGES) == set(Case.model_fields)
    keys = {Case(**{**PARTS, part: value}).key() for part, value in CHANGES.items()}
    assert len(keys | {Case(**PARTS).key()}) == len(CHANGES) + 1


def test_the_identity_is_plain_values() -> None:
    identity = Case(**PARTS, provider_options=(("a", "b"),)).identity()
    assert set(identity) == set(Case.model_fields) - {"clocks"}
    assert set(Case(**PARTS, clocks="max").identity()) == set(Case.model_fields)
    assert identity["provider_options"] == [["a", "b"]]
    assert identity["net"]["depth"] == [20]
    assert identity["power_mode"] is None


def test_a_case_has_a_label_and_is_frozen() -> None:
    case = Case(**PARTS)
    assert case.label() == "conv 1×20 k5 · fc 1×1024 · batch 64"
    with pytest.raises(ValidationError):
        case.batch = 1
    with pytest.raises(ValidationError):
        Case(**{**PARTS, "sweep": "group1"})


def test_a_workload_has_the_defaults_of_the_study() -> None:
    work = Workload(net=net_spec())
    assert (work.batch, work.precision, work.threads, work.launch) == (1024, "fp32", 0, "blocking")
    assert len({work, Workload(net=net_spec(), batch=1024), Workload(net=net_spec(), batch=16)}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"batch": True},
        {"batch": "16"},
        {"batch": 16.0},
        {"threads": -1},
        {"threads": True},
        {"precision": "fp12"},
        {"launch": "later"},
        {"sweep": "x"},
    ],
)
def test_a_wrong_workload_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Workload(**{"net": net_spec(), **wrong})
