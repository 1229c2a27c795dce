"""The script that lists cuDNN's plans: without cuDNN, and, where it is installed, with it and without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cudnn_plans import (
    CAPABILITIES,
    MARK,
    Plan,
    Shape,
    compared,
    family_shapes,
    handmade,
    kernels_seen,
    shapes_of,
)
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case

HAS_CUDNN = importlib.util.find_spec("cudnn") is not None
NET = net_spec(conv=2, depth=(5, 16), kernel=(3, 5), padding="same", stride=(1, 2), fc=0, tile=28)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, which begins anew with another environment."""
    environment = {key: value for key, value in os.environ.items() if key != MARK}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.cudnn_plans", *arguments],
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(HAS_CUDNN, reason="cuDNN's frontend is installed")
def test_without_cudnn_it_says_what_to_install() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "pip install nvidia-cudnn-cu13" in done.stderr or "no C compiler" in done.stderr


@pytest.mark.skipif(not HAS_CUDNN, reason="nvidia-cudnn-frontend is not installed")
def test_plans_are_listed_without_a_gpu(tmp_path: Path) -> None:
    done = run("--capability", "8.6", "8.7", "--shapes", "8", "--out", str(tmp_path / "plans.json"))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "plans.json").read_text())
    first = {name: figures["first"] for name, figures in told["figures"].items()}
    assert len(told["shapes"]) == 8
    if "this GPU" not in first:
        assert first["8.6"] == first["8.7"]
        assert all(plan.startswith(("eng", "plain eng")) for plan in first["8.6"])


def test_convolutions_of_a_network_by_name() -> None:
    found = shapes_of(NET, 3)
    assert found["conv1"] == Shape(3, 1, 28, 5, 3, 1, 1, 1)
    assert found["conv2"].stride == 2
    assert found["conv2"].before + found["conv2"].behind >= 3
    assert found["conv1"].result == 28


def test_shapes_of_the_family_differ() -> None:
    shapes = family_shapes(20)
    assert len(set(shapes)) == len(shapes) == 20
    assert shapes == family_shapes(20)


def test_handmade_properties_have_the_same_fields() -> None:
    fields = {tuple(handmade(name)) for name in CAPABILITIES}
    assert len(fields) == 1
    assert [handmade(name)["deviceVer"] for name in CAPABILITIES] == [800, 860, 870, 890, 900, 1000]


def export(path: Path, kernels: list[dict[str, object]]) -> Path:
    """An export with one measurement of NET that has these kernels."""
    case = Case(
        net=NET,
        batch=3,
        precision="fp32",
        threads=1,
        launch="async",
        board="b",
        machine="m",
        backend="ort-cuda",
        runtime="r",
    )
    path.write_text(json.dumps([{"case": case.identity(), "kernels": kernels}]))
    return path


def test_kernels_that_cupti_saw_are_found_by_shape(tmp_path: Path) -> None:
    kernels = [
        {"kind": "Conv.winograd.fp32", "operators": ["conv1"], "device": {"name": "winograd3x3"}},
        {"kind": "layout", "operators": ["conv1"], "device": {"name": "nchwToNhwc"}},
        {"kind": "Conv", "operators": ["conv2"], "device": None},
    ]
    found = kernels_seen(export(tmp_path / "seen.json", kernels))
    assert found == {shapes_of(NET, 3)["conv1"]: ("Conv.winograd.fp32", "winograd3x3", "fp32")}
    with pytest.raises(SystemExit, match="no convolutions with kernels by CUPTI"):
        kernels_seen(export(tmp_path / "host.json", kernels[2:]))


def test_how_far_plans_tell_kernels() -> None:
    shapes = [Shape(1, 1, size, 1, 3, 1, 0, 0) for size in (8, 9, 10, 11)]
    plans = [Plan("eng1", "k1=0"), Plan("eng1", "k1=1"), Plan("eng1", "k1=1"), Plan("eng2", "")]
    names = ["a", "b", "c", "a"]
    found = compared(
        {shape: [plan] for shape, plan in zip(shapes, plans, strict=True)},
        {shape: ("Conv.x", name, "fp32") for shape, name in zip(shapes, names, strict=True)},
    )
    assert (found["plan_tells_kernel"], found["one_kernel_for_all"]) == (0.75, 0.5)
    assert found["kinds_by_engine"] == {"eng1": {"Conv.x": 3}, "eng2": {"Conv.x": 1}}
