"""``edgeprof query``."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.law_file import read_law, write_law
from edgeprof.fit.memory import MemoryModel

from ..fit.over_clocks import truth

LAW = Path(__file__).parents[1] / "data" / "laws" / "cpu-kernels.json"
NET_KEYS = {
    "law",
    "net",
    "batch",
    "latency_ms",
    "tiles_per_ms",
    "interval_ms",
    "interval",
    "interval_unknown",
    "probability",
    "reaches",
    "parameters",
    "macs_per_tile",
    "memory_mib",
    "memory_interval_mib",
    "memory_interval_unknown",
    "in_domain",
    "outside",
    "pareto",
}
LAW_KEYS = {
    "law",
    "board",
    "memory_fitted",
    "room_mib",
    "reaching",
    "reaching_outside",
    "outside",
    "far_outside",
    "unpriced",
    "best",
    "front_size",
    "front",
}
THE_CONTRACT = [
    *("--law", "gtx960-theano", "--at-least", "40", "--conv", "1..5", "--fc", "1..5", "--depth", "5..80"),
    *("--neurons", "128..2048:128", "--batch", "1024", "--image", "784x784", "--fps", "5", "--top", "20"),
]


@pytest.fixture
def law(here: Path) -> str:
    shutil.copy(LAW, "cpu.json")
    return "cpu.json"


def test_the_contract(edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("query", *THE_CONTRACT)
    assert {"nets", "considered", "elapsed_s", "skipped", "laws", "target_tiles_per_ms"} <= found.keys()
    assert found["considered"] == 5 * 5 * 76 * 16
    assert found["target_tiles_per_ms"] == 40
    assert len(found["nets"]) == 20
    assert all(net.keys() == NET_KEYS for net in found["nets"])
    assert all(net["tiles_per_ms"] >= 40 and net["reaches"] for net in found["nets"])
    (law,) = found["laws"]
    assert law.keys() == LAW_KEYS
    assert law["best"] == found["nets"][0]
    assert len(law["front"]) == law["front_size"]


def test_a_network_of_the_answer_predicts_the_same(edgeprof_json: Callable[..., Any], law: str) -> None:
    ranges = ["--conv", "1..3", "--depth", "8..40:8", "--kernel", "3,5", "--padding", "same,valid"]
    net = edgeprof_json("query", "--law", law, *ranges, "--at-least", "10", "--top", "3")["nets"][1]
    flags = [
        f"--{knob.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, list) else v}"
        for knob, v in net["net"].items()
        if v != []
    ]
    told = edgeprof_json("predict", "--law", law, *flags, "--batch", str(net["batch"]))
    for key in ("latency_ms", "tiles_per_ms", "interval_ms"):
        assert told[key] == pytest.approx(net[key], rel=1e-9)
    assert 0.9 <= net["probability"] <= 1


def test_what_people_see(edgeprof: Callable[..., Any], law: str) -> None:
    arguments = ["--conv", "1..5", "--fc", "0..5", "--depth", "5..80", "--neurons", "128..2048:128"]
    status, out, err = edgeprof(
        "query", "--law", law, *arguments, "--image", "784x784", "--fps", "20", "--explain"
    )
    assert status == 0
    assert err == "batch 128 assumed: --batch gives another, or a range\n"
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("✓ ")
    assert lines[0].endswith("networks reach 15.68 tiles/ms")
    assert "for an image of 784×784 pixels, cut in tiles, 20 times a second" in out
    assert "overhead" in out
    assert " MACs" in out
    assert any(line.split()[0] == "conv" and "tiles/ms" in line for line in lines)


@pytest.fixture
def measured(here: Path) -> str:
    """A law that knows memory too, and had 40 MiB left."""
    takes = MemoryModel(
        of="process",
        build={"base": 1.0, "weights": 3.0},
        most={"base": 2.0, "weights": 2.0, "live": 1.5},
        errors=tuple(0.01 * i - 0.1 for i in range(40)),
        seen={"weights": (0.1, 20.0), "live": (0.1, 30.0)},
        networks=40,
        room_mib=40.0,
    )
    law = read_law(str(LAW)).model_copy(update={"name": "measured", "memory": takes})
    write_law(law, here / "measured.json")
    return "measured.json"


RANGES = ["--conv", "1..5", "--depth", "8..80:8", "--neurons", "256..2048:256", "--batch", "64"]


def test_does_it_fit(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], measured: str) -> None:
    asked = ["query", "--law", measured, *RANGES, "--at-least", "1"]
    status, out, _ = edgeprof(*asked)
    assert status == 0
    assert "of the best 20 fit in the 40 MiB that the board had left" in out
    assert max(map(len, out.splitlines())) <= 80
    limited = [*asked, "--max-memory", "0.02GiB"]
    assert "networks reach 1 tiles/ms and fit in 20.48 MiB\n" in edgeprof(*limited)[1]
    every, some = edgeprof_json(*asked), edgeprof_json(*limited)
    (law,) = some["laws"]
    assert 0 < law["reaching"] < every["laws"][0]["reaching"]
    assert (law["memory_fitted"], law["room_mib"]) == (True, 40.0)
    best = some["nets"][0]
    assert best["memory_mib"] < 0.02 * 1024
    assert best["memory_interval_mib"][0] < best["memory_mib"] < best["memory_interval_mib"][1]
    net = {k: v[0] if isinstance(v, list) and v else v for k, v in best["net"].items() if v != []}
    flags = [f"--{knob.replace('_', '-')}={value}" for knob, value in net.items()]
    told = edgeprof_json("predict", "--law", measured, *flags, "--batch", "64")
    for key in ("memory_mib", "memory_interval_mib"):
        assert told[key] == pytest.approx(best[key], rel=1e-9)


def test_a_law_without_a_memory_model_says_that_it_knows_the_least_alone(
    edgeprof: Callable[..., Any], law: str
) -> None:
    status, out, _ = edgeprof(
        "query", "--law", law, *RANGES, "--max-memory", "16MiB", "--require", "memory_mib<16"
    )
    assert "MiB is the least needed: the law has no memory model, so more may not fit" in out
    assert status == 3  # a lower bound shows nothing to be met
    assert "INCONCLUSIVE" in out


@pytest.mark.parametrize("limit", ["4 apples", "0", "-1GiB", "1e999", "GiB"])
def test_limits_of_memory_that_are_none(edgeprof: Callable[..., Any], law: str, limit: str) -> None:
    status, _, err = edgeprof("query", "--law", law, f"--max-memory={limit}")
    assert status == 2
    assert err.startswith(f"error: --max-memory {limit} is no amount of memory\nhint: ")


def test_what_is_far_outside_is_not_judged(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], law: str
) -> None:
    asked = ["query", "--law", law, "--conv", "1", "--fc", "1", "--neurons", "1,64,300", "--depth", "1,8,16"]
    asked += ["--batch", "64", "--at-least", "0.01"]
    found = edgeprof_json(*asked)
    (own,) = found["laws"]
    assert (found["considered"], own["reaching"], own["outside"], own["far_outside"]) == (9, 6, 5, 3)
    (even,) = edgeprof_json(*asked, "--probability", "0.5")["laws"]
    assert (even["reaching"], even["far_outside"]) == (9, 3)
    free = edgeprof_json(*asked[:-2])["nets"]
    far = [net for net in free if net["interval_ms"] is None]
    assert [net["net"]["neurons"] for net in far] == [[1]] * 3
    assert (far[0]["interval_unknown"], far[0]["probability"]) == ("far outside what the law has seen", None)
    out = edgeprof(*asked)[1]
    assert "    3 are far outside what the law has seen: not known, not counted" in out.splitlines()
    assert "no interval is known" in edgeprof(*asked[:-2])[1]
    even_and_memory = (*asked, "--probability", "0.5", "--max-memory", "4GiB")
    both = edgeprof_json(*even_and_memory, "--law", "amd-epyc-avx512")["laws"]
    assert [(one["memory_fitted"], one["reaching"]) for one in both] == [(False, 9), (True, 6)]
    out = edgeprof("query", "--law", "amd-epyc-avx512", *even_and_memory[3:])[1]
    assert "    3 are far outside what the law has seen: not known, not counted" in out.splitlines()


def test_the_front_and_what_none_reaches(edgeprof: Callable[..., Any], law: str) -> None:
    ranges = ["--law", law, "--conv", "1..3", "--depth", "5..80", "--batch", "64"]
    _, out, _ = edgeprof("query", *ranges, "--front", "--pareto", "speed,memory", "--top", "5")
    assert "Pareto front of speed against memory:" in out
    _, out, _ = edgeprof("query", *ranges, "--at-least", "1e6", "--top", "2")
    assert out.startswith("✗ cpu-kernels: 0 of 228 networks reach 1e+06 tiles/ms")
    assert "The nearest to it:" in out


def test_which_board_is_enough(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], law: str
) -> None:
    both = [
        "--law",
        "gtx960-theano",
        "--law",
        law,
        "--conv",
        "1..5",
        "--depth",
        "5..80",
        "--batch",
        "64,1024",
    ]
    status, out, _ = edgeprof("query", *both, "--at-least", "10")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert sum(line.startswith("✓ ") for line in out.splitlines()) == 2
    found = edgeprof_json("query", *both, "--at-least", "10", "--top", "4")
    assert [own["law"] for own in found["laws"]] == ["gtx960-theano", "cpu-kernels"]
    assert [net["law"] for net in found["nets"]] == ["gtx960-theano", "cpu-kernels"] * (
        len(found["nets"]) // 2
    )


def test_csv(edgeprof: Callable[..., Any], law: str) -> None:
    arguments = ["--conv", "0..2", "--fc", "0..2", "--at-least", "5", "--batch", "64", "--top", "6"]
    status, out, _ = edgeprof("query", "--law", law, *arguments, "--format", "csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 6
    for row in rows:
        assert float(row["tiles_per_ms"]) == pytest.approx(64 / float(row["latency_ms"]))
        low, high = float(row["low_tiles_per_ms"]), float(row["high_tiles_per_ms"])
        assert low < float(row["tiles_per_ms"]) < high
        assert row["in_domain"] in ("True", "False")
        assert (row["depth"] == "") == (row["conv"] == "0")


def test_explain_of_one_network(edgeprof_json: Callable[..., Any], law: str) -> None:
    flags = ["--conv", "2", "--depth", "33", "--kernel", "3", "--fc", "2", "--batch", "64", "--explain"]
    found = edgeprof_json("query", "--law", law, *flags)
    assert len(found["nets"]) == 1
    why = found["explain"]
    assert why["latency_ms"] == pytest.approx(found["nets"][0]["latency_ms"])
    assert why["latency_ms"] == pytest.approx(why["overhead_ms"] + sum(k["ms"] for k in why["kernels"]))
    assert {"kind": "cliff", "knob": "depth", "to": 32} in [
        {key: change[key] for key in ("kind", "knob", "to")} for change in why["changes"]
    ]


def test_one_network_and_none(edgeprof: Callable[..., Any], law: str) -> None:
    status, out, _ = edgeprof("query", "--law", law, "--batch", "64")
    assert status == 0
    assert out.startswith("✓ cpu-kernels: 1 of 1 networks priced")
    status, out, _ = edgeprof("query", "--law", law, "--conv", "9", "--batch", "64", "--explain")
    assert status == 0
    assert "skipped 1 that are no networks" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--conv", "5..1"], "no range"),
        (["--conv", "1.5"], "neither a number nor a range"),
        (["--depth", "0"], "--depth 0"),
        (["--image", "784"], "is no size"),
        (["--image", "784x784"], "belong together"),
        (["--max-energy", "1"], "knows latency, not energy"),
        (["--pareto", "speed"], "no pair of axes"),
        (["--rank", "beauty"], "beauty"),
        (["--level", "200%"], "no share"),
        (["--depth", "1..65536", "--neurons", "1..65536", "--tile", "1..999"], "too many"),
        (["--law", "nowhere.json"], "nowhere.json"),
        (["--explain", "--format", "csv"], "--format csv has no place for --explain"),
    ],
)
def test_what_is_refused(refused: Callable[..., tuple[str, str]], arguments: list[str], said: str) -> None:
    error, _ = refused("query", "--law", "gtx960-theano", "--batch", "1024", *arguments)
    assert said in error


def test_a_long_query_says_how_long(edgeprof: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("query", "--law", "gtx960-theano", "--depth", "5..80", "--batch", "1024")
    assert edgeprof(*asked)[2] == ""
    monkeypatch.setattr("edgeprof.cli.query.MANY", 75)
    _, _, err = edgeprof(*asked)
    assert err.startswith("76 networks, about 0 s: ")


def test_help_has_an_example(edgeprof: Callable[..., Any]) -> None:
    status, out, _ = edgeprof("query", "--help")
    assert status == 0
    assert "Example: edgeprof query --law gtx960-theano" in " ".join(out.split())


def test_the_document_has_no_infinity(edgeprof: Callable[..., Any]) -> None:
    status, out, _ = edgeprof("query", "--law", "gtx960-theano", "--batch", "1024", "--json")
    assert status == 0
    assert json.loads(out)["target_tiles_per_ms"] is None


def test_no_network_that_fits_is_no_success(edgeprof: Callable[..., Any]) -> None:
    _, out, _ = edgeprof("query", "--law", "gtx960-theano", "--max-memory", "0.001")
    assert out.startswith("✗ gtx960-theano: 0 of 1 networks fit")


def test_a_law_over_clocks_is_asked_at_some(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], here: Path
) -> None:
    write_law(truth(name="clocked"), here / "clocked.json")
    asked = ["query", "--law", "clocked.json", "--conv", "0..2", "--batch", "8", "--top", "2"]
    slow, fast = edgeprof_json(*asked, "--core-mhz", "400"), edgeprof_json(*asked)
    assert fast["clocks"] == {"clocked": {"core_mhz": 1300.0, "memory_mhz": 2000.0}}
    assert slow["clocks"]["clocked"]["core_mhz"] == 400.0
    assert slow["nets"][0]["latency_ms"] > 1.2 * fast["nets"][0]["latency_ms"]
    net = {k: v for k, v in slow["nets"][0]["net"].items() if k in ("conv", "fc")}
    knobs = [part for k, v in net.items() for part in (f"--{k}", str(v))]
    at = ["--batch", "8", "--core-mhz", "400"]
    one = edgeprof_json("predict", "--law", "clocked.json", *knobs, *at)
    assert one["latency_ms"] == pytest.approx(slow["nets"][0]["latency_ms"], rel=1e-9)
    _, _, err = edgeprof(*asked, "--law", "gtx960-theano", "--memory-mhz", "1000")
    assert "law clocked at core 1300 MHz, memory 1000 MHz" in err
