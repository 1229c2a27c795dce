"""Power modes: what ``nvpmodel -q`` printed on real boards, and configuration files in its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.boards.sensors.nvpmodel import (
    Configuration,
    PowerMode,
    parse_configuration,
    parse_query,
    read_power_mode,
)

DATA = Path(__file__).parents[2] / "data" / "jetson"
FILES = sorted(DATA.glob("nvpmodel_q_*.txt"))
CONFIGURATION = """\
# comments, which no mode is in: < POWER_MODEL ID=9 NAME=NONE >
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online

< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_1 1
GPU MAX_FREQ -1

< POWER_MODEL ID=1 NAME=5W >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_1 0   # off
CPU_A57 MAX_FREQ 918000
GPU MAX_FREQ 640000000
a line of five words here
< PM_CONFIG DEFAULT=1 >
GPU MAX_FREQ 1
"""


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        ("thor_maxn", PowerMode("MAXN", 0)),
        ("orin_super", PowerMode("MAXN_SUPER", 2)),
        ("xavier_nx", PowerMode("MODE_15W_2CORE", 0, "cool")),
        ("xavier_fan_cool", PowerMode("MODE_30W_4CORE", 5, "cool")),
        ("verbose_xavier_nx", PowerMode("MODE_15W_6CORE", 2, "quiet")),
    ],
)
def test_a_real_answer(file: str, mode: PowerMode) -> None:
    assert parse_query((DATA / f"nvpmodel_q_{file}.txt").read_text()) == mode


def test_an_answer_without_root() -> None:
    found = parse_query((DATA / "nvpmodel_q_xavier_noroot.txt").read_text())
    assert (found.name, found.number, found.fan) == ("MODE_15W_DESKTOP", 7, "quiet")
    assert len(found.messages) == 3
    assert found.messages[2] == "NVPM ERROR: Fan failed to set mode:quiet"


def test_an_answer_behind_a_warning_and_no_answer() -> None:
    found = parse_query("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE 30W\r\n3\r\n")
    assert found == PowerMode("MODE 30W", 3, None, ("NVPM WARN: fan mode is not set!",))
    assert parse_query("") == parse_query("nvpmodel: command not found") == PowerMode()


def test_a_configuration() -> None:
    found = parse_configuration(CONFIGURATION)
    assert found.default == 1
    assert [(mode.number, mode.name, mode.gpu_mhz, mode.cores) for mode in found.modes] == [
        (0, "MAXN", None, 2),
        (1, "5W", 640, 1),
    ]
    assert found.modes[1].settings["CPU_A57"] == {"MAX_FREQ": "918000"}
    assert (found.named(1), found.named(7)) == ("5W", None)
    assert parse_configuration("< POWER_MODEL NAME=X ID=3 >\n").modes[0].cores is None
    assert parse_configuration("nothing\n< POWER_MODEL ID=x NAME=X >\nGPU MAX_FREQ 1\n") == Configuration()


def test_the_mode_of_a_board(tree: Callable[..., Path]) -> None:
    assert read_power_mode(tree({})) is None
    root = tree({"var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n"})
    assert read_power_mode(root) == PowerMode(None, 1)
    tree({"etc/nvpmodel.conf": CONFIGURATION})
    assert read_power_mode(root) == PowerMode("5W", 1)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FILES), st.integers(0, 260), st.integers(0, 20), st.text(max_size=8))
def test_a_spoilt_answer(file: Path, begin: int, length: int, noise: str) -> None:
    content = file.read_text()
    found = parse_query(content[:begin] + noise + content[begin + length :])
    assert found.number is None or found.number >= 0
    assert found.name is None or found.name.strip()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 600), st.integers(0, 40), st.text(max_size=8))
def test_a_spoilt_configuration(begin: int, length: int, noise: str) -> None:
    found = parse_configuration(CONFIGURATION[:begin] + noise + CONFIGURATION[begin + length :])
    assert all(mode.name and (mode.gpu_mhz or 1) > 0 for mode in found.modes)
