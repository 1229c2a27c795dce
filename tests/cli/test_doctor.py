"""``edgeprof doctor``."""

import json

from edgeprof.cli import run


def test_lines_fit_a_small_terminal(capsys):
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "ort-cpu" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_json(capsys):
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"name", "state", "detail", "remedy"} == set(found[0])
