"""The doctor on this machine and on made-up ones."""

from edgeprof.doctor import examine

STATES = {"ok", "warning", "missing"}


def test_this_machine():
    found = {finding.name: finding for finding in examine()}
    assert found["board"].state == "ok"
    assert found["ort-cpu"].state == "ok"
    assert "onnxruntime" in found["ort-cpu"].detail
    assert "repeats within" in found["steadiness"].detail
    assert "switches" in found["sampling"].detail
    assert {finding.state for finding in found.values()} <= STATES
    assert all(finding.remedy for finding in found.values() if finding.state == "warning")


def test_a_machine_that_saves_power(tmp_path):
    path = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    path.mkdir(parents=True)
    (path / "scaling_governor").write_text("powersave\n")
    (path / "scaling_cur_freq").write_text("1200000\n")
    slept = []
    found = {finding.name: finding for finding in examine(tmp_path, slept.append)}
    assert found["governor"].state == "warning"
    assert "cpupower" in found["governor"].remedy
    assert found["clock"].detail == "1200 MHz"
    assert found["steal"].state == found["waiting"].state == found["temperature"].state == "missing"
    assert slept == [1.0]
    moved = {
        f.name: f for f in examine(tmp_path, lambda s: (path / "scaling_cur_freq").write_text("1800000\n"))
    }
    assert moved["clock"].state == "warning"
    assert moved["clock"].detail == "1800 MHz, 50 % off what it was a moment before"
