"""Board files: the shipped ones read, and wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeprof import catalogue
from edgeprof.boards.spec import read_board
from edgeprof.errors import CatalogueError, SpecError

GOOD = """
version = 1
name = "jetson-mine"
kind = "jetson"
match = { model = "ARMv8" }
backend = "ort-cuda"
estimator = "median"
[peaks]
fp32_gflops = 1280
dram_gbps = 68.2
source = "data sheet"
"""


def test_every_shipped_board_is_named_after_its_file() -> None:
    names = [entry.name for entry in catalogue.entries("boards")]
    assert "cpu" in names
    for name in names:
        board = read_board(name)
        assert board.name == name
        assert board.about


def test_the_processor_itself_matches_anything() -> None:
    board = read_board("cpu")
    assert (board.kind, board.backend, board.estimator, dict(board.match)) == (
        "cpu",
        "ort-cpu",
        "low-decile",
        {},
    )


def test_a_board_of_yours(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    board = read_board(str(path))
    assert board.peaks is not None
    assert (board.name, board.peaks.fp32_gflops, board.peaks.fp16_gflops) == ("jetson-mine", 1280, None)
    assert board.model_validate_json(board.model_dump_json()) == board


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'kind = "jetson"',
            'kind = "toaster"',
            "kind: Input should be 'cpu', 'discrete' or 'jetson', not 'toaster'",
        ),
        (
            'estimator = "median"',
            'estimator = "mean"',
            "estimator: Input should be 'low-decile', 'minimum' or 'median'",
        ),
        ('backend = "ort-cuda"', "", "backend: Field required"),
        ("version = 1", "version = 2", "version: Input should be 1, not 2"),
        ("jetson-mine", "../mine", "name: String should match pattern"),
        ("dram_gbps = 68.2", "dram_gbps = -1", "peaks.dram_gbps: Input should be greater than 0, not -1"),
        ('source = "data sheet"', "", "peaks.source: Field required"),
        ("[peaks]", "colour = 1\n[peaks]", "unknown key 'colour'"),
        ('{ model = "ARMv8" }', "[1]", "match: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_board_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SpecError) as caught:
        read_board(str(path))
    assert caught.value.message.startswith(f"board {path}: {says}")


def test_no_such_board_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="there is no board called 'cpuu'"):
        read_board("cpuu")
    path = tmp_path / "mine.toml"
    path.write_text("name = ")
    with pytest.raises(CatalogueError, match="is not TOML"):
        read_board(str(path))
