"""Energy of a steady loop: the sums, and a real worker beside a stand-in for the driver's library (no GPU)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeprof.backends.base import Backend
from edgeprof.backends.open import open_backend
from edgeprof.boards.sensors.card import open_card
from edgeprof.boards.sensors.gauges import Gauges, Seen
from edgeprof.boards.sensors.reading import Counter, Reading
from edgeprof.boards.spec import read_board
from edgeprof.cli import run
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.energy import counted_mw, energy, power_mw, told, top
from edgeprof.timing.longrun import LongRun, long_s, sustained

A2 = read_board("a2")


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with closing(open_backend("ort-cpu")) as found:
        yield found


def a_case(backend: Backend) -> Case:
    facts = dict(board="b", machine="m", backend="ort-cpu", runtime=backend.runtime())
    net = net_spec(conv=0, fc=1, neurons=64)
    return Case(net=net, batch=4, precision="fp32", threads=1, launch="blocking", **facts)


def gauges() -> Gauges:
    source = open_card("0000:05:00.0")
    assert source is not None
    source.interval_s = 0.05
    return Gauges([source])


def look(mj: float | None, at_s: float, mw: float | None, source: str | None = None) -> Seen:
    counter = None if mj is None else Counter(mj, at_s)
    return Seen(Reading({} if mw is None else {"card": mw}, counter=counter, power_source=source), {})


def test_power_is_what_the_counter_gained_over_its_time() -> None:
    looks = [look(1000, 10.0, 1), look(1500, 10.2, 1), look(2000, 10.5, 1)]
    assert power_mw(looks, A2.total_mw) == (2000, "counter")


@pytest.mark.parametrize(
    "counters", [[], [(5, 1.0)], [(5, 1.0), (5, 2.0)], [(5, 1.0), (4, 2.0)], [(5, 1.0), (9, 1.0)]]
)
def test_a_counter_that_does_not_count(counters: list[tuple[float, float]]) -> None:
    assert counted_mw([Counter(*pair) for pair in counters]) is None


def test_where_there_is_no_counter_power_is_sampled_and_says_how() -> None:
    looks = [look(None, 0, 4000, "averaged over 1 s"), look(None, 0, 6000, "averaged over 1 s")]
    assert power_mw(looks, A2.total_mw) == (5000, "power averaged over 1 s")
    assert power_mw([look(None, 0, 5000)], A2.total_mw) == (5000, "power")
    assert power_mw([look(None, 0, None)], A2.total_mw) == (None, None)


def test_a_steady_loop_by_the_counter(backend: Backend, card: Path) -> None:
    case = a_case(backend)
    found = energy(case, backend, gauges(), A2.total_mw, 0.4, 0.2)
    assert found["energy_source"] == "counter"
    tiles = found["runs"] * case.batch
    assert found["energy_mj_per_tile"] == pytest.approx(found["power_mw"] * found["spent_s"] / tiles)
    net = (found["power_mw"] - found["idle_power_mw"]) * found["spent_s"] / tiles
    assert found["energy_net_mj_per_tile"] == pytest.approx(net)
    assert found["power_mw"] > 0
    assert found["looks"] >= 2
    assert found["spent_s"] >= 0.4
    assert (found["gpu_mhz"], found["gpu_memory_mhz"], found["throttle_reasons"]) == (1200, 6001, [])
    assert top(found).keys() >= {"energy_mj_per_tile", "power_mw", "idle_power_mw"}
    assert "less idle), by counter" in told(found)


@pytest.mark.parametrize(
    ("kind", "power", "source"),
    [("old", 14000, "power as the driver samples it"), ("stuck", 15000, "power averaged over 1 s")],
)
def test_a_steady_loop_by_sampled_power(
    backend: Backend, card: Path, kind: str, power: int, source: str
) -> None:
    (card / kind).touch()
    found = energy(a_case(backend), backend, gauges(), A2.total_mw, 0.2, 0.1)
    assert (found["power_mw"], found["idle_power_mw"], found["energy_source"]) == (power, power, source)
    assert found["energy_net_mj_per_tile"] == 0


def test_without_a_power_sensor_energy_is_absent(backend: Backend, card: Path) -> None:
    (card / "unmetered").touch()
    found = energy(a_case(backend), backend, gauges(), A2.total_mw, 0.1, 0.05)
    assert not {"power_mw", "energy_mj_per_tile", "energy_net_mj_per_tile", "energy_source"} & found.keys()
    assert told(found) == "no sensor tells its power"


def test_long_runs_take_the_counter_and_the_reasons() -> None:
    from edgeprof.backends.base import Sustained

    ran = Sustained(100, 2.0, 2.0, bins=((50, 1.0, 1.0), (50, 1.0, 1.0)))
    cool = Seen(Reading({"card": 1.0}, counter=Counter(0, 0.0), cuts=()), {})
    hot = Seen(Reading({"card": 1.0}, counter=Counter(4000, 2.0), cuts=("power cap",)), {})
    found = sustained(2, ran, [(0.5, cool), (1.5, hot)], A2.total_mw)
    assert found["power_mw"] == 2000
    assert found["tiles_per_joule"] == pytest.approx(200 / 4)
    assert (found["throttled"], found["throttled_after_s"]) == (True, 1.5)
    assert found["throttle_reasons"] == ["power cap"]
    assert 7 < long_s(LongRun(energy_s=5.0)) < 15


SWEEP = ["sweep", "./tiny.toml", "--db", "e.db", "--rounds", "1"]


def test_where_nothing_tells_power_it_is_refused(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(in_folder))  # a lock of its own
    (in_folder / "tiny.toml").write_text("[net]\nconv = 0\nfc = 1\nneurons = 8\nbatch = 2\nthreads = 1\n")
    assert run([*SWEEP, "--board", "cpu", "--energy"]) == 2
    assert "nothing tells the power of" in capsys.readouterr().err
