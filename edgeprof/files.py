"""Files written whole or not at all: what stood there before stays until the new one is complete."""

from __future__ import annotations

from pathlib import Path

from edgeprof.errors import SpecError

DATABASE = b"SQLite format 3\x00"  # how such a file begins: https://sqlite.org/fileformat.html


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
        if _is_database(end):
            raise SpecError(f"{path} is a database, which would be lost", "give another file")
        part = end.with_name(end.name + ".part")
        try:
            part.write_bytes(content)
            part.replace(end)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SpecError(f"cannot write {path}: {error.strerror or error}", "give another file") from None


def _is_database(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(len(DATABASE)) == DATABASE
