"""Power mode and clocks of emulated boards, by their own programs: what was is put back, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgeprof.boards.power import JOURNAL, STORED, Power, Rebooting, RebootNeeded, Was
from edgeprof.boards.sensors.devfreq import read_gpu_clock
from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.errors import BoardError, SpecError

HOLD = """
import sys
from pathlib import Path
from edgeprof.boards.power import Power
power = Power(Path(sys.argv[1]))
with power.kept():
    power.use(power.modes([sys.argv[2]])[0], "max")
    print("set", flush=True)
    sys.stdin.read()
"""


def state(root):
    clock = read_gpu_clock(root)
    return read_power_mode(root).name, clock.min_mhz, clock.max_mhz


def test_modes_by_name_and_number(emulated):
    power = Power(emulated("agx-orin"))
    found = power.modes(["maxn", "MODE_15W", "30w", "3"])
    assert [(mode.number, mode.name) for mode in found] == [
        (0, "MAXN"),
        (1, "MODE_15W"),
        (2, "MODE_30W"),
        (3, "MODE_50W"),
    ]
    with pytest.raises(SpecError, match="no power mode '7W'") as caught:
        power.modes(["7W"])
    assert "MAXN, MODE_15W, MODE_30W, MODE_50W" in caught.value.hint


@pytest.mark.parametrize(("name", "mode"), [("nano", "5W"), ("thor", "120W")])
def test_a_mode_with_held_clocks_is_put_back(name, mode, emulated):
    root = emulated(name)
    before = state(root)
    power = Power(root)
    with power.kept():
        wanted = power.modes([mode])[0]
        power.use(wanted, "max")
        assert state(root) == (wanted.name, wanted.gpu_mhz, wanted.gpu_mhz)
        assert power.left() == Was(0, before[0], True)
        power.use(power.modes([before[0]])[0], None)
        assert state(root)[0] == before[0]
    assert state(root) == before
    assert power.left() is None
    assert not (root / STORED).exists()


def test_clocks_alone(emulated):
    root = emulated("tx1")
    before = state(root)
    with Power(root).kept():
        Power(root).use(None, "max")
        assert state(root) == ("MAXN", 998.4, 998.4)
    assert state(root) == before


def test_trouble_meanwhile(emulated):
    root = emulated("orin-nano")
    before = state(root)

    def trouble():
        with Power(root).kept():
            Power(root).use(Power(root).modes(["7W"])[0], None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trouble()
    assert state(root) == before


def test_what_the_user_had_fixed_stays_fixed(emulated):
    root = emulated("orin-nano")
    folder = root / "sys/class/devfreq/17000000.gpu"
    (folder / "min_freq").write_text("510000000")  # by hand: no mode sets that
    (folder / "max_freq").write_text("510000000")
    with Power(root).kept():
        Power(root).use(Power(root).modes(["7W"])[0], "max")
        assert state(root) == ("7W", 408, 408)
    assert state(root) == ("15W", 510, 510)


def test_a_mode_that_reboots_is_refused_and_nothing_is_agreed_to(emulated):
    root = emulated("agx-orin")
    before = state(root)
    power = Power(root)
    with pytest.raises(BoardError, match="must be rebooted for power mode MODE_15W") as caught, power.kept():
        power.use(power.modes(["15W"])[0], "max")
    assert "sudo nvpmodel -m 1" in caught.value.hint
    assert not (root / "rebooted").exists()
    assert state(root) == before
    assert power.left() is None


def test_a_mode_that_reboots_is_set_once_somebody_agrees_and_put_back_by_another_reboot(emulated):
    root = emulated("agx-orin")
    power = Power(root)
    modes = power.modes(["MAXN", "15W", "30W"])

    def first():
        with power.kept():
            assert [mode.name for mode in power.behind_reboot(modes)] == ["MODE_15W"]
            assert state(root)[0] == "MODE_30W"
            power.agree()
            power.use(modes[1], None)

    with pytest.raises(Rebooting, match="reboots into power mode MODE_15W"):
        first()
    assert (root / "rebooted").read_text() == "MODE_15W\n"
    assert Power(root).left() == Was(0, "MAXN", True)  # the board is down now, and nothing is put back
    after = Power(root)

    def second(agreed):
        with after.kept():
            assert after.left() == Was(0, "MAXN", True)
            after.use(modes[1], "max")
            if agreed:
                after.agree()

    with pytest.raises(RebootNeeded, match="must be rebooted for power mode MAXN") as caught:
        second(agreed=False)
    assert caught.value.hint.endswith("doctor --restore --yes")
    assert after.left() == Was(0, "MAXN", True)
    with pytest.raises(Rebooting, match="MAXN"):
        second(agreed=True)
    assert (root / "rebooted").read_text() == "MAXN\n"
    assert (state(root)[0], Power(root).left()) == ("MAXN", None)
    with Power(root).kept():
        assert Power(root).left() == Was(0, "MAXN", True)


def test_an_error_never_reboots_the_board(emulated):
    root = emulated("agx-orin")
    power = Power(root)

    def interrupted():
        with power.kept():
            power.agree()
            (root / "var/lib/nvpmodel/status").write_text("pmode:0001 fmode:quiet\n")  # where it rebooted to
            raise KeyboardInterrupt

    with pytest.raises(RebootNeeded):
        interrupted()
    assert not (root / "rebooted").exists()
    assert power.left() == Was(0, "MAXN", True)


def test_a_kill_leaves_a_journal_that_mends_it(emulated):
    root = emulated("orin-nano")
    before = state(root)
    for _ in range(2):  # what the first left is what was, for the second too
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root), "7W"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"set\n"
            process.kill()
        assert state(root) == ("7W", 408, 408)
        assert Power(root).left() == Was(0, "15W", True)
    assert Power(root).restore() == Was(0, "15W", True)
    assert state(root) == before
    assert Power(root).restore() is None


def test_programs_that_fail_or_are_missing(emulated):
    root = emulated("xavier-nx")
    program = root / "usr/sbin/nvpmodel"
    text = program.read_text()
    program.write_text("#!/bin/sh\necho 'NVPM ERROR: no' ; exit 3\n")
    with pytest.raises(BoardError, match="ended with status 3: NVPM ERROR: no"), Power(root).kept():
        pass
    program.write_text("#!/bin/sh\necho nothing\n")
    with pytest.raises(BoardError, match="does not tell the present mode"), Power(root).kept():
        pass
    assert not (root / JOURNAL).exists()
    program.write_text(text)
    (root / "usr/bin/jetson_clocks").unlink()
    with pytest.raises(BoardError, match="no jetson_clocks on PATH"), Power(root).kept():
        Power(root).use(None, "max")
    assert Power(root).left() is None
    program.unlink()
    with pytest.raises(BoardError, match="no nvpmodel on PATH"), Power(root).kept():
        pass


def test_a_mode_that_cannot_be_put_back_stays_in_the_journal(emulated):
    root = emulated("orin-nano")
    program = root / "usr/sbin/nvpmodel"
    text = program.read_text()

    def broken_meanwhile():
        with Power(root).kept():
            Power(root).use(Power(root).modes(["7W"])[0], None)
            program.write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(BoardError, match="ended with status 1"):
        broken_meanwhile()
    assert Power(root).left() == Was(0, "15W", True)
    program.write_text(text)
    assert Power(root).restore().name == "15W"


def test_a_spoilt_journal(emulated):
    root = emulated("nano")
    path = root / JOURNAL
    path.parent.mkdir(parents=True)
    for spoilt in ("", "[]", '{"number": 1}', json.dumps({"x": 1})):
        path.write_text(spoilt)
        with pytest.raises(BoardError, match="journal of the power mode"):
            Power(root).restore()
    assert path.exists()


def test_this_machine_is_asked_for_root_and_modes():
    if os.path.exists("/etc/nvpmodel.conf"):
        pytest.skip("a Jetson: nothing is set for a test")
    with pytest.raises(BoardError, match="no power modes here"):
        Power().modes(["MAXN"])
    with pytest.raises(BoardError, match=r"no nvpmodel on PATH|root alone"), Power().kept():
        pass
