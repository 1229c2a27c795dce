"""A running desktop, from made-up process tables and the real one."""

from edgeprof.boards.sensors.desktop import DESKTOPS, read_desktop


def test_a_desktop(tree):
    root = tree(
        {
            "proc/1/comm": "systemd\n",
            "proc/812/comm": "Xorg\n",
            "proc/99/comm": "gnome-shell\n",
            "proc/x/comm": "weston",
        }
    )
    assert read_desktop(root) == ("Xorg", "gnome-shell")


def test_none(tree):
    assert read_desktop(tree({"proc/1/comm": "systemd\n"})) == ()
    assert all(len(name) <= 15 for name in DESKTOPS)  # more the kernel does not keep
    assert set(read_desktop()) <= DESKTOPS
