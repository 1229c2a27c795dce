"""Counters of the machine's state: from a made-up /proc and /sys, and from the real ones."""

import time
from pathlib import Path

import pytest

from edgeprof.boards.sensors.host import FILES, HostReading, between, hottest_c, read_host

STAT = "cpu  100 0 50 800 10 0 5 35 0 0\ncpu0 50 0 25 400 5 0 2 18 0 0\nprocs_running 3\n"
PRESSURE = (
    "some avg10=1.00 avg60=0.50 avg300=0.10 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path):
    write(tmp_path / "proc/stat", STAT)
    write(tmp_path / "proc/pressure/cpu", PRESSURE)
    write(tmp_path / "proc/loadavg", "1.16 1.04 0.75 2/96 14217\n")
    cpu = tmp_path / "sys/devices/system/cpu"
    write(cpu / "cpu0/cpufreq/scaling_cur_freq", "2400000\n")
    write(cpu / "cpu1/cpufreq/scaling_cur_freq", "1800000\n")
    write(cpu / "cpu0/thermal_throttle/core_throttle_count", "3\n")
    zones = tmp_path / "sys/class/thermal"
    write(zones / "thermal_zone0/temp", "48500\n")
    write(zones / "thermal_zone0/type", "x86_pkg_temp\n")
    write(zones / "thermal_zone1/temp", "-256000\n")  # a sensor without power
    write(zones / "thermal_zone1/type", "gpu\n")
    return tmp_path


def test_every_source_is_read(machine):
    assert read_host(machine, now_s=7.0) == HostReading(
        at_s=7.0,
        steal=35,
        total=1000,
        waited_us=123456,
        runnable=3,
        load_1m=1.16,
        mhz=(2400.0, 1800.0),
        temperature_c={"x86_pkg_temp": 48.5},
        throttled=3,
    )


def test_the_patterns_name_all_that_is_read(machine, tmp_path_factory):
    write(machine / "sys/class/hwmon/hwmon1/oc1_event_cnt", "2\n")
    write(machine / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_cur_freq", "2300000\n")
    copy = tmp_path_factory.mktemp("copy")
    for path in (found for pattern in FILES for found in machine.glob(pattern)):
        write(copy / path.relative_to(machine), path.read_text())
    assert read_host(copy, now_s=0.0) == read_host(machine, now_s=0.0)
    assert read_host(copy).throttled == 5
    assert max(read_host(copy).mhz) == 2300


def test_what_is_not_there_is_unknown(tmp_path):
    assert read_host(tmp_path, now_s=0.0) == HostReading(at_s=0.0)
    write(tmp_path / "proc/stat", "cpu  1 2\n")
    write(tmp_path / "proc/pressure/cpu", "nonsense\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "warm")
    assert read_host(tmp_path, now_s=0.0) == HostReading(at_s=0.0, total=3)


def test_the_measured_clock_before_the_one_asked_for(machine):
    write(machine / "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_cur_freq", "1190400\n")
    assert read_host(machine).mhz == (2400.0, 1190.4)


def test_over_current_events_of_a_jetson_are_throttle_events(machine):
    write(machine / "sys/class/hwmon/hwmon3/oc2_event_cnt", "15\n")
    write(machine / "sys/class/hwmon/hwmon3/oc3_event_cnt", "37\n")
    assert read_host(machine).throttled == 3 + 15 + 37


def test_a_disturbance_is_what_happened_between():
    before = HostReading(
        10.0,
        steal=100,
        total=1000,
        waited_us=0,
        runnable=5,
        load_1m=0.5,
        mhz=(2000.0, 1000.0),
        temperature_c={"a": 50.0},
        throttled=1,
    )
    after = HostReading(
        12.0,
        steal=110,
        total=1400,
        waited_us=500_000,
        runnable=1,
        load_1m=0.75,
        mhz=(1000.0, 1500.0),
        temperature_c={"a": 61.0},
        throttled=4,
    )
    seen = between(before, after)
    assert seen.steal_pct == pytest.approx(2.5)
    assert seen.waited_pct == pytest.approx(25.0)
    assert (seen.runnable, seen.load_1m) == (5, 0.75)
    assert seen.mhz == pytest.approx(1375.0)
    assert seen.clock_moved_pct == pytest.approx(25.0)  # of the fastest
    assert seen.temperature_c == 61.0
    assert seen.throttle_events == 3


def test_nothing_known_gives_nothing():
    seen = between(HostReading(0.0), HostReading(1.0))
    assert set(vars(seen).values()) == {None}


def test_this_machine_counts_upwards():
    before = read_host()
    time.sleep(0.05)
    after = read_host()
    assert after.at_s > before.at_s
    assert (after.total or 0) >= (before.total or 0) > 0
    assert (after.runnable or 0) >= 1


def test_how_far_it_is_until_clocks_are_cut(emulated):
    root = emulated("orin-nano")
    assert read_host(root).headroom_c == pytest.approx(95 - 53.968)
    zone = root / "sys/class/thermal/thermal_zone1"
    (zone / "temp").write_text("93500")
    assert read_host(root).headroom_c == pytest.approx(1.5)
    (zone / "trip_point_0_type").write_text("critical")
    assert read_host(root).headroom_c == pytest.approx(95 - 53.968)


def test_the_hottest_zone_is_not_the_power_chip_s():
    assert hottest_c({"PMIC-Die": 100.0, "GPU-therm": 40.0}) == 40
    assert hottest_c({"PMIC-Die": 100.0}) is None
    assert hottest_c({}) is None
