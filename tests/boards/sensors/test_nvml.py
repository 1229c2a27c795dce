"""Discrete GPUs: without the library, without a driver, and, where there is one, with a GPU."""

from __future__ import annotations

import sys

import pytest

from edgeprof.boards.sensors.nvml import gpus_here, read_gpus
from edgeprof.errors import BoardError


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what Python itself does for a module that is not there
    with pytest.raises(BoardError, match="nvidia-ml-py, which is not installed") as caught:
        read_gpus()
    assert "edgeprof[gpu]" in caught.value.hint
    assert gpus_here() == ()


def test_with_the_library() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    found = gpus_here()
    if found:  # a GPU: what it is called is the driver's business
        assert found == read_gpus()
        assert all(gpu.name and (gpu.memory_mib is None or gpu.memory_mib > 500) for gpu in found)
        return
    with pytest.raises(BoardError, match="NVIDIA driver") as caught:
        read_gpus()
    assert "nvidia-smi" in caught.value.hint
