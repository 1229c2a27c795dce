"""Decisions learnt from made-up cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.fit.learning import grow, roundest
from edgeprof.fit.rules import Rule, holds

FACTS = ("C", "M", "B", "from")


def leaves(rule: Rule) -> Iterator[Rule]:
    if rule.ask is None:
        yield rule
    else:
        assert rule.yes is not None
        assert rule.no is not None
        yield from leaves(rule.yes)
        yield from leaves(rule.no)


def right(rule: Rule, cases: list[tuple[dict[str, Any], str]]) -> int:
    return sum(rule.decide(facts).kind == label for facts, label in cases)


def test_one_label_is_one_leaf() -> None:
    assert grow([({"C": 3}, "Conv")] * 5) == Rule("Conv", 5)


def test_a_threshold_is_the_roundest_number_of_its_gap() -> None:
    cases = [({"C": c}, "nchw" if c < 16 else "nchwc") for c in (1, 3, 11, 21, 37, 50)]
    assert grow(cases).text() == "nchw if C < 16, else nchwc"


def test_a_multiple() -> None:
    cases = [({"M": m}, "nchwc" if m % 8 == 0 else "im2col") for m in range(5, 81)]
    assert grow(cases).text() == "nchwc if M a multiple of 8, else im2col"


def test_where_a_kernel_s_input_comes_from() -> None:
    cases = [({"C": 8, "from": source}, f"{source}'s") for source in ("Conv", "Gemm") for _ in range(4)]
    assert grow(cases).text() == "Conv's if from is Conv, else Gemm's"


def test_two_questions_in_a_row() -> None:
    cases = [
        ({"C": c, "M": m}, "direct" if m % 16 == 0 and c >= 32 else "im2col")
        for c in (1, 3, 8, 24, 32, 40, 64)
        for m in (8, 16, 20, 32, 48, 50)
    ]
    rule = grow(cases)
    assert right(rule, cases) == len(cases)
    assert rule.decide({"C": 128, "M": 64}).kind == "direct"
    assert rule.decide({"C": 128, "M": 63}).kind == "im2col"
    assert rule.decide({"C": 31, "M": 64}).kind == "im2col"


def test_what_no_question_explains_stays_with_the_majority() -> None:
    cases = [({"C": 8}, "a")] * 7 + [({"C": 8}, "b")] * 2
    assert grow(cases) == Rule("a", 7, {"b": 2})


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(1, 3, 2), (15, 16, 16), (11, 21, 16), (100, 101, 101), (3, 100, 64), (0, 1, 1), (20, 23, 22)],
)
def test_roundest(low: int, high: int, found: int) -> None:
    assert roundest(low, high) == found


def test_what_is_not_known_is_answered_with_no() -> None:
    assert not holds(("C", "<", 8), {"M": 1})
    assert not holds(("C", "%", 8), {})
    assert holds(("C", "%", 8), {"C": 16.0})


CASES = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {},
            optional={
                "C": st.integers(0, 200),
                "M": st.integers(0, 4096),
                "B": st.sampled_from([1, 16, 64]),
                "from": st.sampled_from(["input", "Conv", "Gemm"]),
            },
        ),
        st.sampled_from("abc"),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(CASES)
def test_grow_never_raises_and_is_no_worse_than_the_majority(cases: list[tuple[dict[str, Any], str]]) -> None:
    known = {"from"} if all("from" in facts for facts, _ in cases) else set()
    cases = [({k: v for k, v in facts.items() if k != "from" or known}, label) for facts, label in cases]
    rule = grow(cases)
    assert right(rule, cases) >= Counter(label for _, label in cases).most_common(1)[0][1]
    assert sum(leaf.seen for leaf in leaves(rule)) == right(rule, cases)
    assert sum(leaf.seen + sum(leaf.others.values()) for leaf in leaves(rule)) == len(cases)
    assert all(leaf.kind in "abc" for leaf in leaves(rule))
    assert Rule.from_dict(json.loads(json.dumps(rule.as_dict()))) == rule
    assert "\n" not in rule.text()
