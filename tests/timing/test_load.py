"""Telemetry of a case: a real worker runs the network while an emulated board's files are read."""

import os
import signal
import threading
from contextlib import closing

import pytest

from benchmarks.emulation import rail_file
from edgeprof.backends.open import open_backend
from edgeprof.boards.detect import detect_machine, find_board
from edgeprof.boards.sensors.gauges import Gauges, open_gauges
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.load import LOOK_S, loaded_s, telemetry


@pytest.fixture(scope="module")
def backend():
    with closing(open_backend("ort-cpu")) as found:
        yield found


@pytest.fixture(scope="module")
def case(backend):
    facts = dict(board="b", machine="m", backend="ort-cpu", runtime=backend.runtime())
    net = net_spec(conv=0, fc=1, neurons=64)
    return Case(net=net, batch=4, precision="fp32", threads=1, launch="blocking", **facts)


def test_energy_is_power_times_time_over_tiles(backend, case, emulated):
    root = emulated("orin-nano")
    board = find_board("jetson", detect_machine(root))
    with closing(open_gauges(root)) as gauges:
        current = rail_file(root, "VDD_IN")
        current.write_text("1000")
        later = threading.Timer(0.3, lambda: current.write_text("2000"))  # while it settles
        later.start()
        found = telemetry(case, backend, gauges, board.total_mw)
    assert found["idle_power_mw"] == 5000
    assert found["power_mw"] == found["rails_mw"]["VDD_IN"] == 10_000
    tiles = found["loaded_runs"] * case.batch
    assert found["energy_mj_per_tile"] == pytest.approx(10_000 * found["loaded_s"] / tiles)
    assert 3 <= found["looks"] <= 15
    assert found["loaded_s"] >= LOOK_S
    assert (found["gpu_mhz"], found["gpu_load_pct"], found["fan_pct"]) == (621, 63, 40)
    assert found["temperature_c"] == pytest.approx(53.968)
    assert found["throttle_events"] == 0
    assert found["sources"]["rails_mw"] == "sysfs"


def test_a_source_that_speaks_once_a_second_is_heard(backend, case, emulated):
    root = emulated("thor")
    with closing(open_gauges(root)) as gauges:
        assert gauges.interval_s == 1
        found = telemetry(case, backend, gauges, find_board("jetson", detect_machine(root)).total_mw)
    assert (found["power_mw"], found["gpu_load_pct"]) == (124480, 87)
    assert found["sources"]["gpu_load_pct"] == "tegrastats"
    assert found["looks"] >= 2
    assert found["energy_mj_per_tile"] > 0


def test_what_no_sensor_gives_is_absent(backend, case, emulated):
    root = emulated("tx1")
    for path in root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device0/rail_name_0"):
        path.write_text("VDD_OTHER")  # the rail that is the total is not there
    with closing(open_gauges(root)) as gauges:
        found = telemetry(case, backend, gauges, find_board("jetson", detect_machine(root)).total_mw, 0.3)
    assert "power_mw" not in found
    assert "energy_mj_per_tile" not in found
    assert "fan_pct" not in found
    assert "throttle_events" not in found
    assert found["rails_mw"] == {"VDD_OTHER": 2527, "VDD_GPU": 19, "VDD_CPU": 76}
    assert found["temperature_c"] == 42.5  # not PMIC's, which is always 100


def test_without_sensors_nothing_runs(backend, case):
    assert telemetry(case, backend, Gauges(()), lambda rails: None) == {}
    assert loaded_s(Gauges(())) == 0


def test_a_crash_costs_the_telemetry_alone(backend, case, emulated):
    killer = threading.Timer(0.5, lambda: os.kill(backend._worker.pid, signal.SIGKILL))
    killer.start()
    with closing(open_gauges(emulated("nano"))) as gauges:
        found = telemetry(case, backend, gauges, lambda rails: None)
    assert found.keys() == {"unobserved"}
    assert "SIGKILL" in found["unobserved"]
    assert backend.sustain(case, 0.05, 0.0, lambda: None, 0.1).runs > 10
