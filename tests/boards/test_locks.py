"""Locked clocks of a GPU that a program stands in for: what is called, what is kept, and that it is given back whatever
happens. No figure of a GPU."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprof.boards.locks import JOURNAL, Locked, Locks
from edgeprof.boards.power import HereConsole
from edgeprof.errors import BoardError

from ..conftest import write_smi

ADDRESS = "0000:05:00.0"
TDP = 0xFFFFFF01  # what the stand-in keeps of it
A2 = Locked("GPU-0a2", "NVIDIA A2")
HOLD = """
import sys
from pathlib import Path
from edgeprof.boards.locks import Locks
from edgeprof.boards.power import HereConsole
locks = Locks("0000:05:00.0", HereConsole(Path(sys.argv[1])))
with locks.kept():
    print(locks.use(None, "max"), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """The state of a stand-in for nvidia-smi."""
    return write_smi(tmp_path)


def of(root: Path) -> Locks:
    return Locks(ADDRESS, HereConsole(root))


def locked(card: Path) -> dict[str, list[int]]:
    """What is locked: lowest and highest clock."""
    return {path.name: [int(n) for n in path.read_text().split()] for path in card.glob("*_lock")}


@pytest.mark.parametrize(("clocks", "limit"), [("base", TDP), ("max", 1770)])
def test_clocks_are_locked_and_given_back(card: Path, tmp_path: Path, clocks: str, limit: int) -> None:
    locks = of(tmp_path)
    with locks.kept():
        assert locks.left() == A2  # before anything is set
        assert locked(card) == {}
        assert "NVIDIA A2" in locks.use(None, clocks)
        assert locked(card) == {"gpu_lock": [limit, limit], "memory_lock": [6251, 6251]}
        assert "as its driver has them" in locks.use(None, None)
        assert locked(card) == {}
        locks.use(None, "max")
    assert locked(card) == {}
    assert not (tmp_path / JOURNAL).exists()


def test_memory_that_cannot_be_locked_is_told(card: Path, tmp_path: Path) -> None:
    (card / "volta").touch()
    locks = of(tmp_path)
    with locks.kept():
        assert "memory's not: it cannot be" in locks.use(None, "max")
        assert locked(card) == {"gpu_lock": [1770, 1770]}
    assert locked(card) == {}


def test_root_alone_may(card: Path, tmp_path: Path) -> None:
    (card / "denied").touch()
    locks = of(tmp_path)
    with (
        pytest.raises(BoardError, match="the clocks of NVIDIA A2 can be locked by root alone") as caught,
        locks.kept(),
    ):
        locks.use(None, "max")
    assert (
        "sudo nvidia-smi -i 0000:05:00.0 -lgc 1770,1770 (back: sudo nvidia-smi -i 0000:05:00.0 -rgc)"
        in caught.value.hint
    )
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize(("kind", "says"), [("old", "can from Volta on"), ("lost", "no GPU answers at")])
def test_gpus_that_cannot(card: Path, tmp_path: Path, kind: str, says: str) -> None:
    locks = of(tmp_path)
    (card / kind).touch()
    with pytest.raises(BoardError, match=says), locks.kept():
        locks.use(None, "base")
    assert locks.left() is None


def test_a_journal_that_cannot_be_written(card: Path, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to("nowhere")
    with (
        pytest.raises(BoardError, match="journal of locked clocks cannot be written"),
        of(tmp_path).kept(),
    ):
        pass
    assert locked(card) == {}


def test_there_are_no_power_modes(tmp_path: Path) -> None:
    assert of(tmp_path).modes([]) == []
    with pytest.raises(BoardError, match="a discrete GPU has no power modes") as caught:
        of(tmp_path).modes(["MAXN"])
    assert "--clocks" in caught.value.hint


def test_ctrl_c_gives_them_back(card: Path, tmp_path: Path) -> None:
    """SIGTERM is met as Ctrl-C by the command."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout
        assert process.stdout.readline()
        assert locked(card)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert locked(card) == {}
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_kill_leaves_is_mended_from_the_journal(card: Path, tmp_path: Path, number: int) -> None:
    for _ in range(2):  # the second finds what the first left
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            assert process.stdout.readline().startswith(b"SM clock of NVIDIA A2 locked at 1770 MHz")
            process.send_signal(number)
        assert locked(card) == {"gpu_lock": [1770, 1770], "memory_lock": [6251, 6251]}
    locks = Locks(at=HereConsole(tmp_path))
    assert locks.left() == A2
    assert locks.restore() == A2
    assert locked(card) == {}
    assert locks.restore() is None


def test_a_journal_of_a_gpu_that_is_gone_or_of_nonsense(card: Path, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"uuid": "GPU-other", "name": "NVIDIA T4"}))
    with pytest.raises(BoardError, match=r"NVIDIA T4 \(GPU-other\) does not answer") as caught:
        Locks(at=HereConsole(tmp_path)).restore()
    assert "reboot" in caught.value.hint
    assert path.exists()
    path.write_text("{")
    with pytest.raises(BoardError, match="cannot be read") as caught:
        Locks(at=HereConsole(tmp_path)).left()
    assert "nvidia-smi -rgc" in caught.value.hint


def test_what_was_left_of_another_gpu_is_given_back_before(card: Path, tmp_path: Path) -> None:
    other = tmp_path / JOURNAL
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"uuid": "GPU-0b3", "name": "NVIDIA T4"}))
    program = tmp_path / "usr/bin/nvidia-smi"
    called = tmp_path / "called"
    program.write_text(f'#!/bin/sh\necho "$*" >> {called}\necho "NVIDIA A2, GPU-0a2, 1770, 6251"\n')
    with of(tmp_path).kept():
        assert of(tmp_path).left() == A2
    assert called.read_text().splitlines()[1:] == ["-i GPU-0b3 -rgc", "-i GPU-0b3 -rmc"]
    assert of(tmp_path).left() is None


def test_without_nvidia_smi_nothing_is_locked(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"there is no nvidia-smi on PATH$"), of(tmp_path).kept():
        pytest.fail("it was set")
