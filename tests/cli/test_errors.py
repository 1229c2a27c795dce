"""Whatever goes wrong: two lines on standard error, status 2, no traceback, and nothing written is lost."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgeprof.fit.law_file import law_json, read_law

ROOT = Path(__file__).resolve().parents[2]
STUDY = "simulated:gtx960-theano,noise=1%"
KERNELS = ROOT / "tests" / "data" / "laws" / "cpu-kernels.json"
VERBS = (
    "sweep",
    "fit",
    "predict",
    "query",
    "validate",
    "profile",
    "compare",
    "report",
    "export",
    "merge",
    "list",
    "show",
)
Refused = Callable[..., tuple[str, str]]
Process = Callable[..., subprocess.CompletedProcess[str]]


# --- requests that are wrong


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("sweep --bogus", "No such option: --bogus"),
        ("sweep --rounds 0", "Invalid value for '--rounds'"),
        ("sweep --rounds many", "Invalid value for '--rounds'"),
        ("sweep --nets -1", "Invalid value for '--nets'"),
        ("sweep --nets 1000000", "Invalid value for '--nets'"),
        ("sweep --budget ''", "'' is no duration"),
        ("sweep --dry-run --soak x", "'x' is no duration"),
        ("sweep --sustained ''", "'' is no duration"),
        ("sweep --in-flight ''", "--in-flight '' has an empty value"),
        ("sweep --in-flight 1,two", "'two' is no whole number"),
        ("sweep --in-flight 65", "65 runs in flight cannot be measured"),
        ("sweep quick --batch max,3", "max stands alone"),
        ("sweep quick --threads 1,some --dry-run", "threads: "),
        ("sweep --dry-run --db /", "database /: unable to open"),
        ("sweep --dry-run --db no/such/sweep.db", "database no/such/sweep.db: unable to open"),
        ("sweep --clocks ''", "--clocks '' is not known"),
        ("sweep --power-mode ''", "'' has an empty name"),
        ("sweep --host ''", "--host names no board"),
        ("sweep group4 --padding full", "padding must be valid, same or pixels from 0 to 1024, not 'full'"),
        ("compare a.db b.db --fail-if-unsure", "--fail-if-unsure is of --fail-if-slower"),
        ("show resnet18 --batch 99999999999", "Invalid value for '--batch'"),
        ("query --law gtx960-theano --rank size", "'--rank': 'size' is not one of"),
        ("query --law gtx960-theano --max-memory 0", "--max-memory 0"),
        ("sweep /", "/ is a folder, no file"),
        ("fit --seed -1 --nets 3", "Invalid value for '--seed'"),
        ("profile lenet5 --trace no/such/trace.json", "cannot write no/such/trace.json: No such file"),
        ("fit --out /", "cannot write /: Is a directory"),
        ("fit --out no/such/law.json", "cannot write no/such/law.json: No such file"),
        ("fit --steps no/such/steps.svg", "cannot write no/such/steps.svg"),
        ("fit --batch 3", "--batch and --target are of a table"),
        ("compare '' edgeprof.db", "a side has no name"),
        ("fit --launch blokking", "Invalid value for '--launch'"),
        ("sweep --target-ci 0", "'0' is no share"),
        ("sweep --target-ci wide", "'wide' is no share"),
        ("sweep --budget soon", "'soon' is no duration"),
        ("sweep --depth -3", "depth"),
        ("sweep --depth 8,,16", "has an empty value"),
        ("sweep --depth deep", "depth"),
        ("sweep --conv 1 --kernel 99", "no pixels left"),
        ("sweep group4 --conv 9 --nets 3", "is no random sample"),
        ("sweep group4 --launch graph", "launch"),
        ("sweep group4 --precision int3", "precision"),
        ("sweep group4 --threads -1", "threads"),
        ("sweep group9", "there is no sweep called 'group9'"),
        ("sweep ./group9.toml", "no such file: ./group9.toml"),
        ("sweep --board mars", "there is no board called 'mars'"),
        ("sweep --board jetson", "this is no Jetson: there is no /proc/device-tree/model"),
        ("sweep --board rtx-4090", "rtx-4090 cannot be measured: "),
        ("sweep --batch max --dry-run", "the largest batch"),
        ("sweep --batch max --budget 1m", "the largest batch"),
        ("validate --law gtx960-theano --board jetson", "this is no Jetson"),
        ("sweep --backend abacus", "there is no backend called 'abacus'"),
        ("sweep --backend simulated", "the simulated backend needs a law"),
        ("sweep --backend simulated:nowhere", "there is no law called 'nowhere'"),
        ("sweep --backend simulated:gtx960-theano,noise=lots", "no setting of the simulated backend"),
        ("sweep --tiles nowhere", "nowhere"),
        ("sweep --power-mode ,", "has an empty name"),
        ("sweep --clocks high", "--clocks 'high' is not known"),
        ("sweep --sustained never", "'never' is no duration"),
        ("sweep --soak x", "'x' is no duration"),
        ("sweep --rate 0", "Invalid value for '--rate'"),
        ("sweep --whole-time", "--whole-time is of --sustained"),
        ("doctor --host user@board", "--host, --host-python and --yes are of --restore"),
        ("doctor --restore --host ''", "--host names no board"),
        ("sweep --db no/such/folder.db", "no/such/folder.db"),
        ("predict", "Missing option '--law'"),
        ("predict --law gtx960-theano --depth -3 --batch 1", "depth"),
        ("predict --law gtx960-theano --conv 9 --batch 1", "no pixels left"),
        (
            "predict --law gtx960-theano --depth 1,2,3 --conv 2 --batch 1",
            "depth has 3 values for 2 conv layers",
        ),
        ("predict --law gtx960-theano --batch 0", "batch"),
        ("predict --law gtx960-theano --batch 1,2", "batch"),
        ("predict --law gtx960-theano --batch x", "batch"),
        ("predict --law gtx960-theano --level 1 --batch 1", "is no share"),
        ("predict --law gtx960 --batch 1", "there is no law called 'gtx960'"),
        ("predict --law datasheet --batch 1", "law 'datasheet' is in the peaks of a board"),
        ("predict --law datasheet:mars --batch 1", "there is no board called 'mars'"),
        ("query --law datasheet:cpu", "board 'cpu' has no peaks for a law"),
        ("query --law jetson-nano-cells --batch 1", "is of a table of cell"),
        ("predict --law jetson-nano-cells --batch 1", "is of networks told by cell alone"),
        ("show nowhere:jetson-nano", "there is no law called 'nowhere'"),
        ("sweep kernels --backend simulated:gtx960-theano", "is not of the family"),
        ("profile lenet5 --backend simulated:gtx960-theano", "is not of the family"),
        ("validate --law jetson-nano-cells", "is of a table of cell"),
        ("fit --db .", ". is a folder, and no database"),
        ("validate", "Missing option '--law'"),
        ("validate --law gtx960-theano --nets 0", "Invalid value for '--nets'"),
        ("export --format xml", "there is no format 'xml'"),
        ("merge", "Missing"),
        ("list", "Missing argument"),
        ("list cows", "there is no list of 'cows'"),
        ("list sweeps boards", "unexpected extra argument"),
        ("show", "Missing argument"),
    ],
)
def test_requests_that_are_wrong(line: str, says: str, refused: Refused) -> None:
    database = [] if "--db" in line or line.split()[0] != "sweep" else ["--db", "x.db"]
    for more in ([], ["--json"]):
        message, _ = refused(*shlex.split(line), *database, *([] if line == "frobnicate" else more))
        assert says.lower() in message.lower()
    what, hint = refused("sweep", "--rounds")
    assert (what, hint) == (
        "Option '--rounds' requires an argument.",
        "edgeprof sweep --help tells what it takes",
    )
    assert not Path("x.db").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[net]\ndepht = 8", "unknown key 'depht'"),
        ("[nets]\ndepth = 8", "unknown key 'nets'"),
        ("[net]\ndepth = -8", "depth"),
        ("[net]\nconv = 7", "no pixels left"),
        ("[net]\nkernel = 30", "no pixels left"),
        ("[net", "is not TOML"),
        ("version = 9", "has version 9"),
        ("[sample]\nnets = 5\nkernel = [99]", "networks could be drawn"),
    ],
)
def test_sweep_files_that_are_wrong(text: str, says: str, refused: Refused, here: Path) -> None:
    (here / "s.toml").write_text(text)
    assert says in refused("sweep", "s.toml", "--db", "x.db", "--backend", STUDY)[0]
    assert not Path("x.db").exists()


def test_hints_name_what_is_near(refused: Refused, here: Path) -> None:
    (here / "study.json").write_text("{}")
    (here / "study.db").write_bytes(b"")
    assert "did you mean study.json?" in refused("predict", "--law", "study")[1]
    assert refused("predict", "--law", "study.db")[0] == "study.db is no law: the file of one ends in .json"
    assert "edgeprof list boards shows their names" in refused("sweep", "--board", "zzzzz", "--db", "x.db")[1]
    assert refused("sweep", "--backend", "ort-cp", "--db", "x.db")[1] == "did you mean ort-cpu?"
    message, hint = refused("sweep", "--threads", "two", "--db", "x.db")
    assert "threads: Input should be a valid integer" in message
    assert message.count("sweep 'quick'") == 1
    assert "widen the ranges" not in hint


def test_no_result_is_written_over_a_database(refused: Refused, rehearsed: Path, here: Path) -> None:
    before = rehearsed.read_bytes()
    for arguments in (["fit", "--form", "eq13"], ["export"], ["export", "--format", "csv"]):
        message, _ = refused(*arguments, "--db", "r.db", "--out", "r.db")
        assert message == "r.db is a database, which would be lost"
    assert refused("show", "lenet5", "--out", "r.db")[0] == "r.db is a database, which would be lost"
    assert rehearsed.read_bytes() == before


def test_folders_without_tiles(refused: Refused, here: Path) -> None:
    (here / "empty").mkdir()
    assert "empty" in refused("sweep", "group4", "--tiles", "empty", "--db", "x.db")[0]
    (here / "text.png").write_text("no picture")
    assert "text.png" in refused("sweep", "group4", "--tiles", "text.png", "--db", "x.db")[0]
    assert not Path("x.db").exists()


# --- files that are wrong


def change(**more: Any) -> str:
    return json.dumps({**json.loads(law_json(read_law("gtx960-theano"))), **more})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (change(version=2), "is a law of version 2; this edgeprof reads 1"),
        (change(colour="red"), "unknown key 'colour'"),
        (change(groups=[]), "group"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("\x00\xff", "law.json"),
    ],
)
def test_laws_that_are_wrong(text: str, says: str, refused: Refused, here: Path) -> None:
    (here / "law.json").write_bytes(text.encode("latin-1"))
    for arguments in (["predict", "--batch", "1"], ["validate"], ["predict", "--batch", "1", "--json"]):
        assert says in refused(*arguments, "--law", "law.json")[0]


def test_laws_and_forms_that_try_to_run_code(refused: Refused, rehearsed: Path) -> None:
    attack = "__import__('os').system('touch ran')"
    Path("law.json").write_text(change(overhead=[{"text": attack, "coefficient": 1}]))
    assert "unknown function" in refused("predict", "--law", "law.json", "--batch", "1")[0]
    assert "unknown function" in refused("sweep", "--backend", "simulated:law.json", "--db", "x.db")[0]
    Path("form.toml").write_text(
        f'scope = "net"\n[[group]]\nname = "g"\nkinds = ["*"]\nterms = ["{attack}"]\n'
    )
    assert "unknown function" in refused("fit", "--db", "r.db", "--form", "form.toml")[0]
    assert not Path("ran").exists()
    assert not Path("x.db").exists()


def test_a_truncated_database_is_refused_and_left_as_it_is(refused: Refused, rehearsed: Path) -> None:
    whole = rehearsed.read_bytes()
    for size in (len(whole) // 2, 4096, 100, 10):
        Path("t.db").write_bytes(whole[:size])
        for arguments in (["export"], ["fit"], ["sweep", "group4", "--backend", STUDY]):
            assert "t.db" in refused(*arguments, "--db", "t.db")[0]
        assert Path("t.db").read_bytes()[:size] == whole[:size]
        for extra in Path().glob("t.db-*"):
            extra.unlink()
    Path("t.db").write_bytes(b"")
    assert "t.db" in refused("export", "--db", "t.db")[0]


def test_a_database_of_a_newer_version_or_of_something_else(refused: Refused, rehearsed: Path) -> None:
    with sqlite3.connect("r.db") as db:
        db.execute("PRAGMA user_version = 99")
    assert refused("export", "--db", "r.db") == (
        "r.db has version 99; this edgeprof reads 1",
        "upgrade edgeprof",
    )
    with sqlite3.connect("other.db") as db:
        db.execute("CREATE TABLE t (x)")
    assert (
        refused("sweep", "group4", "--backend", STUDY, "--db", "other.db")[0]
        == "other.db is not an edgeprof database"
    )


# --- a full disk


def limited() -> None:
    """No file of this process may grow beyond 200 KiB: what a full disk looks like to it."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_full_disk(
    process: Process, edgeprof_json: Callable[..., Any], said: Callable[..., tuple[str, str]], here: Path
) -> None:
    arguments = ["sweep", "group1", "group2", "group3", "group4", "--backend", STUDY, "--db", "f.db"]
    done = process(*arguments, "--json", cwd=here, preexec_fn=limited)
    plan, _, trouble = done.stderr.partition("\n")
    assert "121 cases" in plan
    message, hint = said(done.returncode, done.stdout, trouble)
    assert "f.db" in message
    assert "space" in hint or "kept" in hint
    kept = edgeprof_json("export", "--db", "f.db")
    assert kept
    found = edgeprof_json(*arguments)
    assert found["failed"] == []
    again = edgeprof_json("export", "--db", "f.db")
    assert len(again) == found["cases"] > len(kept)
    before = {json.dumps(m["case"], sort_keys=True): m["rounds_ms"] for m in kept}
    after = {json.dumps(m["case"], sort_keys=True): m["rounds_ms"] for m in again}
    assert all(after[case][: len(rounds)] == rounds for case, rounds in before.items())

    old = here / "m.json"
    old.write_text("what was there before")
    full = process("export", "--db", "f.db", "--out", "m.json", cwd=here, preexec_fn=limited)
    said(full.returncode, full.stdout, full.stderr)
    assert old.read_text() == "what was there before"
    assert [p.name for p in here.iterdir() if p.suffix == ".part"] == []


