"""Memory models: on what real networks took, held out; and whether it fits."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.errors import SpecError
from edgeprof.fit.emit import law_text
from edgeprof.fit.examples import Example
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.intervals import FAR_OUTSIDE
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law, read_law
from edgeprof.fit.law_memory import memory_of
from edgeprof.fit.memory import MemoryModel, fit_memory
from edgeprof.nets.network import ZooNet, total_macs
from edgeprof.nets.spec import NetSpec, net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Measurement

RECORDED = Path(__file__).parents[1] / "data" / "memory" / "ort-cpu.csv"
KERNELS = read_law(str(Path(__file__).parents[1] / "data" / "laws" / "cpu-kernels.json"))
LISTS = ("depth", "kernel", "stride", "padding", "neurons")


def case_of(net: NetSpec, batch: int) -> Case:
    setting = dict(precision="fp32", threads=1, launch="blocking", board="cpu", machine="m")
    return Case(net=net, batch=batch, backend="ort-cpu", runtime="r", **setting)


def recorded() -> list[Example]:
    found = []
    with RECORDED.open() as stream:
        for row in csv.DictReader(stream):
            batch, build, most = (
                int(row.pop("batch")),
                float(row.pop("build_mib")),
                float(row.pop("memory_mib")),
            )
            knobs: dict[str, Any] = {k: int(v) for k, v in row.items() if k not in LISTS}
            for name in LISTS:
                values = row[name].split()
                knobs[name] = tuple(v if name == "padding" else int(v) for v in values)
            telemetry = {"process_mib": 62.0, "room_mib": 22_000.0, "build_mib": build, "memory_mib": most}
            known = {"machine": {"model": "AMD EPYC", "lanes": 16}}
            case = case_of(NetSpec(**knobs), batch)
            one = Measurement(
                case, "ok", "", False, "low-decile", 1.0, telemetry=telemetry, environment=known
            )
            found.append(Example(one, 1.0))
    return found


EXAMPLES = recorded()


def with_telemetry(
    examples: Sequence[Example], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> list[Example]:
    return [
        Example(replace(e.measurement, telemetry=change(dict(e.measurement.telemetry))), e.latency_ms)
        for e in examples
    ]


@pytest.fixture(scope="module")
def model() -> MemoryModel:
    found = fit_memory(EXAMPLES[:70])
    assert found is not None
    return found


@pytest.fixture(scope="module")
def law(model: MemoryModel) -> Law:
    return KERNELS.model_copy(update={"memory": model})


def test_recorded_networks_that_it_never_saw(model: MemoryModel, law: Law) -> None:
    assert (model.of, model.networks, model.room_mib, model.process_mib) == ("process", 70, 22_000, 62)
    held = [(e.measurement.case, e.measurement.telemetry) for e in EXAMPLES[70:]]
    told = [memory_of(law, case.net, case.batch) for case, _ in held]
    ratio = np.array([m.mib / t["memory_mib"] for m, (_, t) in zip(told, held, strict=True)])
    assert np.abs(ratio - 1).mean() < 0.25
    assert np.median(np.abs(ratio - 1)) < 0.2
    assert model.scores["mape_pct"] == pytest.approx(100 * np.abs(ratio - 1).mean(), abs=6)
    below = [
        m.interval_mib is not None and t["memory_mib"] <= m.interval_mib[1]
        for m, (_, t) in zip(told, held, strict=True)
    ]
    assert np.mean(below) > 0.85  # 95 % are meant to be
    built = np.array([(m.build_mib or 0) / t["build_mib"] for m, (_, t) in zip(told, held, strict=True)])
    assert np.median(np.abs(built - 1)) < 0.2
    assert all(m.build_mib is not None and m.build_mib <= m.mib for m in told)


def test_it_is_short_and_what_takes_memory_is_in_it(model: MemoryModel) -> None:
    assert 1.5 < model.build["weights"] < 4  # read, parsed, packed
    assert model.most["weights"] > 1
    assert sum(value > 0 for value in model.most.values()) <= 3
    assert {"live", "largest", "results"} & {name for name, value in model.most.items() if value > 0}
    assert list(model.errors) == sorted(model.errors)
    assert len(model.errors) == 70


def test_a_network_takes_what_is_predicted_on_this_machine(law: Law) -> None:
    """By a model of another machine, with another runtime perhaps: within a factor of three."""
    net, batch = net_spec(conv=2, depth=24, padding="same", fc=2, neurons=1500), 64
    told = memory_of(law, net, batch)
    stop = Stop(target_ci=1.0, min_runs=3, min_s=0.0, max_s=0.05, profile=False)
    with contextlib.closing(open_backend("ort-cpu")) as backend:
        backend.runtime()
        found = backend.measure(case_of(net, batch), 1, stop, None)
    taken = found.telemetry["memory_mib"]
    assert taken / 3 < told.mib < taken * 3
    assert found.telemetry["build_mib"] < taken * 1.01


def test_a_fit_of_a_sweep_has_it_beside_the_time() -> None:
    """With latencies made up of the arithmetic: those of the recorded sweep are of no use here."""
    examples = [
        replace(
            e.measurement,
            latency_ms=0.1 + 1e-8 * total_macs(e.measurement.case.net, e.measurement.case.batch),
        )
        for e in EXAMPLES[:30]
    ]
    fit = fit_law(examples, read_form("networks"), cross_validate=False)
    assert fit.law.memory is not None
    assert (fit.law.memory.of, fit.law.memory.networks) == ("process", 30)
    assert parse_law(law_json(fit.law), "law.json").memory == fit.law.memory


@pytest.mark.parametrize(
    ("names", "of"),
    [
        (("shared_build_mib", "shared_memory_mib", "room_mib"), "board"),
        (("gpu_build_mib", "gpu_memory_mib", "gpu_free_mib"), "gpu"),
    ],
)
def test_memory_of_a_gpu_and_of_a_board_that_shares_it(names: tuple[str, str, str], of: str) -> None:
    """Emulated: what these took is three times the recorded, with 300 MiB free."""

    def change(told: dict[str, Any]) -> dict[str, Any]:
        taken = 3 * told["build_mib"], 3 * told["memory_mib"], 300.0
        return told | dict(zip(names, taken, strict=True))

    plain, other = fit_memory(EXAMPLES[:40]), fit_memory(with_telemetry(EXAMPLES[:40], change))
    assert plain is not None
    assert other is not None
    assert (other.of, other.room_mib) == (of, 300.0)
    assert other.build["weights"] == pytest.approx(3 * plain.build["weights"], rel=0.05)
    law = KERNELS.model_copy(update={"memory": other})
    small, large = (memory_of(law, net_spec(fc=2, neurons=n), 16) for n in (100, 5_000))
    assert small.fits is not None
    assert large.fits is not None
    assert large.fits < 0.3 < 0.95 < small.fits


def test_without_enough_that_tell_there_is_no_model() -> None:
    assert fit_memory(EXAMPLES[:9]) is None

    def older(told: dict[str, Any]) -> dict[str, Any]:
        return {name: told[name] for name in ("build_mib", "memory_mib")}  # hidden by what others had left

    assert fit_memory(with_telemetry(EXAMPLES, older)) is None


def test_probabilities_and_intervals_are_of_the_same_errors(law: Law, model: MemoryModel) -> None:
    told = memory_of(law, net_spec(conv=2, fc=2), 64)
    assert told.interval_mib is not None
    low, high = told.interval_mib
    assert low < told.mib < high
    assert model.chances(told.mib, told.widening, high) == pytest.approx(0.95, abs=0.02)
    assert model.chances(told.mib, told.widening, low) == pytest.approx(0.05, abs=0.02)
    limits = np.geomspace(told.mib / 9, told.mib * 9, 50)
    chances = np.array([model.chances(told.mib, told.widening, limit) for limit in limits])
    assert (np.diff(chances) >= 0).all()
    assert chances[0] < 0.01
    assert chances[-1] > 0.99


def test_larger_than_all_that_was_seen_is_less_certain(law: Law) -> None:
    inside, outside = (
        memory_of(law, net_spec(fc=1, neurons=500), 32),
        memory_of(law, ZooNet(name="vgg16"), 1),
    )
    assert inside.widening == 1
    assert outside.widening > 2
    assert inside.interval_mib is not None
    assert outside.interval_mib is not None
    spread = [math.log(i[1] / i[0]) for i in (inside.interval_mib, outside.interval_mib)]
    assert spread[1] > 2 * spread[0]
    far = memory_of(law, ZooNet(name="vgg16"), 8)
    assert (far.interval_mib, far.fits, far.why) == (None, None, FAR_OUTSIDE)
    assert far.mib > outside.mib


def test_a_law_s_file_keeps_it_and_older_ones_are_read(law: Law, tmp_path: Path) -> None:
    again = parse_law(law_json(law), "law.json")
    assert again.memory == law.memory
    assert "  memory     MiB = " in law_text(law)
    assert max(map(len, law_text(law).splitlines())) <= 80
    old = parse_law(law_json(KERNELS), "law.json")
    assert "memory" not in json.loads(law_json(KERNELS))
    assert old.memory is None
    told = memory_of(old, net_spec(), 16)
    assert (told.fitted, told.interval_mib, told.fits) == (False, None, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version"),
        ({"errors": [0.2, 0.1]}, "not sorted"),
        ({"seen": {}}, "no range"),
        ({"most": {"weights": -1}}, "weights"),
        ({"of": "moon"}, "of"),
    ],
)
def test_a_model_that_is_wrong_is_refused(law: Law, change: dict[str, Any], words: str) -> None:
    content = json.loads(law_json(law))
    content["memory"] |= change
    with pytest.raises(SpecError, match=words):
        parse_law(json.dumps(content), "law.json")
