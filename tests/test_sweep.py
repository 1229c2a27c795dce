"""Where a sweep runs: boards by name and kind, on machines that are and are not one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeprof.boards.detect import Machine, detect_machine
from edgeprof.boards.sensors.nvml import Gpu
from edgeprof.errors import BackendError, BoardError
from edgeprof.sweep import open_target


@pytest.fixture
def orin_nano(tmp_path: Path) -> Machine:
    """What this machine would be if its device tree were an Orin Nano's."""
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0")
    return detect_machine(tmp_path)


@pytest.mark.parametrize("board", ["auto", "jetson", "jetson-orin-nano-8gb"])
def test_a_board_whose_own_backend_is_not_there(orin_nano: Machine, board: str) -> None:
    with (
        pytest.raises(
            BackendError, match="board jetson-orin-nano-8gb is measured by backend 'ort-cuda'"
        ) as caught,
        open_target(board, machine=orin_nano),
    ):
        pass
    assert "--board cpu" in caught.value.hint


def test_the_processor_of_such_a_board(orin_nano: Machine) -> None:
    with open_target("jetson", "ort-cpu", orin_nano) as target:
        assert (target.board, target.backend.name, target.estimator) == (
            "jetson-orin-nano-8gb",
            "ort-cpu",
            "median",
        )
        assert target.machine["compatible"][1] == "nvidia,p3767-0005"


def test_a_card_whose_own_backend_is_not_there() -> None:
    machine = detect_machine(gpus=[Gpu("NVIDIA H200", 143771)])
    with (
        pytest.raises(BackendError, match="board h200-sxm is measured by backend 'ort-cuda'"),
        open_target("discrete", machine=machine),
    ):
        pass


def test_a_kind_of_board_that_this_is_not(tmp_path: Path) -> None:
    machine = detect_machine(tmp_path)
    with pytest.raises(BoardError, match="this is no Jetson"), open_target("jetson", machine=machine):
        pass
