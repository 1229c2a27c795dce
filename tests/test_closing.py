"""The command that goes on from a sweep, by running it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from edgeprof.cli import run
from edgeprof.closing import fit_command
from edgeprof.store import Store

MADE = dict(nets=6, rounds=2)


@pytest.mark.parametrize(
    ("settings", "narrow"),
    [
        ([{}], ""),
        ([{"power_mode": "7W"}, {"power_mode": "15W"}], " --where power_mode=7W"),
        (
            [{"threads": 2}, {"threads": 2, "machine": "another EPYC"}, {"threads": 4}],
            " --where machine=EPYC --where threads=2",
        ),
        ([{"launch": "async"}, {"launch": "blocking"}], ""),
        ([{"launch": "graph"}, {"launch": "async"}], " --launch async"),
    ],
    ids=["one", "modes", "threads", "blocking", "graph"],
)
def test_it_names_one_law_s_part_of_a_database(database, settings, narrow, in_folder: Path, capsys) -> None:
    """Networks of the first setting and of others; the made-up law of these is of no interest."""
    for setting in settings:
        database("a b.db", **MADE, **setting)
    with Store(Path("a b.db")) as store:
        like = store.measurements()[0].case
    command = fit_command(Path("a b.db"), like)
    assert command == f"edgeprof fit --db 'a b.db'{narrow} --out law.json"
    assert run(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert Path("law.json").exists()
