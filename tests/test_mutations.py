"""Files that went wrong are read or refused; ``make torture`` tries thousands more."""

from contextlib import ExitStack

import pytest

from benchmarks.mutations import READERS, abuse, mutant, opened, originals, outcome
from edgeprof.errors import SpecError


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_went_wrong_is_read_or_refused(reader):
    report = abuse(reader, seed=20161114, count=300)
    assert report.trouble == []
    assert report.outcomes.total() == 300
    assert report.outcomes["refused"] > 100
    assert report.outcomes["accepted"] > 0


@pytest.mark.parametrize("reader", READERS)
def test_originals_are_read(reader, tmp_path):
    with ExitStack() as stack:
        give = opened(reader, tmp_path, stack)
        assert originals(reader)
        for data in originals(reader):
            assert outcome(give, data) == ("accepted", "")


@pytest.mark.parametrize("reader", READERS)
def test_a_mutant_can_be_made_again_and_is_no_original(reader):
    files = [mutant(reader, 1, number) for number in range(30)]
    assert files == [mutant(reader, 1, number) for number in range(30)]
    assert len(set(files)) > 25
    assert sum(file in originals(reader) for file in files) < 5


def test_what_is_no_error_of_edgeprof_would_be_seen():
    def give(data):
        if data == b"bug":
            raise KeyError("bug")
        if data == b"bare":
            raise SpecError("no", "")

    assert outcome(give, b"fine") == ("accepted", "")
    assert outcome(give, b"bare")[0] == "unclear"
    what, text = outcome(give, b"bug")
    assert what == "traceback"
    assert "KeyError" in text


ONE_THEN = """
import json, os, sys, time
print("ready\\n" + json.dumps({"number": 0, "outcome": "accepted", "text": "", "s": 0}), flush=True)
"""


@pytest.mark.parametrize("trouble", ["os.abort()", "time.sleep(60)"])
def test_a_reader_that_dies_or_hangs_would_be_seen(trouble, monkeypatch):
    monkeypatch.setattr("benchmarks.mutations.HANG_S", 0.5)
    monkeypatch.setattr("benchmarks.mutations.PROGRAM", ("-c", ONE_THEN + trouble))
    report = abuse("board", seed=1, count=2)
    assert [number for number, _ in report.trouble] == [1]
    assert report.outcomes == {"accepted": 1, "crash or hang": 1}
