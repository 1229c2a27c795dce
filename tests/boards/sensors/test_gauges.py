"""Gauges of emulated boards: which source gives what, and which are not even opened."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.emulation import MODELS
from edgeprof.boards.sensors.gauges import Gauges, Seen, mean, open_gauges
from edgeprof.boards.sensors.reading import Reading
from edgeprof.boards.sensors.sysfs import Sysfs


@pytest.mark.parametrize("name", [name for name in MODELS if name != "thor"])
def test_files_are_enough_for_most(name, emulated):
    with closing(open_gauges(emulated(name))) as gauges:
        assert [source.name for source in gauges.sources] == ["sysfs"]
        assert set(gauges.read().sources.values()) == {"sysfs"}
        assert gauges.interval_s == 0.1


def test_thor_s_load_is_tegrastats_s_alone(emulated):
    with closing(open_gauges(emulated("thor"))) as gauges:
        with gauges.awake() as read:
            seen = read()
        assert seen.reading.gpu_load_pct == 87
        assert seen.sources["gpu_load_pct"] == "tegrastats"
        assert seen.sources["rails_mw"] == seen.sources["gpu_mhz"] == "sysfs"
        assert gauges.interval_s == 1.0
        assert not gauges.absent


def test_what_files_do_not_say_tegrastats_does(emulated):
    root = emulated("orin-nano")
    for label in root.glob("sys/class/hwmon/hwmon1/curr*_input"):
        label.unlink()
    (root / "usr/bin/tegrastats").unlink()
    with closing(open_gauges(root)) as gauges:
        assert "rails_mw" not in gauges.read().sources
        assert "no tegrastats" in gauges.absent["tegrastats"].message


def test_a_machine_that_is_no_jetson_has_none(tmp_path):
    gauges = open_gauges(tmp_path)
    assert gauges.sources == ()
    assert gauges.read() == Seen(Reading(), {})
    if not Path("/etc/nv_tegra_release").exists():
        assert open_gauges().sources == ()


def test_the_mean_of_readings(emulated):
    seen = [
        Seen(Reading(rails_mw={"VDD_IN": 4000.0}, gpu_mhz=300.0, throttle_events=1), {"rails_mw": "sysfs"}),
        Seen(Reading(rails_mw={"VDD_IN": 5000.0, "VDD_SOC": 10.0}, throttle_events=3), {"gpu_mhz": "jtop"}),
    ]
    found = mean(seen)
    assert found.reading == Reading(
        rails_mw={"VDD_IN": 4500.0, "VDD_SOC": 10.0}, gpu_mhz=300.0, throttle_events=3
    )
    assert found.sources == {"rails_mw": "sysfs", "gpu_mhz": "jtop"}
    assert mean([]) == Seen(Reading(), {})
    gauges = Gauges([Sysfs(emulated("nano"))])
    assert mean([gauges.read()]).reading.rails_mw == gauges.read().reading.rails_mw
