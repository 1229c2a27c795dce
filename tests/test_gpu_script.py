"""The script for GPUs: parts that fail or hang cost the others nothing, it goes on, and it fits into small files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks import cudnn_plans, gpu, gpu_parts
from benchmarks.gpu import Part


@pytest.fixture
def path_for_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SUMMARY_S", 300.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def test_what_fails_or_hangs_is_told_and_the_others_run(
    tmp_path: Path, path_for_parts: None, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [Part("hangs", 0.05), Part("wrong", 300, sweep=("no-such-sweep",))]
    state = gpu.run_all(parts, tmp_path, time.monotonic() + 3600, "ort-cpu", None)
    assert {name: told["status"] for name, told in state.items()} == {
        "hangs": "out of time",
        "wrong": "failed",
    }
    assert "there is no sweep called" in " ".join(state["wrong"]["said"])
    assert json.loads((tmp_path / "state.json").read_text("utf-8")) == state
    assert (tmp_path / "report.md").exists()
    assert "wrong: " in capsys.readouterr().out


def test_a_law_waits_for_its_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_parts.law(tmp_path, "ort-cpu", None) == gpu.UNFINISHED
    assert "the calibration comes first" in capsys.readouterr().out


def test_plans_are_asked_for_as_their_script_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gpu_parts, "_run", lambda command, seconds: asked.extend(command))
    monkeypatch.setattr(cudnn_plans, "missing", lambda precision: "no cuDNN in this test")
    gpu_parts.plans(tmp_path, 60)
    assert asked[1:3] == ["-m", "benchmarks.cudnn_plans"]
    monkeypatch.setattr("sys.argv", asked[2:])
    assert cudnn_plans.main() == 2
    assert capsys.readouterr().err == "error: no cuDNN in this test\n"


def test_what_is_done_is_not_done_again_and_what_does_not_fit_is_left(
    tmp_path: Path, path_for_parts: None
) -> None:
    (tmp_path / "state.json").write_text('{"probe": {"status": "done", "wall_s": 1}}', "utf-8")
    state = gpu.run_all([Part("probe", 60), Part("modes", 60)], tmp_path, time.monotonic(), "ort-cpu", None)
    assert state == {"probe": {"status": "done", "wall_s": 1}, "modes": {"status": "left out"}}


def test_what_failed_before_comes_last_but_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def done(part: Part, *more: object) -> dict[str, str]:
        ran.append(part.name)
        return {"status": "done"}

    monkeypatch.setattr(gpu, "run_part", done)
    before = {"machine": {"status": "failed"}, "probe": {"status": "out of time"}}
    (tmp_path / "state.json").write_text(json.dumps(before), "utf-8")
    parts = [Part(name, 60) for name in ("machine", "probe", "modes")]
    gpu.run_all(parts, tmp_path, time.monotonic() + 3600, "ort-cpu", None)
    assert ran == ["machine", "modes", "probe", "summary"]


def test_a_folder_travels_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PIECE", 300)
    out, archive = tmp_path / "out", tmp_path / "carried" / "gpu.tar.gz"
    out.mkdir()
    (out / "state.json").write_text("{}", "utf-8")
    noise = bytes((i * i * 31 + i) % 251 for i in range(4000))
    (out / "measurements.db").write_bytes(noise)
    found = gpu.pack(out, archive)
    assert len(found) > 1
    assert all(piece.stat().st_size <= 300 for piece in found)
    assert gpu.pieces(archive) == found
    gpu.unpack(archive, tmp_path / "again")
    assert (tmp_path / "again" / "measurements.db").read_bytes() == noise
    (out / "measurements.db").unlink()
    assert gpu.pack(out, archive) == gpu.pieces(archive)  # no piece of the larger one is left
    gpu.unpack(tmp_path / "nowhere.tar.gz", tmp_path / "none")
    assert not (tmp_path / "none").exists()
