"""Sweeps → workloads: counts, order, and draws that anybody can repeat."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

import edgeprof
from edgeprof import catalogue
from edgeprof.errors import SpecError
from edgeprof.nets.network import total_macs
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Workload
from edgeprof.sweeps.expand import draw, expand, workload
from edgeprof.sweeps.spec import Range, SweepSpec, parse_sweep, read_sweep

COUNTS = {
    "quick": 24,
    "group1": 45,
    "group2": 45,
    "group3": 25,
    "group4": 25,
    "neuron-step": 183,
    "neuron-fine": 160,
    "channel-step": 103,
    "batch-step": 96,
    "family": 60,
}


def expanded(**data: Any) -> tuple[Workload, ...]:
    return expand(parse_sweep(data, "mine.toml"))


def digest(works: tuple[Workload, ...]) -> str:
    return hashlib.sha256("\n".join(w.model_dump_json(exclude_none=True) for w in works).encode()).hexdigest()


@pytest.mark.parametrize(("name", "cases"), COUNTS.items())
def test_shipped_sweeps_have_the_cases_they_promise(name: str, cases: int) -> None:
    works = expand(read_sweep(name))
    assert len(works) == len(set(works)) == cases
    assert expand(read_sweep(name)) == works


def test_the_groups_are_those_of_the_reference_study() -> None:
    batches = [16 * 2**i for i in range(9)]
    group1, group2 = expand(read_sweep("group1")), expand(read_sweep("group2"))
    assert [(w.net.fc, w.batch) for w in group1] == [(fc, b) for fc in range(1, 6) for b in batches]
    assert [(w.net.conv, w.batch) for w in group2] == [(conv, b) for conv in range(1, 6) for b in batches]
    assert {(w.net.conv, w.net.depth[0], set(w.net.neurons) == {1024}) for w in group1} == {(1, 20, True)}
    group3, group4 = expand(read_sweep("group3")), expand(read_sweep("group4"))
    neurons, depths = (128, 256, 512, 1024, 2048), (5, 10, 20, 40, 80)
    assert [(w.net.fc, w.net.neurons[0]) for w in group3] == [(fc, n) for fc in range(1, 6) for n in neurons]
    assert [(w.net.conv, w.net.depth[0]) for w in group4] == [
        (conv, d) for conv in range(1, 6) for d in depths
    ]
    assert {w.batch for w in (*group3, *group4)} == {1024}
    step = expand(read_sweep("neuron-step"))
    assert [(w.net.fc, w.net.neurons[0]) for w in step] == [
        (fc, n) for fc in (1, 3, 5) for n in range(64, 1025, 16)
    ]


def test_a_seed_draws_the_same_networks_in_every_release() -> None:
    # Databases and laws hold the networks that a sweep drew: other draws from its seed would measure others.
    works = expanded(
        sample={
            "nets": 3,
            "seed": 7,
            "max_macs": 6e9,
            "conv": "1..5",
            "fc": "0..2",
            "depth": "5..80 log",
            "kernel": [3, 5, 7],
            "padding": ["valid", "same"],
            "neurons": "64..2048 log",
            "batch": [16, 32, 64, 128],
        }
    )
    assert [f"{w.net.label()} · {w.batch}" for w in works] == [
        "conv 3×14,5,48 k3,5,7 · no hidden fc · 32",
        "conv 1×16 k3 · no hidden fc · 16",
        "conv 5×5,23,69,28,24 k3,7,7,5,3 · fc 1×75 · 32",
    ]


def test_draws_are_the_same_in_another_process() -> None:
    script = (
        "import hashlib; from edgeprof.sweeps.expand import expand; from edgeprof.sweeps.spec import read_sweep;"
        "works = expand(read_sweep('family'));"
        "print(hashlib.sha256('\\n'.join(w.model_dump_json(exclude_none=True) for w in works).encode()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(edgeprof.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert there.stdout.strip() == digest(expand(read_sweep("family")))


@pytest.mark.parametrize("name", ["quick", "family"])
def test_a_larger_sample_begins_with_the_smaller_one(name: str) -> None:
    sweep = read_sweep(name)
    assert sweep.sample is not None
    works = expand(sweep)
    for nets in (1, len(works) // 2, len(works) + 30):
        sized = sweep.model_copy(update={"sample": sweep.sample.model_copy(update={"nets": nets})})
        shorter, longer = sorted((expand(sized), works), key=len)
        assert longer[: len(shorter)] == shorter
        assert len(expand(sized)) == nets


def test_another_seed_draws_other_networks() -> None:
    sample = {"nets": 20, "depth": "5..80 log", "neurons": "64..2048 log"}
    assert expanded(sample={**sample, "seed": 1}) == expanded(sample={**sample, "seed": 1})
    assert not set(expanded(sample={**sample, "seed": 1})) & set(expanded(sample={**sample, "seed": 2}))


def test_every_draw_keeps_to_what_the_file_says() -> None:
    for work in expand(read_sweep("family")):
        net = work.net
        assert net.conv in range(1, 6)
        assert net.fc in range(6)
        assert net.tile in (20, 28, 32, 40)
        assert net.channels in (1, 3)
        assert all(5 <= depth <= 80 for depth in net.depth)
        assert set(net.kernel) <= {3, 5, 7}
        assert set(net.stride) <= {1, 2}
        assert set(net.padding) in ({"valid"}, {"same"})  # drawn once a network
        assert net.pool in (1, 2, 3)
        assert all(64 <= neurons <= 2048 for neurons in net.neurons)
        assert work.batch in (16, 32, 64, 128)
        assert total_macs(net, work.batch) <= 6e9
    assert max(total_macs(w.net, w.batch) for w in expand(read_sweep("quick"))) <= 4e8


def test_layers_are_drawn_afresh() -> None:
    works = expanded(sample={"nets": 20, "conv": 3, "kernel": [1, 2, 3], "fc": 2, "neurons": "1..1000"})
    assert any(len(set(w.net.kernel)) > 1 for w in works)
    assert all(len(w.net.neurons) == 2 for w in works)
    assert any(len(set(w.net.neurons)) == 2 for w in works)


@pytest.mark.parametrize("net", [{"conv": 3}, {"depth": [8, 16, 32]}, {"padding": ["same", "valid", "same"]}])
def test_layers_are_drawn_afresh_where_net_says_how_many(net: dict[str, Any]) -> None:
    works = expanded(net=net, sample={"nets": 20, "kernel": [1, 2, 3]})
    assert {w.net.conv for w in works} == {3}
    assert any(len(set(w.net.kernel)) > 1 for w in works)


def test_no_layers_draw_no_depth() -> None:
    (work,) = expanded(sample={"nets": 1, "conv": 0, "fc": 0, "depth": "5..80", "neurons": "5..80"})
    assert work.net == net_spec(conv=0, fc=0)


def test_draw_takes_the_numbers_of_layers_first() -> None:
    knobs: dict[str, Range | tuple[int | str, ...]] = {
        "depth": Range(low=1, high=9),
        "conv": (4,),
        "padding": ("same",),
        "batch": (8,),
    }
    drawn = draw(knobs, {}, Random(0))
    assert list(drawn) == ["conv", "depth", "padding", "batch"]
    assert len(drawn["depth"]) == 4
    assert drawn["padding"] == "same"


def test_net_alone_is_one_case() -> None:
    assert expanded() == (Workload(net=net_spec()),)
    assert expanded(net={"conv": 2, "batch": 8, "threads": 1}) == (
        Workload(net=net_spec(conv=2), batch=8, threads=1),
    )


def test_duplicates_are_measured_once_in_the_order_written() -> None:
    works = expanded(vary={"batch": [32, 16, 32], "depth": [8, [8]]})
    assert [(w.batch, w.net.depth) for w in works] == [(32, (8,)), (16, (8,))]


def test_a_list_inside_the_list_is_per_layer() -> None:
    works = expanded(vary={"depth": [8, [8, 16], [8, 16, 32]]})
    assert [w.net.depth for w in works] == [(8,), (8, 16), (8, 16, 32)]


def test_vary_stands_above_net() -> None:
    assert [w.batch for w in expanded(net={"batch": 8}, vary={"batch": [1, 2]})] == [1, 2]


def test_draws_without_pixels_left_are_drawn_again() -> None:
    works = expanded(sample={"nets": 30, "conv": "1..5", "kernel": [5, 9], "depth": "1..80"})
    assert len(works) == 30
    assert any(9 in w.net.kernel for w in works)


def test_draws_whose_weights_fit_in_no_file_are_drawn_again() -> None:
    works = expanded(sample={"nets": 3, "fc": 2, "neurons": [32, 64, 60_000], "max_macs": 1e15})
    assert len(works) == 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"sample": {"nets": 5, "kernel": [3, 5]}}, "only 2 of 5 networks could be drawn"),
        (
            {"sample": {"nets": 2, "kernel": [29]}},
            "only 0 of 2 networks could be drawn; the last was refused: network: conv1",
        ),
        (
            {"sample": {"nets": 2, "depth": "5..80", "max_macs": 10}},
            "the last was refused: more than 10 MACs a run",
        ),
        ({"vary": {"conv": [1, 7]}}, "conv7 has no pixels left"),
        ({"vary": {"batch": list(range(1, 400)), "depth": list(range(1, 400))}}, "has 159,201 cases"),
        (
            {"net": {"precision": "fp12"}},
            "precision: Input should be 'fp32', 'tf32', 'fp16' or 'int8', not 'fp12'",
        ),
    ],
)
def test_what_cannot_be_expanded_says_why(data: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        expanded(**data)
    assert says in caught.value.message
    assert caught.value.hint


def test_a_hopeless_sample_is_given_up_soon() -> None:
    start = time.monotonic()
    with pytest.raises(SpecError, match="only 0 of 1000 networks could be drawn"):
        expanded(sample={"nets": 1000, "conv": "65..80", "depth": "5..80"})
    assert time.monotonic() - start < 120


def test_a_workload_takes_its_knobs_from_one_table() -> None:
    work = workload("mine", {"depth": [4, 8], "batch": 2, "launch": "async"})
    assert (work.net.conv, work.batch, work.launch) == (2, 2, "async")
    with pytest.raises(SpecError, match="unknown key 'depht'"):
        workload("mine", {"depht": 4})


BLOCKS = """
[net]
threads = 1
[blocks]
seed = 3
max_macs = 2e7
max_values = 1e5
[[blocks.chain]]
of = "conv"
nets = 6
layers = "1..3"
multiple = [8]
size = "8..40 log"
channels = "3..100 log"
depth = "8..100 log"
kernel = [1, 3, "1x7"]
act = ["relu", ""]
batch = [1, 4]
[[blocks.chain]]
of = "linear"
nets = 2
channels = "16..99"
"""


def test_blocks_are_drawn_chain_by_chain() -> None:
    sweep = parse_sweep(catalogue.parse_toml(BLOCKS, "b"), "b")
    works = expand(sweep)
    assert works == expand(sweep)
    assert [work.net.of for work in works] == ["conv"] * 6 + ["linear"] * 2
    for work in works[:6]:
        net = work.net
        assert 1 <= net.layers <= 3
        assert all(size % 8 == 0 for size in (net.channels, *net.depth))
        assert set(net.kernel) <= {1, 3, "1x7"}
        assert work.threads == 1
        assert total_macs(net, work.batch) <= 2e7
    assert len({work.batch for work in works}) == 2
    assert SweepSpec.model_validate_json(sweep.model_dump_json()) == sweep


def test_another_number_or_seed_of_blocks() -> None:
    sweep = parse_sweep(catalogue.parse_toml(BLOCKS, "b"), "b")
    more = expand(sweep.resampled(16, None))
    assert [work.net.of for work in more] == ["conv"] * 12 + ["linear"] * 4
    assert more[:6] == expand(sweep)[:6]
    assert expand(sweep.resampled(None, 4))[:6] != more[:6]
    assert {work.batch for work in expand(sweep.override({"batch": (2,)}))} == {2}


@pytest.mark.parametrize("nets", [1, 3, 20, 21, 22, 50, 400, 1000])
def test_as_many_blocks_as_are_asked_for_from_as_many_chains_as_can_be(nets: int) -> None:
    blocks = read_sweep("kernels").resampled(nets, None).blocks
    assert blocks is not None
    counts = [chain.nets for chain in blocks.chain]
    assert sum(counts) == nets
    assert sum(count > 0 for count in counts) == min(nets, len(counts))


def test_the_file_s_own_number_of_blocks_changes_nothing() -> None:
    sweep = read_sweep("kernels")
    assert sweep.blocks is not None
    assert sweep.resampled(sum(chain.nets for chain in sweep.blocks.chain), None) == sweep


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BLOCKS.replace('of = "linear"', 'of = "cow"'), "of"),
        (BLOCKS.replace('channels = "16..99"', "neurons = 16"), "unknown knob 'neurons'"),
        (BLOCKS.replace("threads = 1", "conv = 1"), "beside networks of the family"),
        (BLOCKS + "[vary]\nbatch = [1, 2]\n", "beside networks of the family"),
        (BLOCKS.replace("max_macs = 2e7", "max_macs = 10.0"), "only 0 of 6 blocks of conv"),
        (BLOCKS.replace('"8..40 log"', "[0]"), "only 0 of 6 blocks of conv"),
    ],
)
def test_blocks_that_cannot_be_drawn(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        expand(parse_sweep(catalogue.parse_toml(text, "b"), "b"))


def test_flags_of_the_family_are_not_for_blocks() -> None:
    sweep = parse_sweep(catalogue.parse_toml(BLOCKS, "b"), "b")
    with pytest.raises(SpecError, match="--pool-before is not for sweep"):
        sweep.override({"pool_before": (2,)})


def test_every_network_is_run_in_each_power_mode() -> None:
    grid = {"net": {"conv": 1, "power_mode": ["MAXN", 1, "MAXN"]}, "vary": {"batch": [1, 2]}}
    assert [(w.power_mode, w.batch) for w in expanded(**grid)] == [
        ("MAXN", 1),
        ("MAXN", 2),
        ("1", 1),
        ("1", 2),
    ]
    drawn = expand(read_sweep("family").resampled(3, 1).override({"power_mode": ("15W", "7W")}))
    assert [w.power_mode for w in drawn] == ["15W"] * 3 + ["7W"] * 3
    assert [w.net for w in drawn[:3]] == [w.net for w in drawn[3:]]
    dimension = expanded(vary={"batch": [1, 2], "power_mode": ["15W", "7W"]}, net={"clocks": "max"})
    assert [(w.power_mode, w.batch) for w in dimension] == [("15W", 1), ("7W", 1), ("15W", 2), ("7W", 2)]
    assert {w.clocks for w in dimension} == {"max"}


def test_a_flag_replaces_the_power_modes_of_a_file() -> None:
    for section in ("net", "vary"):
        sweep = parse_sweep({section: {"power_mode": ["15W", "7W"]}}, "mine.toml")
        assert sweep.sets
        assert {w.power_mode for w in expand(sweep.override({"power_mode": ("MAXN",)}))} == {"MAXN"}
    assert not read_sweep("quick").sets


def test_blocks_are_run_in_several_power_modes() -> None:
    sweep = read_sweep("kernels").resampled(8, None)
    both = expand(sweep.override({"power_mode": ("15W", "7W")}))
    assert len(both) == 2 * len(expand(sweep))
