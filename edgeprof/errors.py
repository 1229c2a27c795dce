"""One root error; each subclass is one kind of trouble.

Every error carries two lines for the person who meets it: what is wrong, and how to mend it. The command
line prints them as ``error: …`` and ``hint: …`` and ends with status 2.
"""

from __future__ import annotations


class EdgeprofError(Exception):
    """Root of everything that edgeprof raises on purpose.

    :param message: what is wrong, one line.
    :param hint: how to mend it, one line.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())


class SpecError(EdgeprofError):
    """A network, sweep, board, form, law or expression that cannot be accepted as written."""


class CatalogueError(EdgeprofError):
    """A name that is in no catalogue, or a file that cannot be read."""


class TilesError(EdgeprofError):
    """Input tiles that cannot be read or do not fit the network."""


class StoreError(EdgeprofError):
    """A database that cannot be opened, read or written."""


class BoardError(EdgeprofError):
    """A board that this machine is not, or whose sensors cannot be asked."""


class BackendError(EdgeprofError):
    """A runtime that is missing, or that cannot do what was asked."""


class WorkerError(EdgeprofError):
    """The measuring process crashed, hung or answered nonsense: it costs one case, not the sweep."""


class OutOfMemory(WorkerError):
    """A network that does not fit in memory: ``said`` by the runtime, ``bytes_asked`` for in one piece when that was
    refused (None where nobody says)."""

    def __init__(self, said: str, bytes_asked: int | None) -> None:
        if bytes_asked is not None:
            said = f"{bytes_asked:,} bytes ({bytes_asked / 2**20:,.1f} MiB) were asked for"
        super().__init__(f"out of memory: {said}", "use a smaller batch or network")
        self.bytes_asked = bytes_asked


class FitError(EdgeprofError):
    """Measurements from which the form cannot be fitted."""


class DomainError(EdgeprofError):
    """A law that cannot say anything about the network asked for."""


class CompareError(EdgeprofError):
    """Two sides that have nothing in common to compare."""
