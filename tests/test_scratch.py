"""Scratch folders: gone with their process, or with the next one after a kill."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgeprof.scratch import scratch_folder

HOLD = "from edgeprof.scratch import scratch_folder\nf = scratch_folder()\nprint(f.name, flush=True)\ninput()"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_a_folder_goes_with_its_owner():
    with scratch_folder() as name:
        assert Path(name).is_dir()
        assert str(os.getpid()) in name
    assert not Path(name).exists()


def test_a_killed_owners_folder_goes_with_the_next_and_a_living_ones_stays():
    living, killed = (
        subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    kept, left = (Path(process.stdout.readline().strip()) for process in (living, killed))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.is_dir()
    with scratch_folder():
        assert not left.exists()
        assert kept.is_dir()
    living.communicate("\n")
    killed.communicate()
    assert not kept.exists()
