"""Files written whole or not at all: what stood there before stays until the new one is complete."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edgeprof.errors import SpecError

DATABASE = b"SQLite format 3\x00"  # how such a file begins: https://sqlite.org/fileformat.html


def check_target(path: Path) -> None:
    """Find out before the work what :func:`write_whole` would find out after it.

    :raises SpecError: ``path`` is a folder or a database, or in no folder that can be written to.
    """
    if path.is_dir():
        raise _unwritten(path, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        return
    end = path.resolve()
    _spare(path, end)
    if not end.parent.is_dir():
        raise _unwritten(path, os.strerror(errno.ENOENT))
    if not os.access(end.parent, os.W_OK):
        raise _unwritten(path, os.strerror(errno.EACCES))


def write_whole(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) beside ``path`` and put it in its place. Links are followed; what is no regular
    file (``/dev/stdout``, a pipe) is written to. A database is never overwritten: measurements cannot be had again.

    :raises SpecError: where it cannot be written, or is a database; nothing of it is left then.
    """
    content = data.encode() if isinstance(data, str) else data
    try:
        if path.exists() and not path.is_file():  # before links are followed: that of a pipe leads nowhere
            path.write_bytes(content)
            return
        end = path.resolve()
        _spare(path, end)
        part = end.with_name(end.name + ".part")
        try:
            part.write_bytes(content)
            part.replace(end)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritten(path, error.strerror or str(error)) from None


def _unwritten(path: Path, why: str) -> SpecError:
    return SpecError(f"cannot write {path}: {why}", "give another file")


def _spare(path: Path, end: Path) -> None:
    if end.exists():
        with end.open("rb") as file:
            if file.read(len(DATABASE)) == DATABASE:
                raise SpecError(f"{path} is a database, which would be lost", "give another file")
