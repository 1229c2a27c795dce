"""Sensors of a GPU: without the library, without a driver, and, where there is one, with a GPU."""

from __future__ import annotations

import sys

import pytest

from edgeprof.backends.cuda import CudaError, Device
from edgeprof.backends.nvml import Sensors, cuts, open_sensors


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what Python itself does for a module that is not there
    assert open_sensors("0000:00:00.0") is None


def test_without_a_driver() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    try:
        Device()
    except CudaError:
        assert open_sensors("0000:00:00.0") is None
    else:
        pytest.skip("there is a GPU")


def test_what_a_library_or_a_gpu_does_not_tell_is_absent() -> None:
    """With the real library and no driver every question is refused; an older one lacks some functions."""
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    assert Sensors(pynvml, None).read() == {}


def test_reasons_that_cut_clocks_are_told_from_others() -> None:
    assert (
        cuts(0x0) == cuts(0x1) == cuts(0x2) == cuts(0x100) == []
    )  # none, idle, clocks that were set, a display's
    assert cuts(0x4 | 0x1) == ["power cap"]
    assert cuts(0x60) == ["software thermal slowdown", "hardware thermal slowdown"]


@pytest.mark.gpu
def test_a_gpu_tells_its_clocks() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    sensors = open_sensors(Device().describe()["gpu_address"])
    assert sensors is not None
    found = sensors.read()
    assert 100 < found["gpu_mhz"] < 4000
    assert found["throttled"] == bool(found["throttle_reasons"])
