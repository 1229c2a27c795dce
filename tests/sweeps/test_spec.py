"""Sweep files: what they may say, every refusal, and that no file whatever ends in a traceback."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeprof import catalogue
from edgeprof.errors import CatalogueError, EdgeprofError, SpecError
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import KNOBS, Range, Sample, SweepSpec, parse_range, parse_sweep, read_sweep

HUGE = "0x1" + "0" * 5_000  # more digits than Python prints


def refusal(text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        expand(parse_sweep(catalogue.parse_toml(text, "mine.toml"), "mine.toml"))
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_every_shipped_sweep_is_named_after_its_file_and_says_what_it_is() -> None:
    names = [entry.name for entry in catalogue.entries("sweeps")]
    assert {"quick", "group1", "group2", "group3", "group4", "neuron-step", "family"} <= set(names)
    for name in names:
        sweep = read_sweep(name)
        assert (sweep.name, sweep.version) == (name, 1)
        assert sweep.about


def test_a_file_without_version_or_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[vary]\nbatch = [16, 32]\n")
    sweep = read_sweep(str(path))
    assert (sweep.version, sweep.name, dict(sweep.vary)) == (1, "mine", {"batch": (16, 32)})
    path.write_text('name = "other"\n')
    assert read_sweep(str(path)).name == "other"


def test_a_sample_has_its_knobs_beside_its_seed() -> None:
    sample = random_sweep().sample
    assert sample is not None
    assert (sample.nets, sample.seed, sample.max_macs) == (24, 1, 4e8)
    assert sample.knobs["depth"] == Range(low=5, high=48, log=True)
    assert sample.knobs["kernel"] == (3, 5)


@pytest.mark.parametrize("name", ["group1", "quick", "family"])
def test_a_dumped_sweep_reads_back(name: str) -> None:
    sweep = read_sweep(name)
    assert SweepSpec.model_validate_json(sweep.model_dump_json()) == sweep
    assert parse_sweep(sweep.model_dump(mode="json"), "dump") == sweep


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[net]\ndepht = 8", "sweep 'unnamed': unknown key 'depht' in [net]"),
        ("[vary]\ndepht = [8]", "sweep 'unnamed': unknown key 'depht' in [vary]"),
        ("[sample]\nnets = 2\ndepht = [8]", "sweep 'unnamed': unknown key 'depht' in [sample]"),
        ("[nets]\ndepth = 8", "mine.toml: unknown key 'nets'"),
        ("[net]\ndepth = -8", "network: depth.0: Input should be greater than or equal to 1, not -8"),
        (
            "[vary]\nbatch = [16, -1]",
            "sweep 'unnamed': batch: Input should be greater than or equal to 1, not -1",
        ),
        (
            "[net]\nthreads = -1",
            "sweep 'unnamed': threads: Input should be greater than or equal to 0, not -1",
        ),
        ("[net]\ndepth = true", "mine.toml: net.depth: Input should be a valid integer, not True"),
        ("[net]\nbatch = true", "mine.toml: net.batch: Input should be a valid integer, not True"),
        ("[net]\ndepth = 8.0", "mine.toml: net.depth: Input should be a valid integer, not 8.0"),
        ("[net]\ndepth = 2016-06-07", "mine.toml: net.depth: Input should be a valid integer"),
        ("[net]\nbatch = '16'", "sweep 'unnamed': batch: Input should be a valid integer, not '16'"),
        ("[vary]\ndepth = [true]", "mine.toml: vary.depth.0: Input should be a valid integer, not True"),
        ("[vary]\ndepth = []", "mine.toml: vary: vary.depth needs a list of values, not []"),
        ("[vary]\ndepth = 8", "mine.toml: vary: vary.depth needs a list of values, not 8"),
        ("[vary]\ndepth = '5..8'", "mine.toml: vary: vary.depth needs a list of values, not '5..8'"),
        ("vary = [1]", "mine.toml: vary: Input should be a valid dictionary"),
        ("net = 1", "mine.toml: net: Input should be a valid dictionary, not 1"),
        ("sample = 3", "mine.toml: sample: Input should be a valid dictionary"),
        ("name = 3", "mine.toml: name: Input should be a valid string, not 3"),
        ("name = ''", "mine.toml: name: String should have at least 1 character, not ''"),
        (
            "[sample]\nnets = 2\nkernel = [3, 5]\n[vary]\nfc = [1]",
            "sweep 'unnamed' has both [vary] and [sample]",
        ),
        ("[sample]\ndepth = '1..5'", "mine.toml: sample.nets: Field required"),
        ("[sample]\nnets = 0", "mine.toml: sample.nets: Input should be greater than or equal to 1, not 0"),
        ("[sample]\nnets = true", "mine.toml: sample.nets: Input should be a valid integer, not True"),
        (
            "[sample]\nnets = 2\nseed = -1",
            "mine.toml: sample.seed: Input should be greater than or equal to 0, not -1",
        ),
        (
            "[sample]\nnets = 2\nmax_macs = 0",
            "mine.toml: sample.max_macs: Input should be greater than 0, not 0",
        ),
        (
            "[sample]\nnets = 2\nmax_macs = nan",
            "mine.toml: sample.max_macs: Input should be greater than 0, not nan",
        ),
        ("[sample]\nnets = 2\ndepth = '9..5'", "mine.toml: sample: depth: '9..5' is no range"),
        ("[sample]\nnets = 2\ndepth = '5..'", "mine.toml: sample: depth: '5..' is no range"),
        ("[sample]\nnets = 2\ndepth = '-5..5'", "mine.toml: sample: depth: '-5..5' is no range"),
        ("[sample]\nnets = 2\ndepth = '5..9 lin'", "mine.toml: sample: depth: '5..9 lin' is no range"),
        (
            "[sample]\nnets = 2\nfc = '0..5 log'",
            "mine.toml: sample: fc: '0..5 log' is no range; a log scale starts at 1",
        ),
        (
            "[sample]\nnets = 2\ndepth = []",
            "mine.toml: sample: depth: a choice is a list of numbers or words, not []",
        ),
        (
            "[sample]\nnets = 2\ndepth = [true]",
            "mine.toml: sample: depth: a choice is a list of numbers or words",
        ),
        (
            "[sample]\nnets = 2\ndepth = [[8, 9]]",
            "mine.toml: sample: depth: a choice is a list of numbers or words",
        ),
        (
            "[sample]\nnets = 2\ndepth = 8.5",
            "mine.toml: sample: depth: a number, a word, a list or a range, not 8.5",
        ),
        (
            "[sample]\nnets = 2\ndepth = false",
            "mine.toml: sample: depth: a number, a word, a list or a range",
        ),
        ("[sample]\nnets = 2\nknobs = 3", "mine.toml: sample: knobs: a table of knobs, not 3"),
        ("[sample]\nnets = 2\ndepth = {low = 5, high = 1}", "mine.toml: sample: '5..1' is no range"),
        (
            "[sample]\nnets = 2\nfc = {low = 0, high = 1, log = true}",
            "mine.toml: sample: '0..1 log' is no range",
        ),
        ("[sample]\nnets = 2\nknobs = {depth = []}", "mine.toml: sample: depth: a choice is a list"),
        ("version = 2", "mine.toml has version 2; this edgeprof reads 1"),
        ("version = 0", "mine.toml: version: Input should be 1, not 0"),
        ("version = '1'", "mine.toml: version: Input should be 1, not '1'"),
        (f"version = {HUGE}", "mine.toml has version this int; this edgeprof reads 1"),
        (
            f"[net]\ndepth = {HUGE}",
            "network: depth.0: Input should be less than or equal to 65536, not this int",
        ),
        (f"[sample]\nnets = {HUGE}", "mine.toml: sample.nets: Input should be less than or equal to 100000"),
        (f"[sample]\nnets = 2\nmax_macs = {HUGE}", "mine.toml: sample.max_macs: "),
        (f"[sample]\nnets = 2\ndepth = {{low = 5, high = {HUGE}, log = true}}", "mine.toml: sample.high: "),
    ],
)
def test_refusals_name_what_is_wrong(text: str, says: str) -> None:
    assert refusal(text).message.startswith(says)


def test_a_newer_version_says_to_upgrade() -> None:
    assert refusal("version = 2\n[future]\nkey = 1").hint == "upgrade edgeprof"


@pytest.mark.parametrize("section", ["vary", "sample", "net", "about"])
def test_tables_in_tables_in_tables_are_refused(section: str) -> None:
    with pytest.raises(EdgeprofError):
        parse_sweep(catalogue.parse_toml(section + ".a" * 3_000 + " = 1", "mine.toml"), "mine.toml")


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("5..80", Range(low=5, high=80)),
        (" 5 .. 80 log ", Range(low=5, high=80, log=True)),
        ("7..7 log", Range(low=7, high=7, log=True)),
        ([3, 5], (3, 5)),
        (["same", 1], ("same", 1)),
        (8, (8,)),
        ("same", ("same",)),
        ({"low": 1, "high": 2, "log": True}, Range(low=1, high=2, log=True)),
    ],
)
def test_what_a_knob_may_be_drawn_from(value: Any, parsed: Any) -> None:
    assert parse_range("depth", value) == parsed


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(st.integers(1, 10_000), st.integers(0, 10_000), st.booleans(), st.integers(0, 99))
def test_draws_stay_in_the_range_and_it_reads_back(low: int, width: int, log: bool, seed: int) -> None:
    source = Range(low=low, high=low + width, log=log)
    assert parse_range("depth", source.text()) == source
    rng = Random(seed)
    assert all(low <= source.draw(rng) <= low + width for _ in range(50))


@pytest.mark.parametrize("log", [False, True])
def test_both_ends_of_a_range_are_drawn(log: bool) -> None:
    rng = Random(0)
    drawn = Counter(Range(low=1, high=4, log=log).draw(rng) for _ in range(4_000))
    assert set(drawn) == {1, 2, 3, 4}
    if (
        log
    ):  # a whole number n stands for n − ½ … n + ½: 1 has log(1.5 / 0.5) of log(4.5 / 0.5), which is half
        assert drawn[1] / 4_000 == pytest.approx(0.5, abs=0.03)
    else:
        assert all(n / 4_000 == pytest.approx(0.25, abs=0.03) for n in drawn.values())


def test_a_log_range_draws_each_octave_as_often() -> None:
    rng = Random(0)
    source = Range(low=64, high=1023, log=True)
    octaves = Counter(source.draw(rng).bit_length() for _ in range(8_000))
    assert all(octaves[bits] / 8_000 == pytest.approx(0.25, abs=0.03) for bits in (7, 8, 9, 10))


@pytest.mark.parametrize(
    "wrong", [{"low": 5, "high": 1}, {"low": 0, "high": 3, "log": True}, {"low": -1, "high": 3}, {"low": 1}]
)
def test_a_wrong_range_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Range(**wrong)


def test_a_sample_made_in_python_has_the_rules_of_a_file() -> None:
    with pytest.raises(ValidationError):
        Sample(nets=2, knobs={"depth": ()})
    with pytest.raises(SpecError, match="unknown key 'depht'"):
        SweepSpec(name="mine", sample=Sample(nets=2, knobs={"depht": (1,)}))


SAMPLE = """
name = "mine"
[net]
threads = 1
[sample]
nets     = 24
seed     = 1
max_macs = 4e8
conv     = "1..3"
depth    = "5..48 log"
kernel   = [3, 5]
neurons  = "64..1024 log"
batch    = [16, 32]
"""


def random_sweep() -> SweepSpec:
    return parse_sweep(catalogue.parse_toml(SAMPLE, "mine.toml"), "mine.toml")


def test_override_of_a_grid() -> None:
    sweep = read_sweep("group1").override({"batch": (8,), "fc": (1, 2), "tile": (20, 28), "kernel": (3,)})
    assert dict(sweep.net) == {"conv": 1, "depth": 20, "neurons": 1024, "batch": 8, "kernel": 3}
    assert dict(sweep.vary) == {"fc": (1, 2), "tile": (20, 28)}
    works = expand(sweep)
    assert [(w.net.fc, w.net.tile) for w in works] == [(1, 20), (1, 28), (2, 20), (2, 28)]
    assert {(w.batch, w.net.kernel) for w in works} == {(8, (3,))}


def test_override_of_a_sample() -> None:
    sweep = random_sweep().override({"conv": (2,), "threads": (1, 2), "stride": (1,)})
    assert sweep.sample is not None
    assert dict(sweep.net) == {"conv": 2, "stride": 1}
    assert (sweep.sample.nets, sweep.sample.seed) == (24, 1)
    assert "conv" not in sweep.sample.knobs
    works = expand(sweep)
    assert len(works) == 24
    assert {w.net.conv for w in works} == {2}
    assert {w.threads for w in works} == {1, 2}


@pytest.mark.parametrize("values", [(8, 16, 32), ((8, 16, 32),)])
def test_several_depths_are_one_per_layer_and_imply_conv(values: tuple[Any, ...]) -> None:
    for sweep in (read_sweep("group1"), read_sweep("group2"), random_sweep()):
        works = expand(sweep.override({"depth": values}))
        assert {(w.net.conv, w.net.depth) for w in works} == {(3, (8, 16, 32))}
    (work,) = expand(read_sweep("group3").override({"neurons": (64, 32)}))
    assert (work.net.fc, work.net.neurons) == (2, (64, 32))
    with pytest.raises(SpecError, match="depth has 3 values for 2 conv layers"):
        expand(read_sweep("group1").override({"depth": values, "conv": (2,)}))


def test_a_sample_of_another_size_or_seed() -> None:
    sweep = random_sweep()
    other = sweep.resampled(30, 7)
    assert other.sample is not None
    assert (other.sample.nets, other.sample.seed, len(expand(other))) == (30, 7, 30)
    assert sweep.resampled(None, None) == sweep
    assert expand(sweep.resampled(30, None))[:24] == expand(sweep)
    assert read_sweep("group1").resampled(None, None) == read_sweep("group1")
    with pytest.raises(SpecError, match="sweep 'group1' is no random sample"):
        read_sweep("group1").resampled(3, None)


def test_override_leaves_the_sweep_as_it_was() -> None:
    sweep = random_sweep()
    before = sweep.model_dump_json()
    assert sweep.override({}) == sweep
    sweep.override({"conv": (1, 2), "batch": (8,)})
    assert sweep.model_dump_json() == before


steady = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
scalars = (
    st.integers(-2, 70)
    | st.sampled_from([10**12, 2**63, -(10**40)])
    | st.booleans()
    | st.floats()
    | st.dates()
    | st.sampled_from(
        ["same", "valid", "1..3", "5..2", "0..3 log", "1..99999 log", "blocking", "fp32", "..", ""]
    )
    | st.text(max_size=6)
)
nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
knob_names = st.sampled_from(KNOBS) | st.text(max_size=4)
tables = st.dictionaries(knob_names, nested, max_size=4)
good_values = st.lists(st.integers(1, 6), min_size=1, max_size=3)
good_tables = st.dictionaries(
    st.sampled_from([k for k in KNOBS if k not in ("precision", "launch")]), good_values
)
samples = st.builds(
    lambda nets, more, knobs: {"nets": nets, **more, **knobs},
    st.integers(1, 3) | nested,
    st.dictionaries(st.sampled_from(["seed", "max_macs", "knobs"]), nested, max_size=2),
    st.dictionaries(knob_names, nested | st.sampled_from(["1..3", "2..9 log"]), max_size=4) | good_tables,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "version": st.just(1) | nested,
        "name": st.text(max_size=8) | nested,
        "about": nested,
        "net": tables | nested,
        "vary": tables | good_tables | nested,
        "sample": samples | nested,
        "other": nested,
    },
)


def read_and_expand(data: dict[str, Any]) -> None:
    """Only edgeprof's own errors may come out; small sweeps are expanded too."""
    try:
        sweep = parse_sweep(data, "mine.toml")
        cases = 1
        for values in sweep.vary.values():
            cases *= len(values)
        if sweep.sample is None:
            small = cases <= 200
        else:
            small = sweep.sample.nets <= 3 and not sweep.sample.max_macs
        if small:
            assert expand(sweep)
    except EdgeprofError as error:
        caught = error
    else:
        return
    assert caught.message
    assert len(caught.message) < 1_000
    assert caught.hint


