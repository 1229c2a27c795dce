"""Who puts back what a sweep left, and sweeps: never both at a place."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from edgeprof.errors import BoardError
from edgeprof.timing.place import HERE, RESTORING, device_lock, restoring, wait_for_restoring


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """In a folder of its own, which has a name that could be a lock's too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "edgeprof-1-x").mkdir()
    (tmp_path / "edgeprof-free-0.lock").touch()  # of a sweep that was killed


def test_nothing_is_put_back_while_a_sweep_runs():
    assert HERE.busy() == []
    with device_lock("jetson-nano", pytest.fail):
        assert HERE.busy() == ["jetson-nano"]
        with pytest.raises(BoardError, match="a sweep of jetson-nano is running") as caught, restoring(HERE):
            pytest.fail("it was put back")
    assert "Ctrl-C" in caught.value.hint
    assert HERE.busy() == []
    with restoring(HERE):
        assert HERE.busy() == [RESTORING]


def test_two_do_not_put_it_back_at_once():
    with restoring(HERE):
        with pytest.raises(BoardError, match="--restore is under way already"), restoring(HERE):
            pytest.fail("it was put back twice")
        assert HERE.busy() == [RESTORING]


def test_a_sweep_waits_until_it_is_put_back():
    said = []
    with ExitStack() as held:
        held.enter_context(restoring(HERE))

        def waiting(text):
            said.append(text)
            held.close()

        with device_lock("jetson-nano", pytest.fail):
            wait_for_restoring(HERE, waiting)
    assert said == ["edgeprof doctor --restore is under way: waiting for it (Ctrl-C gives up)"]
    with device_lock("jetson-nano", pytest.fail):
        wait_for_restoring(HERE, pytest.fail)
