"""Query: what it finds is what going through all networks one by one finds."""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.errors import SpecError
from edgeprof.fit.intervals import FAR_OUTSIDE, probabilities, widening
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law
from edgeprof.fit.law_memory import Memory, memory_of
from edgeprof.fit.memory import MemoryModel
from edgeprof.fit.prediction import Prediction, predict_many
from edgeprof.nets.network import net_operators, total_macs, total_parameters
from edgeprof.nets.spec import NetSpec
from edgeprof.query import Answer, Found, Goal, query_nets, search
from edgeprof.query.answer import quantities_of
from edgeprof.query.figures import Rank

DATA = Path(__file__).parents[1] / "data" / "laws"
STUDY = read_law("gtx960-theano")
KERNELS = read_law(str(DATA / "cpu-kernels.json"))

GRID: dict[str, tuple[Any, ...]] = {
    "conv": (0, 1, 2, 3),
    "depth": (3, 16, 17, 40, 90),
    "kernel": (3, 7),
    "padding": ("valid", "same"),
    "pool_before": (1, 2),
    "fc": (0, 1, 2),
    "neurons": (64, 512),
    "batch": (16, 64),
}


def _all(law: Law) -> list[tuple[Prediction, int, int]]:
    """Every network of the grid once, with its MACs and parameters."""
    return _by_name(law.name)


@cache
def _by_name(name: str) -> list[tuple[Prediction, int, int]]:
    law = next(law for law in (STUDY, KERNELS) if law.name == name)
    nets = {}
    for values in product(*GRID.values()):
        knobs = dict(zip(GRID, values, strict=True))
        batch = knobs.pop("batch")
        if knobs["conv"] < 2:
            knobs["pool_before"] = 1
        try:
            net = NetSpec(**knobs)
        except ValueError:
            continue
        nets[net, batch] = None
    found = predict_many(law, list(nets))
    return [(p, total_macs(p.net, 1), total_parameters(p.net)) for p in found]


