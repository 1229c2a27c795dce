"""Programs and files that are for root: of a tree, and by somebody who is not root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from edgeprof.boards import console

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SAID = "import json, sys; exec(sys.stdin.read()); print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))"


@pytest.fixture
def tree():
    """A root that everybody may read, with a program and a sudo."""
    folder = Path(tempfile.mkdtemp(prefix="edgeprof-tree-"))
    folder.chmod(0o755)
    for name in ("nvpmodel", "sudo"):
        path = folder / "usr/sbin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {name} $*; cat\n")
        path.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(call, *arguments, **environment):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be somebody else")
    python = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(p)), None)
    if python is None:
        pytest.skip("no Python for everybody")
    done = subprocess.run(
        [*NOBODY, python, "-c", SAID, call, json.dumps(arguments)],
        input=Path(console.__file__).read_text(),
        env={"PATH": os.environ["PATH"], "HOME": "/home/nobody", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_program_is_asked_as_it_stands_by_root(tree):
    if os.geteuid() == 0:
        found = console.run(str(tree), "nvpmodel", ["-m", "1"], "no\n", 10.0)
        assert (found["status"], found["said"]) == (0, "nvpmodel -m 1\nno\n")
    assert console.run(str(tree), "jetson_clocks", [], "", 10.0)["found"] is False


def test_others_ask_sudo_which_asks_nobody(tree):
    found = as_nobody("run", str(tree), "nvpmodel", ["-q"], "", 10.0)
    assert found["said"] == f"sudo -n {tree}/usr/sbin/nvpmodel -q\n"


def test_what_must_outlive_a_crash_lies_where_it_can_be_written():
    assert as_nobody("where", "/")["folders"] == ["/home/nobody/.local/state/edgeprof", "/var/lib/edgeprof"]
    assert as_nobody("where", "/", XDG_STATE_HOME="/x")["folders"] == ["/x/edgeprof", "/var/lib/edgeprof"]
    assert console.where("/tree")["folders"] == ["/tree/var/lib/edgeprof"]


def test_a_program_that_hangs_is_given_up(tree):
    (tree / "usr/sbin/nvpmodel").write_text("#!/bin/sh\nexec sleep 60\n")
    found = console.run(str(tree), "nvpmodel", [], "", 0.2)
    assert found["status"] is None
    assert "timed out" in found["said"]


def test_files_are_written_whole_and_removed_once(tree):
    path = str(tree / "var/lib/edgeprof/power.json")
    assert console.read(str(tree), path) == {"text": None}
    console.write(str(tree), path, "é")
    assert console.read(str(tree), "var/lib/edgeprof/power.json") == {"text": "é"}
    assert os.listdir(tree / "var/lib/edgeprof") == ["power.json"]
    for _ in range(2):
        console.remove(str(tree), path)
    console.clear(str(tree), str(tree / "new/clocks.conf"))
    assert (tree / "new").is_dir()