@settings(steady, max_examples=120)
@given(documents)
@example({"sample": {"nets": 2, "conv": ["a"], "depth": "1..9"}})
@example({"net": {"conv": "a"}, "sample": {"nets": 2, "depth": "1..9"}})
@example({"net": {"conv": [1, 2]}, "sample": {"nets": 2, "depth": "1..9"}})
@example({"net": {"conv": 10**12}, "sample": {"nets": 2, "depth": "1..9"}})
@example({"sample": {"nets": 2, "fc": "0..999999999999", "neurons": "1..9"}})
@example({"sample": {"nets": 2, "neurons": "60000..65536", "fc": 3}})
def test_any_values_give_a_sweep_or_an_error_of_ours(data: dict[str, Any]) -> None:
    read_and_expand(data)


words = st.sampled_from(
    [
        "[net]",
        "[vary]",
        "[sample]",
        "[[net]]",
        "nets = 2",
        "seed = 3",
        "version = 1",
        "name = 'a'",
        "max_macs = 1e9",
    ]
)
toml_values = st.sampled_from(
    [
        "1",
        "[1, 2]",
        "'1..3'",
        "'1..3 log'",
        "true",
        "1.5",
        "nan",
        "2016-06-07",
        "{a = 1}",
        "[[1], [2]]",
        "'same'",
        HUGE,
    ]
)
lines = st.builds("{} = {}".format, st.sampled_from(KNOBS) | st.text("ab.'\"", max_size=4), toml_values)


@settings(steady, max_examples=150)
@given(st.lists(words | lines, max_size=8).map("\n".join) | st.text(max_size=60))
@example("a = " + "[" * 10_000)
@example("net" + ".a" * 3_000 + " = 1")
@example("x = " + "9" * 5_000)
def test_any_text_gives_a_sweep_or_an_error_of_ours(text: str) -> None:
    try:
        data = catalogue.parse_toml(text, "mine.toml")
    except CatalogueError:
        return
    read_and_expand(data)
