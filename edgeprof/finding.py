"""Finding: one thing that was looked at before a sweep, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do where it is not well."""

    name: str
    state: State
    detail: str
    remedy: str = ""
