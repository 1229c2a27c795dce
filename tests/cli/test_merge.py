"""``edgeprof merge``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUDY = "simulated:gtx960-theano,noise=1%"


def test_merge(edgeprof: Callable[..., Any], edgeprof_json: Callable[..., Any]) -> None:
    for name, conv in (("a.db", "1"), ("b.db", "2")):
        assert (
            edgeprof("sweep", "group1", "--conv", conv, "--batch", "16", "--backend", STUDY, "--db", name)[0]
            == 0
        )
    found = edgeprof_json("merge", "a.db", "b.db", "--out", "c.db")
    assert found == {"cases": 10, "rounds_added": 30, "rounds_known": 0, "db": "c.db"}
    again = edgeprof_json("merge", "a.db", "b.db", "--out", "c.db")
    assert again == {"cases": 10, "rounds_added": 0, "rounds_known": 30, "db": "c.db"}
    assert len(edgeprof_json("export", "--db", "c.db")) == 10
    assert (
        edgeprof("merge", "a.db", "--out", "c.db")[1]
        == "c.db: 10 cases, 0 rounds added, 15 were there already\n"
    )


def test_refusals(refused: Callable[..., tuple[str, str]], rehearsed: Path) -> None:
    assert refused("merge", "r.db", "none.db", "--out", "c.db")[0] == "no database none.db"
    assert not Path("c.db").exists()
    assert refused("merge", "r.db", "--out", "r.db")[0] == "r.db is among the databases to merge"
    Path("text.db").write_text("not a database at all, but long enough to be looked at" * 20)
    assert "text.db" in refused("merge", "r.db", "text.db", "--out", "c.db")[0]
    shutil.copy("r.db", "out.txt")
    Path("out.txt").write_text("notes")
    assert "out.txt" in refused("merge", "r.db", "--out", "out.txt")[0]
    assert Path("out.txt").read_text() == "notes"
    assert refused("merge", "r.db")[0] == "Missing option '--out'."
