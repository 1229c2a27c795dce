"""``edgeprof profile``, and requirements on ``profile``, ``predict`` and ``query``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.timing.drift import SENTINELS

LAW = Path(__file__).parents[1] / "data" / "laws" / "cpu-kernels.json"
BOARD = ("--backend", f"simulated:{LAW},noise=1%")
Edgeprof = Callable[..., tuple[int, str, str]]
EdgeprofJson = Callable[..., Any]
Refused = Callable[..., tuple[str, str]]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentinel instead of three, no peaks of the board, short turns and loops."""
    monkeypatch.setattr("edgeprof.timing.drift.SENTINELS", {"compute": SENTINELS["compute"]})
    monkeypatch.setattr("edgeprof.profile.measure_roofline", lambda *_: None)
    monkeypatch.setattr("edgeprof.timing.inflight.TURN_S", 0.01)
    monkeypatch.setattr("edgeprof.timing.energy.STEADY_S", 0.05)
    monkeypatch.setattr("edgeprof.timing.energy.SETTLE_S", 0.05)


def test_a_real_model_on_this_processor(
    edgeprof: Edgeprof, here: Path, model_files: Mapping[str, Path]
) -> None:
    # limits that nothing real misses or meets, so that the status does not depend on the machine
    quick = ("--rounds", "1", "--target-ci", "50%", "--threads", "1", "--batch", "2")
    limits = ("--require", "latency_ms<1e6", "--require", "latency_ms>1e6")
    status, out, err = edgeprof("profile", str(model_files["apart"]), *quick, *limits, "--trace", "t.json")
    assert status == 3, err
    assert out.startswith("apart · batch 2 · fp32, threads 1\n")
    assert " stem/conv + stem/bn" in out
    assert "\nPASS          latency_ms<1e+06: " in out
    assert "\nFAIL          latency_ms>1e+06: " in out
    assert "not attributed to a kernel" in out
    assert "peaks measured here" in out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert json.loads((here / "t.json").read_text("utf-8"))["traceEvents"]


def test_it_runs_on_and_on_at_a_rate_and_several_times_at_once_too(
    edgeprof: Edgeprof,
    edgeprof_json: EdgeprofJson,
    here: Path,
    model_files: Mapping[str, Path],
    hasty: None,
) -> None:
    command = ("profile", str(model_files["image13"]), "--batch", "2", "--rounds", "1", "--target-ci", "50%")
    command += ("--threads", "1", "--sustained", "1.2s", "--rate", "2000", "--in-flight", "2", "--db", "p.db")
    status, out, err = edgeprof(*command, "--trace", "t.json")
    assert status == 0, err
    assert "image13, batch 2, 1 round, then 2 s more\n" in err
    assert " images/s at first" in out
    assert "\n  at a rate 2000 runs/s: p50 " in out
    assert "\n             2 at once  " in out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    events = json.loads((here / "t.json").read_text("utf-8"))["traceEvents"]
    found = edgeprof_json(*command)["telemetry"]  # what the database has is not run again
    assert 0 < found["at_rate"]["runs"] <= 1000  # fewer where the machine is too busy for its rate
    assert [one["depth"] for one in found["in_flight"]["at_depth"]] == [1, 2]
    assert f"{1e3 * found['sustained']['start_tiles_per_ms']:.4g} images/s at first" in out
    counters = [event for event in events if event["ph"] == "C" and event["name"] == "tiles_per_ms"]
    curve = found["sustained"]["curve"]
    assert [event["args"]["tiles_per_ms"] for event in counters] == [at["tiles_per_ms"] for at in curve]
    assert counters[0]["ts"] == 0


def test_on_a_board_with_power_modes_and_sensors(
    edgeprof: Edgeprof,
    refused: Refused,
    emulated: Callable[[str], Path],
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = emulated("orin-nano")
    monkeypatch.setenv("EDGEPROF_ROOT", str(root))
    before = read_power_mode(root)
    command = ("profile", "lenet5", "--board", "jetson", "--backend", "ort-cpu", "--rounds", "1", "--threads")
    command += ("1", "--target-ci", "50%", "--energy", "--power-mode", "7W", "--clocks", "max")
    status, out, err = edgeprof(*command)
    assert status == 0, err
    assert "power mode 7W, clocks held at their limits\n" in err
    assert "\n  energy    " in out
    assert read_power_mode(root) == before
    assert "one power mode" in refused("profile", "lenet5", "--power-mode", "7W,15W")[0]
    assert "no power mode 'MAXN'" in refused(*command[:6], "--power-mode", "MAXN")[0]


def test_a_model_that_cannot_run(
    refused: Refused, model_files: Mapping[str, Path], edgeprof: Edgeprof
) -> None:
    status, out, err = edgeprof("profile", str(model_files["custom"]), "--rounds", "1")
    assert (status, out) == (2, "")
    assert "cannot run custom" in err
    assert "com.example:Wobble" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.onnx"], "no such file: nothing.onnx"),
        (["resnet"], "no such network in the zoo"),
        (["lenet5", "--shape", "x"], "is no shape"),
        (["lenet5", "--shape", "x=1x3"], "has one input"),
        (["lenet5", "--require", "p99_ms"], "is no requirement"),
        (["lenet5", "--require", "p98_ms<3"], "no quantity 'p98_ms'"),
        (["lenet5", "--require", "missed_pct<1"], "needs a deadline"),
        (["lenet5", "--batch", "0"], "--batch"),
        (["lenet5", "--launch", "async"], "no launch mode 'async'"),
        (["lenet5", "--precision", "tf32"], "no precision 'tf32'"),
        (["lenet5", "--device", "dla0"], "has no devices to choose from"),
        (["lenet5", "--rate", "30"], "does not run on and on"),
        (["lenet5", "--power-mode", "15W"], "no power modes to set"),
        (["lenet5", "--whole-time"], "is of --sustained"),
        (["lenet5", "--db", "no/p.db"], "unable to open database file"),
        (["broken.onnx"], "is not ONNX"),
        (["{image13}"], "axis 0 is of open size"),
        (["{text}", "--batch", "2"], "input 'ids' is batch×length: axis 1 is of open size"),
        (["{image13}", "--shape", "input=1x3x16x16"], "no input 'input'"),
    ],
)
def test_requests_that_are_wrong(
    arguments: list[str], says: str, edgeprof: Edgeprof, here: Path, model_files: Mapping[str, Path]
) -> None:
    (here / "broken.onnx").write_bytes(b"not a model")
    filled = [text.format(**model_files) if "{" in text else text for text in arguments]
    status, out, err = edgeprof("profile", *filled, *BOARD)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 2  # nothing is said of a plan that is refused
    assert says in err


