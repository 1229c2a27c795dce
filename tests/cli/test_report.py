"""``edgeprof report``: one page or a folder of pictures, and what is missing said."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")
pytest.importorskip("matplotlib")


def test_a_page_of_a_database_and_a_law(edgeprof: Callable[..., Any], rehearsed: Path) -> None:
    status, out, err = edgeprof("report", "--db", "r.db", "--law", "gtx960-theano", "--out", "page.html")
    assert status == 0
    assert out.endswith("s · page.html\n")
    assert "No energy and no power: no sensor was read.\n" in err
    text = Path("page.html").read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "<h1>r.db</h1>" in text
    assert "Dot22" in text


def test_the_summary_as_json(edgeprof_json: Callable[..., Any], rehearsed: Path) -> None:
    found = edgeprof_json("report", "--db", "r.db")
    assert found["out"] == ["report.html"]
    assert found["bytes"] == Path("report.html").stat().st_size
    assert {f["section"] for f in found["figures"]} >= {"speed", "kernels", "disturbance"}
    assert any(line.startswith("No drift") for line in found["missing"])
    assert found["wall_s"] > 0


def test_pictures_of_a_law_alone(edgeprof: Callable[..., Any], here: Path) -> None:
    law = Path(__file__).resolve().parents[1] / "data" / "laws" / "cpu-kernels.json"
    status, out, _ = edgeprof("report", "--law", str(law), "--format", "svg", "--out", "pictures")
    assert status == 0
    assert sorted(p.name for p in Path("pictures").iterdir()) == ["held-out-errors.svg", "law-shares.svg"]
    assert "2 files in pictures" in out


def test_some_pictures(edgeprof_json: Callable[..., Any], rehearsed: Path) -> None:
    found = edgeprof_json(
        "report", "--db", "r.db", "--format", "png", "--figure", "kernel-sh*", "--figure", "tails"
    )
    assert [f["key"] for f in found["figures"]] == ["kernel-shares", "tails"]
    assert sorted(p.name for p in Path("figures").iterdir()) == ["kernel-shares.png", "tails.png"]


def test_cases_of_several_databases_and_where(
    edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any], rehearsed: Path
) -> None:
    Path("again.db").write_bytes(Path("r.db").read_bytes())
    _, _, err = edgeprof("report", "--db", "r.db", "--db", "again.db", "--figure", "tails")
    assert "36 cases lie in several databases: the first counts" in err
    both = edgeprof_json("report", "--db", "r.db", "--db", "again.db", "--where", "launch=blocking")
    one = edgeprof_json("report", "--db", "r.db")
    assert [f["key"] for f in both["figures"]] == [f["key"] for f in one["figures"]]
    assert "<h1>r.db</h1>" in Path("report.html").read_text("utf-8")


def test_requests_that_are_wrong(refused: Callable[..., tuple[str, str]], rehearsed: Path) -> None:
    assert refused("report", "--format", "gif", "--db", "r.db")[0] == "there is no format 'gif'"
    assert "no database" in refused("report", "--db", "none.db")[0]
    assert refused("report", "--db", "r.db", "--figure", "nose")[0] == "no figure is called nose"
    assert refused("report", "--db", "r.db", "--where", "threads=9")[0] == "no measurement has threads=9"
    assert "cannot write" in refused("report", "--db", "r.db", "--out", "no/folder.html")[0]
    assert not Path("report.html").exists()


@pytest.mark.parametrize(("format_", "module"), [("html", "plotly"), ("png", "matplotlib")])
def test_a_missing_library_names_its_extra(
    format_: str,
    module: str,
    refused: Callable[..., tuple[str, str]],
    rehearsed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def gone(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", gone)
    message, hint = refused("report", "--db", "r.db", "--format", format_)
    assert module in message
    assert hint == "pip install 'edgeprof[report]'"


def test_the_example_in_the_documentation_runs(rehearsed: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "report.md").read_text("utf-8"), re.DOTALL)
    Path("law.json").write_bytes((root / "fit" / "laws" / "gtx960-theano.json").read_bytes())
    exec(compile(code, "docs/report.md", "exec"), {"path": rehearsed})
    assert Path("speed.pdf").read_bytes().startswith(b"%PDF")
    assert Path("r.html").read_text("utf-8").startswith("<!DOCTYPE html>")
