"""Device-tree strings, as real boards have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.boards.sensors.devicetree import DeviceTree, read_device_tree, strings

MODELS = (Path(__file__).parents[2] / "data/jetson/device_tree_models.txt").read_text().splitlines()
THOR = b"nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("folder", ["proc/device-tree", "sys/firmware/devicetree/base"])
def test_a_real_model(tree: Callable[..., Path], folder: str, model: str) -> None:
    root = tree({f"{folder}/model": f"{model}\0", f"{folder}/compatible": THOR})
    assert read_device_tree(root) == DeviceTree(
        model, ("nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264")
    )


def test_half_a_device_tree_and_none(tree: Callable[..., Path]) -> None:
    assert read_device_tree(tree({})) == DeviceTree(None, ())
    assert read_device_tree(tree({"proc/device-tree/model": ""})) == DeviceTree(None, ())
    assert read_device_tree(tree({"proc/device-tree/model": "quill\0"})) == DeviceTree("quill", ())


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    assert all(part.strip() and "\0" not in part for part in strings(data))
