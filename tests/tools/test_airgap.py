"""Wheels for a machine without a network: the right ones are taken, and installing needs nothing else."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import airgap

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a small wheel in a folder of its own: an index without a network."""

    def wheel(name: str, tag: str, *needs: str, folder: str = "index") -> Path:
        path = tmp_path / folder / f"{name}-1.0-{tag}.whl"
        path.parent.mkdir(exist_ok=True)
        meta = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0", *(f"Requires-Dist: {n}" for n in needs)]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.py", "here = True\n")
            archive.writestr(f"{name}-1.0.dist-info/METADATA", "\n".join(meta) + "\nProvides-Extra: gpu\n")
            archive.writestr(
                f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
            )
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
        return path

    return wheel


@pytest.fixture
def own(make: Make, tmp_path: Path) -> list[str]:
    """Arguments for a small edgeprof, whose needs are in an index without a network."""
    for python in ("cp310", "cp312"):
        for kind in ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "manylinux_2_36_x86_64"):
            make("fast", f"{python}-{python}-{kind}")
    make("runtime", "py3-none-any", "fast")
    make("old", "py3-none-any")
    needs = ("fast", "old; python_version < '3.11'", "runtime; extra == 'gpu'")
    wheel = make("edgeprof", "py3-none-any", *needs, folder="own")
    return ["--wheel", str(wheel), "--pip=--no-index", f"--pip=--find-links={tmp_path / 'index'}"]


def test_wheels_of_that_machine_and_no_others(own: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for python, machine, glibc, more, takes in (
        ("3.12", "aarch64", "2.35", [], ["fast-1.0-cp312-cp312-manylinux_2_28_aarch64.whl"]),
        ("3.12", "x86_64", "2.39", [], ["fast-1.0-cp312-cp312-manylinux_2_36_x86_64.whl"]),
        (
            "3.10",
            "x86_64",
            "2.28",
            ["--extra", "gpu"],
            [
                "fast-1.0-cp310-cp310-manylinux_2_28_x86_64.whl",
                "old-1.0-py3-none-any.whl",
                "runtime-1.0-py3-none-any.whl",
            ],
        ),
    ):
        folder = out / f"{python}-{machine}"
        asked = [str(folder), "--python", python, "--machine", machine, "--glibc", glibc]
        assert airgap.main([*asked, *more, *own]) == 0
        assert sorted(p.name for p in folder.iterdir()) == sorted(["edgeprof-1.0-py3-none-any.whl", *takes])


def test_it_installs_from_the_folder_alone(own: list[str], make: Make, tmp_path: Path) -> None:
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    make("fast", f"{tag}-{tag}-manylinux_2_5_x86_64")
    make("fast", f"{tag}-{tag}-manylinux_2_17_aarch64")
    folder, site = tmp_path / "wheels", tmp_path / "site"
    machine = "aarch64" if platform.machine() == "aarch64" else "x86_64"
    assert airgap.main([str(folder), "--machine", machine, "--glibc", "2.17", "--extra", "gpu", *own]) == 0
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(folder)]
    command += ["--target", str(site), "--disable-pip-version-check", "edgeprof[gpu]"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    assert {p.name for p in site.glob("*.py")} >= {"edgeprof.py", "fast.py", "runtime.py"}


def test_what_has_no_wheel_is_named(own: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*fast.*\nhint: ") as caught:
        airgap.main([str(tmp_path / "out"), "--python", "3.9", *own])
    assert "Traceback" not in str(caught.value)


def test_platforms_are_the_newest_first_with_their_older_names() -> None:
    found = airgap.platforms("x86_64", "2.17")
    assert found[:3] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64"]
    assert found[-2:] == ["manylinux1_x86_64", "linux_x86_64"]
    assert airgap.platforms("aarch64", "2.17") == [
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]
    with pytest.raises(SystemExit, match="is none"):
        airgap.platforms("x86_64", "new")
