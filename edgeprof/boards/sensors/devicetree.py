"""The device tree: what an ARM board calls itself.

Devicetree Specification 0.4, §2.3: ``model`` is a string, ``compatible`` a list of strings from the most to the least
particular; each ends in a NUL byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("proc/device-tree", "sys/firmware/devicetree/base")


@dataclass(frozen=True)
class DeviceTree:
    """``model`` (None where there is no device tree) and the ``compatible`` strings, the most particular first."""

    model: str | None = None
    compatible: tuple[str, ...] = ()


def strings(data: bytes) -> tuple[str, ...]:
    """A property that is a list of strings."""
    return tuple(part for part in data.decode(errors="replace").strip().split("\0") if part.strip())


def read_device_tree(root: Path = Path("/")) -> DeviceTree:
    """The device tree of the machine whose ``/proc`` and ``/sys`` are under ``root``."""
    model, compatible = (_property(root, name) for name in ("model", "compatible"))
    return DeviceTree(model[0].strip() if model else None, compatible)


def _property(root: Path, name: str) -> tuple[str, ...]:
    for folder in FOLDERS:
        try:
            return strings((root / folder / name).read_bytes())
        except OSError:
            continue
    return ()
