"""Console: programs of a board that are for root, and the few files that go with them, below a root folder.

Python 3.6 syntax, standard library alone: its source is sent to boards over ssh, beside the guest. Everything that is
given and taken is plain JSON. Who is not root asks ``sudo -n``, which asks for no password.
"""

import os
import shutil
import subprocess

SYSTEM = "var/lib/edgeprof"  # what root keeps; it outlives a reboot
SBIN = ("/usr/sbin", "/sbin")  # not on the PATH of every user


def where(root):
    """Folders for what must outlive a crash, the one to write to first, and whether programs can be run as root."""
    own, folders = os.geteuid() == 0 or root != "/", [os.path.join(root, SYSTEM)]
    if not own:
        home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local/state")
        folders.insert(0, os.path.join(home, "edgeprof"))
    return {
        "folders": folders,
        "allowed": own or find("sudo", root) is not None,
    }


def read(root, path):
    """A file's text; None where there is none."""
    try:
        with open(os.path.join(root, path), "rb") as stream:
            return {"text": stream.read().decode("utf-8", "replace")}
    except FileNotFoundError:
        return {"text": None}


def write(root, path, text):
    """Write a file whole, or not at all; it is on the disk then."""
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".part", "wb") as stream:
        stream.write(text.encode("utf-8"))
    os.rename(path + ".part", path)
    os.sync()
    return {}


def clear(root, path):
    """See that a file may be written by somebody else: its folder is there, and it is not."""
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    return remove(root, path)


def remove(root, path):
    """Remove a file, if it is there."""
    try:
        os.unlink(os.path.join(root, path))
    except FileNotFoundError:
        pass
    return {}


def run(root, name, arguments, answer, patience_s, as_root=True):
    """A program's status and what it prints, or why it did not run. It is alone in its session: Ctrl-C in a terminal
    passes it by. ``answer`` is given to whatever it asks. ``as_root``: through sudo, unless this user is."""
    program = find(name, root)
    if program is None:
        return {"found": False, "status": None, "said": ""}
    sudo = find("sudo", root) if as_root and os.geteuid() != 0 else None
    command = ([sudo, "-n"] if sudo else []) + [program] + list(arguments)
    try:
        done = subprocess.run(
            command,
            input=answer.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=patience_s,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"found": True, "status": None, "said": str(error), "program": program}
    said = done.stdout.decode("utf-8", "replace")
    return {"found": True, "status": done.returncode, "said": said, "program": program}


def find(name, root):
    """A program on ``PATH``, whose folders are taken below the root."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    folders += [folder for folder in SBIN if folder not in folders]
    if root != "/":
        folders = [os.path.join(root, folder.lstrip("/")) for folder in folders]
    return shutil.which(name, path=os.pathsep.join(folders))
