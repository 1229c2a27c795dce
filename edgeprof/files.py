"""Files written whole or not at all: what stood there before stays until the new one is complete."""

from __future__ import annotations

from pathlib import Path

from edgeprof.errors import SpecError


def write_whole(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) beside ``path`` and put it in its place. Links are followed; what is no regular
    file (``/dev/stdout``, a pipe) is written to.

    :raises SpecError: where it cannot be written; nothing of it is left then.
    """
    content = data.encode() if isinstance(data, str) else data
    try:
        end = path.resolve()
        if end.exists() and not end.is_file():
            end.write_bytes(content)
            return
        part = end.with_name(end.name + ".part")
        try:
            part.write_bytes(content)
            part.replace(end)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SpecError(f"cannot write {path}: {error.strerror or error}", "give another file") from None
