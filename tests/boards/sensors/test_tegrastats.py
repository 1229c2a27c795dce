"""``tegrastats`` lines: what real boards printed, mutated lines, and forms of other boards and releases."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.boards.sensors.tegrastats import Core, Engine, Tegrastats, parse

DATA = Path(__file__).parents[2] / "data" / "jetson"
LINES = [
    (path.stem.removeprefix("tegrastats_"), line)
    for path in sorted(DATA.glob("tegrastats_*.txt"))
    for line in path.read_text().splitlines()
    if line.strip()
]
FIRST = dict(reversed(LINES))


def test_samples_are_there() -> None:
    assert len(LINES) >= 19


@pytest.mark.parametrize(("board", "line"), LINES)
def test_a_real_line_is_understood_in_whole(board: str, line: str) -> None:
    found = parse(line)
    assert found.unknown == ()
    assert found.ram_mib is not None
    assert found.ram_total_mib is not None
    assert 0 < found.ram_mib < found.ram_total_mib
    assert any(found.cpu)
    assert all(core is None or (core.mhz and 0 <= (core.load_pct or 0) <= 100) for core in found.cpu)
    assert all(0 < degrees < 110 for degrees in found.temperature_c.values())
    assert found.power_mw.keys() == found.power_average_mw.keys()
    assert bool(found.temperature_c) == ("l4t28" not in board)
    assert bool(found.power_mw) == ("l4t28" not in board and "xavier_nosudo" not in board)


@pytest.mark.parametrize(
    ("board", "load", "mhz", "cpus", "off", "rails"),
    [
        ("nano", 0, 76, 4, 0, {"POM_5V_IN": 1022, "POM_5V_GPU": 0, "POM_5V_CPU": 204}),
        ("tx1", 0, 76, 4, 0, {"VDD_IN": 2532, "VDD_CPU": 76, "VDD_GPU": 19}),
        ("xavier_nx", 62, 306, 6, 0, {"VDD_IN": 4067, "VDD_CPU_GPU_CV": 738, "VDD_SOC": 1353}),
        (
            "agx_xavier",
            0,
            318,
            8,
            4,
            {"GPU": 0, "CPU": 311, "SOC": 932, "CV": 0, "VDDRQ": 621, "SYS5V": 1482},
        ),
        ("agx_xavier_nosudo_r32.6", 39, None, 8, 4, {}),
        ("orin_nano_jp6", 63, 621, 6, 0, {"VDD_IN": 12479, "VDD_CPU_GPU_CV": 4667, "VDD_SOC": 2817}),
        ("orin_nano_jp6_nosudo", 0, None, 6, 0, {"VDD_IN": 4824, "VDD_CPU_GPU_CV": 518, "VDD_SOC": 1475}),
        ("agx_orin_jp7.2", 12, 1300, 12, 0, {"VDD_GPU_SOC": 5139, "VDD_CPU_CV": 3268, "VIN_SYS_5V0": 5500}),
        (
            "thor_r39_loaded",
            87,
            1574,
            4,
            1,
            {"VDD_GPU": 37939, "VDD_CPU_SOC_MSS": 30059, "VIN_SYS_5V0": 15486, "VIN": 124486},
        ),
        ("tx2_l4t28_legacy", None, None, 6, 0, {}),
    ],
)
def test_what_boards_said(
    board: str, load: float | None, mhz: float | None, cpus: int, off: int, rails: dict[str, float]
) -> None:
    found = parse(FIRST[board])
    assert (found.gpu_load_pct, found.gpu_mhz) == (load, mhz)
    assert (len(found.cpu), found.cpu.count(None)) == (cpus, off)
    assert found.power_mw == rails


def test_every_field_of_a_line() -> None:
    found = parse(FIRST["tx2_mts"])
    assert (found.ram_mib, found.ram_total_mib, found.free_blocks, found.free_block_mib) == (3276, 7859, 5, 4)
    assert (found.swap_mib, found.swap_total_mib, found.swap_cached_mib) == (1626, 12122, 181)
    assert found.cpu[1] == Core(load_pct=49, mhz=2031)
    assert (found.emc_load_pct, found.emc_mhz) == (1, 1866)
    assert (found.mts_foreground_pct, found.mts_background_pct) == (1, 1)
    assert found.engines == {"APE": Engine(mhz=150)}
    assert found.temperature_c["Tdiode"] == 39.25
    assert parse(FIRST["nano"]).iram_total_kib == 252
    assert parse(FIRST["tx1"]).power_average_mw["VDD_IN"] == 2698
    assert parse(FIRST["orin_nano_jp6"]).at == datetime(2024, 11, 15, 8, 38, 9)


def test_a_block_without_power_has_no_temperature() -> None:
    found = parse(FIRST["agx_orin_jp5_neg256"])
    assert found.idle_sensors == ("CV0", "CV1", "GPU", "CV2")
    assert found.temperature_c.keys() == {"CPU", "Tboard", "SOC2", "Tdiode", "SOC0", "tj", "SOC1"}
    assert "NC" not in found.power_mw


def test_maxima_and_engines_of_thor() -> None:
    loaded, idle = (parse(line) for board, line in LINES if board == "thor_r39_loaded")
    assert (loaded.temperature_c["cpu"], loaded.temperature_max_c["cpu"]) == (58.25, 61.75)
    assert (loaded.power_average_mw["VIN"], loaded.power_max_mw["VIN"]) == (36487, 124486)
    assert loaded.engines == {"NVENC0": Engine(mhz=1691), "VIC": Engine(on=False)}
    assert loaded.gpu_clusters_mhz == (1574, 1574, 1574)
    assert (idle.gpu_load_pct, idle.gpu_mhz) == (None, 1574)
    assert idle.cpu == (Core(0, 2601), Core(5, 2601), None)
    assert idle.swap_mib is None


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", {}),
        ("   ", {}),
        ("VDD_GPU -12mW/3mW/40mW", {"power_mw": {"VDD_GPU": -12}, "power_max_mw": {"VDD_GPU": 40}}),
        ("VDD_IN 5.5/4.25", {"power_mw": {"VDD_IN": 5.5}, "power_average_mw": {"VDD_IN": 4.25}}),
        ("RAM 1/2GB (lfb 3x512kB)", {"ram_mib": 1024, "ram_total_mib": 2048, "free_block_mib": 0.5}),
        ("GR3D_FREQ 7%@[0,0]", {"gpu_load_pct": 7, "gpu_mhz": 0, "gpu_clusters_mhz": (0, 0)}),
        ("GR3D2_FREQ 3%@611", {"engines": {"GR3D2": Engine(load_pct=3, mhz=611)}}),
        ("NVDLA0_FREQ @1600", {"engines": {"NVDLA0": Engine(mhz=1600)}}),
        ("NVENC 79%@166", {"engines": {"NVENC": Engine(load_pct=79, mhz=166)}}),
        ("XYZ9_FREQ 40%@[1,2]", {"engines": {"XYZ9": Engine(load_pct=40, mhz=2)}}),
        ("MSENC 1164 VIC_FREQ 115", {"engines": {"MSENC": Engine(mhz=1164), "VIC": Engine(mhz=115)}}),
        ("CPU-therm@39.2C PMIC-Die@100C", {"temperature_c": {"CPU-therm": 39.2, "PMIC-Die": 100}}),
        ("tj@-5.5C", {"temperature_c": {"tj": -5.5}}),
        ("gpu@-256C/61C", {"idle_sensors": ("gpu",)}),
        ("gpu@40C/-256C", {"temperature_c": {"gpu": 40}, "temperature_max_c": {}}),
        ("CPU [off,off]", {"cpu": (None, None)}),
        ("CPU [3%, 4%@5]@1190", {"cpu": (Core(3, 1190), Core(4, 5))}),
        ("CPU [0%@0]@9", {"cpu": (Core(0, 0),)}),
        ("FUTURE_TOKEN value", {"unknown": ("FUTURE_TOKEN", "value")}),
        ("FUTURE 17", {"unknown": ("FUTURE", "17")}),
        ("CPU [x%@3]", {"unknown": ("CPU", "[x%@3]"), "cpu": ()}),
        ("GR3D_FREQ  EMC_FREQ", {"unknown": ("GR3D_FREQ", "EMC_FREQ"), "gpu_load_pct": None}),
        ("99-99-2024 01:02:03 RAM 1/2MB", {"unknown": ("99-99-2024", "01:02:03"), "at": None, "ram_mib": 1}),
        ("VDD_IN 9999999999/1", {"unknown": ("VDD_IN", "9999999999/1"), "power_mw": {}}),
        ("VDD_IN NA", {"unknown": ("VDD_IN", "NA"), "power_mw": {}}),
    ],
)
def test_forms_beyond_the_samples(token: str, expected: dict[str, object]) -> None:
    found = parse(token)
    assert {key: getattr(found, key) for key in expected} == expected
    if "unknown" not in expected:
        assert found.unknown == ()


def test_what_is_absent_is_none_and_never_zero() -> None:
    assert parse("") == Tegrastats()
    assert {value for value in Tegrastats().__dict__.values() if isinstance(value, float | int)} == set()


PIECES = st.sampled_from([piece for _, line in LINES for piece in line.split()])
NOISE = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


def sound(found: Tegrastats) -> None:
    """Whatever the line, numbers are finite, and nothing idle is a temperature."""
    values = (found.ram_mib, found.gpu_mhz, found.gpu_load_pct, found.emc_mhz)
    assert all(value is None or math.isfinite(value) for value in values)
    assert all(degrees > -255 for degrees in found.temperature_c.values())
    assert all(math.isfinite(mw) for mw in found.power_mw.values())
    assert all(isinstance(word, str) and word.strip() == word for word in found.unknown)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([line for _, line in LINES]), st.data())
def test_a_line_cut_and_spoilt_anywhere(line: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(begin, min(begin + 20, len(line))))
    sound(parse(line[:begin] + data.draw(NOISE) + line[end:]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(PIECES, NOISE), max_size=30))
def test_pieces_in_any_order(pieces: list[str]) -> None:
    sound(parse(" ".join(pieces)))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([line for _, line in LINES]), st.from_regex(r"\A[A-Z]{3,8}[?!]\Z"))
def test_a_strange_token_costs_nothing_else(line: str, strange: str) -> None:
    plain = parse(line)
    for spoilt in (f"{strange} {line}", f"{line} {strange}"):
        found = parse(spoilt)
        assert found.unknown == (strange,)
        assert found.power_mw == plain.power_mw
        assert found.cpu == plain.cpu


def test_a_long_line_of_nonsense_is_read_at_once() -> None:
    sound(parse("[" * 20_000 + " " * 5_000 + "A" * 20_000 + "@"))
