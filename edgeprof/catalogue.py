"""Where sweeps, boards, forms and laws are found: the only module that knows those folders.

A name is looked up in ``$EDGEPROF_CATALOGUE`` (if set), then among the shipped files; anything with a suffix or a slash
is a file of its own.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeprof.errors import CatalogueError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Kind = Literal["sweeps", "boards", "forms", "laws"]
FOLDERS: Mapping[Kind, tuple[str, str]] = {
    "sweeps": ("sweeps", ".toml"),
    "boards": ("boards", ".toml"),
    "forms": ("fit/forms", ".toml"),
    "laws": ("fit/laws", ".json"),
}
MAX_BYTES = 64 * 2**20
MANY = 20  # names that a hint tells


@dataclass(frozen=True)
class Entry:
    """A file of the catalogue: its name, where it is, and whose it is (``yours`` or ``shipped``)."""

    name: str
    path: Path
    origin: str


def shipped_root() -> Path:
    """The folder of the shipped catalogues: inside the wheel, or the checkout's root."""
    package = Path(__file__).resolve().parent
    inside = package / "_catalogue"
    return inside if inside.is_dir() else package.parent


def roots() -> list[tuple[str, Path]]:
    """Folders that are searched, first match first: (origin, path)."""
    yours = os.environ.get("EDGEPROF_CATALOGUE")
    return [*([("yours", Path(yours))] if yours else []), ("shipped", shipped_root())]


def entries(kind: Kind) -> list[Entry]:
    """Every name of ``kind``, sorted; a name of yours hides the shipped one."""
    folder, suffix = FOLDERS[kind]
    found: dict[str, Entry] = {}
    for origin, root in reversed(roots()):
        for path in (root / folder).glob(f"*{suffix}"):
            found[path.stem] = Entry(path.stem, path, origin)
    return [found[name] for name in sorted(found)]


def find(kind: Kind, name: str) -> Path:
    """The file of ``name``.

    :raises CatalogueError: naming the nearest names there are.
    """
    if "/" in name or os.sep in name or Path(name).suffix in (".toml", ".json"):
        path = Path(name)
        if not os.path.isfile(name):
            raise CatalogueError(
                f"{name} is a folder, no file" if os.path.isdir(name) else f"no such file: {name}",
                f"edgeprof list {kind} shows the names that need no file",
            )
        return path
    known = {entry.name: entry.path for entry in entries(kind)}
    if name in known:
        return known[name]
    suffix = FOLDERS[kind][1]
    if name and os.path.exists(name):
        raise CatalogueError(
            f"{name} is no {kind[:-1]}: the file of one ends in {suffix}",
            f"edgeprof list {kind} shows the names that need no file",
        )
    own = [name + suffix] if os.path.isfile(name + suffix) else []
    near = own + difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        guess = f"did you mean {', '.join(near)}?"
    elif len(known) <= MANY:
        guess = f"there are {', '.join(sorted(known)) or 'none yet'}."
    else:
        guess = f"edgeprof list {kind} shows their names."
    raise CatalogueError(
        f"there is no {kind[:-1]} called '{name}'", f"{guess} A file needs its suffix, {suffix}"
    )


def read_text(path: Path) -> str:
    """The text of a catalogue file.

    :raises CatalogueError: unreadable, not UTF-8, or larger than 64 MiB.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CatalogueError(f"{path} is larger than 64 MiB", "that is no catalogue file")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(
            f"cannot read {path}: {error}", "check the path and that it is a text file"
        ) from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """TOML as a dictionary.

    :raises CatalogueError: with the line that does not parse.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        text = str(error)
        short = text if len(text) <= 200 else f"{text[:120]} … {text[-60:]}"
        raise CatalogueError(
            f"{source} is not TOML: {short}", "see the README beside the shipped files"
        ) from None
