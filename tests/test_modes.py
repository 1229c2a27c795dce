"""Sweeps over power modes on an emulated Orin Nano: real processes, signals and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edgeprof import doctor
from edgeprof.boards.power import Power, Was
from edgeprof.boards.sensors.devfreq import read_gpu_clock
from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.cli import run
from edgeprof.finding import Finding
from edgeprof.timing.drift import SENTINELS

SWEEP = ["sweep", "./tiny.toml", "--board", "jetson", "--backend", "ort-cpu", "--db", "m.db", "--rounds", "1"]
TINY = "[net]\nconv = 0\nfc = 1\nneurons = 8\nbatch = 2\nthreads = 1\n"
LONG = TINY + "[vary]\nclasses = [2, 3, 4, 5, 6, 7, 8, 9]\n"
COMMAND = [sys.executable, "-m", "edgeprof"]


@pytest.fixture
def board(emulated, tmp_path, monkeypatch):
    root = emulated("orin-nano")
    monkeypatch.setenv("EDGEPROF_ROOT", str(root))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # locks of its own
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return root


def state(root):
    clock, mode = read_gpu_clock(root), read_power_mode(root)  # whose file is just being written, perhaps
    return mode and mode.name, clock.min_mhz, clock.max_mhz


def exported(capsys):
    assert run(["export", "--db", "m.db"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def hasty(monkeypatch):
    """One sentinel instead of three, and no wait for a quiet machine."""
    monkeypatch.setattr("edgeprof.timing.session.PAUSES_S", ())
    monkeypatch.setattr("edgeprof.timing.drift.SENTINELS", {"compute": SENTINELS["compute"]})


def test_a_mode_is_a_dimension(board, hasty, capsys):
    before = state(board)
    command = [*SWEEP, "--power-mode", "15W,7W", "--clocks", "max", "--json"]
    assert run([*command, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 2
    assert run(command) == 0
    said = capsys.readouterr()
    done = json.loads(said.out)
    assert done["measured"] == 2
    assert "power mode 7W, clocks held" in said.err
    assert state(board) == before
    assert {mode["mode"] for mode in done["power_modes"]} == {"15W, clocks max", "7W, clocks max"}
    assert [mode["networks"] for mode in done["power_modes"]] == [1, 1]
    assert done["power_modes"][0]["fastest"] == 1
    found = exported(capsys)
    by_mode = {m["case"]["power_mode"]: m for m in found}
    assert by_mode.keys() == {"15W", "7W"}
    for mode, mhz in (("15W", 625), ("7W", 408)):
        assert by_mode[mode]["case"]["clocks"] == "max"
        assert by_mode[mode]["telemetry"]["gpu_mhz"] == mhz  # as it was while it ran
        assert by_mode[mode]["telemetry"]["energy_mj_per_tile"] > 0
        assert by_mode[mode]["ms_per_tile"] > 0
    (board / "usr/sbin/nvpmodel").write_text("#!/bin/sh\nexit 1\n")
    assert run(command[:-1]) == 0  # nothing is left to measure: nothing is set
    said = capsys.readouterr().out
    assert "0 measured, 2 reused" in said
    assert "power modes, medians over 1 network," in said


def test_a_mode_behind_a_reboot(emulated, hasty, tmp_path, monkeypatch, capsys):
    root = emulated("agx-orin")
    for name, value in (("EDGEPROF_ROOT", root), ("TMPDIR", tmp_path)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [*SWEEP, "--power-mode", "15W,30W", "--json"]
    before = state(root)
    assert run(command) == 2
    said = capsys.readouterr().err
    assert "power mode MODE_15W needs a reboot of the board" in said
    assert "--yes agrees to it" in said
    assert (state(root), Power(root).left()) == (before, None)
    assert run([*command, "--yes"]) == 0
    said = capsys.readouterr()
    done = json.loads(said.out)
    assert (done["measured"], done["stopped"]) == (1, "reboot")
    assert "the board reboots into power mode MODE_15W" in said.err
    assert state(root)[0] == "MODE_15W"  # as after the reboot
    assert [m["case"]["power_mode"] for m in exported(capsys)] == ["MODE_30W"]
    assert run([*command, "--yes"]) == 0
    said = capsys.readouterr()
    done = json.loads(said.out)
    assert (done["measured"], done["reused"]) == (1, 1)
    assert len(done["power_modes"]) == 2
    assert "the board reboots into power mode MAXN" in said.err
    assert (state(root)[0], Power(root).left()) == ("MAXN", None)


def test_the_doctor_asks_before_it_reboots(emulated, monkeypatch, capsys):
    root = emulated("agx-orin")
    monkeypatch.setenv("EDGEPROF_ROOT", str(root))
    monkeypatch.setattr("tempfile.tempdir", str(root))  # locks of its own
    (root / "var/lib/edgeprof").mkdir(parents=True)
    (root / "var/lib/edgeprof/power.json").write_text('{"number": 0, "name": "MAXN", "clocks": false}')
    (root / "var/lib/nvpmodel/status").write_text("pmode:0001 fmode:quiet\n")
    assert run(["doctor", "--restore"]) == 2
    assert "--yes agrees to it" in capsys.readouterr().err
    assert not (root / "rebooted").exists()
    assert run(["doctor", "--yes"]) == 2
    assert "are of --restore" in capsys.readouterr().err
    assert run(["doctor", "--restore", "--yes"]) == 0
    assert "the board reboots into power mode MAXN" in capsys.readouterr().err
    assert (root / "rebooted").read_text() == "MAXN\n"
    assert Power(root).left() is None


def test_modes_of_a_file(board, tmp_path, capsys):
    (tmp_path / "tiny.toml").write_text(TINY + 'power_mode = ["7W", 0]\nclocks = "max"\n')
    assert run([*SWEEP, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 2
    assert run([*SWEEP, "--dry-run", "--json", "--power-mode", "7W"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 1


def interrupted(board, tmp_path, number, meanwhile=lambda: None):
    """A sweep that a signal meets while another mode is set: its status and last words."""
    (tmp_path / "tiny.toml").write_text(LONG)
    with subprocess.Popen(
        [*COMMAND, *SWEEP, "--power-mode", "7W", "--clocks", "max"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        deadline = time.monotonic() + 60
        while state(board) != ("7W", 408, 408):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        meanwhile()
        os.kill(process.pid, number)
        return process.wait(timeout=60), process.stderr.read()


def test_a_signal_puts_it_back_and_the_doctor_leaves_it_till_then(board, tmp_path, capsys):
    before, found = state(board), []

    def meanwhile():
        assert run(["doctor", "--restore"]) == 2
        assert state(board) == ("7W", 408, 408)
        found.extend(doctor._left(board))

    status, said = interrupted(board, tmp_path, signal.SIGTERM, meanwhile)
    assert status == 130, said
    assert "error: a sweep of jetson-orin-nano-8gb is running" in capsys.readouterr().err
    told = (
        "a sweep of jetson-orin-nano-8gb is running, and puts back 15W (number 0) and its clocks at its end"
    )
    assert found == [Finding("left", "ok", told)]
    assert state(board) == before
    assert Power(board).left() is None


def test_a_closed_terminal_is_met_as_a_signal_to_end():
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); from edgeprof import cli; "
        "cli.run = lambda words: os.kill(os.getpid(), {}); cli.main()"
    )
    for number in ("signal.SIGHUP", "signal.SIGTERM"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(number)], capture_output=True, text=True, check=False
        )
        assert done.returncode != -signal.SIGHUP
        assert "KeyboardInterrupt" in done.stderr  # which the real run() meets in order


def test_a_kill_is_mended_by_the_doctor(board, tmp_path, capsys):
    before = state(board)
    status, _ = interrupted(board, tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert state(board) == ("7W", 408, 408)
    assert Power(board).left() == Was(0, "15W", True)
    assert run(["doctor", "--restore", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"]["name"] == "15W"
    assert state(board) == before
    assert run(["doctor", "--restore"]) == 0
    assert capsys.readouterr().out == "nothing to put back\n"


@pytest.mark.parametrize("flags", [["--clocks", "max"], ["--power-mode", "7W"]])
def test_a_board_without_power_modes_is_told_before_anything_is_opened(flags, board, tmp_path, capsys):
    (board / "etc/nvpmodel.conf").unlink()
    assert run([*SWEEP, *flags]) == 2
    assert "no power modes here" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--power-mode", "MAXN"], "this board has no power mode 'MAXN'"),
        (["--power-mode", "15W,,7W"], "has an empty name"),
        (["--clocks", "high"], "--clocks 'high' is not known"),
        (["--power-mode", "7W", "--backend", "simulated:gtx960-theano"], "no power modes to set"),
    ],
)
def test_requests_that_are_wrong(flags, says, board, capsys):
    assert run([*SWEEP, *flags]) == 2
    assert says in capsys.readouterr().err
    assert Power(board).left() is None
