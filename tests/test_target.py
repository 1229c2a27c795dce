"""Where a sweep runs: boards by name and kind, on machines that are and are not one."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from edgeprof.boards.detect import Machine, detect_machine
from edgeprof.boards.sensors.nvml import Gpu
from edgeprof.errors import BackendError, BoardError
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target

no_provider = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this is the package for GPUs"
)


@pytest.fixture
def orin_nano(tmp_path: Path) -> Machine:
    """What this machine would be if its device tree were an Orin Nano's."""
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0")
    return detect_machine(tmp_path)


@no_provider
@pytest.mark.parametrize("board", ["auto", "jetson", "jetson-orin-nano-8gb"])
def test_a_board_whose_own_backend_is_not_there(orin_nano: Machine, board: str) -> None:
    with (
        pytest.raises(
            BackendError, match="jetson-orin-nano-8gb cannot be measured: this onnxruntime"
        ) as caught,
        open_target(board, machine=orin_nano),
    ):
        pass
    assert caught.value.hint.startswith("--backend ort-cpu measures its processor; for its GPU: pip install ")


def test_the_processor_of_such_a_board(orin_nano: Machine) -> None:
    with open_target("jetson", "ort-cpu", orin_nano) as target:
        assert (target.board, target.backend.name, target.estimator) == (
            "jetson-orin-nano-8gb",
            "ort-cpu",
            "median",
        )
        assert target.machine["compatible"][1] == "nvidia,p3767-0005"


@no_provider
def test_a_card_whose_own_backend_is_not_there() -> None:
    machine = detect_machine(gpus=[Gpu("NVIDIA H200", 143771)])
    with (
        pytest.raises(BackendError, match="h200-sxm cannot be measured: this onnxruntime") as caught,
        open_target("discrete", machine=machine),
    ):
        pass
    assert "--board cpu" in caught.value.hint
    with (
        pytest.raises(BackendError, match="package for processors") as named,
        open_target("h200-sxm", "ort-cuda", machine),
    ):
        pass
    assert "--board cpu" not in named.value.hint  # who names the backend wants no other


def test_the_processor_of_a_machine_with_a_card() -> None:
    machine = detect_machine(gpus=[Gpu("NVIDIA H200", 143771)])
    with open_target("cpu", machine=machine) as target:
        assert (target.board, target.backend.name, target.machine_title) == ("cpu", "ort-cpu", machine.model)


def test_a_kind_of_board_that_this_is_not(tmp_path: Path) -> None:
    machine = detect_machine(tmp_path)
    with pytest.raises(BoardError, match="this is no Jetson"), open_target("jetson", machine=machine):
        pass


def test_what_a_processor_does_not_have_is_refused() -> None:
    with open_target("cpu") as target:
        for knobs, what in (({"launch": "graph"}, "launch mode"), ({"precision": "tf32"}, "precision")):
            (work,) = expand(parse_sweep({"name": "s", "net": {"batch": 1, **knobs}}, "test"))
            with pytest.raises(BackendError, match=f"ort-cpu has no {what}"):
                target.case(work)
