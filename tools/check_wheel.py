"""Build the sdist, build the wheel through it, and check the wheel in a bare environment.

Run by ``make build``; needs the package ``build``. Prints one line per check; what a failed command said
goes to standard error.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
CATALOGUE = {
    "sweeps": "sweeps/*.toml",
    "boards": "boards/*.toml",
    "forms": "fit/forms/*.toml",
    "laws": "fit/laws/*.json",
}

PARTS = ("css", "html", "js")  # of pages, beside the code

# Each probe runs in the bare environment and prints one JSON document.
MODULES = """
import importlib, json, pkgutil, edgeprof
found = {}
for module in pkgutil.walk_packages(edgeprof.__path__, "edgeprof.", onerror=lambda name: None):
    if not module.name.endswith(".__main__"):
        try:
            importlib.import_module(module.name)
            found[module.name] = None
        except BaseException as error:
            found[module.name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
COMMANDS = """
import json, typer.main, edgeprof.cli
def walk(command, path):
    for name, child in getattr(command, "commands", {}).items():
        yield [*path, name]
        yield from walk(child, [*path, name])
print(json.dumps(list(walk(typer.main.get_command(edgeprof.cli.app), []))))
"""


class Checks:
    """Runs checks, one line each, and counts how they went."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def __call__(self, name: str, check: Callable[[], str | None]) -> bool:
        """Run ``check``; it returns what is wrong, or nothing."""
        try:
            wrong = check()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            wrong = f"{type(error).__name__}: {error}"
        print(f"FAIL  {name}: {wrong}" if wrong else f"ok    {name}", flush=True)
        self.passed += not wrong
        self.failed += bool(wrong)
        return not wrong


def run(*command: str | Path, cwd: Path, timeout_s: float = 300) -> str:
    """Standard output of a command that must succeed, away from this checkout and its settings."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "EDGEPROF_CATALOGUE"}
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    env |= {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=timeout_s, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or "nothing was said"
        print(said[-4000:], file=sys.stderr)
        raise ValueError(f"exit status {done.returncode}: {said.splitlines()[-1]}")
    return done.stdout


def build(temp: Path) -> Path:
    """Build both distributions into dist/ (``build`` makes the wheel from the sdist) and find the wheel."""
    run(sys.executable, "-m", "build", "--outdir", temp / "dist", ROOT, cwd=temp)
    (wheel,) = (temp / "dist").glob("*.whl")
    (sdist,) = (temp / "dist").glob("*.tar.gz")
    DIST.mkdir(exist_ok=True)
    for old in [*DIST.glob("edgeprof-*.whl"), *DIST.glob("edgeprof-*.tar.gz")]:
        old.unlink()
    shutil.copy(sdist, DIST)
    return Path(shutil.copy(wheel, DIST))


def contents(wheel: Path) -> str | None:
    """What is wrong with the files in the wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    stray = {name.split("/")[0] for name in names if not name.startswith(("edgeprof/", "edgeprof-"))}
    if stray:
        return f"stray: {', '.join(sorted(stray))}"
    files = [file.relative_to(ROOT) for pattern in CATALOGUE.values() for file in ROOT.glob(pattern)]
    missing = [str(file) for file in files if f"edgeprof/_catalogue/{file}" not in names]
    parts = [file.relative_to(ROOT) for end in PARTS for file in ROOT.glob(f"edgeprof/**/*.{end}")]
    missing += [str(file) for file in parts if str(file) not in names]
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        missing.append("LICENSE")
    return f"missing: {', '.join(missing)}" if missing else None


def catalogue(edgeprof: Path, kind: str, flags: list[str], cwd: Path) -> str | None:
    """What is wrong with ``edgeprof list KIND``: it must name every file of the repository's folder."""
    output = run(edgeprof, "list", kind, *flags, cwd=cwd)
    if flags:
        output = json.dumps(json.loads(output), ensure_ascii=False)
    names = sorted(file.stem for file in ROOT.glob(CATALOGUE[kind]))
    if not names:
        return f"no {CATALOGUE[kind]} in the repository"
    missing = [name for name in names if name not in output]
    return f"not listed: {', '.join(missing)}" if missing else None


def main() -> int:
    check = Checks()
    with tempfile.TemporaryDirectory(prefix="edgeprof-wheel-") as folder:
        temp = Path(folder)
        wheels: list[Path] = []
        bin_ = temp / "venv" / "bin"
        python, edgeprof = bin_ / "python", bin_ / "edgeprof"

        def prepare() -> None:
            venv.create(temp / "venv", with_pip=True)
            run(python, "-m", "pip", "install", "-qq", wheels[0], cwd=temp)

        if check("the sdist builds, and the wheel from it", lambda: wheels.append(build(temp))) and check(
            "the wheel installs in a bare environment", prepare
        ):
            version = wheels[0].name.split("-")[1]
            check("the wheel holds the package, the catalogue and the licence", lambda: contents(wheels[0]))
            probe_all(check, python, edgeprof, version, temp)
    print(f"{check.passed} passed, {check.failed} failed")
    return 1 if check.failed else 0


def probe_all(check: Checks, python: Path, edgeprof: Path, version: str, cwd: Path) -> None:
    """Every check of the installed wheel."""

    def says(text: str, *args: str) -> str | None:
        output = run(edgeprof, *args, cwd=cwd)
        return None if text in output else f"no {text!r} in {output.strip()[:200]!r}"

    def modules() -> str | None:
        found = json.loads(run(python, "-c", MODULES, cwd=cwd))
        bad = [f"{name} ({error})" for name, error in found.items() if error]
        return "; ".join(bad) if found else "no module found"

    def commands() -> str | None:
        paths.extend(json.loads(run(python, "-c", COMMANDS, cwd=cwd)))
        return None if paths else "there are none"

    paths: list[list[str]] = []
    check("every module imports without any extra", modules)
    check("edgeprof --version", lambda: says(version, "--version"))
    check("edgeprof --help", lambda: says("Usage", "--help"))
    check("the subcommands are found", commands)
    for path in paths:
        check(f"edgeprof {' '.join(path)} --help", lambda path=path: says("Usage", *path, "--help"))
    for kind in CATALOGUE:
        for flags in [], ["--json"]:
            check(
                " ".join(["edgeprof list", kind, *flags]),
                lambda kind=kind, flags=flags: catalogue(edgeprof, kind, flags, cwd),
            )


if __name__ == "__main__":
    sys.exit(main())
