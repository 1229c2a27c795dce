"""The catalogue: whose file a name is, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeprof import catalogue
from edgeprof.errors import CatalogueError


@pytest.fixture
def yours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one's own, with a sweep that is new and one that hides a shipped one."""
    (tmp_path / "sweeps").mkdir()
    for name in ("mine", "quick"):
        (tmp_path / "sweeps" / f"{name}.toml").write_text(f'name = "{name}"\nabout = "yours"\n')
    monkeypatch.setenv("EDGEPROF_CATALOGUE", str(tmp_path))
    return tmp_path


@pytest.fixture
def shipped_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEPROF_CATALOGUE", raising=False)


@pytest.mark.usefixtures("shipped_only")
def test_without_a_catalogue_of_yours_all_is_shipped() -> None:
    assert catalogue.roots() == [("shipped", catalogue.shipped_root())]
    for kind in ("sweeps", "boards"):
        found = catalogue.entries(kind)
        assert [e.name for e in found] == sorted(e.name for e in found)
        assert {e.origin for e in found} == {"shipped"}
        assert all(catalogue.find(kind, e.name) == e.path for e in found)


def test_yours_come_first(yours: Path) -> None:
    assert [origin for origin, _ in catalogue.roots()] == ["yours", "shipped"]
    origins = {e.name: e.origin for e in catalogue.entries("sweeps")}
    assert (origins["mine"], origins["quick"], origins["group1"]) == ("yours", "yours", "shipped")
    assert list(origins) == sorted(origins)
    assert catalogue.find("sweeps", "quick") == yours / "sweeps" / "quick.toml"
    assert catalogue.find("sweeps", "group1") == catalogue.shipped_root() / "sweeps" / "group1.toml"
    assert {e.origin for e in catalogue.entries("boards")} == {"shipped"}  # yours has no folder of boards


def test_forms_and_laws_lie_under_fit(yours: Path) -> None:
    for folder, name in (("forms", "mine.toml"), ("laws", "mine.json"), ("laws", "notes.txt")):
        (yours / "fit" / folder).mkdir(parents=True, exist_ok=True)
        (yours / "fit" / folder / name).write_text("")
    assert catalogue.find("forms", "mine") == yours / "fit/forms/mine.toml"
    assert catalogue.find("laws", "mine") == yours / "fit/laws/mine.json"
    assert "notes" not in [e.name for e in catalogue.entries("laws")]


@pytest.mark.parametrize("value", ["", "/there/is/no/such/folder"])
def test_an_empty_or_missing_catalogue_of_yours_is_no_trouble(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPROF_CATALOGUE", value)
    assert {e.origin for e in catalogue.entries("sweeps")} == {"shipped"}


def test_a_suffix_or_a_slash_is_a_file(yours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = yours / "work"
    (work / "sub").mkdir(parents=True)
    for name in ("quick.toml", "law.json", "sub/plain"):
        (work / name).write_text("")
    monkeypatch.chdir(work)
    assert catalogue.find("sweeps", "quick.toml") == Path("quick.toml")
    assert catalogue.find("laws", "law.json") == Path("law.json")
    assert catalogue.find("sweeps", "sub/plain") == Path("sub/plain")
    assert catalogue.find("sweeps", str(work / "quick.toml")) == work / "quick.toml"
    assert catalogue.find("sweeps", "quick").parent == yours / "sweeps"


@pytest.mark.parametrize(
    "name", ["none.toml", "./none", "sub/", "/" + "x" * 5_000, "a\0b.toml", "/proc/1/root/none/x.toml"]
)
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        catalogue.find("sweeps", name)
    assert caught.value.message.startswith("no such file: ")
    assert caught.value.hint == "edgeprof list sweeps shows the names that need no file"


@pytest.mark.usefixtures("shipped_only")
@pytest.mark.parametrize(
    ("name", "near"),
    [("gruop1", "group1"), ("quik", "quick"), ("neuronstep", "neuron-step"), ("famly", "family")],
)
def test_the_nearest_names_are_in_the_hint(name: str, near: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        catalogue.find("sweeps", name)
    assert caught.value.message == f"there is no sweep called '{name}'"
    assert near in caught.value.hint.split("?")[0]


@pytest.mark.usefixtures("shipped_only")
def test_where_nothing_is_near_all_names_are_in_the_hint() -> None:
    with pytest.raises(CatalogueError) as caught:
        catalogue.find("sweeps", "zzzzzzzz")
    assert all(e.name in caught.value.hint for e in catalogue.entries("sweeps"))


def test_text_is_read_or_refused(tmp_path: Path) -> None:
    good, binary = tmp_path / "good.toml", tmp_path / "binary.toml"
    good.write_text("about = '×'", "utf-8")
    binary.write_bytes(b"\xff\xfe\x00")
    assert catalogue.read_text(good) == "about = '×'"
    for wrong in (binary, tmp_path, tmp_path / "none.toml"):
        with pytest.raises(CatalogueError, match="cannot read"):
            catalogue.read_text(wrong)


def test_a_file_beyond_64_mib_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 64 * 2**20 + 1)  # sparse: takes no space
    with pytest.raises(CatalogueError, match="larger than 64 MiB"):
        catalogue.read_text(path)


@pytest.mark.parametrize("text", ["a =", "a = 1\na = 2", "[a", "a = " + "[" * 10_000, "a = " + "9" * 5_000])
def test_what_is_no_toml_says_where(text: str) -> None:
    with pytest.raises(CatalogueError, match=r"^mine\.toml is not TOML: ") as caught:
        catalogue.parse_toml(text, "mine.toml")
    assert caught.value.hint


def test_toml_is_a_dictionary() -> None:
    assert catalogue.parse_toml("[net]\ndepth = [8, 16]", "mine.toml") == {"net": {"depth": [8, 16]}}
