"""Profile: models of many opsets through the real runtime, taken apart. Nothing here depends on how fast it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeprof.backends.base import Backend, Stop
from edgeprof.backends.open import open_backend
from edgeprof.errors import BackendError, CatalogueError, EdgeprofError, FitError
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.nets.model import ModelFile, model_file
from edgeprof.nets.network import Network, ZooNet
from edgeprof.profile import QUANTITIES, Profile, cannot_run, find_network, profile_model, taken_apart
from edgeprof.roofline import Roofline
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Measurement, Round, measurement

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)
LAW = Path(__file__).parent / "data" / "laws" / "cpu-kernels.json"
ROOF = Roofline(100.0, 10.0, "made up")
IMAGE_MACS = 16 * 16 * 8 * 27 + 512 * 5  # of one image: the convolution and the last layer


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    opened = open_backend("ort-cpu")
    yield opened
    opened.close()


def case_of(net: Network, batch: int) -> Case:
    return Case(
        net=net,
        batch=batch,
        precision="fp32",
        threads=1,
        launch="blocking",
        board="cpu",
        machine="m",
        backend="ort-cpu",
        runtime="r",
    )


def profiled(backend: Backend, net: Network, batch: int, deadline: float | None = None) -> Profile:
    case = case_of(net, batch)
    found = backend.measure(case, 1, QUICK, None)
    return taken_apart(measurement(case, [found], "low-decile", 1, False), [found], ROOF, deadline)


def check(found: Profile) -> None:
    """What holds of every profile."""
    m = found.measurement
    assert m.unattributed_ms is not None
    assert math.fsum([*(k.kernel.ms for k in found.kernels), m.unattributed_ms]) == found.latency_ms
    assert math.fsum([*(ms for _, _, ms in found.by_kind()), m.unattributed_ms]) == found.latency_ms
    named = {name for k in found.kernels if not k.kernel.glue for name, _ in k.operators}
    assert not named & set(found.removed)
    assert named | set(found.removed) == {op.name for op in found.operators}
    by_name = {op.name: op for op in found.operators}
    lost = sum(by_name[name].macs for name in found.removed)
    assert sum(k.work.macs for k in found.kernels) + lost == found.work.macs
    for k in found.kernels:
        assert all(op_type == by_name[name].op_type for name, op_type in k.operators if name in by_name)


@pytest.mark.parametrize("name", ["image7", "image9", "image11", "image13", "image17", "image21", "apart"])
def test_images_of_every_opset(name: str, backend: Backend, model_files: Mapping[str, Path]) -> None:
    found = profiled(backend, model_file(model_files[name], batch=3), 3)
    check(found)
    assert found.work.macs == 3 * IMAGE_MACS
    assert found.parameters == 8 * 27 + 4 * 8 + 512 * 5 + 5
    assert not found.unknown
    conv = next(k for k in found.kernels if ("stem/conv", "Conv") in k.operators)
    assert {name for name, _ in conv.operators} >= {"stem/conv", "stem/bn", "stem/relu"}
    assert conv.work.macs == 3 * 16 * 16 * 8 * 27
    assert conv.gflops == pytest.approx(2 * conv.work.macs / conv.kernel.ms / 1e6)
    assert conv.of_roof(ROOF) == pytest.approx(ROOF.ms(conv.work.macs, conv.work.bytes) / conv.kernel.ms)
    assert conv.of_roof(None) is None


def test_half_precision(backend: Backend, model_files: Mapping[str, Path]) -> None:
    net = model_file(model_files["half"], batch=2)
    found = profiled(backend, net, 2)
    check(found)
    assert found.work.macs == 2 * IMAGE_MACS
    with open_target(backend=f"simulated:{LAW}") as target:
        from edgeprof.sweeps.case import Workload

        assert target.case(Workload(net=net, batch=2)).precision == "fp16"


def test_several_inputs_of_whole_numbers(backend: Backend, model_files: Mapping[str, Path]) -> None:
    net = model_file(model_files["text"], batch=2, shapes={"ids": (2, 7)})
    assert net.shapes == (("ids", (2, 7)), ("mask", (2, 7)), ("extra", (2, 7, 16)))
    found = profiled(backend, net, 2)
    check(found)
    assert found.work.macs == 2 * (7 * 16 * 16 + 2 * 7 * 7 * 16)
    embed = next(k for k in found.kernels if ("embed", "Gather") in k.operators)
    assert embed.work.bytes == 2 * 7 * 8 + 2 * (2 * 7 * 16 * 4)  # ids, the rows looked up, and their copy


def test_a_branch_is_one_kernel(backend: Backend, model_files: Mapping[str, Path]) -> None:
    found = profiled(backend, model_file(model_files["branch"]), 1)
    check(found)
    assert [k.operators[0] for k in found.kernels] == [
        ("before", "Relu"),
        ("choice", "If"),
        ("after", "Sigmoid"),
    ]


def test_a_custom_operator_is_named(backend: Backend, model_files: Mapping[str, Path]) -> None:
    net = model_file(model_files["custom"])
    with pytest.raises(BackendError) as caught:
        backend.measure(case_of(net, 1), 1, QUICK, None)
    told = cannot_run(net, "onnxruntime 1.31", caught.value.message)
    assert "com.example:Wobble" in told.message
    assert told.message.startswith("onnxruntime 1.31 cannot run custom: ")
    assert "lacks this operator" in told.hint


def test_tails_and_missed_deadlines(backend: Backend, model_files: Mapping[str, Path]) -> None:
    net = model_file(model_files["image13"], batch=1)
    case = case_of(net, 1)
    one = backend.measure(case, 1, QUICK, None)
    runs = np.full(1000, 2_000_000)
    runs[::20] = 9_000_000
    rounds = [replace(one, number=n, runs_ns=runs, repeats=1) for n in (1, 2)]
    found = taken_apart(measurement(case, rounds, "low-decile", 2, False), rounds, None, 5.0)
    assert found.deadline is not None
    assert (found.deadline.missed, found.deadline.runs) == (100, 2000)
    assert found.deadline.share.pct == 5
    quantities = found.quantities()
    p50, p95, p99, missed = (quantities[name] for name in ("p50_ms", "p95_ms", "p99_ms", "missed_pct"))
    assert p50
    assert (p50.value, p50.low, p50.high) == (2, 2, 2)
    assert p99
    assert (p99.value, p99.low, p99.high) == (9, 9, 9)
    assert p95
    assert (p95.low, p95.high) == (2, 9)
    assert missed
    assert missed.low is not None
    assert missed.low < 5
    assert quantities["energy_mj"] is None
    assert quantities["load_ms"]
    assert tuple(quantities) == QUANTITIES


def test_energy_is_per_run_and_per_tile(backend: Backend, model_files: Mapping[str, Path]) -> None:
    case = case_of(model_file(model_files["image13"], batch=4), 4)
    one = backend.measure(case, 1, QUICK, None)
    rounds: list[Round] = [
        replace(one, number=n, telemetry={**one.telemetry, "energy_mj_per_tile": mj, "power_mw": 5000.0})
        for n, mj in ((1, 1.5), (2, 1.0))
    ]
    m: Measurement = measurement(case, rounds, "low-decile", 2, False)
    quantities = taken_apart(m, rounds, None).quantities()
    per_tile, per_run = quantities["energy_mj_per_tile"], quantities["energy_mj"]
    assert per_tile
    assert per_run
    assert (per_tile.low, per_tile.high) == (1.0, 1.5)
    assert (per_run.low, per_run.high) == (4.0, 6.0)


def test_a_simulated_profile_through_the_whole_protocol(tmp_path: Path) -> None:
    with open_target(backend=f"simulated:{LAW},noise=1%") as target:
        found = profile_model("lenet5", target, batch=2, deadline_ms=1.0, db=tmp_path / "p.db", seed=1)
        again = profile_model(ZooNet(name="lenet5"), target, batch=2, db=tmp_path / "p.db", seed=2)
    check(found)
    assert found.measurement.simulated
    assert found.roofline
    assert found.roofline.gflops > 0
    assert found.roofline.source.startswith("simulated")
    assert again.measurement.rounds_ms == found.measurement.rounds_ms
    assert len(found.runs_ms) == 3
    with Store(tmp_path / "p.db") as store:
        assert [m.case.net for m in store.measurements()] == [ZooNet(name="lenet5")]


def test_names_and_files(
    model_files: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_network("resnet18") == (ZooNet(name="resnet18"), 1)
    net, batch = find_network(str(model_files["image13"]), 5)
    assert isinstance(net, ModelFile)
    assert (net.name, batch) == ("image13", 5)
    with pytest.raises(CatalogueError, match="no such file: resnet1") as caught:
        find_network("resnet1")
    assert "resnet18" in caught.value.hint
    with pytest.raises(EdgeprofError, match="has one input"):
        find_network("resnet18", shapes={"x": (1,)})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenet5").write_bytes(model_files["image13"].read_bytes())  # a file comes first
    assert isinstance(find_network("lenet5", 1)[0], ModelFile)


def test_a_profile_beside_a_sweep_can_be_fitted(tmp_path: Path) -> None:
    sweep = parse_sweep({"name": "s", "net": {"batch": 8}, "vary": {"depth": [8, 16], "fc": [0, 1, 2]}}, "s")
    with open_target(backend=f"simulated:{LAW},noise=1%") as target:
        run_sweep([sweep], tmp_path / "m.db", target, seed=1)
        profile_model("lenet5", target, db=tmp_path / "m.db", seed=1)
    with Store(tmp_path / "m.db") as store:
        measured = store.measurements()
    law = fit_law(measured, read_form("kernels"), cross_validate=False).law
    assert law.networks == 7
    with pytest.raises(FitError, match="lenet5 is not of the family"):
        fit_law(measured, read_form("eq13"))
