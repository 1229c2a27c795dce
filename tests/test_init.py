"""The public API: every name is what it says, each time it is asked for."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import edgeprof


def test_every_name_is_there_and_stays_what_it_is() -> None:
    """In a process of its own: a module of the same name must not take the place of a function."""
    code = """
import edgeprof, types
for name in edgeprof.__all__:
    first, second = getattr(edgeprof, name), getattr(edgeprof, name)
    assert first is second and not isinstance(first, types.ModuleType), name
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgeprof.nothing
    assert not isinstance(edgeprof.compare_sides, ModuleType)


def test_the_names_alone_load_nothing() -> None:
    code = "import edgeprof, sys; assert not {'numpy', 'onnx', 'pydantic', 'scipy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
