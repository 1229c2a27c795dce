"""Database: an SQLite file of edgeprof: opened, made, checked, and read where nothing may be written."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from edgeprof.errors import StoreError
from edgeprof.scratch import scratch_folder

APPLICATION_ID = 0x65647072  # "edpr"
VERSION = 1  # 1 (2026-11): first
BUSY_S = 30.0
Opened = TypeVar("Opened", bound="Database")


class Database:
    """An open file. Several processes may write to it: each transaction waits for the others."""

    def __init__(self, path: Path, schema: str, *, create: bool = False) -> None:
        """:param schema: statements that make the tables of a new file.

        :raises StoreError: the file is missing, cannot be written, is no edgeprof database or of a newer version.
        """
        self.path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        if not create and path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "no regular file"
            raise StoreError(f"{path} is {what}, and no database", "give another file")
        if not create and not path.is_file():
            raise StoreError(
                f"no database {path}", f"measure one first: edgeprof sweep --db {shlex.quote(str(path))}"
            )
        with clear_errors(path):
            self._db = self._connected(create)
            try:
                if create and self._empty():
                    self._create(schema)
                self._check()
            except BaseException:
                self.close()
                raise

    def _connected(self, create: bool) -> sqlite3.Connection:
        target = str(self.path.absolute()) if create else f"file:{_quoted(self.path)}?mode=rw"
        db = sqlite3.connect(target, timeout=BUSY_S, isolation_level=None, uri=not create)
        try:
            db.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            db.close()
            if create or not isinstance(error, sqlite3.OperationalError):
                raise
            return self._read_only()
        return db

    def _read_only(self) -> sqlite3.Connection:
        """A file where nothing may be written. Where a kill has left a log beside it, SQLite would pass over what is
        in the log; a copy has all of it."""
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.exists() or not log.stat().st_size:
            return sqlite3.connect(f"file:{_quoted(self.path)}?mode=ro&immutable=1", uri=True)
        self._copy = scratch_folder()
        for part in (self.path, log):
            shutil.copyfile(part, Path(self._copy.name) / part.name)
        db = sqlite3.connect(Path(self._copy.name) / self.path.name, isolation_level=None)
        db.execute("PRAGMA query_only = ON")
        return db

    def _empty(self) -> bool:
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not tables and self._db.execute("PRAGMA application_id").fetchone()[0] == 0

    def _create(self, schema: str) -> None:
        self._write_ahead()
        with self._transaction():
            if not self._empty():
                return  # another process was first
            for statement in schema.strip().split(";\n"):
                self._db.execute(statement.rstrip(";"))
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _write_ahead(self) -> None:
        """Readers and a writer at once. SQLite does not wait for others here, so this does."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _check(self) -> None:
        self._db.execute("PRAGMA synchronous = FULL")
        if self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(f"{self.path} is not an edgeprof database", "give another file")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{self.path} has version {version}; this edgeprof reads {VERSION}", "upgrade edgeprof"
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        if self._copy:
            self._copy.cleanup()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with clear_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.resolve()))


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """SQLite's trouble as one line with a remedy.

    :raises StoreError: whatever SQLite or the system says of the file at ``path``.
    """
    try:
        yield
    except (sqlite3.Error, OSError, zlib.error, ValueError, KeyError) as error:
        text = str(error)
        hint = "give another file, or restore a copy"
        if "locked" in text or "busy" in text:
            hint = "another process is writing to it: wait for it, or give another file"
        elif "full" in text or "No space" in text or "disk I/O" in text:
            hint = "free some space and run the same command again: what was measured is kept"
        elif "readonly" in text or "read-only" in text or "unable to open" in text or "Permission" in text:
            hint = "its folder must exist and be writable: give another file"
        raise StoreError(f"database {path}: {text}", hint) from None
