"""What the doctor says of a GPU, and how it is to be mended."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edgeprof.boards.sensors.gpu import GpuState
from edgeprof.gpu import gpu_findings


@pytest.fixture
def quiet(gpu_state: GpuState) -> GpuState:
    """One that nothing disturbs."""
    return replace(gpu_state, persistent=True, ecc=False, mig=False)


def test_a_quiet_gpu(quiet: GpuState) -> None:
    found = {finding.name: finding for finding in gpu_findings(quiet)}
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["gpu"].detail == "NVIDIA A2, driver 600.00, 1200 of 1770 MHz, memory 6001 of 6251 MHz"
    assert found["gpu heat"].detail == "51 °C, 38 below the temperature that cuts its clocks"
    assert found["gpu power"].detail == "limited to 60 W"
    assert found.keys() == {"gpu", "persistence", "ecc", "gpu heat", "gpu power", "gpu company"}


@pytest.mark.parametrize(
    ("changed", "name", "says", "remedy"),
    [
        ({"persistent": False}, "persistence", "forgets clocks", "nvidia-smi -pm 1"),
        ({"mig": True}, "mig", "an instance of the GPU", "-mig 0"),
        ({"headroom_c": 9}, "gpu heat", "9 below", "let it cool"),
        ({"limit_w": 40}, "gpu power", "40 of 60 W", "nvidia-smi -i 0 -pl 60"),
        ({"lost": True}, "gpu", "it is lost", "nvidia-smi -r"),
    ],
)
def test_what_disturbs_has_a_remedy(
    quiet: GpuState, changed: dict[str, object], name: str, says: str, remedy: str
) -> None:
    found = next(f for f in gpu_findings(replace(quiet, **changed)) if f.name == name)  # type: ignore[arg-type]
    assert found.state == "warning"
    assert says in found.detail
    assert remedy in found.remedy


def test_company_is_named(quiet: GpuState) -> None:
    found = next(f for f in gpu_findings(replace(quiet, processes=(os.getpid(),))) if f.name == "gpu company")
    assert (found.state, f"{os.getpid()} (" in found.detail) == ("warning", True)
    assert "stop them" in found.remedy


def test_what_is_not_told_is_left_out(quiet: GpuState) -> None:
    assert [f.name for f in gpu_findings(GpuState("NVIDIA A2", "600.00"))] == ["gpu"]
    denied = replace(quiet, processes=None, denied=("nvmlDeviceGetComputeRunningProcesses_v3",))
    found = next(f for f in gpu_findings(denied) if f.name == "gpu company")
    assert (found.state, "root alone" in found.detail) == ("missing", True)
