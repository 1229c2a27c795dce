"""Files of laws: what they hold, and those of strangers."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof import catalogue
from edgeprof.errors import CatalogueError, EdgeprofError, SpecError
from edgeprof.fit.emit.text import law_text
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, parse_law, read_law, write_law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import NetSpec, net_spec

from .laws import FILE, SMALL, STUDY


@pytest.mark.parametrize("law", [STUDY, Law(**SMALL)], ids=["net", "kernel"])
def test_a_file_holds_the_whole_law(law: Law, tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    write_law(law, path)
    again = read_law(str(path))
    assert again == law
    assert law_json(again) == path.read_text() == law_json(law)
    net: NetSpec = net_spec(conv=2, depth=12)
    assert predict(again, net, 1024) == predict(law, net, 1024)
    assert [p.name for p in tmp_path.iterdir()] == ["law.json"]


def test_every_shipped_law_is_what_fit_would_write() -> None:
    for entry in catalogue.entries("laws"):
        law = parse_law(entry.path.read_text("utf-8"), entry.name)
        assert law.name == entry.name
        assert json.loads(entry.path.read_text("utf-8")) == json.loads(law_json(law))


def test_a_law_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot write") as caught:
        write_law(STUDY, tmp_path / "no" / "law.json")
    assert "another file" in caught.value.hint
    folder = tmp_path / "law.json"
    folder.mkdir()
    with pytest.raises(SpecError):
        write_law(STUDY, folder)
    assert [p.name for p in tmp_path.iterdir()] == ["law.json"]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(CatalogueError, match="there is no law called 'gtx980'") as caught:
        read_law("gtx980")
    assert "gtx960-theano" in caught.value.hint
    with pytest.raises(CatalogueError, match=r"no such file: nowhere\.json"):
        read_law("nowhere.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "law.json is not JSON"),
        ("{", "law.json is not JSON"),
        ("[" * 100_000, "law.json is not JSON"),
        ('{"version": ' + "9" * 5000 + "}", "law.json is not JSON"),
        ("[]", "law.json is no law"),
        ("null", "law.json is no law"),
        ("{}", "law.json: name: Field required"),
        (json.dumps({**FILE, "version": 2}), "law.json is a law of version 2; this edgeprof reads 1"),
        (json.dumps({**FILE, "version": "1"}), "law.json: version"),
        (json.dumps({**FILE, "colour": "red"}), "law.json: unknown key 'colour'"),
        (json.dumps({**FILE, "groups": []}), "law.json: "),
        (json.dumps({**FILE, "conformal": [[1, 1e4]]}), "law.json: conformal.0"),
        (json.dumps({**FILE, "conformal": [[0, 0.1]]}), "law.json: conformal.0"),
        (json.dumps({**FILE, "conformal": [[1, math.nan]]}), "law.json: conformal.0"),
        (json.dumps({**FILE, "domain": {"depth": []}}), "law.json: domain: depth"),
        (json.dumps({**FILE, "domain": {"depth": ["a", "b"]}}), "law.json: domain: depth"),
        (json.dumps({**FILE, "domain": {"depth": [math.inf, 5]}}), "law.json: domain: depth"),
        (json.dumps({**FILE, "rules": {"operators": {"Conv": {}}}}), "a kernel rule is wrong"),
        (
            json.dumps({**FILE, "rules": {"operators": {"Conv": {"kind": "a", "seen": math.inf}}}}),
            "a kernel rule",
        ),
    ],
)
def test_what_is_no_law_is_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_law(text, "law.json")
    assert says in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 600


def test_coefficients_are_times() -> None:
    for wrong in (-1e-9, math.inf, math.nan, None, "many"):
        data = copy.deepcopy(FILE)
        data["groups"][0]["terms"][0]["coefficient"] = wrong
        with pytest.raises(SpecError, match=r"groups\.0\.terms\.0\.coefficient"):
            parse_law(json.dumps(data), "law.json")


# --- strangers' files


@pytest.mark.parametrize(
    "attack",
    [
        "__import__('os').system('touch {}')",
        "F + __import__('pathlib').Path('{}').touch()",
        "[open('{}', 'w') for n in range(1)]",
        'exec(\'open("{}", "w")\')',
        "F.__class__.__mro__",
    ],
)
@pytest.mark.parametrize("where", ["term", "overhead", "define"])
def test_a_law_that_tries_to_run_code_is_refused_and_nothing_runs(
    attack: str, where: str, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    text = attack.format(mark)
    data = copy.deepcopy(FILE)
    if where == "term":
        data["groups"][0]["terms"][0]["text"] = text
    elif where == "overhead":
        data["overhead"][0]["text"] = text
    else:
        data["define"] = {"q": text}
    path = tmp_path / "law.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SpecError):
        read_law(str(path))
    assert not mark.exists()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1", "B", "F*N", "1/0", "sum(n, n, 1, 9**8)", "Conv", "\ud800", "28", "\x1b[2J\n"])
    | st.sampled_from([0, -1, 1e308, 5e-324, 1e-300, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is in a JSON document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += places(item, (*path, i))
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_law_with_anything_in_it_is_a_law_or_an_error(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from([FILE, SMALL])))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(document)))
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if action == "drop":
            del holder[path[-1]]
        elif action == "add" and isinstance(holder, dict):
            holder[data.draw(st.text(max_size=5))] = data.draw(JSON)
        else:
            holder[path[-1]] = data.draw(JSON)
    try:
        law = parse_law(json.dumps(document), "stranger.json")
        assert isinstance(law, Law)
        found = predict(law, net_spec(conv=2, depth=(8, 20)), 16)
        assert found.latency_ms > 0
        assert all(len(line) > 0 or line == "" for line in law_text(law).splitlines())
        assert parse_law(law_json(law), "again").name == law.name
    except EdgeprofError as error:
        refusal = error
    else:
        return
    assert refusal.hint
    assert "\n" not in refusal.message + refusal.hint
