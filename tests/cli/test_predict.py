"""``edgeprof predict``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, read_law, write_law

from ..fit.over_clocks import truth

KEYS = {
    "net",
    "batch",
    "ms_per_tile",
    "tiles_per_ms",
    "latency_ms",
    "interval_ms",
    "interval_unknown",
    "level",
    "kernels",
    "overhead_ms",
    "in_domain",
    "outside",
    "law",
    "memory_mib",
    "memory_interval_mib",
    "memory_interval_unknown",
    "memory_build_mib",
    "memory_fitted",
    "memory_of",
    "room_mib",
    "fits_probability",
}


def test_the_contract(edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("predict", "--law", "gtx960-theano", "--conv", "5", "--fc", "1", "--batch", "1024")
    assert found.keys() == KEYS
    assert f"{found['tiles_per_ms']:.4f}" == "35.7676"
    assert found["tiles_per_ms"] * found["ms_per_tile"] == pytest.approx(1)
    assert found["latency_ms"] == pytest.approx(1024 * found["ms_per_tile"])
    assert all(k.keys() == {"kind", "name", "ms"} for k in found["kernels"])
    assert math.fsum([found["overhead_ms"], *(k["ms"] for k in found["kernels"])]) == found["latency_ms"]
    assert (found["interval_ms"], found["level"]) == (None, None)
    assert (found["in_domain"], found["outside"], found["law"]) == (True, [], "gtx960-theano")
    assert (found["memory_fitted"], found["memory_interval_mib"], found["fits_probability"]) == (
        False,
        None,
        None,
    )
    assert found["room_mib"] is None
    assert found["net"]["conv"] == 5
    assert found["net"]["depth"] == [20] * 5


def test_the_least_memory_where_a_law_knows_none(edgeprof: Callable[..., Any]) -> None:
    asked = ["predict", "--law", "datasheet:jetson-nano", "--batch", "64", "--require", "memory_mib<4096"]
    status, out, _ = edgeprof(*asked)
    assert status == 3
    assert "MiB at least: weights, and the most values alive at once" in out
    assert "of 4,096 MiB, less what system and runtime take" in out
    assert "INCONCLUSIVE" in out
    assert max(map(len, out.splitlines())) <= 80


def test_memory_of_a_law_that_knows_it(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], here: Path
) -> None:
    takes = {
        "of": "board",
        "build": {"base": 3, "weights": 3},
        "most": {"base": 5, "weights": 2, "live": 1.5},
        "errors": [-0.1, 0, 0.1, 0.2] * 10,
        "seen": {"weights": [0, 100], "live": [0, 100]},
        "networks": 40,
        "room_mib": 2900,
    }
    takes["errors"].sort()
    law = Law(**{**json.loads(law_json(read_law("gtx960-theano"))), "memory": takes})
    write_law(law, here / "law.json")
    asked = ["predict", "--law", "law.json", "--conv", "2", "--fc", "2", "--batch", "256"]
    found = edgeprof_json(*asked, "--require", "memory_mib<4096")
    low, high = found["memory_interval_mib"]
    assert low < found["memory_mib"] < high
    assert (found["memory_of"], found["memory_fitted"], found["room_mib"]) == ("board", True, 2900)
    assert 0.9 < found["fits_probability"] <= 1
    assert [v["outcome"] for v in found["requirements"]] == ["PASS"]
    _, out, _ = edgeprof(*asked)
    assert f"memory      {found['memory_mib']:.4g} MiB at its peak  [{low:.4g}, {high:.4g}] at 90 %" in out
    assert "fits in the 2,900 MiB that were left: P " in out
    assert max(map(len, out.splitlines())) <= 80
    assert (
        "MiB of the board, processor and GPU together = 5 + 2·weights"
        in edgeprof("show", "law.json", "--emit", "text")[1]
    )


@pytest.mark.parametrize(
    ("network", "speed"),
    [
        (["--conv", "5", "--fc", "1"], "35.7676"),
        (["--conv", "1", "--fc", "5"], "87.736"),
        (["--conv=3", "--fc=3"], "41.4215"),
    ],
)
def test_the_study_s_networks(edgeprof: Callable[..., Any], network: list[str], speed: str) -> None:
    status, out, err = edgeprof("predict", "--law", "gtx960-theano", *network, "--batch", "1024")
    assert status == 0
    assert f"{speed} tiles/ms" in out
    assert err == ""
    assert max(len(line) for line in out.splitlines()) <= 80


def test_the_batch_that_is_assumed_is_said(edgeprof: Callable[..., Any]) -> None:
    status, out, err = edgeprof("predict", "--law", "gtx960-theano", "--json")
    assert status == 0
    assert json.loads(out)["batch"] == 1024
    assert err == "batch 1024 assumed: --batch gives another\n"


def test_what_is_outside_is_said(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    arguments = [
        "predict",
        "--law",
        "gtx960-theano",
        "--depth",
        "8,100",
        "--batch",
        "1024",
        "--padding",
        "same",
    ]
    status, _, err = edgeprof(*arguments)
    assert status == 0
    assert err.splitlines() == [
        "warning: depth 100 is outside what the law has seen (5–80)",
        "warning: padding same is outside what the law has seen (valid)",
    ]
    found = edgeprof_json(*arguments)
    assert found["in_domain"] is False
    assert found["outside"] == [
        {"what": "depth", "value": 100, "seen": [5, 80]},
        {"what": "padding", "value": "same", "seen": ["valid"]},
    ]


@pytest.mark.parametrize(
    ("network", "known"),
    [
        ("--depth 160 --batch 64", True),  # twice beyond
        ("--depth 800 --batch 64", True),  # ten times
        ("--batch 128000", False),  # a thousand times
        ("--batch 8 --neurons 32", True),
        ("--depth 1 --neurons 6 --batch 16", False),
        ("--depth 1 --neurons 1 --batch 1", False),
    ],
)
def test_far_outside_the_interval_is_not_known(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], network: str, known: bool
) -> None:
    law = str(Path(__file__).resolve().parents[1] / "data" / "laws" / "cpu-kernels.json")
    asked = ["predict", "--law", law, "--conv", "2", *network.split(), "--require", "latency_ms<1e9"]
    found = edgeprof_json(*asked, status=0 if known else 3)
    assert (found["interval_ms"] is not None, found["level"] is not None) == (known, known)
    assert found["interval_unknown"] == ("" if known else "far outside what the law has seen")
    assert found["requirements"][0]["outcome"] == ("PASS" if known else "INCONCLUSIVE")
    assert not found["in_domain"]
    if known:
        low, high = found["interval_ms"]
        assert high / low < 100
    _, out, _ = edgeprof(*asked, "--level", "99.5%")
    assert ("interval not known: far outside what the law has seen" in out) is not known
    assert ("] at 99.5 %" in out) is known
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(("batch", "known"), [(1024, True), (1500, False), (100_000, False)])
def test_a_wide_interval_is_not_widened_beyond_all_use(
    edgeprof_json: Callable[..., Any], batch: int, known: bool
) -> None:
    found = edgeprof_json("predict", "--law", "datasheet:jetson-nano", "--conv", "2", "--batch", str(batch))
    assert (found["interval_ms"] is not None) is known


@pytest.mark.parametrize(("side", "known"), [(64, True), (4096, False)])
def test_far_outside_the_reach_the_interval_is_not_known(
    edgeprof_json: Callable[..., Any], here: Path, side: int, known: bool
) -> None:
    x = onnx.helper.make_tensor_value_info("x", 1, [1, 3, "side", "side"])
    y = onnx.helper.make_tensor_value_info("y", 1, None)
    weights = onnx.helper.make_tensor("w", 1, [16, 3, 3, 3], [0.1] * 432)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], "conv")
    graph = onnx.helper.make_graph([node], "net", [x], [y], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, "model.onnx")
    asked = ["predict", "--law", "amd-epyc-avx512", "model.onnx", "--shape", f"x=1x3x{side}x{side}"]
    found = edgeprof_json(*asked)
    assert (found["interval_ms"] is not None) is known
    assert found["interval_unknown"] == ("" if known else "far outside what the law has seen")


def test_a_knob_that_is_outside_is_said_once(edgeprof: Callable[..., Any]) -> None:
    depths = ("--tile", "64", "--depth", "100,200,300,90,110", "--kernel", "3", "--batch", "2048")
    _, _, err = edgeprof("predict", "--law", "gtx960-theano", *depths)
    lines = [line for line in err.splitlines() if line.split()[1] in ("depth", "batch")]
    assert lines == [
        "warning: depth 100, 200, 300, 90, … are outside what the law has seen (5–80)",
        "warning: batch 2048 is outside what the law has seen (1024)",
    ]


def test_every_knob_of_a_network(edgeprof_json: Callable[..., Any]) -> None:
    flags = (
        "--tile 32 --channels 3 --classes 7 --conv 2 --depth 8,16 --kernel 3,5 --stride 2,1 --padding same,1"
    )
    more = "--pool 3 --pool-before 2 --fc 2 --neurons 64,32 --batch 16"
    net = edgeprof_json("predict", "--law", "gtx960-theano", *flags.split(), *more.split())["net"]
    assert net == {
        "tile": 32,
        "channels": 3,
        "classes": 7,
        "conv": 2,
        "depth": [8, 16],
        "kernel": [3, 5],
        "stride": [2, 1],
        "padding": ["same", 1],
        "pool": 3,
        "pool_before": 2,
        "fc": 2,
        "neurons": [64, 32],
    }


def test_the_level_of_the_interval(edgeprof_json: Callable[..., Any], here: Path) -> None:
    law = read_law("gtx960-theano").model_copy(
        update={"conformal": tuple((1.0, i / 1000) for i in range(1, 20))}
    )
    Path("law.json").write_text(law_json(law))
    arguments = ["predict", "--law", "law.json", "--batch", "1024"]
    wide, narrow = edgeprof_json(*arguments), edgeprof_json(*arguments, "--level", "50%")
    assert (wide["level"], narrow["level"]) == (0.9, 0.5)
    assert wide["interval_ms"][0] < narrow["interval_ms"][0] < wide["latency_ms"] < narrow["interval_ms"][1]
    rare = edgeprof_json(*arguments, "--level", "0.99")["interval_ms"]  # rarer than the largest of 19 errors
    assert rare[0] < wide["interval_ms"][0]
    assert rare[1] > wide["interval_ms"][1]


def test_a_datasheet_s_law_says_that_it_is_one(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]
) -> None:
    asked = ("--law", "datasheet:jetson-orin-nano-8gb", "--conv", "2", "--batch", "64")
    status, out, err = edgeprof("predict", *asked)
    assert status == 0
    assert "law datasheet:jetson-orin-nano-8gb" in out
    assert "nothing was measured on this board" in err
    found = edgeprof_json("predict", *asked)
    low, high = found["interval_ms"]
    assert high / low > 20
    assert found["in_domain"]
    for verb in (("query", *asked, "--at-least", "1"), ("query", *asked, "--law", "datasheet:jetson-nano")):
        status, out, err = edgeprof(*verb)
        assert (status, err.count("nothing was measured")) == (0, 1)
        assert "jetson-orin-nano-8gb" in out
        assert max(len(line) for line in out.splitlines()) <= 80


@pytest.fixture
def conv_law(here: Path) -> str:
    """A law of convolutions and products that knows nothing else."""
    rules = {"Conv": {"kind": "Conv.im2col"}, "Relu": {"kind": "merged"}, "Gemm": {"kind": "Gemm"}}
    law = Law(
        name="convs",
        board="cpu",
        backend="ort-cpu",
        runtime="made up 1.0",
        threads=1,
        form="made up",
        scope="kernel",
        unit="run",
        groups=[
            {
                "name": "Conv",
                "kinds": ["Conv.*"],
                "terms": [{"text": "B*H*W*Kh*Kw*C*M", "coefficient": 1e-8}],
            },
            {"name": "Gemm", "kinds": ["Gemm"], "terms": [{"text": "R*N*M", "coefficient": 2e-8}]},
        ],
        overhead=[{"text": "1", "coefficient": 0.01}],
        rules={"operators": rules},
        domain={"batch": [1, 16]},
        conformal=[(1.0, 0.01 * i) for i in range(1, 31)],
        reach={
            "Conv.im2col": {"C": [1, 600], "M": [1, 600], "G": [1, 1]},
            "Gemm": {"N": [1, 600], "M": [1, 1000]},
        },
        roofline={"macs_per_ms": [1e7, 3e7, 1e8], "bytes_per_ms": [1e6, 5e6, 1e7], "kernel_ms": 0.001},
    )
    path = here / "convs.json"
    write_law(law, path)
    return str(path)


def test_any_model_is_priced_and_its_gaps_named(edgeprof_json: Callable[..., Any], conv_law: str) -> None:
    found = edgeprof_json("predict", "--law", conv_law, "resnet18")
    assert found.keys() == (KEYS - {"net"}) | {"network", "unfitted", "unfitted_share"}
    assert (found["network"], found["batch"], found["in_domain"]) == ("resnet18", 1, False)
    kinds = {gap["operator"] for gap in found["unfitted"]}
    assert kinds == {"MaxPool", "Add", "GlobalAveragePool", "Flatten", "Softmax"}
    ms = math.fsum(gap["ms"] for gap in found["unfitted"])
    assert found["unfitted_share"] == pytest.approx(ms / found["latency_ms"])
    conv = math.fsum(k["ms"] for k in found["kernels"] if k["kind"] == "Conv.im2col")
    assert conv == pytest.approx(1813561344e-8)  # the published multiply-accumulates, less the classifier's
    low, high = found["interval_ms"]
    assert low < found["latency_ms"] < high
    assert high - found["latency_ms"] > math.fsum(g["high_ms"] - g["ms"] for g in found["unfitted"])


def test_depthwise_convolutions_are_no_convolutions(edgeprof_json: Callable[..., Any], conv_law: str) -> None:
    found = edgeprof_json("predict", "--law", conv_law, "mobilenet-v1", "--batch", "2")
    named = [gap["name"] for gap in found["unfitted"] if gap["operator"] == "Conv"]
    assert len(named) == 13
    assert all(name.endswith("_dw") for name in named)
    assert {item["what"] for item in found["outside"]} == {"Conv.im2col C", "Conv.im2col M", "Gemm N"}


def test_a_file_with_open_axes(edgeprof: Callable[..., Any], conv_law: str, here: Path) -> None:
    x = onnx.helper.make_tensor_value_info("x", 1, ["N", 3, "size", "size"])
    y = onnx.helper.make_tensor_value_info("y", 1, None)
    weight = onnx.helper.make_tensor("w", 1, [4, 3, 3, 3], [0.5] * 108)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[3, 3]),
        onnx.helper.make_node("Relu", ["c"], ["r"], name="relu"),
        onnx.helper.make_node("Cos", ["r"], ["y"], name="cosine"),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], [weight]))
    onnx.save(model, here / "wave.onnx")
    law = ("predict", "--law", conv_law, "wave.onnx")
    assert edgeprof(*law)[0] == 2
    status, out, err = edgeprof(*law, "--shape", "x=2x3x10x10")
    assert status == 0, err
    assert out.startswith("wave · batch 2 · law convs")
    assert "no kernel of the law is like 1 operators" in out
    assert "Cos ×1" in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_a_law_that_knows_no_rates_says_so(edgeprof: Callable[..., Any], conv_law: str, here: Path) -> None:
    law = read_law(conv_law).model_copy(update={"roofline": None, "reach": {}})
    write_law(law, here / "old.json")
    status, out, err = edgeprof("predict", "--law", "old.json", "resnet18")
    assert "images/s" in out
    assert "ms per image" in out
    assert "tile" not in out
    assert status == 0
    assert "without a price, so the latency is more than this: MaxPool" in out
    assert "fit the law again" in err
    assert "[" not in out.splitlines()[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnet18", "--depth", "8"], "the model resnet18 and --depth are two questions"),
        (["--shape", "x=1x3x8x8"], "--shape is for a model's file"),
        (["resnet-18"], "resnet-18"),
    ],
)
def test_what_is_no_question(
    refused: Callable[..., Any], conv_law: str, arguments: list[str], says: str
) -> None:
    error, hint = refused("predict", "--law", conv_law, *arguments)
    assert says in error
    assert hint


def test_an_operator_of_unknown_shape_is_a_gap(
    edgeprof_json: Callable[..., Any], conv_law: str, here: Path
) -> None:
    x = onnx.helper.make_tensor_value_info("x", 1, [8, 8])
    y = onnx.helper.make_tensor_value_info("y", 1, None)
    weight = onnx.helper.make_tensor("w", 1, [8, 4], [0.5] * 32)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
        onnx.helper.make_node("NonZero", ["p"], ["n"], name="found"),
        onnx.helper.make_node("Cast", ["n"], ["f"], name="cast", to=1),
        onnx.helper.make_node("MatMul", ["f", "w2"], ["y"], name="unknown"),
    ]
    other = onnx.helper.make_tensor_value_info("w2", 1, [5, 4])
    graph = onnx.helper.make_graph(nodes, "g", [x, other], [y], [weight])
    onnx.save(onnx.helper.make_model(graph), here / "odd.onnx")
    found = edgeprof_json("predict", "--law", conv_law, "odd.onnx")
    assert {gap["name"] for gap in found["unfitted"]} == {"product", "found", "cast", "unknown"}
    assert found["latency_ms"] > 0.01


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"  # real networks, weights left out


@pytest.mark.parametrize(
    ("name", "macs", "gaps"),
    [
        ("squeezenet", 0.349e9, {"MaxPool", "GlobalAveragePool", "Softmax"}),
        ("inception_v1", 1.43e9, {"MaxPool", "AveragePool", "LRN", "Softmax"}),
        ("resnet50", 4.1e9, {"MaxPool", "AveragePool", "Sum", "Add", "Softmax"}),
    ],
)
def test_public_models_get_an_answer_and_named_gaps(
    name: str, macs: float, gaps: set[str], edgeprof_json: Callable[..., Any], conv_law: str
) -> None:
    path = LIGHT / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this version of the package onnx has no such model")
    found = edgeprof_json("predict", "--law", conv_law, str(path))
    conv = math.fsum(k["ms"] for k in found["kernels"] if k["kind"] == "Conv.im2col")
    assert conv == pytest.approx(macs * 1e-8, rel=0.15)
    named = {gap["operator"] for gap in found["unfitted"]}
    assert named & gaps >= gaps - {"Add", "Sum"}
    assert "Conv" not in named


# --- a law over clocks


@pytest.fixture
def clocked(here: Path) -> Path:
    """A law over core and memory clock that has seen two power modes."""
    settings = [
        {"power_mode": "MAXN", "clocks": None, "core_mhz": 1300.0, "memory_mhz": 2000.0},
        {"power_mode": "7W", "clocks": None, "core_mhz": 400.0, "memory_mhz": 1000.0},
    ]
    domain = {"depth": [4, 64], "core_mhz": [400, 1300], "memory_mhz": [1000, 2000]}
    write_law(truth(name="clocked", settings=settings, domain=domain), here / "clocked.json")
    return here / "clocked.json"


def test_the_clocks_that_are_assumed_are_said(edgeprof: Callable[..., Any], clocked: Path) -> None:
    _, out, err = edgeprof("predict", "--law", str(clocked), "--batch", "8")
    assert "clocks assumed: core 1300 MHz, memory 2000 MHz, the highest setting seen: --core-mhz" in err
    assert "core 1300 MHz" in out
    _, out, err = edgeprof("predict", "--law", str(clocked), "--batch", "8", "--core-mhz", "600")
    assert "assumed" not in err
    assert "core 600 MHz, memory 2000 MHz" in " ".join(out.split())
    assert max(len(line) for line in out.splitlines()) <= 80


def test_clocks_and_power_modes(edgeprof_json: Callable[..., Any], clocked: Path) -> None:
    asked = ["predict", "--law", str(clocked), "--conv", "2", "--neurons", "128", "--batch", "8"]
    usual, slow = edgeprof_json(*asked), edgeprof_json(*asked, "--power-mode", "7W")
    assert usual["clocks"] == {"core_mhz": 1300.0, "memory_mhz": 2000.0}
    assert slow["clocks"] == {"core_mhz": 400.0, "memory_mhz": 1000.0}
    assert slow == edgeprof_json(*asked, "--core-mhz", "400", "--memory-mhz", "1000")
    assert slow["latency_ms"] > 1.5 * usual["latency_ms"]
    fast = edgeprof_json(*asked, "--core-mhz", "2600")
    assert (fast["in_domain"], fast["outside"]) == (
        False,
        [{"what": "core_mhz", "value": 2600.0, "seen": [400, 1300]}],
    )


def test_clocks_that_a_law_does_not_know(refused: Callable[..., tuple[str, str]], clocked: Path) -> None:
    asked = ["predict", "--law", str(clocked), "--batch", "8"]
    assert refused(*asked, "--cpu-mhz", "1500") == (
        "law 'clocked' has no terms over the processor clock",
        "it takes --core-mhz, --memory-mhz",
    )
    assert refused(*asked, "--power-mode", "15W")[1] == "it has 7W, MAXN"
    plain = ["predict", "--law", "gtx960-theano", "--batch", "8"]
    assert "one setting" in refused(*plain, "--core-mhz", "600")[0]
