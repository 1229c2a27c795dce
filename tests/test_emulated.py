"""A whole sweep on an emulated Orin Nano: the board's files, the processor here."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import pytest

from benchmarks.emulation import MODELS
from edgeprof.boards.detect import detect_machine, find_board
from edgeprof.cli import run

BOARDS = {
    "tx1": "jetson-tx1",
    "nano": "jetson-nano",
    "xavier-nx": "jetson-xavier-nx-8gb",
    "orin-nano": "jetson-orin-nano-8gb",
    "agx-orin": "jetson-agx-orin-64gb",
    "thor": "jetson-t5000",
}
SMALL = ["--nets", "1", "--batch", "4", "--depth", "8", "--neurons", "64", "--conv", "1", "--fc", "1"]


@pytest.mark.parametrize("name", MODELS)
def test_each_emulated_board_is_recognised(name, emulated):
    assert find_board("jetson", detect_machine(emulated(name))).name == BOARDS[name]


@contextmanager
def events(path):
    """Over-current events, one after another."""
    over = threading.Event()

    def count():
        while not over.wait(0.3):
            path.write_text(str(int(path.read_text()) + 1))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_sweep_with_energy_and_throttling(emulated, tmp_path, monkeypatch, capsys):
    root = emulated("orin-nano")
    monkeypatch.setenv("EDGEPROF_ROOT", str(root))
    db = str(tmp_path / "e.db")
    (root / "proc/4711").mkdir()
    (root / "proc/4711/comm").write_text("gnome-shell\n")
    with events(root / "sys/class/hwmon/hwmon3/oc3_event_cnt"):
        status = run(
            [
                "sweep",
                "quick",
                "--board",
                "jetson",
                "--backend",
                "ort-cpu",
                "--db",
                db,
                "--rounds",
                "1",
                *SMALL,
            ]
        )
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "emulated on" in said.err
    assert "clocks were cut" in said.err
    assert "a desktop runs" in said.err
    assert run(["export", "--db", db]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 1
    for measured in found:
        telemetry, case = measured["telemetry"], measured["case"]
        assert case["board"] == "jetson-orin-nano-8gb"
        assert case["machine"].startswith("NVIDIA Jetson Orin Nano Developer Kit, emulated on ")
        assert case["power_mode"] == "15W"
        assert measured["environment"]["machine"]["emulated"] is True
        assert not measured["simulated"]
        assert telemetry["power_mw"] == 12475
        assert telemetry["energy_mj_per_tile"] == pytest.approx(
            12475 * telemetry["loaded_s"] / (telemetry["loaded_runs"] * 4)
        )
        assert telemetry["throttled"] is True
        assert "throttled" in measured["warnings"]
        assert (telemetry["gpu_mhz"], telemetry["used_mib"]) == (621, 6185)
        assert measured["kernels"]


def test_the_doctor_of_an_emulated_board(emulated, monkeypatch, capsys):
    monkeypatch.setenv("EDGEPROF_ROOT", str(emulated("thor")))
    assert run(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["board"]["detail"].startswith("jetson-t5000")
    assert "sysfs: power, GPU clock" in found["sensors"]["detail"]
    assert "tegrastats: GPU load" in found["sensors"]["detail"]


def test_a_root_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("EDGEPROF_ROOT", "/no/such/folder")
    assert run(["doctor"]) == 2
    assert "EDGEPROF_ROOT: there is no folder /no/such/folder" in capsys.readouterr().err
