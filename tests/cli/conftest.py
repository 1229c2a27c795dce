"""What tests of the command line share: running it, and what its errors look like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeprof.cli import run

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from edgeprof.__main__ import main; main()"


def command(*arguments: str) -> list[str]:
    """A command line that runs this checkout."""
    return [sys.executable, "-c", MAIN, *arguments]


def environment(**more: str) -> dict[str, str]:
    """The environment of a subprocess that runs this checkout."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "COLUMNS": "80",
        "PYTHONWARNINGS": "error::RuntimeWarning",
        **more,
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "TMPDIR", str(tmp_path)
    )  # a lock of its own: no waiting for other sweeps of this machine
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


Edgeprof = Callable[..., tuple[int, str, str]]


@pytest.fixture
def edgeprof(here: Path, capsys: pytest.CaptureFixture[str]) -> Edgeprof:
    """Run a command line in an empty folder: (status, standard output, standard error)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run(list(arguments))
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def edgeprof_json(edgeprof: Edgeprof) -> Callable[..., Any]:
    """Run a command line with ``--json`` and read the one document on its standard output."""

    def call(*arguments: str, status: int = 0) -> Any:
        found, out, err = edgeprof(*arguments, "--json")
        assert found == status, err
        return json.loads(out)

    return call


@pytest.fixture
def refused(edgeprof: Edgeprof) -> Callable[..., tuple[str, str]]:
    """Run a command line that must be refused: what its ``error:`` and ``hint:`` say."""

    def call(*arguments: str) -> tuple[str, str]:
        found = edgeprof(*arguments)
        return two_lines(*found)

    return call


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command line in a process of its own."""

    def call(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
        env = environment(**options.pop("env", {}))
        return subprocess.run(
            command(*arguments), cwd=cwd, env=env, capture_output=True, text=True, timeout=100, **options
        )

    return call


@pytest.fixture
def started() -> Callable[..., subprocess.Popen[str]]:
    """Start a command line in a process of its own."""

    def call(*arguments: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command(*arguments), cwd=cwd, env=environment(), **{**pipes, **options})

    return call


def two_lines(status: int, out: str, err: str) -> tuple[str, str]:
    """What an error says: exactly two lines."""
    lines: Sequence[str] = err.splitlines()
    assert sum(line.startswith(("error:", "hint:")) for line in lines) == 2, err
    assert status == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert len(lines[0]) > len("error: ") + 5
    assert len(lines[1]) > len("hint: ") + 5
    return lines[0].removeprefix("error: "), lines[1].removeprefix("hint: ")


@pytest.fixture
def said() -> Callable[..., tuple[str, str]]:
    """Read the two lines of an error."""
    return two_lines


STUDY = "simulated:gtx960-theano,noise=1%"


@pytest.fixture
def rehearsed(edgeprof: Edgeprof) -> Path:
    """A database of a small simulated sweep."""
    path = Path("r.db")
    grid = Path("grid.toml")
    grid.write_text("[vary]\nconv = [1, 2, 3]\nfc = [1, 2, 3]\ndepth = [5, 40]\nneurons = [128, 1024]\n")
    assert edgeprof("sweep", str(grid), "--backend", STUDY, "--db", str(path))[0] == 0
    grid.unlink()
    return path
