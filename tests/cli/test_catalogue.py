"""``edgeprof list`` and ``edgeprof show``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeprof import catalogue


@pytest.mark.parametrize("kind", ["sweeps", "boards", "forms", "laws", "backends"])
def test_lists(kind: str, edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    rows = edgeprof_json("list", kind)
    assert rows
    assert all(row.keys() == {"name", "about", "origin", "path"} for row in rows)
    status, out, err = edgeprof("list", kind)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [row["name"] for row in rows]
    assert max(len(line) for line in out.splitlines()) <= 80
    if kind != "backends":
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


def test_what_is_not_there(refused: Callable[..., tuple[str, str]]) -> None:
    assert refused("list", "cows") == (
        "there is no list of 'cows'",
        "lists are of sweeps, boards, forms, laws, backends",
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
    }.items():
        status, out, err = edgeprof("show", "gtx960-theano", "--emit", language)
        assert (status, err) == (0, "")
        assert out.startswith(start)
    found = edgeprof_json("show", "gtx960-theano", "--emit", "c")
    assert found.keys() == {"name", "kind", "emit", "text"}
    assert refused("show", "group4", "--emit", "c")[0] == "there is no law called 'group4'"
    assert refused("show", "gtx960-theano", "--emit", "rust")[0] == "a law cannot be written as 'rust'"