def test_json_adds_up(edgeprof_json: EdgeprofJson) -> None:
    found = edgeprof_json("profile", "lenet5", *BOARD, "--batch", "4", "--deadline", "1")
    assert (found["network"], found["case"]["batch"]) == ("lenet5", 4)
    times = [k["ms"] for k in found["kernels"]]
    assert math.fsum([*times, found["unattributed_ms"]]) == found["latency_ms"]
    kinds = [row["ms"] for row in found["by_kind"]]
    assert math.fsum([*kinds, found["unattributed_ms"]]) == found["latency_ms"]
    assert sum(k["macs"] for k in found["kernels"]) == found["macs"] == 4 * 416_520
    assert found["roofline"]["gflops"] > 0
    assert found["deadline"] == {
        "ms": 1.0,
        "missed": 0,
        "runs": found["runs"],
        "share": {"pct": 0.0, "low_pct": 0.0, "high_pct": pytest.approx(6.0, abs=0.1)},
    }
    assert {"p99_ms", "energy_mj", "latency_ms"} <= set(found["quantities"])
    assert found["quantities"]["energy_mj"] is None
    assert found["kernels"][0]["operators"][0] == {"name": "c1", "op_type": "Conv"}
    assert found["simulated"] is True
    assert found["operators_of_unknown_shape"] == []


def test_printed_times_add_up(edgeprof: Edgeprof) -> None:
    for top in ("3", "100"):
        status, out, _ = edgeprof("profile", "lenet5", *BOARD, "--top", top)
        assert status == 0
        lines = out.split("  kernel\n")[1].splitlines()
        end = next(i for i, line in enumerate(lines) if line.endswith("latency"))
        *parts, latency = [float(line.split()[0]) for line in lines[: end + 1]]
        assert sum(parts) == pytest.approx(latency, abs=1e-9)
        assert lines[end + 1].startswith("  by kind: ")
        assert all(len(line) <= 80 for line in out.splitlines())


def test_what_is_unknown_is_inconclusive_and_ends_with_status_3(edgeprof: Edgeprof) -> None:
    status, out, _ = edgeprof("profile", "lenet5", *BOARD, "--require", "energy_mj<60")
    assert status == 3
    assert "INCONCLUSIVE  energy_mj<60: unknown (not measured here)" in out
    status, out, _ = edgeprof("profile", "lenet5", *BOARD, "--require", "p99_ms<1e3")
    assert status == 3  # sixty runs bound no 99th percentile
    assert "368 would" in out
    assert edgeprof("profile", "lenet5", *BOARD, "--require", "latency_ms<1e3")[0] == 0


def test_a_prediction_can_be_required(
    edgeprof: Edgeprof, edgeprof_json: EdgeprofJson, refused: Refused
) -> None:
    net = ("predict", "--law", str(LAW), "--conv", "1", "--depth", "16", "--batch", "32")
    low, high = edgeprof_json(*net)["interval_ms"]
    for limit, status, outcome in (
        (high * 1.01, 0, "PASS"),
        ((low + high) / 2, 3, "INCONCLUSIVE"),
        (low, 3, "FAIL"),
    ):
        found, out, _ = edgeprof(*net, "--require", f"latency_ms<{limit!r}")
        assert found == status
        assert outcome in out.splitlines()[-1]
    document = edgeprof_json(*net, "--require", "tiles_per_ms>1e9", status=3)
    assert document["requirements"][0]["outcome"] == "FAIL"
    assert "p99_ms" in refused(*net, "--require", "p99_ms<3")[0]
    assert (
        edgeprof("predict", "--law", "gtx960-theano", "--batch", "64", "--require", "latency_ms<1e3")[0] == 3
    )
    assert "--table" in refused(*net[:3], "--table", "x.csv", "--require", "latency_ms<3")[0]


def test_a_query_can_be_required(edgeprof: Edgeprof, edgeprof_json: EdgeprofJson) -> None:
    space = ("query", "--law", str(LAW), "--conv", "1..2", "--depth", "8,16", "--batch", "32")
    reached = (*space, "--at-least", "1")
    assert edgeprof(*reached, "--require", "networks>0", "--require", "parameters<1e9")[0] == 0
    found = edgeprof_json(*space, "--at-least", "1e6", "--require", "networks>0", status=3)
    assert found["requirements"] == [
        {
            "law": found["laws"][0]["law"],
            "require": "networks>0",
            "outcome": "FAIL",
            "value": 0,
            "interval": [0, 0],
            "why": None,
        }
    ]
    status, out, err = edgeprof(*reached, "--format", "csv", "--require", "latency_ms<1e6")
    assert status == 0
    assert "PASS" in err
    assert "PASS" not in out
