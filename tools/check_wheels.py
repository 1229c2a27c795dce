"""Check that wheels for 64-bit ARM exist of everything that edgeprof needs: JetPack 6 has Python 3.10, JetPack 7 3.12.

``python tools/check_wheels.py`` reads the core dependencies from pyproject.toml and asks pip for them and all that they
need in turn, as wheels for glibc 2.17 and newer; it needs the network and keeps nothing. Status 1 where one is missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.12")
# What the glibc of Ubuntu 22.04 (JetPack 6) takes, the oldest name first.
PLATFORMS = (
    "manylinux2014_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_28_aarch64",
)
PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def requirements(extras: Sequence[str]) -> list[str]:
    """Core dependencies, and those of extras."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    return [
        *project["dependencies"],
        *(r for extra in extras for r in project["optional-dependencies"][extra]),
    ]


def wheels(wanted: Sequence[str], python: str, platforms: Sequence[str]) -> tuple[list[str], str]:
    """Names of the wheels that pip would install, or what it complains of."""
    asked = [r for r in wanted if _for(r, python)]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--dest",
            folder,
        ]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
        command += [part for platform in platforms for part in ("--platform", platform)]
        done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False)
        names = sorted(path.name for path in Path(folder).glob("*.whl"))
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return names, (lines or [done.stderr.strip()])[-1] if done.returncode else ""


def _for(requirement: str, python: str) -> bool:
    """Whether a requirement is for this Python: pip judges markers by the Python that runs it."""
    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"python_version": python})


def main() -> int:
    """Check every Python; print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extra", action="append", default=[], help="an extra too, such as cpu")
    parser.add_argument("--platform", action="append", default=[], help=f"instead of {', '.join(PLATFORMS)}")
    given = parser.parse_args()
    status = 0
    for python in PYTHONS:
        names, trouble = wheels(requirements(given.extra), python, given.platform or PLATFORMS)
        if trouble:
            print(f"Python {python}: {trouble}")
            status = 1
        else:
            native = [name for name in names if "aarch64" in name]
            print(f"Python {python}: {len(names)} wheels, {len(native)} of them for aarch64")
            print("\n".join(f"  {name}" for name in native))
    return status


if __name__ == "__main__":
    sys.exit(main())
