"""Fetch edgeprof and all that it needs as wheels, for a machine without a network.

``python tools/airgap.py FOLDER --python 3.12 --machine x86_64 --glibc 2.35 --extra gpu`` where there is a network; the
folder is carried over, and ``python3 -m pip install --no-index --find-links FOLDER 'edgeprof[gpu]'`` installs from it
alone. The machine may have another processor and another Python than this one. What has no wheel for it is named, and
nothing is compiled.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LEGACY = {
    5: "manylinux1",
    12: "manylinux2010",
    17: "manylinux2014",
}  # PEP 600: other names of some glibc versions


def platforms(machine: str, glibc: str) -> list[str]:
    """Tags of wheels that run on Linux with this processor and glibc, the newest first (PEP 600)."""
    major, _, minor = glibc.partition(".")
    if major != "2" or not minor.isdigit():
        raise SystemExit(f"error: glibc {glibc!r} is none\nhint: ldd --version tells it, such as 2.35")
    oldest = 5 if machine in ("x86_64", "i686") else 17
    found = []
    for version in range(int(minor), oldest - 1, -1):
        found.append(f"manylinux_2_{version}_{machine}")
        if version in LEGACY:
            found.append(f"{LEGACY[version]}_{machine}")
    return [*found, f"linux_{machine}"]


def fetch(
    folder: Path,
    python: str,
    machine: str,
    glibc: str,
    extras: Sequence[str],
    wheel: Path | None,
    pip: Sequence[str],
) -> list[str]:
    """Names of the wheels that ``folder`` then has.

    :param wheel: edgeprof's own; built from this checkout unless given. :param pip: further arguments of pip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    with tempfile.TemporaryDirectory() as scratch:
        if wheel is None:
            run([*command, "wheel", "--no-deps", "--wheel-dir", scratch, str(ROOT)])
            (wheel,) = Path(scratch).glob("*.whl")
        tags = [argument for tag in platforms(machine, glibc) for argument in ("--platform", tag)]
        target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *tags]
        extra = f"[{','.join(extras)}]" if extras else ""
        wanted = [f"edgeprof{extra} @ {wheel.resolve().as_uri()}", *requirements(wheel, python, extras)]
        run([*command, "download", *pip, *target, "--dest", str(folder), *wanted])
    return sorted(path.name for path in folder.glob("*.whl"))


def requirements(wheel: Path, python: str, extras: Sequence[str]) -> list[str]:
    """What a wheel asks for on that Python: pip itself judges conditions by the Python that runs it."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    found = []
    for requirement in map(Requirement, lines):
        marker, requirement.marker = requirement.marker, None
        if marker is None or any(
            marker.evaluate({"python_version": python, "extra": e}) for e in ("", *extras)
        ):
            found.append(str(requirement))
    return [text for text in found if not text.startswith("edgeprof")]


def run(command: Sequence[str]) -> None:
    """Run pip; what it complains of is the error."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PIP_NO_INPUT": "1"}
    )
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            done.stderr.strip()
        ]
        hint = "hint: another --python, --glibc or --extra has wheels; what is named has none for this one"
        raise SystemExit(f"error: {complaints[-1].removeprefix('ERROR: ')}\n{hint}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch, and say what to do with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}", help="of that machine"
    )
    parser.add_argument("--machine", default="x86_64", help="its processor: x86_64 or aarch64 (uname -m)")
    parser.add_argument("--glibc", default="2.28", help="its C library (ldd --version)")
    parser.add_argument(
        "--extra", action="append", default=[], help="cpu, gpu, report, …; may be given again"
    )
    parser.add_argument("--wheel", type=Path, help="edgeprof's own wheel, if it is built already")
    parser.add_argument("--pip", action="append", default=[], help="a further argument of pip download")
    given = parser.parse_args(arguments)
    names = fetch(given.folder, given.python, given.machine, given.glibc, given.extra, given.wheel, given.pip)
    size = sum((given.folder / name).stat().st_size for name in names) / 2**20
    extra = f"[{','.join(given.extra)}]" if given.extra else ""
    print(f"{len(names)} wheels, {size:,.0f} MiB, in {given.folder}")
    print(f"there: python3 -m pip install --no-index --find-links {given.folder.name} 'edgeprof{extra}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
