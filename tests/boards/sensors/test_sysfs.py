"""Sensors that are files, of emulated boards; what root alone may read, as somebody else."""

import os
from contextlib import contextmanager

import pytest

from benchmarks.emulation import MODELS, power_mw
from edgeprof.boards.sensors.sysfs import FILES, Sysfs, denied, read_sysfs

NOBODY = 65534


@pytest.mark.parametrize("name", MODELS)
def test_an_emulated_board(name, emulated):
    model, found = MODELS[name], read_sysfs(emulated(name))
    assert found.rails_mw == pytest.approx(power_mw(name), abs=1)
    assert (found.gpu_mhz, found.gpu_load_pct) == (model.gpu_mhz[1], model.gpu_load)
    assert found.cpu_mhz == model.cpu_mhz
    assert found.temperature_c == {zone: c for zone, c in model.zones.items() if c > -256}
    assert found.used_mib == model.memory_mib[1]
    assert found.throttle_events == (sum(model.events.values()) if model.events else None)
    assert (found.fan_pct is None) == (model.fan is None)


@pytest.mark.parametrize(
    "path",
    [
        "sys/kernel/debug/bpmp/debug/clk/emc/rate",
        "sys/kernel/debug/clk/emc/clk_rate",
        "sys/class/devfreq/bwmgr/cur_freq",
    ],
)
def test_the_memory_s_clock(path, emulated):
    root = emulated("orin-nano")
    assert read_sysfs(root).memory_mhz is None
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text("2133000000\n")
    assert read_sysfs(root).memory_mhz == 2133


def test_nothing_there(tmp_path):
    assert read_sysfs(tmp_path).known() == frozenset()


def test_a_copy_of_the_files_says_the_same(emulated, tmp_path):
    for name in ("nano", "orin-nano"):
        root, copy = emulated(name), tmp_path / f"copy of {name}"
        for pattern in FILES:
            for path in root.glob(pattern):
                (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
                (copy / path.relative_to(root)).write_bytes(path.read_bytes())
        assert read_sysfs(copy) == Sysfs(root).read()


@contextmanager
def as_nobody():
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_for_root_alone(emulated):
    root = emulated("orin-nano")
    assert denied(root) == ()
    for path in root.glob("sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_cur_freq"):
        path.chmod(0)
    (root / "sys/class/hwmon/hwmon1/curr1_input").chmod(0)
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)  # pytest's own folder is for one user
    with as_nobody():
        assert denied(root) == ("rails_mw", "cpu_mhz")
