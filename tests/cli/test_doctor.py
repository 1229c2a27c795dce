"""``edgeprof doctor``."""

import json
from dataclasses import asdict

from edgeprof.boards.locks import JOURNAL, Locked
from edgeprof.cli import run


def test_lines_fit_a_small_terminal(capsys):
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "ort-cpu" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    starts = [line.split()[1] for line in text.splitlines() if line[0] in "✓!–"]
    assert "ort-tensorrt-rtx" in starts  # a long name stands clear of what is said of it


def test_a_gpu_whose_clocks_a_killed_sweep_left_locked(card, tmp_path, monkeypatch, capsys):
    """The library in C stands in for the driver's: what is called, no figure of a GPU."""
    monkeypatch.setenv("EDGEPROF_ROOT", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # locks of its own
    left = Locked("GPU-0a2", "NVIDIA A2")
    journal = tmp_path / JOURNAL
    journal.parent.mkdir(parents=True)
    for flags in ([], ["--json"]):
        journal.write_text(json.dumps(asdict(left)))
        (card / "gpu_lock").write_text("1770 1770")
        assert run(["doctor", "--restore", *flags]) == 0
        said = capsys.readouterr().out
        assert not (card / "gpu_lock").exists()
        assert not journal.exists()
        if flags:
            assert json.loads(said) == {"restored": None, "clocks": asdict(left)}
        else:
            assert said == "put back: the clocks of NVIDIA A2\n"
    assert run(["doctor", "--restore"]) == 0
    assert capsys.readouterr().out == "nothing to put back\n"


def test_json(capsys):
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"name", "state", "detail", "remedy"} == set(found[0])
