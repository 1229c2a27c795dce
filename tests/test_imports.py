"""Imports: data flows downwards, as pyproject.toml says, and every module has a place there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
HINT = "import-linter is not installed: pip install 'edgeprof[dev]'"


def test_no_module_imports_what_stands_above_it() -> None:
    """In a process of its own, which the linter's settings of logging do not leave."""
    pytest.importorskip("importlinter", reason=HINT)
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_every_module_has_a_place() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    told = {name for layer in settings["contracts"][0]["layers"] for name in re.split(r"\s*\|\s*", layer)}
    package = ROOT / "edgeprof"
    found = {
        f"edgeprof.{path.stem}"
        for path in package.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    halves = {f"edgeprof.timing.{path.stem}" for path in (package / "timing").glob("*.py")}
    assert told == (found | halves) - {"edgeprof.__init__", "edgeprof.timing", "edgeprof.timing.__init__"}
