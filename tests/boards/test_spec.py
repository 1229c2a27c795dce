"""Board files: the shipped ones read, and wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeprof import catalogue
from edgeprof.boards.sensors.l4t import JETPACK
from edgeprof.boards.sensors.tegrastats import parse
from edgeprof.boards.spec import Board, read_board
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


BOARDS = [read_board(entry.name) for entry in catalogue.entries("boards")]
GPUS = [board for board in BOARDS if board.kind != "cpu"]


@pytest.mark.parametrize("board", GPUS, ids=lambda board: board.name)
def test_a_shipped_gpu_has_its_facts_with_their_sources(board: Board) -> None:
    assert board.sources
    assert board.peaks is not None
    assert board.peaks.source
    assert board.gpu is not None
    assert board.estimator == "median"
    assert len(board.about) <= 50  # a line of `edgeprof list boards`
    if board.gpu.mhz and board.gpu.cuda_cores:
        fp32 = 2 * board.gpu.cuda_cores * board.gpu.mhz / 1000
        assert board.peaks.fp32_gflops == pytest.approx(fp32, rel=1e-3)
    assert board.match
    assert all(board.match)
    for jetpack, release in board.jetpack.items():
        assert release.l4t in JETPACK
        assert jetpack in {JETPACK[release.l4t], "3.3"}  # 3.2.1 and 3.3 are of one L4T


def test_the_main_modules_and_cards_are_there() -> None:
    names = {board.name for board in BOARDS}
    modules = (
        "tx1 tx2 nano xavier-nx-8gb agx-xavier orin-nano-4gb orin-nano-8gb orin-nano-8gb-super orin-nx-8gb"
    )
    modules += " orin-nx-16gb agx-orin-32gb agx-orin-64gb t4000 t5000"
    assert {f"jetson-{name}" for name in modules.split()} <= names
    assert {"gtx-960", "rtx-2080-ti", "rtx-3090", "rtx-4090", "rtx-5090", "a2", "t4", "l4"} <= names
    assert {"a100-pcie-40gb", "h100-sxm", "h200-sxm"} <= names


DATA = Path(__file__).parents[1] / "data" / "jetson"


@pytest.mark.parametrize(
    ("name", "file", "total"),
    [
        ("jetson-tx1", "tx1", 2532),
        ("jetson-tx2", "tx2", 3056),
        ("jetson-nano", "nano", 1022),
        ("jetson-xavier-nx-8gb", "xavier_nx", 4067),
        ("jetson-agx-xavier", "agx_xavier", 311 + 932 + 621 + 1482),
        ("jetson-orin-nano-8gb", "orin_nano_jp6", 12479),
        ("jetson-orin-nx-16gb", "orin_nx_r35", 5299),
        ("jetson-agx-orin-64gb", "agx_orin_jp5_neg256", 2340 + 390 + 4025),
        ("jetson-t5000", "thor_r39_loaded", 124486),
        ("jetson-agx-xavier", "agx_xavier_nosudo_r32.6", None),
        ("rtx-4090", "nano", None),
    ],
)
def test_all_the_power_that_a_real_module_took_in(name: str, file: str, total: float | None) -> None:
    line = (DATA / f"tegrastats_{file}.txt").read_text().splitlines()[0]
    assert read_board(name).total_mw(parse(line).power_mw) == total


def test_the_processor_itself_matches_anything() -> None:
    board = read_board("cpu")
    assert (board.kind, board.backend, board.estimator, board.match) == (
        "cpu",
        "ort-cpu",
        "low-decile",
        ({},),
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
        ("jetson-mine", "../mine", "name: String should match pattern"),
        ("dram_gbps = 68.2", "dram_gbps = -1", "peaks.dram_gbps: Input should be greater than 0, not -1"),
        ('source = "data sheet"', "", "peaks.source: Field required"),
        ("[peaks]", "colour = 1\n[peaks]", "unknown key 'colour'"),
        ('{ model = "ARMv8" }', "[1]", "match.0: Input should be a valid dictionary"),
        ('{ model = "ARMv8" }', "{ model = 8 }", "match.0.model: Input should be a valid tuple"),
        ("[peaks]", "[gpu]\narchitecture = 'x'\n[peaks]", "gpu.compute_capability: Field required"),
        (
            "[peaks]",
            "[power_modes]\nMAXN = { id = -1 }\n[peaks]",
            "power_modes.MAXN.id: Input should be greater",
        ),
        (
            "[peaks]",
            "[jetpack]\n'6.2' = { l4t = 'R36' }\n[peaks]",
            "jetpack.6.2.l4t: String should match pattern",
        ),
    ],
)
def test_a_wrong_board_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SpecError) as caught:
        read_board(str(path))
    assert caught.value.message.startswith(f"board {path}: {says}")


def test_a_newer_board_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("version = 1", "version = 2"))
    with pytest.raises(SpecError) as caught:
        read_board(str(path))
    assert caught.value.message == f"board {path} has version 2; this edgeprof reads 1"


def test_no_such_board_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="there is no board called 'cpuu'"):
        read_board("cpuu")
    path = tmp_path / "mine.toml"
    path.write_text("name = ")
    with pytest.raises(CatalogueError, match="is not TOML"):
        read_board(str(path))
