"""Linux for Tegra (L4T, Jetson Linux): its release from ``/etc/nv_tegra_release``, and the JetPack that brings it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeprof.boards.sensors.files import text

RELEASE = re.compile(r"#\s*R(\d{1,4})\s*\(release\)\s*,\s*REVISION:\s*(\d{1,4}(?:\.\d{1,4})?)", re.ASCII)
FIELD = re.compile(r"\b(GCID|BOARD|DATE):\s*([^,\n]+)")

# NVIDIA, JetPack archive (developer.nvidia.com/embedded/jetpack-archive), as jetson_stats and jetson-containers quote
# it and, from 36.5 on, as it was on 2026-09-22. DP: developer preview.
JETPACK: Mapping[str, str] = {
    "39.2.1": "7.2.1",
    "39.2.0": "7.2",
    "38.4.0": "7.1",
    "38.2.2": "7.0",
    "38.2.1": "7.0",
    "38.2.0": "7.0",
    "36.5.2": "6.2.3",
    "36.5.0": "6.2.2",
    "36.4.7": "6.2.1",
    "36.4.4": "6.2.1",
    "36.4.3": "6.2",
    "36.4.0": "6.1",
    "36.3.0": "6.0",
    "36.2.0": "6.0 DP",
    "35.6.2": "5.1.5",
    "35.6.1": "5.1.5",
    "35.6.0": "5.1.4",
    "35.5.0": "5.1.3",
    "35.4.1": "5.1.2",
    "35.3.1": "5.1.1",
    "35.2.1": "5.1",
    "35.1.0": "5.0.2",
    "34.1.1": "5.0.1 DP",
    "34.1.0": "5.0 DP",
    "32.7.6": "4.6.6",
    "32.7.5": "4.6.5",
    "32.7.4": "4.6.4",
    "32.7.3": "4.6.3",
    "32.7.2": "4.6.2",
    "32.7.1": "4.6.1",
    "32.6.1": "4.6",
    "32.5.2": "4.5.1",
    "32.5.1": "4.5.1",
    "32.5.0": "4.5",
    "32.4.4": "4.4.1",
    "32.4.3": "4.4",
    "32.4.2": "4.4 DP",
    "32.3.1": "4.3",
    "32.2.3": "4.2.3",
    "32.2.1": "4.2.2",
    "32.2.0": "4.2.1",
    "32.1.0": "4.2",
    "31.1.0": "4.1.1",
    "28.4.0": "3.3.3",
    "28.2.1": "3.2.1",  # and 3.3
    "28.2.0": "3.2",
    "28.1.0": "3.1",
    "27.1.0": "3.0",
    "24.2.1": "2.3.1",  # and 3.0
    "24.2.0": "2.3",
}
# The same for a revision that is not in the table: only the first number is certain.
MAJOR: Mapping[int, int] = {39: 7, 38: 7, 36: 6, 35: 5, 34: 5, 32: 4, 31: 4, 28: 3, 27: 3, 24: 2}


@dataclass(frozen=True)
class Release:
    """An L4T release: ``version`` such as ``36.4.3`` (always three numbers), and what the file says beside it."""

    version: str
    board: str | None = None
    gcid: str | None = None
    date: str | None = None

    @property
    def jetpack(self) -> str | None:
        """The JetPack that brings it: ``6.2``, or ``6.x`` where only that is certain."""
        major = MAJOR.get(int(self.version.split(".")[0]))
        return JETPACK.get(self.version) or (f"{major}.x" if major else None)


def parse_release(content: str) -> Release | None:
    """What ``/etc/nv_tegra_release`` says; None if it is no such file."""
    found = RELEASE.search(content)
    if not found:
        return None
    numbers = [str(int(n)) for n in (found[1], *found[2].split("."), "0")][:3]
    first = content[found.start() :].splitlines()[0]
    fields = {name: value.strip() for name, value in FIELD.findall(first)}
    return Release(".".join(numbers), fields.get("BOARD"), fields.get("GCID"), fields.get("DATE"))


def read_release(root: Path = Path("/")) -> Release | None:
    """The L4T release of the machine whose ``/etc`` is under ``root``; None where there is none."""
    return parse_release(text(root / "etc/nv_tegra_release") or "")
