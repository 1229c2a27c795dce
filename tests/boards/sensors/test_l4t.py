"""``/etc/nv_tegra_release`` of real boards, and which JetPack a release belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.boards.sensors.l4t import JETPACK, MAJOR, Release, parse_release, read_release

DATA = Path(__file__).parents[2] / "data" / "jetson"
FILES = sorted(DATA.glob("nv_tegra_release_*.txt"))


@pytest.mark.parametrize(
    ("file", "version", "board", "jetpack"),
    [
        ("r32_nano", "32.7.6", "t210ref", "4.6.6"),
        ("r32_xavier_tx2", "32.7.1", "t186ref", "4.6.1"),
        ("r38_thor", "38.2.0", "generic", "7.0"),
        ("r39_agx_orin", "39.2.0", "generic", "7.2"),
    ],
)
def test_a_real_file(tree: Callable[..., Path], file: str, version: str, board: str, jetpack: str) -> None:
    content = (DATA / f"nv_tegra_release_{file}.txt").read_text()
    found = read_release(tree({"etc/nv_tegra_release": content}))
    assert found == parse_release(content)
    assert found is not None
    assert (found.version, found.board, found.jetpack) == (version, board, jetpack)
    assert found.gcid is not None
    assert found.gcid.isdigit()
    assert found.date is not None
    assert "UTC" in found.date


def test_releases_beyond_the_samples() -> None:
    line = "# R{} (release), REVISION: {}, GCID: 1, BOARD: b, EABI: aarch64, DATE: now"
    for number, revision, version, jetpack in (
        (28, "2.1", "28.2.1", "3.2.1"),
        (36, "4.3", "36.4.3", "6.2"),
        (36, "9.1", "36.9.1", "6.x"),
        (35, "1", "35.1.0", "5.0.2"),
        (41, "0.1", "41.0.1", None),
    ):
        found = parse_release(line.format(number, revision))
        assert found == Release(version, "b", "1", "now")
        assert found.jetpack == jetpack


def test_the_table_agrees_with_itself() -> None:
    for version, jetpack in JETPACK.items():
        assert version.count(".") == 2
        assert int(jetpack[0]) == MAJOR[int(version.split(".")[0])]


@pytest.mark.parametrize("content", ["", "Ubuntu 22.04", "# R (release), REVISION: 1", "# R36 (release)"])
def test_no_release(tree: Callable[..., Path], content: str) -> None:
    assert parse_release(content) is None
    assert read_release(tree({"etc/nv_tegra_release": content})) is None


def test_no_file(tmp_path: Path) -> None:
    assert read_release(tmp_path) is None


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FILES), st.integers(0, 200), st.integers(0, 20), st.text(max_size=6))
def test_a_spoilt_file(file: Path, begin: int, length: int, noise: str) -> None:
    content = file.read_text()
    found = parse_release(content[:begin] + noise + content[begin + length :])
    assert found is None or found.version.count(".") == 2
