"""Files are whole or not there, and what is no file stays what it is."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprof.errors import SpecError
from edgeprof.files import check_target, write_whole


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    write_whole(path, "é")
    assert path.read_bytes() == "é".encode()
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert [p.name for p in tmp_path.iterdir()] == ["law.json"]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_whole(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "x"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, "x")
        assert os.read(reader, 9) == b"x"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_standard_output_that_is_a_pipe() -> None:
    code = "from pathlib import Path; from edgeprof.files import write_whole; write_whole(Path('/dev/stdout'), 'x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        write_whole(tmp_path / "no" / "x", "x")
    with pytest.raises(SpecError, match="Is a directory"):
        write_whole(tmp_path, "x")
    if Path("/dev/full").exists():
        with pytest.raises(SpecError, match="No space"):
            write_whole(Path("/dev/full"), "x")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    check_target(tmp_path / "law.json")
    check_target(Path("/dev/null"))
    assert not list(tmp_path.iterdir())
    database = tmp_path / "m.db"
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE t (x)")
    for path, says in (
        (tmp_path, "Is a directory"),
        (tmp_path / "no" / "law.json", "No such file"),
        (database, "is a database"),
    ):
        with pytest.raises(SpecError, match=says):
            check_target(path)
        with pytest.raises(SpecError, match=says):
            write_whole(path, "x")
