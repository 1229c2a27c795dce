"""The reader of layers on files in the formats of TensorRT's inspector and trtexec's profile, written for the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.trt_layers import engines, main
from edgeprof.nets.network import network_bytes
from edgeprof.nets.spec import net_spec

NET = net_spec(conv=1, depth=4, fc=1, neurons=8)
LAYERS = [
    ("Reformatting CopyNode for Input Tensor 0 to conv1 + conv1_relu", "Reformat"),
    ("conv1 + conv1_relu", "CaskConvolution"),
    ("pool1", "TiledPooling"),
    ("flatten", "NoOp"),
    ("fc1 + fc1_relu", "CaskGemmMatrixMultiply"),
    ("classifier", "CaskGemmMatrixMultiply"),
    ("softmax", "CudaSoftMax"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An engine's layers, two profiles of which one is of another engine, and files that are none of both."""
    write(tmp_path / "net.graph.json", {"Layers": [layer(*one) for one in LAYERS], "Bindings": ["input"]})
    write(tmp_path / "a.json", profile([name for name, _ in LAYERS[1:]]))
    write(tmp_path / "net.profile.json", profile([name for name, _ in LAYERS]))
    write(tmp_path / "timing.json", [{"startInferMs": 0.1}])
    (tmp_path / "log.json").write_text("[I] done")
    (tmp_path / "net.onnx").write_bytes(network_bytes(NET, 1))
    return tmp_path


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def layer(name: str, kind: str, types: str = "Row major linear FP32") -> dict[str, Any]:
    tensor = {"Name": "t", "Dimensions": [1, 8], "Format/Datatype": types}
    return {"Name": name, "LayerType": kind, "Inputs": [tensor], "Outputs": [tensor]}


def profile(names: list[str]) -> list[dict[str, Any]]:
    parts = [
        {"name": name, "timeMs": 2.0, "averageMs": 0.5, "percentage": 100 / len(names)} for name in names
    ]
    return [{"count": 4}, *parts]


def test_an_engine_is_read_with_the_profile_of_its_layers(folder: Path, capsys) -> None:
    (one,) = engines(folder)
    assert [event["name"] for event in one[2]] == [name for name, _ in LAYERS]
    assert main([str(folder), "--onnx", str(folder / "net.onnx")]) == 0
    head, line = capsys.readouterr().out.splitlines()
    names = head.replace("sum ms", "sum").split()
    told = dict(zip(names, line.split()[:-1], strict=True))
    assert told == {
        "layers": "7",
        "work": "5",
        "formats": "5",
        "kernels": "0",
        "read": "0",
        "times": "7",
        "sum": "3.500",
        "parts": "1.000",
        "traced": "6",
        "strayed": "0",
    }


def test_layers_that_nothing_is_known_of_fail(folder: Path, capsys) -> None:
    write(folder / "net.graph.json", {"Layers": [layer("mystery", "Convolution", "")]})
    assert main([str(folder), "--onnx", str(folder / "net.onnx")]) == 1
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["1", "1", "0"]
    assert main([str(folder / "log.json")]) == 1
    assert main([str(folder), "--onnx", str(folder / "none.onnx")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
