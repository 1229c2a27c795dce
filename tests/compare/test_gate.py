"""Gates: pass, fail or inconclusive, by what is sure."""

from __future__ import annotations

from edgeprof.compare import compare_sides
from edgeprof.compare.gate import judged


def test_no_change_passes(made):
    a = made(nets=20, noise=0.003)
    b = made(nets=20, noise=0.003, machine="new", seed=1)
    found = judged(compare_sides(a, b), 0.05)
    assert (found.judgement, found.mean, found.slower, found.unsure, found.broken) == (
        "pass",
        False,
        (),
        (),
        (),
    )


def test_everything_slower_fails(made):
    a = made(nets=20)
    b = made(nets=20, machine="new", factors={"Conv.nchwc": 1.12, "Gemm": 1.12}, seed=1)
    found = judged(compare_sides(a, b), 0.05)
    assert found.judgement == "fail"
    assert found.mean
    assert judged(compare_sides(a, b), 0.2).judgement == "pass"


def test_one_slow_network_fails_though_the_mean_does_not(made):
    a = made(nets=30, noise=0.003)
    b = made(nets=30, noise=0.003, machine="new", slow={7: 1.4}, seed=1)
    found = judged(compare_sides(a, b), 0.05)
    assert found.judgement == "fail"
    assert not found.mean
    assert [pair.a.case.batch for pair in found.slower] == [8]


def test_noise_is_inconclusive(made):
    a = made(nets=10, noise=0.2)
    b = made(nets=10, noise=0.2, machine="new", seed=1)
    found = judged(compare_sides(a, b), 0.05)
    assert found.judgement == "inconclusive"
    assert len(found.unsure) > 5


def test_without_intervals_it_is_inconclusive(made):
    a = made(nets=5)
    found = judged(compare_sides(a, "gtx960-theano"), 0.05)
    assert found.judgement == "inconclusive"
    assert found.slower == ()
    assert len(found.unsure) == 5


def test_a_network_that_no_longer_runs_fails(made):
    a = made(nets=5, noise=0.003)
    b = made(nets=5, noise=0.003, machine="new", failing={1: "crash"}, seed=1)
    found = judged(compare_sides(a, b), 0.05)
    assert found.judgement == "fail"
    assert [t.case.batch for t in found.broken] == [2]
    assert judged(compare_sides(b, a), 0.05).judgement == "pass"


def test_false_failures_are_rare(made):
    """At no change and noise of 1 %, 40 networks each: none of 15 fails at a limit of 2 %."""
    a = made(nets=40)
    for seed in range(1, 16):
        b = made(nets=40, machine="new", seed=seed)
        assert judged(compare_sides(a, b), 0.02).judgement != "fail"


def test_many_networks_at_the_limit_do_not_make_a_failure_likelier(made):
    """40 networks that are slower by just the limit: some seem slower still, which is chance and is known to be."""
    a, at_limit = made(nets=40), {"Conv.nchwc": 1.05, "Gemm": 1.05}
    failed = sum(
        judged(compare_sides(a, made(nets=40, machine="new", factors=at_limit, seed=seed)), 0.05).judgement
        == "fail"
        for seed in range(1, 13)
    )
    assert failed <= 3


def test_a_network_that_ran_nowhere_is_no_failure_of_b(made):
    a = made(nets=5, noise=0.003, failing={1: "crash"})
    b = made(nets=5, noise=0.003, machine="new", failing={1: "crash"}, seed=1)
    found = judged(compare_sides(a, b), 0.05)
    assert (found.judgement, found.broken) == ("pass", ())


def test_the_limit_is_of_the_time_of_a(made):
    a = made(nets=5, noise=0.0001)
    for slower, says in ((1.046, "pass"), (1.0518, "fail")):
        b = made(nets=5, noise=0.0001, machine="new", factors={"Conv.nchwc": slower, "Gemm": slower}, seed=1)
        assert judged(compare_sides(a, b), 0.05).judgement == says
