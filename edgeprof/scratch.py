"""Scratch folders that do not outlive their process for long: after a kill, the next process removes them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import psutil

NAME = re.compile(r"^edgeprof-(\d+)-")


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A new empty folder, named after this process; folders of processes that are gone are removed first."""
    root = Path(tempfile.gettempdir())
    for folder in root.glob("edgeprof-*-*"):
        owner = NAME.match(folder.name)
        if (
            owner
            and folder.is_dir()
            and folder.stat().st_uid == os.getuid()
            and not psutil.pid_exists(int(owner[1]))
        ):
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"edgeprof-{os.getpid()}-")
