"""Runs in flight: what is made of them, and real ones; that these overlap is in ``backends/test_ort.py``."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from dataclasses import replace

import pytest

from edgeprof.backends.base import InFlight
from edgeprof.backends.open import open_backend
from edgeprof.cli import run
from edgeprof.errors import SpecError
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing import inflight, session
from edgeprof.timing.inflight import depths_of, gain, in_flight, in_flight_s, lines, told
from edgeprof.timing.longrun import LongRun, long_s

SHARES = dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 1.5)
DRIFT = (1.0, 1.02, 0.99, 1.05, 1.04, 1.06, 1.01, 1.0)  # of the machine: all depths see it
NOISE = (1.004, 0.996, 1.002, 0.998, 1.003, 0.997, 1.001, 0.999)


def at(depth, rate):
    rates = tuple(rate * d * n ** (-1) ** depth for d, n in zip(DRIFT, NOISE, strict=True))
    return InFlight(depth, 100, rates, 3.2, SHARES)


def test_the_speed_up_is_of_turns_taken_together():
    ratio, low, high = gain(at(1, 1000).runs_per_s, at(2, 1900).runs_per_s)
    assert low < ratio < high
    assert ratio == pytest.approx(1.9, rel=0.01)
    assert high / low < 1.02  # the drift is none of its noise
    assert gain((2.0, 4.0), (4.0, 8.0)) == pytest.approx((2, 2, 2))


def test_the_depth_that_is_enough():
    found = in_flight(16, [at(1, 1000), at(2, 1900), at(4, 1902), at(8, 1890)])
    assert found["enough"] == 2
    assert found["spent_s"] == pytest.approx(12.8)
    assert [one["depth"] for one in found["at_depth"]] == [1, 2, 4, 8]
    two = found["at_depth"][1]
    assert two["tiles_per_ms"] == pytest.approx(16 * 1.9, rel=0.05)
    assert two["speedup_interval"][0] < 1.9 < two["speedup_interval"][1]
    assert (two["p99_ms"], two["runs"]) == (1.5, 100)
    assert told(found).endswith("times as fast, more are no faster")
    assert told(found).startswith("2 at once: 1.9")
    assert "enough" not in in_flight(16, [at(1, 1000), at(2, 1900), at(4, 3000)])
    assert "more may be faster" in told(in_flight(16, [at(1, 1000), at(4, 3000)]))
    assert in_flight(1, [at(1, 1000), at(2, 1001)])["enough"] == 1
    # two gain nothing, four do: two are not enough
    assert in_flight(1, [at(1, 1000), at(2, 1000), at(4, 1500), at(8, 1500)])["enough"] == 4


def test_what_people_see_fits():
    wide = in_flight(1024, [at(1, 123456.7), at(2, 234567.8), at(64, 3456789.1)])
    assert max(len(line) for line in (*lines(wide), told(wide))) <= 80
    assert len(lines(wide)) == 3
    alone = in_flight(1, [at(1, 1000)])
    assert "enough" not in alone
    assert told(alone) == "1.021 tiles/ms one at a time"
    assert "more are no faster" in told(in_flight(1, [at(1, 1000), at(2, 900)]))


def test_runs_too_short_for_several_at_once_are_told():
    quick = [replace(at(depth, 1000), percentiles_ms=dict.fromkeys(SHARES, 0.01)) for depth in (1, 2)]
    assert in_flight(1, quick)["python_lock"] is True
    assert "Python's lock" in told(in_flight(1, quick))
    assert in_flight(1, [at(1, 1000), at(2, 1000)])["python_lock"] is False
    assert "Python" not in told(in_flight(1, quick[:1]))


def test_depths():
    assert depths_of([4, 2, 4]) == (1, 2, 4)
    for wrong in (0, 65, -1):
        with pytest.raises(SpecError, match=f"{wrong} runs in flight"):
            depths_of([1, wrong])
    assert long_s(LongRun(in_flight=(1, 2))) == in_flight_s((1, 2)) > 0
    assert LongRun(in_flight=(1, 2)).asked() == {"in_flight": {"depths": [1, 2]}}


def test_a_real_network():
    net = net_spec(conv=2, depth=16, padding="same", fc=1, neurons=64)
    with closing(open_backend("ort-cpu")) as backend:
        facts = dict(board="b", machine="m", backend="ort-cpu", runtime=backend.runtime())
        case = Case(net=net, batch=8, precision="fp32", threads=1, launch="blocking", **facts)
        one, three = backend.overlap(case, (1, 3), 2, 0.05)
    assert (one.depth, three.depth) == (1, 3)
    assert all(len(found.runs_per_s) == 2 and min(found.runs_per_s) > 0 for found in (one, three))
    assert one.runs >= 6
    assert three.runs >= 18
    assert 0 < three.percentiles_ms["p50"] <= three.percentiles_ms["p99"] <= three.percentiles_ms["max"]


def test_a_sweep_keeps_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a lock of its own
    monkeypatch.setattr(session, "PAUSES_S", ())  # a busy machine is not waited for
    monkeypatch.setattr(inflight, "TURN_S", 0.01)
    (tmp_path / "one.toml").write_text("[net]\nconv = 1\nneurons = 64\nbatch = 4\nthreads = 1\n")
    command = ["sweep", "./one.toml", "--db", "f.db", "--rounds", "1", "--in-flight"]
    assert run([*command, "2", "--backend", "simulated:gtx960-theano"]) == 2
    assert "leave out --sustained, --rate, --energy and --in-flight" in capsys.readouterr().err
    for wrong, said in (("0", "0 runs in flight"), ("two", "is no whole number"), ("1,,2", "empty value")):
        assert run([*command, wrong]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "f.db").exists()
    for times in (1, 0):
        assert run([*command, "2"]) == 0
        said = capsys.readouterr().err
        assert said.count(" 2 at once  ") == times
    assert run(["export", "--db", "f.db"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    kept = found["telemetry"]["in_flight"]
    assert kept["depths"] == [one["depth"] for one in kept["at_depth"]] == [1, 2]
    assert kept["at_depth"][0]["speedup"] == 1
    low, high = kept["at_depth"][1]["speedup_interval"]
    assert low < kept["at_depth"][1]["speedup"] < high
    assert len(found["rounds_ms"]) == 1
    assert run(["export", "--db", "f.db", "--format", "csv"]) == 0
    assert "telemetry.in_flight.at_depth" in capsys.readouterr().out.splitlines()[0]
