"""A running desktop, by the names of its processes: it takes memory, and its compositor takes the GPU.

proc(5): ``/proc/PID/comm`` has the first 15 characters of a process's name.
"""

from __future__ import annotations

from pathlib import Path

from edgeprof.boards.sensors.files import text

FILES = ("proc/[0-9]*/comm",)  # below a root, what is read
DESKTOPS = frozenset(
    (
        "Xorg",
        "Xwayland",
        "gnome-shell",
        "plasmashell",
        "kwin_x11",
        "kwin_wayland",
        "unity-panel-ser",
        "compiz",
    )
    + ("lxpanel", "lxqt-panel", "xfce4-panel", "mate-panel", "weston")
)


def read_desktop(root: Path = Path("/")) -> tuple[str, ...]:
    """Names of a desktop's processes on the machine whose ``/proc`` is under ``root``; none without a desktop."""
    names = {text(path) for path in root.glob(FILES[0])}
    return tuple(sorted(DESKTOPS & names))
