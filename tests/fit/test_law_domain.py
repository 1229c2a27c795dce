"""Domains of laws: what was seen, and what is outside."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.fit.law import Law
from edgeprof.fit.law_domain import domain_of, outside
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import net_spec

from .laws import FILE, STUDY


def test_outside_says_what_and_by_how_much() -> None:
    net = net_spec(conv=2, depth=(4, 100), kernel=3)
    found = predict(STUDY, net, 64)
    assert not found.in_domain
    assert [(item["what"], item["value"], item["seen"]) for item in found.outside] == [
        ("depth", 4, [5, 80]),
        ("depth", 100, [5, 80]),
        ("kernel", 3, [5, 5]),
        ("batch", 64, [1024, 1024]),
    ]
    assert outside(STUDY, net_spec(padding="same"), 1024)[0]["seen"] == ["valid"]
    assert outside(STUDY, net_spec(fc=0), 1024) == ({"what": "fc", "value": 0, "seen": [1, 5]},)


def test_the_domain_of_networks_is_what_was_seen() -> None:
    nets = [(net_spec(depth=8, padding=2), 16), (net_spec(conv=2, depth=(5, 30), padding="same", fc=0), 4)]
    found = domain_of(nets)
    assert found["depth"] == (5, 30)
    assert found["padding"] == (2, "same")
    assert (found["batch"], found["fc"], found["neurons"]) == ((4, 16), (0, 1), (1024, 1024))
    law = Law(**{**FILE, "domain": found})
    assert all(not outside(law, net, batch) for net, batch in nets)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.integers(1, 200), st.sampled_from(["valid", "same"]), st.integers(1, 64))
def test_a_network_is_in_its_own_domain(fc: int, depth: int, padding: str, batch: int) -> None:
    net = net_spec(conv=2, depth=(depth, 3), padding=padding, fc=fc)
    assert not outside(Law(**{**FILE, "domain": domain_of([(net, batch)])}), net, batch)
