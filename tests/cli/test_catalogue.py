"""``edgeprof list`` and ``edgeprof show``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof import catalogue
from edgeprof.fit.law_file import read_law
from edgeprof.nets.graph import checked_bytes
from edgeprof.nets.zoo import zoo_model


@pytest.mark.parametrize("kind", ["sweeps", "boards", "forms", "laws", "backends", "zoo"])
def test_lists(kind: str, edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    rows = edgeprof_json("list", kind)
    assert rows
    assert all(row.keys() == {"name", "about", "origin", "path"} for row in rows)
    status, out, err = edgeprof("list", kind)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [row["name"] for row in rows]
    assert max(len(line) for line in out.splitlines()) <= 80
    if kind not in ("backends", "zoo"):
        assert [row["name"] for row in rows] == [e.name for e in catalogue.entries(kind)]  # type: ignore[arg-type]
        assert all(Path(row["path"]).is_file() for row in rows)


def test_files_of_one_s_own(
    edgeprof: Callable[..., Any],
    edgeprof_json: Callable[..., Any],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (here / "sweeps").mkdir()
    (here / "sweeps" / "quick.toml").write_text('about = "mine"\n')
    (here / "sweeps" / "broken.toml").write_text("about = ")
    monkeypatch.setenv("EDGEPROF_CATALOGUE", str(here))
    rows = {row["name"]: row for row in edgeprof_json("list", "sweeps")}
    assert (rows["quick"]["about"], rows["quick"]["origin"]) == ("mine", "yours")
    assert rows["broken"]["about"] == "(cannot be read)"
    assert rows["group1"]["origin"] == "shipped"
    assert "mine (yours)" in edgeprof("list", "sweeps")[1]
    assert edgeprof("show", "quick")[1] == 'about = "mine"\n'


@pytest.mark.parametrize("name", ["group4", "cpu", "jetson-orin-nano-8gb", "eq13", "gtx960-theano"])
def test_show_is_the_file(name: str, edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("show", name)
    assert found.keys() == {"name", "kind", "path", "text"}
    assert found["text"] == Path(found["path"]).read_text("utf-8")
    status, out, err = edgeprof("show", name)
    assert (status, out.rstrip(), err) == (0, found["text"].rstrip(), "")


def test_a_name_of_two_kinds_is_told(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    status, _, err = edgeprof("show", "kernels")
    assert (status, err) == (0, "kernels is one of the forms too: edgeprof show forms/kernels\n")
    assert [edgeprof_json("show", f"{kind}/kernels")["kind"] for kind in ("sweeps", "forms")] == [
        "sweeps",
        "forms",
    ]
    assert edgeprof("show", "boards/kernels")[0] == 2


def test_a_datasheet_s_law_is_shown_as_a_file(edgeprof: Callable[..., Any], here: Path) -> None:
    status, out, err = edgeprof("show", "datasheet:jetson-nano")
    assert (status, err) == (0, "")
    (here / "nano.json").write_text(out)
    assert read_law("nano.json") == read_law("datasheet:jetson-nano")


def test_layers_of_a_network(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    found = edgeprof_json("show", "resnet18")
    assert (found["kind"], found["batch"], found["input"]) == ("zoo", 1, [1, 3, 224, 224])
    assert (found["macs"], found["published_parameters"]) == (1_814_073_344, 11_689_512)
    assert found["parameters"] == 11_689_512 - 4_800  # one number per channel less than scale and shift
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
    assert found["layers"][0] == {
        "name": "conv1",
        "operator": "Conv",
        "output": [1, 64, 112, 112],
        "macs": 118_013_952,
        "parameters": 9_472,
    }
    assert found["out"] is None
    status, out, err = edgeprof("show", "resnet18")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0] == "ResNet, 18 layers, 2016 · input 1×3×224×224"
    assert lines[1].split() == ["layer", "operator", "output", "MACs", "(M)", "parameters"]
    assert lines[2].split() == ["conv1", "Conv", "1×64×112×112", "118.01", "9,472"]
    assert lines[-2] == "total: 1,814.07 M MACs in a run of batch 1, 11,684,712 parameters"
    assert lines[-1] == "published: 11,689,512 parameters, with batch normalisation's scale and shift"
    assert len(lines) == 2 + len(found["layers"]) + 2


@pytest.mark.parametrize("name", ["vgg16", "vit-tiny", "inception-v3", "densenet121"])
def test_layers_fit_the_screen(name: str, edgeprof: Callable[..., Any]) -> None:
    lines = edgeprof("show", name, "--batch", "4096")[1].splitlines()
    assert max(map(len, lines)) <= 80
    assert all("4096×" in line for line in lines[2:5])


def test_a_network_as_a_file(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], here: Path
) -> None:
    assert edgeprof("show", "lenet5", "--batch", "2", "--out", "net.onnx") == (
        0,
        "",
        "lenet5 at batch 2, random weights: 0.2 MB in net.onnx\n",
    )
    assert (here / "net.onnx").read_bytes() == checked_bytes(zoo_model("lenet5", 2))
    assert edgeprof_json("show", "lenet5", "--out", "again.onnx")["out"] == "again.onnx"
    assert (here / "again.onnx").is_file()


def test_what_is_no_network_is_not_written(refused: Callable[..., tuple[str, str]], here: Path) -> None:
    assert refused("show", "group4", "--out", "x.onnx")[0] == "group4 is no network: it is a file of sweeps"
    assert refused("show", "group4", "--batch", "2")[0] == "group4 is no network: it is a file of sweeps"
    assert "--emit is for laws" in refused("show", "gtx960-theano", "--emit", "c", "--out", "law.h")[0]
    assert refused("show", "lenet5", "--batch", "0")[0].startswith("Invalid value for '--batch'")
    assert "cannot write" in refused("show", "lenet5", "--out", "no/x.onnx")[0]
    assert not list(here.glob("*.onnx"))


def test_what_is_not_there(refused: Callable[..., tuple[str, str]]) -> None:
    assert refused("list", "cows") == (
        "there is no list of 'cows'",
        "lists are of sweeps, boards, forms, laws, backends, zoo",
    )
    assert refused("show", "group9")[0] == "nothing in the catalogue is called 'group9'"


def test_a_law_in_another_form(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    for language, start in {
        "c": "/*\n",
        "python": "# ",
        "javascript": "// ",
        "latex": "% ",
        "csv": '"Law ',
        "html": "<!DOCTYPE html>\n",
    }.items():
        status, out, err = edgeprof("show", "gtx960-theano", "--emit", language)
        assert (status, err) == (0, "")
        assert out.startswith(start)
    found = edgeprof_json("show", "gtx960-theano", "--emit", "c")
    assert found.keys() == {"name", "kind", "emit", "text"}
    assert refused("show", "group4", "--emit", "c")[0] == "there is no law called 'group4'"
    assert refused("show", "gtx960-theano", "--emit", "rust")[0] == "a law cannot be written as 'rust'"


def test_names_that_are_near(refused: Callable[..., tuple[str, str]], here: Path) -> None:
    assert "did you mean resnet18" in refused("show", "resnet19")[1]
    assert "group4" in refused("show", "grup4")[1]
    assert "edgeprof list" in refused("show", "law.json")[1]
    (here / "law.json").write_text("{}")
    assert (
        refused("show", "law.json")[1]
        == "a law's file is shown in a form: edgeprof show law.json --emit text"
    )