# --- help, pipes, imports


@pytest.mark.parametrize(
    "arguments", [[], *([verb] for verb in VERBS)], ids=lambda a: " ".join(a) or "edgeprof"
)
def test_help_fits_80_columns(
    arguments: list[str], edgeprof: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for flag in ("--help", "-h"):
        status, out, err = edgeprof(*arguments, flag)
        assert (status, err) == (0, "")
        assert [line for line in out.splitlines() if len(line) > 80] == []
        assert out.startswith("Usage: edgeprof")
    if arguments:
        assert "Example: edgeprof " in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_letters(encoding: str, process: Process, here: Path) -> None:
    done = process("list", "forms", cwd=here, env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, "")
    document = process("list", "zoo", "--json", cwd=here, env={"PYTHONIOENCODING": encoding})
    assert "digits of 32×32" in json.loads(document.stdout)[0]["about"]


def test_a_closed_standard_output(process: Process, here: Path) -> None:
    done = process("--version", cwd=here, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_verb_it_shows_its_help(edgeprof: Callable[..., Any]) -> None:
    status, out, err = edgeprof()
    assert (status, err) == (0, "")
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert "..." not in out.partition("Commands:")[2]


def test_help_is_a_verb_too(edgeprof: Callable[..., Any]) -> None:
    assert edgeprof("help") == edgeprof("--help")
    assert edgeprof("help", "merge") == edgeprof("merge", "--help")
    assert edgeprof("help", "cow")[0] == 2


def test_version(edgeprof: Callable[..., Any]) -> None:
    from edgeprof import __version__

    assert edgeprof("--version") == (0, f"edgeprof {__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["show", "gtx960-theano"], ["export", "--db", "r.db"]])
def test_a_broken_pipe_is_silent(
    arguments: list[str], started: Callable[..., subprocess.Popen[str]], here: Path, rehearsed: Path
) -> None:
    process = started(*arguments, cwd=here)
    head = subprocess.run(["head", "-1"], stdin=process.stdout, capture_output=True, text=True, timeout=60)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 0
    assert head.stdout


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "edgeprof",
            {"onnxruntime", "plotly", "torch", "pandas", "sympy", "numpy", "onnx", "scipy", "statsmodels"},
        ),
        ("edgeprof.cli", {"onnxruntime", "plotly", "torch", "pandas", "statsmodels"}),
    ],
)
def test_imports_are_light(module: str, heavy: set[str], tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert not heavy & set(done.stdout.split())


# --- what the documentation shows


def shown(text: str) -> list[str]:
    """Commands of console and sh blocks that start with ``edgeprof``."""
    found = []
    for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ").partition(" #")[0].strip()
            if command.startswith("edgeprof "):
                found.append(command)
    return found


TABLE_LAW = "fit --table conv.csv --target latency_ms --where device=X --form gpu --out law.json"


def smaller(command: str) -> list[str]:
    """The same command with less to measure: everything it says is still read and done."""
    arguments = shlex.split(command)[1:]
    if arguments[0] == "sweep" and "--dry-run" not in arguments and "simulated" not in command:
        names = [a for a in arguments[1:] if a in ("quick", "family")]
        arguments += ["--nets", "12"] if names or len(arguments) == 1 else ["--conv", "1", "--depth", "5"]
        arguments += ["--rounds", "1", "--target-ci", "30%", "--batch", "2", "--neurons", "64"]
    if arguments[0] == "validate":
        arguments += ["--nets", "2", "--rounds", "1", "--target-ci", "30%", "--backend", STUDY]
    if arguments[0] == "profile":
        arguments += ["--rounds", "1", "--backend", f"simulated:{KERNELS}"]
    return arguments


def prepared(folder: Path, edgeprof: Callable[..., Any]) -> None:
    """The files that examples take for granted."""
    grid = folder / "grid.toml"
    grid.write_text("[vary]\nconv = [1, 2, 3]\nfc = [1, 2]\ndepth = [5, 80]\nneurons = [128, 1024]\n")
    assert edgeprof("sweep", "grid.toml", "--backend", STUDY, "--db", "edgeprof.db")[0] == 0
    assert edgeprof("fit", "--db", "edgeprof.db", "--out", "law.json")[0] == 0
    for name in ("desk.db", "board.db"):
        shutil.copy("edgeprof.db", folder / name)
    table = (ROOT / "tests" / "data" / "latency" / "conv.csv").read_text("utf-8")
    rows = [line for line in table.splitlines() if line.startswith(("device,", "Tesla P4,"))]
    for name in ("conv.csv", "layers.csv"):
        (folder / name).write_text("\n".join(rows).replace("Tesla P4,", "X,") + "\n")


def test_every_command_of_the_readme_runs(edgeprof: Callable[..., Any], here: Path) -> None:
    readme = ROOT / "README.md"
    commands = shown(readme.read_text("utf-8")) if readme.exists() else []
    for command in commands:
        status, _, err = edgeprof(*smaller(command))
        assert status == 0, f"{command}\n{err}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_of_a_verb_runs(
    verb: str, edgeprof: Callable[..., Any], here: Path, model_files: Mapping[str, Path]
) -> None:
    shutil.copy(model_files["image13"], here / "model.onnx")
    text = " ".join(edgeprof(verb, "--help")[1].split())
    found = re.findall(r"Example: (edgeprof .*?)(?= Example:| Arguments:| Options:| The network:)", text)
    assert found
    prepared(here, edgeprof)
    for example in found:
        if "--table" in example:
            assert edgeprof(*shlex.split(TABLE_LAW))[0] == 0
        if example.startswith("edgeprof predict") and re.search("resnet18|model.onnx", example):
            shutil.copy(KERNELS, "law.json")
        if "--from" in example:
            assert edgeprof(*smaller("edgeprof sweep family --nets 12 --db board-b.db"))[0] == 0
            assert edgeprof("fit", "--db", "board-b.db", "--form", "kernels", "--out", "board-a.json")[0] == 0
        status, _, err = edgeprof(*smaller(example.partition(" > ")[0]))
        assert status == 0, f"{example}\n{err}"
