"""Long runs: what is made of them, and real ones on an emulated board."""

from __future__ import annotations

import json
import threading
from contextlib import closing

import pytest

from benchmarks.emulation import rail_file
from edgeprof.backends.base import Sustained
from edgeprof.backends.open import open_backend
from edgeprof.boards.detect import detect_machine, find_board
from edgeprof.boards.sensors.gauges import Seen, open_gauges
from edgeprof.boards.sensors.reading import Reading
from edgeprof.cli import run
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.longrun import (
    POINTS,
    LongRun,
    at_rate,
    is_steady,
    long_s,
    long_telemetry,
    sustained,
    told,
)


def ran(speeds):
    """A run of so many runs in each second."""
    return Sustained(
        sum(speeds), float(len(speeds)), 0.9 * len(speeds), bins=tuple((n, 1.0, 2.0) for n in speeds)
    )


def look(at, mw, celsius, events):
    return at, Seen(
        Reading({"VDD_IN": mw}, 900.0, temperature_c={"gpu": celsius}, throttle_events=events), {}
    )


def total(rails):
    return rails.get("VDD_IN")


def test_it_slows_down_and_is_steady_then():
    found = sustained(4, ran([1000] * 40 + [900] * 20 + [800] * 60), [], total)
    assert (found["start_tiles_per_ms"], found["steady_tiles_per_ms"]) == (4.0, 3.2)
    assert found["steady_from_s"] == 60
    assert len(found["curve"]) == POINTS
    assert found["curve"][0] == {"at_s": 2.0, "tiles_per_ms": 4.0}
    assert "throttled" not in found
    assert "tiles_per_joule" not in found
    assert "3.2 steadily from 60 s on" in told({"sustained": found})


def test_it_is_steady_from_the_beginning_or_never():
    assert sustained(1, ran([100, 101, 99, 100] * 3), [], total)["steady_from_s"] == 0
    falling = sustained(1, ran(list(range(1000, 400, -10))), [], total)
    assert "steady_from_s" not in falling
    assert "not steady within 60 s" in told({"sustained": falling})
    assert sustained(1, Sustained(5, 0.5, 0.5), [], total) == {
        "spent_s": 0.5,
        "runs": 5,
        "tiles_per_ms": 0.01,
        "ended": "asked",
        "curve": [],
    }


def a_run(speeds, celsius=lambda at: None):
    """Seconds of so many runs each, and a look a second."""
    warmth = [(float(at), celsius(at)) for at in range(len(speeds))]
    looks = [(at, Seen(Reading(temperature_c={} if c is None else {"gpu": c}), {})) for at, c in warmth]
    return tuple((n, 1.0, 2.0) for n in speeds), looks


@pytest.mark.parametrize(
    ("speeds", "celsius", "ends"),
    [
        ([100] * 119, lambda at: 50.0, False),  # not for long enough
        ([100] * 121, lambda at: 50.0, True),
        ([100, 97, 103] * 50, lambda at: 50.0, True),  # seconds may differ
        ([200] * 60 + [100] * 61, lambda at: 50.0, True),  # what was before does not count
        ([200] * 80 + [100] * 41, lambda at: 50.0, False),
        ([100 - i / 12 for i in range(180)], lambda at: 50.0, False),  # it goes on falling
        ([100] * 200, lambda at: 40 + at / 20, False),  # it goes on warming up
        ([100] * 200, lambda at: 60 - 20 * 0.97**at, True),
        ([100] * 200, lambda at: None, False),  # nobody knows how warm it is
        ([100] * 361, lambda at: None, True),
    ],
)
def test_it_may_end_once_speed_and_temperature_are_steady(speeds, celsius, ends):
    assert is_steady(*a_run(speeds, celsius)) is ends
    assert not is_steady((), [])


def test_why_it_ended_is_told():
    early = sustained(1, ran([100] * 130), [], total, 600.0)
    assert (early["ended"], early["steady_from_s"]) == ("steady", 0)
    said = told({"sustained": {"asked_s": 600.0, **early}})
    assert "ended after 130 s of 600, since it was steady" in said
    jittery = sustained(1, ran([100, 110] * 70), [], total, 600.0)  # by the second, not by tenths
    assert jittery["steady_from_s"] == 70
    assert sustained(1, ran([100] * 600), [], total, 600.0)["ended"] == "asked"
    assert LongRun(600.0).had({"sustained": {"asked_s": 600.0, "ended": "steady"}})
    assert not LongRun(600.0, whole=True).had({"sustained": {"asked_s": 600.0, "ended": "steady"}})
    assert LongRun(600.0, whole=True).had({"sustained": {"asked_s": 600.0}})  # as all ended once


