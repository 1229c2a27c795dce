"""The doctor on this machine and on made-up ones."""

from edgeprof import doctor
from edgeprof.boards.locks import JOURNAL
from edgeprof.doctor import examine, said_once
from edgeprof.finding import Finding

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

    def sleep(seconds):
        slept.append(seconds)
        (path / "scaling_cur_freq").write_text("1800000\n")

    found = {finding.name: finding for finding in examine(tmp_path, sleep)}
    assert found["processor"].detail.endswith(" float32 lanes")  # no caches are told here
    assert found["governor"].state == "warning"
    assert "cpupower" in found["governor"].remedy
    assert found["clock"].state == "warning"
    assert found["clock"].detail == "1800 MHz, 50 % off what it was a moment before"
    assert found["steal"].state == found["waiting"].state == found["temperature"].state == "missing"
    assert slept == [1.0]


RELEASE = "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n"
ORIN_NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "etc/nv_tegra_release": RELEASE,
    "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=25W >\n",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "305000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "918000000\n",
    "sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov\n",
    "sys/class/devfreq/17000000.gpu/device/load": "630\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "2495\n",
    "sys/class/hwmon/hwmon1/curr2_input": "1\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
}


def written(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def jetson(root):
    return {finding.name: finding for finding in examine(root, lambda s: None)}


def test_a_jetson(tmp_path):
    found = jetson(written(tmp_path, ORIN_NANO))
    assert found["board"].detail.startswith("jetson-orin-nano-8gb-super (NVIDIA Jetson Orin Nano Eng")
    assert found["jetpack"].detail == "6.2, L4T 36.4.3"
    assert found["power mode"].detail == "25W (number 1)"
    assert found["gpu"].detail == "305 of 918 MHz, load 63 %, nvhost_podgov"
    assert found["power"].detail == "VDD_IN 12.5 W"
    assert (found["over-current"].state, found["over-current"].detail) == (
        "warning",
        "oc3 37 events since the start",
    )
    assert found["steadiness"].state == "missing"  # its GPU, of which there is none
    assert found["steadiness"].detail == found["ort-cuda"].detail


def test_a_jetson_of_which_little_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # locks of its own
    written(tmp_path, {JOURNAL: '{"uuid": "GPU-0a2", "name": "NVIDIA A2"}'})
    found = jetson(written(tmp_path, {"etc/nv_tegra_release": RELEASE}))
    assert found["left"].detail == "a sweep that was killed did not put back the clocks of NVIDIA A2"
    assert "doctor --restore" in found["left"].remedy
    assert {found[name].state for name in ("power mode", "gpu", "power")} == {"missing"}
    assert "over-current" not in found
    written(tmp_path, {"sys/class/hwmon/hwmon3/oc1_event_cnt": "0"})
    assert jetson(tmp_path)["over-current"].state == "ok"


class WithoutCupti:
    """A backend on a GPU whose kernels CUPTI does not tell."""

    def runtime(self):
        return "onnxruntime 1.31.1"

    def facts(self):
        return {
            "cupti": "cupti-python is not installed: No module named 'cupti' · pip install 'edgeprof[gpu]'"
        }

    def close(self):
        pass


def test_a_gpu_without_cupti(monkeypatch):
    monkeypatch.setattr(doctor, "open_backend", lambda name: WithoutCupti())
    found = {one.name: one for one in doctor._runtimes()}
    assert found["ort-cuda"].state == "ok"
    missing = found["ort-cuda kernels"]
    assert (missing.state, missing.remedy) == ("missing", "pip install 'edgeprof[gpu]'")
    assert missing.detail.startswith("cupti-python is not installed")


def test_one_thing_is_said_once():
    missing = [Finding(name, "missing", "no CUDA", "install it") for name in ("ort-cuda", "ort-tensorrt")]
    fine = [Finding(name, "ok", "1 %") for name in ("steal", "waiting")]
    once = list(said_once([*missing, *fine]))
    assert once == [missing[0], Finding("ort-tensorrt", "missing", "as with ort-cuda"), *fine]
