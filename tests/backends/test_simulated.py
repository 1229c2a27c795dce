"""The simulated backend plays a law back."""

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.open import BACKENDS, open_backend
from edgeprof.backends.simulated import Fault, parse_simulated
from edgeprof.errors import BackendError, EdgeprofError
from edgeprof.fit.law_clocks import at_clocks
from edgeprof.fit.law_file import write_law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case, Workload
from edgeprof.target import open_target
from edgeprof.timing.measurement import measurement

from ..fit.over_clocks import truth

LAW = "gtx960-theano"


def case(backend, **net):
    law = backend.law
    return Case(
        net=net_spec(**net),
        batch=64,
        precision=law.precision,
        threads=1,
        launch=law.launch,
        board=law.board,
        machine="m",
        backend=backend.name,
        runtime=law.runtime,
    )


def played(backend, one, rounds=3):
    found = [backend.measure(one, number, Stop(), None) for number in range(1, rounds + 1)]
    return measurement(one, found, "median", rounds, backend.simulated)


@pytest.mark.parametrize(
    ("text", "law", "noise"),
    [
        ("a", "a", 0.0),
        ("a,noise=1%", "a", 0.01),
        ("dir/a.json,noise=0.05", "dir/a.json", 0.05),
        ("a,noise=0", "a", 0.0),
    ],
)
def test_its_argument_is_a_law_and_a_noise(text, law, noise):
    assert parse_simulated(text) == (law, pytest.approx(noise), (), {})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("leak", Fault("leak", 0.002)),
        ("leak:1%", Fault("leak", 0.01)),
        ("worker", Fault("worker", 0.2, 25)),
        ("worker:0.3", Fault("worker", 0.3, 25)),
        ("worker:5%@0", Fault("worker", 0.05, 0)),
        ("clock", Fault("clock", 0.2, 25, 50)),
        ("clock:10%", Fault("clock", 0.1, 25, 50)),
        ("clock:10%@7", Fault("clock", 0.1, 7)),
        ("clock:10%@7+3", Fault("clock", 0.1, 7, 3)),
        ("clock+3", Fault("clock", 0.2, 25, 3)),
    ],
)
def test_a_fault_has_a_rate_a_beginning_and_a_length(text, fault):
    assert parse_simulated(f"a,fault={text},noise=1%") == ("a", 0.01, (fault,), {})


def test_faults_may_be_several():
    assert parse_simulated("a,fault=leak,fault=clock")[2] == (
        Fault("leak", 0.002),
        Fault("clock", 0.2, 25, 50),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flood",
        "leak:",
        "leak:fast",
        "leak:200%",
        "leak:1%@5",
        "leak@5",
        "worker+3",
        "clock@",
        "clock:1%+",
        "leak:.%",
    ],
)
def test_a_wrong_fault_is_refused(text):
    with pytest.raises(BackendError, match="no setting") as caught:
        parse_simulated(f"a,fault={text}")
    assert "fault=leak:0.2%" in caught.value.hint


def slowness(fault, count, restarts=()):
    """How slow each of ``count`` measurements is, with restarts before some of them."""
    backend, well = open_backend(f"simulated:{LAW},fault={fault}"), open_backend(f"simulated:{LAW}")
    one = case(well)
    usual = well.measure(one, 1, Stop(), None).latency_ms
    found = []
    for turn in range(count):
        if turn in restarts:
            backend.restart()
        found.append(backend.measure(one, 1, Stop(), None).latency_ms / usual)
    return pytest.approx(found, abs=1e-5)


def test_a_leak_makes_each_measurement_slower_until_a_restart():
    assert slowness("leak:1%", 7, {3}) == [1.0, 1.01, 1.02, 1.0, 1.01, 1.02, 1.03]


def test_a_worker_is_slow_until_a_restart_and_then_for_good_well():
    assert slowness("worker:20%@3", 8, {1, 5, 7}) == [1.0, 1.0, 1.0, 1.2, 1.2, 1.0, 1.0, 1.0]


def test_a_low_clock_passes_by_itself_and_no_restart_mends_it():
    assert slowness("clock:20%@2+3", 7, {1, 3, 4}) == [1.0, 1.0, 1.2, 1.2, 1.2, 1.0, 1.0]
    assert slowness("clock:20%@2", 7, {3}) == [1.0, 1.0, 1.2, 1.2, 1.2, 1.2, 1.2]


def test_faults_multiply():
    assert slowness("leak:1%,fault=worker:20%@1", 3) == [1.0, 1.01 * 1.2, 1.02 * 1.2]


def test_a_fault_slows_kernels_too_and_is_no_part_of_a_case():
    backend, well = open_backend(f"simulated:{LAW},fault=worker:50%@0"), open_backend(f"simulated:{LAW}")
    assert case(backend) == case(well)
    slow, fast = (b.measure(case(well), 1, Stop(), None) for b in (backend, well))
    assert [k.us[0] for k in slow.kernels] == pytest.approx([1.5 * k.us[0] for k in fast.kernels])
    assert backend.facts()["faults"] == [{"kind": "worker", "rate": 0.5, "begin": 0, "length": None}]
    assert well.facts()["faults"] == []