def test_a_real_one_ends_when_it_is_steady_and_the_next_has_its_answer(monkeypatch, emulated):
    root = emulated("orin-nano")
    board = find_board("jetson", detect_machine(root))
    monkeypatch.setattr("edgeprof.timing.longrun.HALF_S", 0.9)
    monkeypatch.setattr("edgeprof.timing.longrun.STEADY", 100.0)  # whatever else runs here
    with closing(open_backend("ort-cpu")) as backend, closing(open_gauges(root)) as gauges:
        facts = dict(board="b", machine="m", backend="ort-cpu", runtime=backend.runtime())
        case = Case(
            net=net_spec(conv=0, neurons=64), batch=4, precision="fp32", threads=1, launch="blocking", **facts
        )
        found = long_telemetry(case, backend, gauges, board.total_mw, LongRun(300.0))["sustained"]
        assert (found["ended"], found["asked_s"]) == ("steady", 300)
        assert found["spent_s"] < 300
        assert found["power_mw"] == 12475
        assert len(found["curve"]) >= 2
        whole = long_telemetry(case, backend, gauges, board.total_mw, LongRun(2.1, whole=True))["sustained"]
        assert whole["ended"] == "asked"
        assert whole["spent_s"] >= 2.1


def test_energy_and_the_first_cut_of_clocks():
    looks = [look(1.0, 4000.0, 40.0, 7), look(2.0, 6000.0, 50.0, 7), look(3.0, 8000.0, 60.0, 9)]
    found = sustained(2, ran([500] * 3), looks, total)
    assert found["power_mw"] == 6000
    assert found["tiles_per_joule"] == pytest.approx(3000 / (6 * 3))
    assert (found["throttled"], found["throttled_after_s"]) == (True, 3.0)
    assert [point["temperature_c"] for point in found["curve"]] == [40, 50, 60]
    calm = sustained(2, ran([500] * 3), looks[:2], total)
    assert calm["throttled"] is False
    assert "throttled_after_s" not in calm


def test_at_a_rate():
    paced = Sustained(1000, 33.3, 3.33, 2, (), {"p50": 3.0, "p99": 5.0})
    found = at_rate(1, paced, [look(1.0, 5000.0, 40.0, None)], total)
    assert (found["p50_ms"], found["p99_ms"], found["late"], found["runs"]) == (3, 5, 2, 1000)
    assert found["busy_pct"] == pytest.approx(10)
    assert found["gpu_mhz"] == 900
    assert "p99 5 ms, 2 of 1000 began late" in told({"at_rate": {"rate_hz": 30.0, **found}})
    assert long_s(LongRun(600.0, 30.0)) == pytest.approx(600 + 1000 / 30)
    assert (long_s(None), long_s(LongRun(rate_hz=1.0))) == (0, 60)


def test_a_real_one_on_a_board_that_warms_up(emulated):
    root = emulated("orin-nano")
    board = find_board("jetson", detect_machine(root))

    def warm():
        rail_file(root, "VDD_IN").write_text("3000")
        (root / "sys/class/hwmon/hwmon3/oc3_event_cnt").write_text("40")

    timer = threading.Timer(1.3, warm)
    with closing(open_backend("ort-cpu")) as backend, closing(open_gauges(root)) as gauges:
        facts = dict(board="b", machine="m", backend="ort-cpu", runtime=backend.runtime())
        case = Case(
            net=net_spec(conv=0, neurons=64), batch=4, precision="fp32", threads=1, launch="blocking", **facts
        )
        timer.start()
        found = long_telemetry(case, backend, gauges, board.total_mw, LongRun(2.2, 2000.0))
    timer.join()
    run_ = found["sustained"]
    assert run_["asked_s"] == 2.2
    assert 12475 < run_["power_mw"] < 15000
    assert 1 <= run_["throttled_after_s"] <= 2.3
    assert len(run_["curve"]) in (1, 2)
    assert run_["tiles_per_joule"] == pytest.approx(
        run_["runs"] * 4 / (run_["power_mw"] / 1e3 * run_["spent_s"])
    )
    paced = found["at_rate"]
    assert paced["runs"] == 1000
    assert 0 < paced["p50_ms"] <= paced["p99_ms"] <= paced["max_ms"]
    assert paced["power_mw"] == 15000


def test_a_sweep_keeps_them_and_does_not_run_them_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text("[net]\nconv = 0\nfc = 1\nneurons = 8\nbatch = 2\nthreads = 1\n")
    command = ["sweep", "./tiny.toml", "--db", "l.db", "--rounds", "1", "--rate", "2000"]
    assert run([*command, "--backend", "simulated:gtx960-theano"]) == 2
    assert "does not run on and on" in capsys.readouterr().err
    assert not (tmp_path / "l.db").exists()
    for times in (1, 0):
        assert run([*command, "--sustained", "1.2s"]) == 0
        said = capsys.readouterr().err
        assert said.count("tiles/ms at first") == said.count("2000 runs/s: p50") == times
    assert run(["export", "--db", "l.db"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["status"] == "ok"
    assert len(found["rounds_ms"]) == 1
    assert found["telemetry"]["at_rate"]["runs"] == 1000
    assert found["telemetry"]["sustained"]["asked_s"] == 1.2
    assert found["telemetry"]["memory_mib"] >= 0
    assert run(["export", "--db", "l.db", "--format", "csv"]) == 0
    assert "telemetry.sustained.tiles_per_ms" in capsys.readouterr().out.splitlines()[0]
