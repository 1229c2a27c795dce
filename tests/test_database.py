"""Databases: files that are made once, with the tables that are asked for (test_store.py has how they are used)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeprof.database import APPLICATION_ID, VERSION, Database, clear_errors
from edgeprof.errors import StoreError

SCHEMA = """
CREATE TABLE one (n INTEGER);
CREATE TABLE two (n INTEGER);
"""


def test_a_file_is_made_once_with_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database(path, SCHEMA, create=True) as made, made._transaction():
        made._db.execute("INSERT INTO two VALUES (7)")
    with Database(path, "CREATE TABLE three (n INTEGER)", create=True) as again:
        assert again._db.execute("SELECT n FROM two").fetchall() == [(7,)]
        tables = again._db.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        assert tables == [("one",), ("two",)]
        assert again._db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert again._db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_file_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database"):
        Database(tmp_path / "a.db", SCHEMA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("database is locked", "another process"),
        ("database or disk is full", "free some space"),
        ("attempt to write a readonly database", "must exist and be writable"),
        ("file is not a database", "restore a copy"),
    ],
)
def test_trouble_is_one_line_with_a_remedy(said: str, remedy: str) -> None:
    with pytest.raises(StoreError, match=f"database a.db: {said}") as caught, clear_errors(Path("a.db")):
        raise sqlite3.OperationalError(said)
    assert remedy in caught.value.hint