def test_a_sentinel_has_noise_of_its_own_in_each_reading():
    backend = open_backend(f"simulated:{LAW},noise=1%")
    first, other = (backend.measure(case(backend), 0, Stop(), None) for _ in range(2))
    assert first.runs_ns.tolist() != other.runs_ns.tolist()


@pytest.mark.parametrize(
    "text", ["", ",noise=1%", "a,noise=much", "a,noise=-1%", "a,noise=200%", "a,noise=nan", "a,x=1", "a,"]
)
def test_a_wrong_argument_is_refused(text):
    with pytest.raises(BackendError) as caught:
        parse_simulated(text)
    assert "noise=1%" in caught.value.hint


def test_backends_are_opened_by_name():
    assert set(BACKENDS) >= {"ort-cpu", "simulated"}
    with pytest.raises(BackendError, match="no backend called 'abacus'") as caught:
        open_backend("abacus")
    assert "ort-cpu" in caught.value.hint
    with pytest.raises(EdgeprofError):
        open_backend("simulated:there-is-no-such-law")


def test_without_noise_it_is_the_law():
    backend = open_backend(f"simulated:{LAW}")
    for net in ({}, {"conv": 3, "fc": 2}, {"conv": 2, "fc": 0}):
        one = case(backend, **net)
        found, expected = played(backend, one), predict(backend.law, one.net, one.batch)
        assert found.latency_ms == pytest.approx(expected.latency_ms, abs=1e-6)
        assert [k.ms for k in found.kernels] == pytest.approx([k.ms for k in expected.kernels if k.ms > 0])
        assert found.unattributed_ms == pytest.approx(expected.overhead_ms, abs=1e-5)
        assert found.simulated
        assert found.status == "ok"
        assert all(k.operators for k in found.kernels)


def test_the_same_case_and_round_give_the_same_and_others_do_not():
    backend, again = open_backend(f"simulated:{LAW},noise=2%"), open_backend(f"simulated:{LAW},noise=2%")
    one = case(backend)
    first, other = (backend.measure(one, number, Stop(), None) for number in (1, 2))
    same = again.measure(one, 1, Stop(), None)
    assert first.runs_ns.tolist() == same.runs_ns.tolist()
    assert first.runs_ns.tolist() != other.runs_ns.tolist()
    assert first.kernels == same.kernels


def test_its_noise_is_as_large_as_asked():
    backend = open_backend(f"simulated:{LAW},noise=3%")
    one = case(backend)
    expected = predict(backend.law, one.net, one.batch)
    found = [backend.measure(one, number, Stop(), None) for number in range(1, 301)]
    largest = max(range(len(found[0].kernels)), key=lambda i: np.mean(found[0].kernels[i].us))
    price = sorted(k.ms for k in expected.kernels)[-1]
    logs = [np.log(np.median(r.kernels[largest].us) / 1e3 / price) for r in found]
    assert np.std(logs) == pytest.approx(0.03, rel=0.2)
    assert np.mean(logs) == pytest.approx(0.0, abs=0.01)


def test_it_says_what_it_is():
    backend = open_backend(f"simulated:{LAW},noise=1%")
    assert backend.simulated
    assert backend.launches == (backend.law.launch,)
    assert backend.runtime() == backend.law.runtime
    assert backend.facts()["simulated"] is True
    backend.restart()
    backend.close()


def test_clocks_are_played_back_and_tell_cases_apart(tmp_path):
    path = tmp_path / "truth.json"
    write_law(truth(), path)
    found = {}
    for core in (400, 1300):
        with open_target("auto", f"simulated:{path},core_mhz={core}") as target:
            work = Workload(net=net_spec(), batch=8)
            one = target.case(work)
            assert one.clocks == f"core_mhz={core},memory_mhz=2000"
            found[core] = one, played(target.backend, one)
            wanted = predict(at_clocks(truth(), {"core_mhz": float(core)}), one.net, 8).latency_ms
            assert found[core][1].latency_ms == pytest.approx(wanted, abs=1e-5)
            assert found[core][1].telemetry == {"gpu_mhz": core, "memory_mhz": 2000}
    assert found[400][0].key() != found[1300][0].key()
    assert found[400][0].backend == found[1300][0].backend


def test_a_law_without_clocks_is_played_back_as_ever():
    with open_target("auto", f"simulated:{LAW}") as target:
        assert (target.clocks, target.backend.clocks) == (None, None)
        assert played(target.backend, case(target.backend)).telemetry == {}
    with pytest.raises(EdgeprofError, match="one setting"):
        open_backend(f"simulated:{LAW},core_mhz=600")


@pytest.mark.parametrize(
    "text", ["core_mhz=", "core_mhz=0", "core_mhz=-3", "core_mhz=fast", "core_mhz=1e9", "V=3"]
)
def test_a_clock_is_a_number_of_mhz(text):
    with pytest.raises(BackendError, match="no setting") as caught:
        parse_simulated(f"a,{text}")
    assert "core_mhz=600" in caught.value.hint
    assert parse_simulated("a,core_mhz=624.75,memory_mhz=2133")[3] == {
        "core_mhz": 624.75,
        "memory_mhz": 2133.0,
    }
