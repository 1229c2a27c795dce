"""tegrastats as a child process: real processes, of emulated boards."""

import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.emulation import MODELS, power_mw
from edgeprof.boards.sensors.monitor import Monitor, find_program, reading
from edgeprof.boards.sensors.tegrastats import parse

PARENT = """
import sys
from edgeprof.boards.sensors.monitor import Monitor
monitor = Monitor(sys.argv[1], 0.1)
print(monitor._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def monitor(emulated):
    found = Monitor(find_program("tegrastats", emulated("thor")), 0.1)
    yield found
    found.close()


def gone(pid, within_s=60.0):
    deadline = time.monotonic() + within_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("name", ["tx1", "orin-nano", "thor"])
def test_each_release_s_lines(name, emulated):
    program = find_program("tegrastats", emulated(name))
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        line = parse(process.stdout.readline())
        process.kill()
    found = reading(line)
    model = MODELS[name]
    assert line.unknown == ()
    assert found.rails_mw == pytest.approx(power_mw(name), abs=1)
    assert found.gpu_mhz == pytest.approx(model.gpu_mhz[1], abs=1)
    assert found.gpu_load_pct == (87 if model.gpu_load is None else model.gpu_load)
    assert found.used_mib == model.memory_mib[1]
    assert max(found.temperature_c.values()) == max(model.zones.values())


def test_it_follows_stops_and_goes_on(monitor, tmp_path):
    assert monitor.first(60).rails_mw["VIN"] == 124480
    monitor.rest()
    (tmp_path / "thor/sys/class/hwmon/hwmon1/curr3_input").write_text("1000")
    time.sleep(0.3)
    assert monitor.read() is None  # what it said last is too old
    assert psutil.Process(monitor._process.pid).status() == psutil.STATUS_STOPPED
    monitor.wake()
    deadline = time.monotonic() + 60
    while (found := monitor.read()) is None or found.rails_mw["VIN"] != 20000:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_ends_when_it_is_closed_or_ended_by_others(monitor):
    pid = monitor._process.pid
    psutil.Process(pid).kill()
    assert gone(pid)
    time.sleep(0.3)
    assert monitor.read() is None
    monitor.wake()
    monitor.close()


def test_it_ends_with_its_parent_stopped_or_not(emulated):
    program = find_program("tegrastats", emulated("nano"))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        child = int(parent.stdout.readline())
        psutil.Process(child).suspend()
        parent.kill()
        assert gone(child)


def test_programs_are_found_below_the_root(emulated, tmp_path):
    root = emulated("nano")
    assert find_program("tegrastats", root) == str(root / "usr/bin/tegrastats")
    assert find_program("nvpmodel", root) is None or "sbin" in find_program("nvpmodel", root)
    assert find_program("sh", root) is None
    assert find_program("sh") is not None


def test_the_memory_s_clock_is_told_to_root_alone():
    assert reading(parse("RAM 1/2MB (lfb 1x4MB) EMC_FREQ 0%@2133 GR3D_FREQ 5%")).memory_mhz == 2133
    assert reading(parse("RAM 1/2MB (lfb 1x4MB) GR3D_FREQ 5%")).memory_mhz is None
