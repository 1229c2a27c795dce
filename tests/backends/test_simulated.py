"""The simulated backend plays a law back."""

import numpy as np
import pytest

from edgeprof.backends.base import Stop
from edgeprof.backends.open import BACKENDS, open_backend
from edgeprof.backends.simulated import parse_simulated
from edgeprof.errors import BackendError, EdgeprofError
from edgeprof.fit.law import predict
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import measurement

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
    assert parse_simulated(text) == (law, pytest.approx(noise))


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
