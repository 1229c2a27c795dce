"""Forms: the shipped ones read, every mistake is refused, and nothing in a form ever runs."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof import catalogue
from edgeprof.errors import CatalogueError, EdgeprofError, SpecError
from edgeprof.fit.forms import KERNEL_VARIABLES, NET_VARIABLES, Form, parse_form, read_form, term_text

SMALL: dict[str, Any] = {
    "name": "small",
    "scope": "kernel",
    "define": {"blocks": "ceil(M/V)", "sets": "ceil(blocks/4)"},
    "group": [
        {"name": "Conv", "kinds": ["Conv", "Conv.*"], "terms": ["B*H*W*C*blocks", "sets"]},
        {"name": "other", "kinds": ["*"], "terms": ["Y", "1"]},
    ],
}
ATTACKS = [
    "__import__('os').system('touch {}')",
    "().__class__.__bases__[0].__subclasses__()",
    "eval('1')",
    "exec('1')",
    "B.__class__",
    "[open('{}', 'w') for n in range(1)]",
    "(lambda: 1)()",
    "B if B else 1",
    "f'{{B}}'",
    "B := 1",
    "9**9**9**9",
    "B; C",
    "B\nC",
]


def with_term(term: str) -> dict[str, Any]:
    return {**SMALL, "group": [{"name": "g", "kinds": ["*"], "terms": [term]}]}


@pytest.mark.parametrize("name", [entry.name for entry in catalogue.entries("forms")])
def test_every_shipped_form_is_named_after_its_file_and_says_what_it_is(name: str) -> None:
    form = read_form(name)
    assert (form.name, form.version) == (name, 1)
    assert form.about
    assert form.expressions.keys() == {g.name for g in form.group}


def test_eq13_is_the_study_s_law() -> None:
    form = read_form("eq13")
    assert (form.scope, form.unit, form.overhead) == ("net", "tile", ("1",))
    texts = {g.name: [term_text(t, NET_VARIABLES) for t in g.terms] for g in form.group}
    assert texts == {
        "Dot22": ["F", "N²·F"],
        "Elemwise": ["F", "N·F", "D·Σₙ₌₂..C (t − 4n)²"],
        "Alloc": ["D·Σₙ₌₂..C (t − 4(n − 1))²"],
        "Pool": ["D·Σₙ₌₂..C (t − 4(n − 1))²"],
        "Conv": ["D²·Σₙ₌₂..C (t − 4n)²"],
    }


def test_the_first_group_that_covers_a_kind_has_it() -> None:
    form = Form(**SMALL)
    names = {
        kind: g.name for kind in ("Conv", "Conv.nchwc", "Convolve", "Gemm") if (g := form.group_of(kind))
    }
    assert names == {"Conv": "Conv", "Conv.nchwc": "Conv", "Convolve": "other", "Gemm": "other"}
    assert Form(**{**SMALL, "group": SMALL["group"][:1]}).group_of("Gemm") is None


def test_the_kernels_form_counts_what_windows_hold() -> None:
    """Against a walk over every window, for images that no window is wider than."""
    wanted: list[dict[str, float]] = []
    shapes = product((1, 5, 7, 10, 16, 28, 31, 40), (1, 3, 5, 7, 11), (1, 2, 3, 4), range(6), (0, 1))
    for pixels, window, stride, ahead, more in shapes:
        if not ahead + more < window <= pixels:
            continue
        size = (pixels + 2 * ahead + more - window) // stride + 1
        held = [sum(0 <= i * stride - ahead + k < pixels for k in range(window)) for i in range(size)]
        inner = sum(n == window for n in held)
        sixes, rest = divmod(inner, 6)
        threes, rest = divmod(rest, 3)
        image = {"Wi": pixels, "Hi": pixels, "W": size, "H": size, "Kw": window, "Kh": window, "S": stride}
        counted = {"inner": inner, "edge": size - inner, "rows": sum(held), "last": rest == 1}
        counted |= {"cols": sum(held) - inner * window, "partial": size - inner + threes + (rest > 0)}
        assert inner == 6 * sixes + 3 * threes + rest
        wanted.append({**image, "P": 2 * ahead + more, **counted, "blocks": 5, "sets": 2, "lone": 1})
    assert len(wanted) > 500
    values: dict[str, Any] = {name: np.array([case[name] for case in wanted], float) for name in wanted[0]}
    values |= {"V": 16.0, "C": 1.0, "B": 1.0, "G": 1.0, "M": 80.0}
    for name, expression in read_form("kernels").definitions.items():
        found = expression.evaluate(values)
        np.testing.assert_array_equal(found, values.get(name, found), err_msg=name)
        values[name] = found


def test_kernels_form_has_a_group_for_every_kernel_of_the_cpu_runtime() -> None:
    form = read_form("kernels")
    kinds = [
        "Conv.nchw",
        "Conv.nchwc",
        "Conv.im2col",
        "Gemm",
        "MaxPool",
        "MaxPool.nchwc",
        "ReorderInput",
        "ReorderOutput",
        "Softmax",
    ]
    for kind in kinds:
        group = form.group_of(kind)
        assert group is not None
        assert group.name != "other"
    assert form.group_of("Something") is not None


def test_definitions_may_use_those_before_them() -> None:
    form = Form(**SMALL)
    assert list(form.definitions) == ["blocks", "sets"]
    assert form.definitions["sets"].evaluate({"blocks": 5}) == 2


def test_scope_says_which_variables_there_are() -> None:
    assert Form(**SMALL).variables == KERNEL_VARIABLES
    net = {"name": "n", "scope": "net", "group": [{"name": "g", "kinds": ["*"], "terms": ["t*D*F"]}]}
    assert Form(**net).variables == NET_VARIABLES
    with pytest.raises(SpecError, match="unknown name 't'"):
        Form(**{**net, "scope": "kernel"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"grup": []}, "mine.toml: unknown key 'grup'"),
        ({"scope": "kernels"}, "mine.toml: scope"),
        ({"unit": "image"}, "mine.toml: unit"),
        ({"group": []}, "mine.toml: group"),
        ({"group": None}, "mine.toml: group"),
        ({"group": [{"name": "g", "kinds": ["*"], "terms": []}]}, "mine.toml: group.0.terms"),
        ({"group": [{"name": "g", "kinds": ["*"], "term": ["1"]}]}, "mine.toml: "),
        ({"group": [SMALL["group"][0]] * 2}, "form 'small' has two groups of one name"),
        ({"version": 2}, "mine.toml has version 2; this edgeprof reads 1"),
        ({"version": 0}, "mine.toml: version"),
        ({"define": {"B": "1"}}, "form 'small': 'B' cannot be defined"),
        ({"define": {"a-b": "1"}}, "form 'small': 'a-b' cannot be defined"),
        ({"define": {"sets": "blocks", "blocks": "M"}}, "unknown name 'blocks'"),
        ({"overhead": ["Kh"]}, "unknown name 'Kh'"),
        ({"overhead": ["1 +"]}, "not an expression"),
    ],
)
def test_refusals(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_form({**SMALL, **change}, "mine.toml")
    assert says in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("where", ["group", "define", "overhead"])
def test_a_form_that_tries_to_run_code_is_refused_and_nothing_runs(
    attack: str, where: str, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    text = attack.format(mark)
    data = {
        "group": with_term(text),
        "define": {**SMALL, "define": {"blocks": text, "sets": "1"}},
        "overhead": {**SMALL, "overhead": [text]},
    }[where]
    with pytest.raises(SpecError):
        parse_form(data, "stranger.toml")
    assert not mark.exists()


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('scope = "kernel"\n[[group]]\nname = "all"\nkinds = ["*"]\nterms = ["X", "1"]\n')
    assert read_form(str(path)).name == "mine"
    path.write_text("scope = ")
    with pytest.raises(CatalogueError, match="is not TOML"):
        read_form(str(path))
    with pytest.raises(CatalogueError, match="there is no form called 'eq14'") as caught:
        read_form("eq14")
    assert "eq13" in caught.value.hint


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(ATTACKS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*SMALL, "unit", "version", "overhead", "about"]), VALUES)
def test_no_form_ends_in_a_traceback(key: str, value: Any) -> None:
    try:
        assert isinstance(parse_form({**SMALL, key: value}, "stranger.toml"), Form)
    except EdgeprofError as error:
        refusal = error
    else:
        return
    assert refusal.hint


def test_questions_and_searches() -> None:
    form = read_form("gpu")
    assert form.constants == {"Q"}
    assert form.candidates("Q")[0] == 4
    group = SMALL["group"][0]
    for wrong in ("V", "C+M", "C**2", ""):
        with pytest.raises(SpecError, match="no dimension or product"):
            parse_form({**SMALL, "group": [{**group, "ask": [wrong]}]}, "x")
    for search in ({"Q": "4"}, {"Q": "9..4"}, {"B": "1..4"}, {"Q": "1..99999"}):
        with pytest.raises(SpecError, match="write a range"):
            parse_form({**SMALL, "search": search}, "x")
