"""What the doctor says of a GPU, and how it is to be mended."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edgeprof.boards.sensors.gpu import GpuState
from edgeprof.gpu import gpu_findings

QUIET = GpuState(
    "NVIDIA A2",
    "600.00",
    mhz=1200,
    max_mhz=1770,
    memory_mhz=6001,
    max_memory_mhz=6251,
    temperature_c=51,
    headroom_c=38,
    limit_w=60,
    default_limit_w=60,
    persistent=True,
    ecc=False,
    mig=False,
    processes=(),
)


def test_a_quiet_gpu() -> None:
    found = {finding.name: finding for finding in gpu_findings(QUIET)}
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
def test_what_disturbs_has_a_remedy(changed: dict[str, object], name: str, says: str, remedy: str) -> None:
    found = next(f for f in gpu_findings(replace(QUIET, **changed)) if f.name == name)  # type: ignore[arg-type]
    assert found.state == "warning"
    assert says in found.detail
    assert remedy in found.remedy


def test_company_is_named() -> None:
    found = next(f for f in gpu_findings(replace(QUIET, processes=(os.getpid(),))) if f.name == "gpu company")
    assert (found.state, f"{os.getpid()} (" in found.detail) == ("warning", True)
    assert "stop them" in found.remedy


def test_what_is_not_told_is_left_out() -> None:
    assert [f.name for f in gpu_findings(GpuState("NVIDIA A2", "600.00"))] == ["gpu"]
    denied = replace(QUIET, processes=None, denied=("nvmlDeviceGetComputeRunningProcesses_v3",))
    found = next(f for f in gpu_findings(denied) if f.name == "gpu company")
    assert (found.state, "root alone" in found.detail) == ("missing", True)