def _chance(law: Law, p: Prediction, limit_ms: float) -> float:
    wide = float(law.widened(p.latency_ms, widening(p.outside)))
    return float(probabilities(law.strata, np.array([p.latency_ms]), limit_ms, wide)[0])


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks, so that what is kept between them is tested."""
    monkeypatch.setattr(search, "CHUNK", 40)
    monkeypatch.setattr(search, "SLAB", 90)


def _identity(found: Found | Prediction) -> tuple[NetSpec, int]:
    return found.net, found.batch


@pytest.mark.parametrize("law", [STUDY, KERNELS], ids=lambda law: law.name)
def test_every_network_is_considered_and_numbered(law: Law) -> None:
    answer = query_nets(law, GRID, top=10_000)
    everything = _all(law)
    assert answer.considered == len(everything) == len(answer.nets)
    assert answer.laws[0].reaching == len(everything)
    assert answer.laws[0].outside == sum(not p.in_domain for p, _, _ in everything)
    wanted = {_identity(p): (p, macs, parameters) for p, macs, parameters in everything}
    assert len({_identity(net) for net in answer.nets}) == len(answer.nets)
    for net in answer.nets:
        p, macs, parameters = wanted[_identity(net)]
        assert net.latency_ms == pytest.approx(p.latency_ms, rel=1e-9)
        assert net.tiles_per_ms == pytest.approx(p.tiles_per_ms, rel=1e-9)
        assert (net.macs_per_tile, net.parameters) == (macs, parameters)
        assert (net.in_domain, net.outside) == (p.in_domain, p.outside)
        if p.interval_ms is None:
            assert (net.interval_ms, net.interval, net.probability) == (None, None, None)
        else:
            assert net.interval_ms == pytest.approx(p.interval_ms, rel=1e-9)
            assert net.interval is not None
            assert net.interval[0] == pytest.approx(net.batch / p.interval_ms[1])
            assert net.interval[0] < net.tiles_per_ms < net.interval[1]


@pytest.mark.parametrize("target", [8.0, 20.0, 80.0])
@pytest.mark.parametrize("sure", [0.6, 0.9, 0.99])
def test_networks_that_reach_a_speed_with_a_probability(target: float, sure: float) -> None:
    answer = query_nets(KERNELS, GRID, Goal(at_least=target, probability=sure), top=10_000)
    wanted = {
        _identity(p): _chance(KERNELS, p, p.batch / target)
        for p, _, _ in _all(KERNELS)
        if _chance(KERNELS, p, p.batch / target) >= sure
    }
    (own,) = answer.laws
    assert {_identity(net) for net in answer.nets} == set(wanted)
    assert own.reaching == len(wanted) > 10
    assert own.reaching_outside == sum(not net.in_domain for net in answer.nets)
    assert answer.target == target
    for net in answer.nets:
        assert net.probability == pytest.approx(wanted[_identity(net)], abs=1e-9)
        assert net.reaches


def test_even_chances_are_the_prediction_itself() -> None:
    answer = query_nets(KERNELS, GRID, Goal(at_least=20, probability=0.5), top=10_000)
    assert {_identity(net) for net in answer.nets} == {
        _identity(p) for p, _, _ in _all(KERNELS) if p.tiles_per_ms >= 20
    }


def test_a_law_without_errors_is_taken_at_its_word() -> None:
    answer = query_nets(STUDY, GRID, Goal(at_least=10), top=10_000)
    wanted = {_identity(p) for p, _, _ in _all(STUDY) if p.tiles_per_ms >= 10}
    assert {_identity(net) for net in answer.nets} == wanted
    assert 0 < len(wanted) < answer.considered
    assert {net.probability for net in answer.nets} == {None}


@pytest.mark.parametrize("rank", search.RANKS)
def test_the_best_come_first_and_those_outside_the_domain_last(rank: Rank) -> None:
    many = query_nets(KERNELS, GRID, Goal(at_least=20), rank=rank, top=10_000).nets
    few = query_nets(KERNELS, GRID, Goal(at_least=20), rank=rank, top=7).nets
    assert many[:7] == few
    inside = [net.in_domain for net in many]
    assert inside == sorted(inside, reverse=True)
    assert not all(inside)
    key = {"macs": "macs_per_tile", "parameters": "parameters", "speed": "tiles_per_ms"}[rank]
    for tier in (True, False):
        values = [getattr(net, key) for net in many if net.in_domain is tier]
        assert values == sorted(values, reverse=True)


def _dominated(one: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    return any(o[0] >= one[0] and o[1] >= one[1] and o != one for o in others)


@pytest.mark.parametrize(
    ("axes", "figures"),
    [
        (("speed", "macs"), lambda net: (net.tiles_per_ms, net.macs_per_tile)),
        (("latency", "parameters"), lambda net: (-net.latency_ms, net.parameters)),
        (("memory", "speed"), lambda net: (-net.memory_mib, net.tiles_per_ms)),
    ],
)
def test_the_pareto_front(axes: tuple[str, str], figures: Any) -> None:
    answer = query_nets(KERNELS, GRID, pareto=axes, top=10_000)
    everything = [figures(net) for net in answer.nets if net.in_domain]
    wanted = {one for one in everything if not _dominated(one, everything)}
    front = answer.laws[0].front
    assert len(front) == answer.laws[0].front_size == len(wanted) > 5
    assert {figures(net) for net in front} == wanted
    assert all(net.pareto for net in front)
    assert sum(net.pareto for net in answer.nets) == len(front)
    along = [figures(net)[0] for net in front]
    assert along == sorted(along, reverse=True)


def test_a_long_front_is_thinned_evenly() -> None:
    whole = query_nets(KERNELS, GRID).laws[0]
    thin = query_nets(KERNELS, GRID, front=6).laws[0]
    assert thin.front_size == whole.front_size
    assert 3 <= len(thin.front) <= 6
    assert (thin.front[0], thin.front[-1]) == (whole.front[0], whole.front[-1])
    assert set(map(_identity, thin.front)) < set(map(_identity, whole.front))
    steps = np.diff([math.log(net.tiles_per_ms) for net in thin.front])
    assert max(abs(steps)) < 0.6 * abs(sum(steps))


def test_the_front_is_of_networks_that_meet_the_goal() -> None:
    front = query_nets(KERNELS, GRID, Goal(at_least=20)).laws[0].front
    assert all(net.reaches and net.tiles_per_ms > 20 for net in front)


def test_where_all_networks_are_outside_the_front_is_of_those() -> None:
    own = query_nets(STUDY, {"depth": (100, 120), "batch": (1024,)}).laws[0]
    assert [net.in_domain for net in own.front] == [False] * len(own.front)
    assert own.front_size > 0


def test_images_cut_into_tiles() -> None:
    goal = Goal(image=(785, 784), fps=5)
    answer = query_nets(
        STUDY, {"tile": (28,), "depth": range(5, 81), "batch": (1024,), "conv": (1, 2, 3)}, goal
    )
    assert answer.target == pytest.approx(4.06)
    both = query_nets(
        STUDY, {"tile": (28, 56), "conv": (0, 1), "batch": (1024,)}, Goal(image=(784, 784), fps=300), top=9
    )
    assert both.target is None
    for net in both.nets:
        needed = (784 // net.net.tile) ** 2 * 300 / 1000
        assert (net.tiles_per_ms >= needed) == net.reaches


def test_the_harder_of_two_goals_counts() -> None:
    both = query_nets(STUDY, GRID, Goal(at_least=10, at_most_ms=1.5), top=10_000)
    wanted = {_identity(p) for p, _, _ in _all(STUDY) if p.tiles_per_ms >= 10 and p.latency_ms <= 1.5}
    assert {_identity(net) for net in both.nets} == wanted
    assert wanted


def test_limits_of_memory_and_parameters() -> None:
    goal = Goal(max_memory_mib=4, max_parameters=60_000)
    answer = query_nets(STUDY, GRID, goal, top=10_000)
    everything = query_nets(STUDY, GRID, top=10_000).nets
    wanted = {_identity(n) for n in everything if n.memory_mib <= 4 and n.parameters <= 60_000}
    assert {_identity(net) for net in answer.nets} == wanted
    assert 0 < len(wanted) < len(everything)
    net = answer.nets[0]
    layers = [o for o in net_operators(net.net, net.batch) if o.op_type in ("Conv", "MaxPool", "Gemm")]
    most = max(o.dims["X"] + o.dims["Y"] for o in layers)
    assert net.memory_mib == pytest.approx(4 * (net.parameters + most) / 2**20)


TAKES = MemoryModel(
    of="process",
    build={"base": 1.0, "weights": 3.0},
    block=16,
    most={"base": 2.0, "weights": 2.0, "live": 1.0, "largest": 0.5, "results": 0.25},
    errors=tuple(0.01 * i - 0.2 for i in range(60)),
    seen={"weights": (0.1, 1.0), "live": (0.0, 9.0), "largest": (0.0, 9.0), "results": (0.0, 30.0)},
    networks=60,
    room_mib=8.0,
)
WITH_MEMORY = KERNELS.model_copy(update={"memory": TAKES})


@cache
def _taken() -> dict[tuple[NetSpec, int], Memory]:
    return {_identity(p): memory_of(WITH_MEMORY, p.net, p.batch) for p, _, _ in _all(KERNELS)}


def _fits(memory: Memory, limit: float) -> float:
    return float(TAKES.chances(memory.mib, memory.widening, limit))


def test_memory_is_what_the_model_says_of_each_network() -> None:
    answer = query_nets(WITH_MEMORY, GRID, top=10_000)
    assert (answer.laws[0].memory_fitted, answer.laws[0].room_mib) == (True, 8.0)
    for net in answer.nets:
        one = _taken()[_identity(net)]
        assert net.memory_mib == pytest.approx(one.mib, rel=1e-12)
        assert net.memory_interval_mib == (one.interval_mib and pytest.approx(one.interval_mib, rel=1e-12))
        assert net.memory_interval_unknown == one.why
    assert {one.why for one in _taken().values()} == {"", FAR_OUTSIDE}
    wide = {round(one.widening, 3) for one in _taken().values()}
    assert min(wide) == 1
    assert len(wide) > 3


@pytest.mark.parametrize("sure", [0.5, 0.9, 0.99])
def test_networks_that_fit_with_a_probability(sure: float) -> None:
    answer = query_nets(WITH_MEMORY, GRID, Goal(max_memory_mib=6, probability=sure), top=10_000)
    wanted = {net: p for net, one in _taken().items() if (p := _fits(one, 6)) >= sure}
    assert {_identity(net): net.probability for net in answer.nets} == pytest.approx(wanted)
    assert all(net.reaches for net in answer.nets)
    assert 0 < len(wanted) == answer.laws[0].reaching < len(_taken())


def test_time_and_memory_must_both_be_met_whatever_their_errors_share() -> None:
    answer = query_nets(WITH_MEMORY, GRID, Goal(at_least=20, max_memory_mib=6), top=10_000)
    wanted = {}
    for p, _, _ in _all(KERNELS):
        timed, fits = _chance(KERNELS, p, p.batch / 20), _fits(_taken()[_identity(p)], 6)
        if timed + fits - 1 >= 0.9:
            wanted[_identity(p)] = timed + fits - 1
    assert {_identity(net): net.probability for net in answer.nets} == pytest.approx(wanted)
    by_time = query_nets(WITH_MEMORY, GRID, Goal(at_least=20), top=1).laws[0].reaching
    by_memory = query_nets(WITH_MEMORY, GRID, Goal(max_memory_mib=6), top=1).laws[0].reaching
    assert 0 < len(wanted) < min(by_time, by_memory)


def test_a_law_that_judges_time_by_its_prediction_judges_memory_by_errors() -> None:
    law = STUDY.model_copy(update={"memory": TAKES})
    answer = query_nets(law, GRID, Goal(at_least=10, max_memory_mib=6), top=10_000)
    fast = {_identity(p) for p, _, _ in _all(STUDY) if p.tiles_per_ms >= 10}
    wanted = {net for net in fast if _fits(_taken()[net], 6) >= 0.9}
    assert {_identity(net) for net in answer.nets} == wanted
    assert 0 < len(wanted) < len(fast)


def test_required_memory_is_judged_by_the_interval_and_a_lower_bound_shows_nothing_met() -> None:
    (own,) = query_nets(WITH_MEMORY, GRID, top=1).laws
    known = quantities_of(own)["memory_mib"]
    assert known is not None
    assert (known.low, known.high, known.why) == (None, None, FAR_OUTSIDE)
    (small,) = query_nets(WITH_MEMORY, {**GRID, "depth": "8"}, top=1).laws
    known, best = quantities_of(small)["memory_mib"], small.nets[0]
    assert known is not None
    assert (known.low, known.high) == best.memory_interval_mib
    (old,) = query_nets(KERNELS, GRID, top=1).laws
    bound = quantities_of(old)["memory_mib"]
    assert bound is not None
    assert (bound.low, bound.high) == (bound.value, None)
    assert old.memory_fitted is False
    assert old.nets[0].memory_interval_mib is None


def test_where_none_reaches_the_nearest_are_told() -> None:
    answer = query_nets(KERNELS, GRID, Goal(at_least=1e6), top=3)
    (own,) = answer.laws
    assert (own.reaching, own.front) == (0, ())
    assert [net.reaches for net in answer.nets] == [False] * 3
    fastest = sorted((p.tiles_per_ms for p, _, _ in _all(KERNELS) if p.in_domain), reverse=True)
    assert [net.tiles_per_ms for net in answer.nets] == pytest.approx(fastest[:3])


def test_several_laws_side_by_side() -> None:
    answer = query_nets([STUDY, KERNELS], GRID, Goal(at_least=20), top=6)
    assert [own.law for own in answer.laws] == ["gtx960-theano", "cpu-kernels"]
    assert [own.reaching for own in answer.laws] == [
        query_nets(law, GRID, Goal(at_least=20)).laws[0].reaching for law in (STUDY, KERNELS)
    ]
    assert len(answer.nets) % 2 == 0
    pairs = list(zip(answer.nets[::2], answer.nets[1::2], strict=True))
    assert 3 <= len(pairs) <= 6
    for one, other in pairs:
        assert (one.law, other.law) == ("gtx960-theano", "cpu-kernels")
        assert _identity(one) == _identity(other)
        assert one.macs_per_tile == other.macs_per_tile
    for own in answer.laws:
        best = own.nets[0]
        assert any(_identity(net) == _identity(best) and net.law == own.law for net in answer.nets)
    macs = [one.macs_per_tile for one, _ in pairs]
    assert macs == sorted(macs, reverse=True)


def test_networks_too_large_for_a_file_are_none() -> None:
    answer = query_nets(STUDY, {"fc": (1, 2), "neurons": (512, 30_000), "batch": (1024,)}, top=9)
    assert answer.skipped == 1
    assert answer.considered == 3
    assert max(net.parameters for net in answer.nets) * 4 < 2**31


def test_networks_without_pixels_are_counted() -> None:
    answer = query_nets(STUDY, {"conv": (1, 7), "fc": (1, 2, 3), "batch": (1024,)})
    assert (answer.considered, answer.skipped) == (3, 3)


def test_what_the_law_has_nothing_to_say_of_is_counted() -> None:
    terms = [{"text": "D - 10", "coefficient": 1.0}]
    law = Law(**{**STUDY.model_dump(), "groups": [{"name": "all", "kinds": ["*"], "terms": terms}]})
    answer = query_nets(law, {"depth": (8, 9, 10, 11), "batch": (1024,)})
    assert (answer.considered, answer.laws[0].unpriced, answer.laws[0].reaching) == (4, 2, 2)
    assert len(answer.nets) == 2


def test_nothing_to_consider() -> None:
    answer = query_nets(STUDY, {"conv": (7,)}, Goal(at_least=1))
    assert (answer.considered, answer.skipped, answer.nets, answer.laws[0].front) == (0, 1, (), ())


def test_ranges_as_text_and_the_batch_that_is_assumed() -> None:
    assert {net.batch for net in query_nets(STUDY, {"depth": "5..9:2", "fc": 1}).nets} == {1024}
    answer = query_nets(KERNELS, {"depth": "5..9:2"})
    assert {net.batch for net in answer.nets} == {128}
    assert sorted(net.net.depth[0] for net in answer.nets) == [5, 7, 9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pareto": ("speed",)}, "no pair of axes"),
        ({"pareto": ("speed", "beauty")}, "no pair of axes"),
        ({"pareto": ("speed", "speed")}, "no pair of axes"),
        ({"rank": "beauty"}, "nothing to rank by"),
        ({"goal": Goal(max_energy_mj=1.0)}, "knows latency, not energy"),
    ],
)
def test_questions_that_cannot_be_answered(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        query_nets(STUDY, GRID, **options)


def test_no_law_and_one_law_twice() -> None:
    with pytest.raises(SpecError, match="no law"):
        query_nets([], GRID)
    with pytest.raises(SpecError, match="two laws of one name"):
        query_nets([STUDY, STUDY], GRID)


def test_an_answer_is_a_value() -> None:
    answer = query_nets(STUDY, {"batch": (1024,)})
    assert isinstance(answer, Answer)
    assert answer.elapsed_s > 0
