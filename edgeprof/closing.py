"""Closing: the command that goes on from a sweep."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgeprof.store import Store
from edgeprof.sweeps.case import Case

VARIED = ("net", "batch", "provider_options", "inputs")  # of which a law may be of any


def fit_command(db: Path, like: Case) -> str:
    """``edgeprof fit`` on a database that has ``like``; of several boards or settings, one law's, that of ``like``."""
    narrow: list[str] = []
    with Store(db) as store:
        settings = [{k: v for k, v in own.items() if k not in VARIED} for own in store.identities()]
        if any(setting != settings[0] for setting in settings):
            from edgeprof.fit.examples import narrowed  # what fits laws is of no use to other sweeps

            narrow = narrowed(store.measurements(), like)
    return shlex.join(["edgeprof", "fit", "--db", str(db), *narrow, "--out", "law.json"])
