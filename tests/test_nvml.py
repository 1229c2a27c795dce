"""Sensors of a GPU: without the library, without a driver, with one that a library in C stands in for (calls and their
arguments, no figure of a GPU), and, where there is one, with a GPU."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edgeprof.backends.cuda import CudaError, Device
from edgeprof.nvml import Sensors, cuts, open_sensors


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


ADDRESS = "0000:05:00.0"


def test_what_is_asked_just_after_runs(card: Path) -> None:
    sensors = open_sensors(ADDRESS)
    assert sensors is not None
    found = sensors.read()
    assert found == {
        "gpu_mhz": 1200,
        "gpu_memory_mhz": 6001,
        "temperature_c": 51,
        "gpu_used_mib": 356,
        "throttle_reasons": [],
        "throttled": False,
    }
    (card / "cut").touch()
    found = sensors.read()
    assert found["throttled"] is True
    assert found["throttle_reasons"] == ["power cap", "software thermal slowdown"]


def test_functions_of_older_drivers(card: Path) -> None:
    (card / "old").touch()
    (card / "cut").touch()
    sensors = open_sensors(ADDRESS)
    assert sensors is not None
    found = sensors.look()
    assert (found["temperature_c"], found["fan_pct"]) == (52, 40)
    assert found["throttle_reasons"] == ["power cap", "software thermal slowdown"]
    assert (found["power_mw"], found["power_source"]) == (14000, "as the driver samples it")
    assert "energy_mj" not in found  # since Volta


@pytest.mark.parametrize(
    ("kind", "power", "source"), [("", 15000, "averaged over 1 s"), ("ga100", 16000, "at moments")]
)
def test_how_power_is_sampled(card: Path, kind: str, power: int, source: str) -> None:
    (card / kind).touch()
    sensors = open_sensors(ADDRESS)
    assert sensors is not None
    found = sensors.look()
    assert (found["power_mw"], found["power_source"]) == (power, source)
    assert (found["gpu_load_pct"], found["gpu_mhz"]) == (97, 1200)
    assert found["energy_mj"] > 0
    assert found["at_s"] <= time.monotonic()


def test_what_is_not_metered_is_absent(card: Path) -> None:
    (card / "unmetered").touch()
    sensors = open_sensors(ADDRESS)
    assert sensors is not None
    assert not {"power_mw", "power_source", "energy_mj"} & sensors.look().keys()


def test_a_gpu_that_is_lost_tells_nothing(card: Path) -> None:
    sensors = open_sensors(ADDRESS)
    assert sensors is not None
    (card / "lost").touch()
    assert sensors.read() == {}
    assert sensors.look().keys() == {"at_s"}


def test_another_address_is_no_gpu(card: Path) -> None:
    assert open_sensors("0000:06:00.0") is None
    (card / "no_driver").touch()
    assert open_sensors(ADDRESS) is None


@pytest.mark.gpu
def test_a_gpu_tells_its_clocks() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    sensors = open_sensors(Device().describe()["gpu_address"])
    assert sensors is not None
    found = sensors.read()
    assert 100 < found["gpu_mhz"] < 4000
    assert found["throttled"] == bool(found["throttle_reasons"])
    assert sensors.look()["power_mw"] > 1000
