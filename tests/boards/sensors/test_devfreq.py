"""GPU load and clock from trees with the paths of real boards (jetson_stats issues 360 and 885)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeprof.boards.sensors.devfreq import GpuClock, read_gpu_clock

CLOCK = {
    "cur_freq": "305000000\n",
    "max_freq": "921600000\n",
    "min_freq": "0\n",
    "governor": "nvhost_podgov\n",
}


def devfreq(name: str, more: dict[str, str | bytes | None]) -> dict[str, str | bytes | None]:
    return {f"sys/class/devfreq/{name}/{key}": value for key, value in {**CLOCK, **more}.items()}


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("57000000.gpu", b"gpu\0"),
        ("17000000.gp10b", b"gp10b\0"),
        ("17000000.gv11b", None),
        ("17000000.ga10b", b"ga10b\0"),
        ("17000000.gpu", b"gpu\0"),
        ("renamed", b"ga10b\0"),
    ],
)
def test_a_board_with_a_load(tree: Callable[..., Path], name: str, node: bytes | None) -> None:
    more: dict[str, str | bytes | None] = {"device/load": "630\n"}
    if node:
        more["device/of_node/name"] = node
    root = tree({**devfreq(name, more), **devfreq("13e10000.host1x", {"device/load": "999"})})
    assert read_gpu_clock(root) == GpuClock(name, 63.0, 305.0, 0.0, 921.6, "nvhost_podgov")


def test_thor_has_no_load_and_a_second_clock_that_is_not_the_graphics_one(tree: Callable[..., Path]) -> None:
    root = tree(
        {**devfreq("gpu-nvd-0", {"cur_freq": "1"}), **devfreq("gpu-gpc-0", {"cur_freq": "1574000000"})}
    )
    found = read_gpu_clock(root)
    assert found is not None
    assert (found.name, found.mhz, found.load_pct) == ("gpu-gpc-0", 1574, None)


def test_the_load_of_older_kernels_is_elsewhere(tree: Callable[..., Path]) -> None:
    root = tree({**devfreq("57000000.gpu", {}), "sys/devices/gpu.0/load": "5"})
    found = read_gpu_clock(root)
    assert found is not None
    assert found.load_pct == 0.5


def test_what_cannot_be_read_is_none(tree: Callable[..., Path]) -> None:
    assert read_gpu_clock(tree(devfreq("13e10000.host1x", {}))) is None
    root = tree(
        {"sys/class/devfreq/17000000.gpu/cur_freq": None, "sys/class/devfreq/17000000.gpu/device/load": "?"}
    )
    assert read_gpu_clock(root) == GpuClock("17000000.gpu")


def test_no_gpu_there(tmp_path: Path) -> None:
    assert read_gpu_clock(tmp_path) is None
