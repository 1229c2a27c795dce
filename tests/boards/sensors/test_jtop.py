"""jtop: the real service and the real client of jetson-stats, with an emulated board's files in the place of /sys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprof.boards.sensors.jtop import Jtop
from edgeprof.errors import BoardError

# In a mount namespace of its own nothing of this machine is touched: /sys is the board's, /run is empty, and its
# release lies in /etc where the kernel has overlays.
NAMESPACE = """
mount --bind "$1/sys" /sys && mount -t tmpfs none /run || exit 1
mount -t overlay overlay -o lowerdir="$1/etc:/etc" /etc
shift && exec "$@"
"""
SERVICE = """
import grp, os, sys
import jtop.service as service
service.JTOP_USER = grp.getgrgid(os.getgid()).gr_name  # there is no group jtop
if not os.path.isdir("/sys/devices/virtual/dmi/id"):
    service.get_hardware = lambda: {"Model": "emulated"}
if __name__ == "__main__":
    server = service.JtopServer()
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.close()
"""
CLIENT = """
import json, subprocess, sys, time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from edgeprof.boards.sensors.gauges import Gauges, open_gauges
from edgeprof.boards.sensors.jtop import Jtop
from edgeprof.boards.sensors.sysfs import Sysfs
from edgeprof.errors import BoardError

def wanted(seen):
    return {"reading": asdict(seen.reading), "sources": dict(seen.sources)}

found = {}
try:
    Jtop()
except BoardError as error:
    found["before"] = [error.message, error.hint]
service = subprocess.Popen([sys.executable, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
service.stdout.readline()
if Path("/etc/nv_tegra_release").exists():
    with closing(open_gauges()) as opened:
        found["opened"] = [source.name for source in opened.sources]
gauges = Gauges([Jtop(0.5), Sysfs()])
found["first"] = wanted(gauges.read())
Path("/sys/class/devfreq/17000000.gpu/device/load").write_text("120")
Path("/sys/class/hwmon/hwmon1/curr1_input").write_text("1000")
deadline = time.monotonic() + 60
while gauges.read().reading.gpu_load_pct != 12 and time.monotonic() < deadline:
    time.sleep(0.1)
found["then"] = wanted(gauges.read())
service.stdin.close()
service.wait()
while "rails_mw" in gauges.sources[0].read().known() if gauges.sources[0].read() else False:
    assert time.monotonic() < deadline
    time.sleep(0.1)
found["after"] = wanted(gauges.read())
gauges.close()
print(json.dumps(found))
"""


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)  # what Python itself does for a module that is not there
    with pytest.raises(BoardError, match="jetson-stats is not installed") as caught:
        Jtop()
    assert "edgeprof[jetson]" in caught.value.hint


def test_the_real_service(emulated, tmp_path: Path) -> None:
    pytest.importorskip("jtop", reason="jetson-stats is not installed: pip install jetson-stats")
    separate = ["unshare", "--mount"]
    if (
        shutil.which("unshare") is None
        or os.getuid() != 0
        or subprocess.run([*separate, "true"], check=False).returncode
    ):
        pytest.skip("needs root, and a mount namespace of its own")
    for name, text in (("service.py", SERVICE), ("client.py", CLIENT)):
        (tmp_path / name).write_text(text)
    root = emulated("orin-nano")
    command = [*separate, "bash", "-c", NAMESPACE, "namespace", str(root), sys.executable]
    done = subprocess.run(
        [*command, str(tmp_path / "client.py"), str(tmp_path / "service.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.get("opened", ["jtop", "sysfs"]) == ["jtop", "sysfs"]
    assert "does not answer" in found["before"][0]
    assert "jtop.service" in found["before"][1]
    first, then = found["first"], found["then"]
    assert first["reading"]["rails_mw"] == {"VDD_IN": 12475, "VDD_CPU_GPU_CV": 4665, "VDD_SOC": 2814}
    assert (first["reading"]["gpu_load_pct"], first["reading"]["gpu_mhz"]) == (63, 621)
    assert first["reading"]["temperature_c"] == {"cpu": 53.968, "gpu": 53.343, "tj": 53.968}
    assert first["reading"]["throttle_events"] == 37
    assert first["sources"]["rails_mw"] == first["sources"]["gpu_load_pct"] == "jtop"
    assert first["sources"]["throttle_events"] == "sysfs"  # which jtop does not know
    assert (then["reading"]["gpu_load_pct"], then["reading"]["rails_mw"]["VDD_IN"]) == (12, 5000)
    assert set(found["after"]["sources"].values()) == {"sysfs"}  # a service that is gone is no loss
    assert found["after"]["reading"]["rails_mw"]["VDD_IN"] == 5000
