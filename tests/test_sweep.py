"""Sweeps: what they load, what they hold and give back, what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from edgeprof.backends.base import Stop
from edgeprof.boards.locks import JOURNAL
from edgeprof.boards.sensors.card import Card
from edgeprof.boards.spec import read_board
from edgeprof.errors import BoardError, SpecError
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import Target, open_target, warmth
from edgeprof.timing.longrun import LongRun
from edgeprof.timing.place import Here

ROOT = Path(__file__).resolve().parents[1]

HEAVY = {"sympy", "scipy", "statsmodels", "pandas", "sklearn", "matplotlib", "plotly", "onnxruntime"}
LOADED = """
import json, sys
from edgeprof.cli import run
if "--dry-run" not in sys.argv:
    import edgeprof.timing.session
    edgeprof.timing.session.PAUSES_S = ()  # a busy machine is not waited for
status = run(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["measured", "dry"])
def test_a_plain_sweep_loads_nothing_that_fits_laws(tmp_path: Path, more: list[str]) -> None:
    """A board with little memory keeps it for the network."""
    (tmp_path / "tiny.toml").write_text("[net]\nconv = 1\nneurons = 8\nbatch = 2\nthreads = 1\n")
    command = [sys.executable, "-c", LOADED, "sweep", "./tiny.toml", "--rounds", "1", "--db", "l.db", *more]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in modules)
    assert not any(name.startswith(("edgeprof.fit", "onnx.reference")) for name in modules)


TINY = {"conv": 0, "fc": 1, "neurons": 8, "batch": 2, "threads": 1}


@pytest.fixture
def beside(card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """This machine's processor where a GPU would compute, and a library in C in place of its driver: what is asked and
    set around measurements, no figure of a GPU."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # a lock of its own
    monkeypatch.setattr("edgeprof.timing.session.PAUSES_S", ())  # no waits for better times
    monkeypatch.setattr(Card, "interval_s", 0.05)
    monkeypatch.setattr("edgeprof.modes.settle", lambda case, backend: True)  # seconds, on a busy machine
    with open_target("cpu") as here:
        facts = {**here.backend.facts(), "gpu_address": "0000:05:00.0"}
        monkeypatch.setattr(here.backend, "facts", lambda: facts)
        yield replace(here, spec=read_board("a2"), place=Here(tmp_path))


def test_clocks_are_held_while_a_gpu_is_measured_and_energy_is_kept(
    beside: Target, card: Path, tmp_path: Path
) -> None:
    sweep = parse_sweep({"name": "s", "net": {**TINY, "clocks": "base"}}, "test")
    held, said = [], []
    again = partial(
        run_sweep,
        [sweep],
        tmp_path / "s.db",
        beside,
        rounds=1,
        stop=Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02),
        long=LongRun(energy_s=0.1),
        watch=lambda progress: held.append(sorted(path.name for path in card.glob("*_lock"))),
        say=said.append,
    )
    result = again()
    assert (result.measured, result.failed) == (1, ())
    assert ["gpu_lock", "memory_lock"] in held
    assert not list(card.glob("*_lock"))
    assert not (tmp_path / JOURNAL).exists()
    assert any("SM clock of NVIDIA A2 locked at its base" in line for line in said)
    with Store(tmp_path / "s.db") as store:
        [found] = store.measurements()
    assert (found.case.clocks, found.case.power_mode) == ("base", None)
    assert found.telemetry["energy_source"] == "counter"
    assert found.telemetry["energy"]["gpu_mhz"] == 0xFFFFFF01  # what the stand-in says of a lock
    assert found.telemetry["energy_mj_per_tile"] > 0
    assert any("mJ/tile" in line for line in said)
    said.clear()
    assert again().reused == 1  # its energy is kept too
    assert not any("mJ/tile" in line for line in said)


def test_what_a_gpu_cannot_is_refused_before_anything_is_measured(
    beside: Target, card: Path, tmp_path: Path
) -> None:
    modes = parse_sweep({"name": "s", "net": {**TINY, "power_mode": "MAXN"}}, "test")
    with pytest.raises(BoardError, match="a discrete GPU has no power modes"):
        run_sweep([modes], tmp_path / "s.db", beside)
    (card / "denied").touch()
    clocks = parse_sweep({"name": "s", "net": {**TINY, "clocks": "max"}}, "test")
    with pytest.raises(BoardError, match="can be locked by root alone"):
        run_sweep([clocks], tmp_path / "s.db", beside, rounds=1)


def test_a_jetson_has_no_base_clock(emulated: Callable[[str], Path]) -> None:
    sweep = parse_sweep({"name": "s", "net": {**TINY, "clocks": "base"}}, "test")
    with (
        open_target("jetson", "ort-cpu", place=Here(emulated("orin-nano"))) as target,
        pytest.raises(SpecError, match="cannot be held at 'base' on jetson-orin-nano") as caught,
    ):
        run_sweep([sweep], Path("none.db"), target)
    assert "--clocks max" in caught.value.hint


def test_a_gpu_is_warmed_up_by_its_own_temperature(beside: Target) -> None:
    assert warmth(beside)().temperature_c == {"gpu": 51}
