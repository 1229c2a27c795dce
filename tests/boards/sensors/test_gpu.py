"""The state of a GPU that a library in C stands in for: calls and arguments, no figure of a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeprof.boards.sensors.gpu import GpuState, gpu_here, read_gpu
from edgeprof.errors import BoardError


def test_what_a_driver_tells(card: Path, gpu_state: GpuState) -> None:
    assert read_gpu() == gpu_here() == gpu_state
    for name in ("persistent", "shared", "limited", "new", "hot"):
        (card / name).touch()
    changed = replace(gpu_state, persistent=True, processes=(1,), limit_w=40, headroom_c=30)
    assert read_gpu() == changed


def test_what_root_alone_may_ask(card: Path) -> None:
    (card / "mig").touch()
    found = read_gpu()
    assert (found.mig, found.processes) == (True, None)
    assert found.denied == ("nvmlDeviceGetComputeRunningProcesses_v3",)


def test_older_gpus_tell_less(card: Path) -> None:
    (card / "old").touch()
    found = read_gpu()
    assert (found.name, found.ecc, found.mig) == ("NVIDIA GeForce GTX 960", None, None)
    assert found.headroom_c == 37  # asked by the older function


def test_a_gpu_that_is_lost_says_so(card: Path) -> None:
    (card / "lost").touch()
    assert read_gpu() == GpuState("NVIDIA A2", "600.00", lost=True)


def test_no_gpu(card: Path, tmp_path: Path) -> None:
    assert gpu_here(tmp_path) is None
    (card / "no_gpu").touch()
    assert gpu_here() is None
    with pytest.raises(BoardError, match="lists no GPU"):
        read_gpu()
