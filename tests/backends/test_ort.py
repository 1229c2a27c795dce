"""ONNX Runtime on this machine's processor: several runs at once."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from edgeprof.backends import ort
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.timing.loop import overlap

PROVIDERS = ["CPUExecutionProvider"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    path.write_bytes(model_bytes(net_spec(conv=2, depth=16, padding="same", fc=1, neurons=64), 8))
    return str(path)


def spans_by_thread(network: str) -> dict[Any, list[tuple[int, int]]]:
    """Begin and end of every run of two lanes, by the runtime's own clock: no waiting for Python's lock is in them."""
    first = ort.load(network, 1, PROVIDERS, {}, None, "times")
    lanes = [first, ort.Session(first._session, 0.0, None)]
    try:
        for lane in lanes:
            lane.bind({name: ort.noise(one, 0) for name, one in lane.inputs().items()})
        overlap([lane.run for lane in lanes], time.perf_counter_ns, [2], 2, 0.1, 0)
        events = json.loads(Path(first._session.end_profiling()).read_text("utf-8"))
    finally:
        for lane in lanes:
            lane.close()
    found: dict[Any, list[tuple[int, int]]] = {}
    for event in events:
        if event["name"] == "model_run":
            found.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    return found


def test_runs_of_two_threads_are_in_the_runtime_at_the_same_time(network: str) -> None:
    for _ in range(20):  # on a machine that is very busy, one thread may get no turn while the other runs
        one, other = spans_by_thread(network).values()
        if any(max(a, c) < min(b, d) for (a, b), (c, d) in product(one, other)):
            return
    pytest.fail("no run of one thread overlapped any of the other's")


def test_lanes_share_a_session_and_have_inputs_of_their_own(network: str) -> None:
    lanes = ort.lanes(3, network, 1, PROVIDERS, {}, None)
    assert len({id(lane._session) for lane in lanes}) == 1
    assert len({id(lane._binding) for lane in lanes}) == 3
    for seed, lane in enumerate(lanes):
        lane.bind({name: ort.noise(one, seed) for name, one in lane.inputs().items()})
    for lane in lanes:
        lane.run()
    results = [lane._binding.copy_outputs_to_cpu()[0] for lane in lanes]
    for lane, result in zip(lanes, results, strict=True):
        assert result == pytest.approx(lane.run_from_host()[0])
    assert (results[0] != results[1]).any()


@pytest.mark.parametrize("version", ["1.10.0", "1.11.0"])
def test_a_runtime_whose_runs_cannot_overlap_is_refused(
    network: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(RuntimeError, match=f"onnxruntime {version} lets no other thread run"):
        ort.lanes(2, network, 1, PROVIDERS, {}, None)
    for fine in ("1.11.1", "1.12.0rc1", "1.31.1+cu13"):
        monkeypatch.setattr(onnxruntime, "__version__", fine)
        ort.see_that_runs_overlap()
