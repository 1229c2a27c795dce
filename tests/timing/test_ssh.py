"""A board over ssh: a real sshd on the loopback, with keys of its own, and real trouble."""

import contextlib
import getpass
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.kills import ended, rounds_in
from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.boards.detect import detect_machine, find_board
from edgeprof.boards.locks import Locked
from edgeprof.boards.power import Was
from edgeprof.boards.sensors.devfreq import read_gpu_clock
from edgeprof.boards.sensors.nvpmodel import read_power_mode
from edgeprof.boards.sensors.reading import Reading
from edgeprof.boards.sensors.sysfs import read_sysfs
from edgeprof.boards.spec import read_board
from edgeprof.cli import run
from edgeprof.errors import BackendError, BoardError, WorkerError
from edgeprof.nets.model import model_file
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target
from edgeprof.timing.drift import SENTINELS
from edgeprof.timing.measurement import Round
from edgeprof.timing.place import Here
from edgeprof.timing.session import run_session
from edgeprof.timing.ssh import Host

from ..conftest import write_smi

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02, profile=False)
LONG = Stop(target_ci=1e-12, min_runs=10**9, min_s=600, max_s=600, profile=False)
DESK = """
import sys
from edgeprof.timing.process import Worker
from edgeprof.timing.place import Here
from edgeprof.timing.ssh import Host
host = Host("board", sys.executable)
worker = Worker("edgeprof.backends.ort", place=host)
try:
    with host.lock("test", print):
        worker.ask({"do": "describe"}, 60)
        print("ready", flush=True)
        sys.stdin.read()
finally:
    worker.close()
    host.close()
"""
SWEEP = "[net]\nconv = 0\nneurons = 8\nbatch = 2\nthreads = 1\n[vary]\nfc = [1, 2]\n"


class Board:
    """An sshd, and what its user sees of it: name, configuration of ssh, temporary folder of the board."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = "board"
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        for key in ("host", "user", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(command, check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.write_config()
        self.trust()
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv TMPDIR={self.tmp}\n"
        )
        self.sshd = None
        self.start()

    def write_config(self, key: str = "user") -> None:
        (self.folder / "config").write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {self.folder}/{key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
        )

    def trust(self, key: str | None = "host") -> None:
        line = f"[127.0.0.1]:{self.port} {(self.folder / f'{key}.pub').read_text()}" if key else ""
        (self.folder / "known_hosts").write_text(line)

    def start(self) -> None:
        command = [shutil.which("sshd"), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.sshd = subprocess.Popen(command, stderr=(self.folder / "log").open("a"))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.sshd.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)
        raise AssertionError("sshd does not answer")

    def cut(self) -> None:
        """Lose every connection, as a board does that loses its power supply's network: its sshd is gone."""
        for process in psutil.Process(self.sshd.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
                if process.name().startswith("sshd"):
                    process.kill()

    def stop(self) -> None:
        """Take no more connections, and lose those that there are."""
        self.cut()
        self.sshd.kill()
        self.sshd.wait()

    def guests(self) -> list[int]:
        return [int(folder.name.split("-")[1]) for folder in self.tmp.glob("edgeprof-[0-9]*-*")]

    def left(self) -> list[str]:
        """What is in its temporary folder, and the processes that work there; the last of it goes within seconds."""
        deadline = time.monotonic() + 60
        while True:
            found = [path.name for path in self.tmp.glob("*edgeprof*")]
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if process.environ().get("TMPDIR", "").startswith(f"{self.tmp}"):
                        found.append(f"{process.pid} {process.name()}")
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    if shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") is None or not shutil.which("ssh"):
        pytest.skip("no sshd on this machine (Debian: apt-get install openssh-server)")
    os.environ["PATH"] += ":/usr/sbin"
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, as root, drops its privileges
    board = Board(tmp_path_factory.mktemp("board"))
    yield board
    board.stop()


@pytest.fixture
def board(sshd, monkeypatch):
    monkeypatch.setenv("EDGEPROF_SSH", f"ssh -F {sshd.folder}/config")
    yield sshd
    sshd.write_config()
    sshd.trust()
    if sshd.sshd.poll() is not None:
        sshd.start()
    assert sshd.left() == []


@pytest.fixture
def host(board):
    with contextlib.closing(Host(board.name, sys.executable)) as opened:
        yield opened


def case(fc=1, batch=2):
    identity = dict(precision="fp32", threads=1, launch="blocking", board="cpu", machine="m", runtime="r")
    return Case(net=net_spec(conv=0, fc=fc, neurons=8), batch=batch, backend="ort-cpu", **identity)


def test_the_machine_is_the_boards(host, board):
    assert host.machine() == detect_machine()
    assert host.sense().total > 0
    assert host.sense().load_1m >= 0
    [guest] = board.guests()
    assert psutil.Process(guest).parent().name().startswith("sshd")


def test_the_guest_runs_on_python_36(board):
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = next(versions.glob("3.6.*/bin/python3.6"), None) or shutil.which("python3.6")
    if old is None:
        pytest.skip("no Python 3.6 on this machine")
    with contextlib.closing(Host(board.name, str(old))) as host, host.lock("old", pytest.fail):
        assert host.machine().model == detect_machine().model
        assert Path(host.file(Path(__file__))).read_bytes() == Path(__file__).read_bytes()
        assert host._hello["python"].startswith("3.6.")


def test_networks_travel_once_and_serve_every_session(host, board):
    with contextlib.closing(open_backend("ort-cpu", host)) as backend:
        for number in (1, 2):
            found = backend.measure(
                case(), number, Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02), None
            )
            assert found.status == "ok"
            assert found.kernels
        backend.restart()
        files = {path: path.stat().st_mtime_ns for path in board.tmp.glob("edgeprof-*/*.onnx")}
        assert len(files) == 2  # the network, and the chain that prices an event
        assert backend.measure(case(), 3, QUICK, None).status == "ok"
        assert {path: path.stat().st_mtime_ns for path in files} == files


def test_any_model_is_measured_there_unless_it_is_too_large(host, board, model_files, monkeypatch):
    net = model_file(model_files["text"], batch=2, shapes={"ids": (2, 7)})
    large = model_file(model_files["apart"], batch=2, name="large")
    with contextlib.closing(open_backend("ort-cpu", host)) as backend:
        short = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)
        found = backend.measure(case().model_copy(update={"net": net}), 1, short, None)
        assert {name for kernel in found.kernels for name in kernel.operators} >= {"embed", "query", "scores"}
        monkeypatch.setattr("edgeprof.nets.model.MAX_BYTES", 1000)
        with pytest.raises(BackendError, match="over 2 GB: too much to send"):
            backend.measure(case().model_copy(update={"net": large}), 1, QUICK, None)


def test_files_arrive_as_they_are_and_the_longest_unused_goes_first(host, board, tmp_path, monkeypatch):
    contents = [bytes(range(256)) * 20, b"\n" * 5000 + b"\r\n", b'{"do": "hello"}\n' * 300, b""]
    paths = [tmp_path / f"{number}.npy" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    there = [Path(host.file(path)) for path in paths]
    assert [path.read_bytes() for path in there] == contents
    assert host.file(paths[0]) == str(there[0])
    monkeypatch.setattr("edgeprof.timing.ssh.KEPT_BYTES", 16_000)
    (tmp_path / "new").write_bytes(b"x" * 4000)
    host.file(tmp_path / "new")
    assert [path.exists() for path in there] == [True, False, True, True]


def test_a_disk_of_the_board_that_is_full_is_an_error_of_one_case(host, board, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"x" * 3_000_000)
    host.machine()
    folder = next(board.tmp.glob("edgeprof-*"))
    folder.chmod(0o700)
    (tmp_path / "other.onnx").write_bytes(b"y")
    folder.rename(board.tmp / "elsewhere")
    with pytest.raises(BackendError, match="No such file"):
        host.file(tmp_path / "net.onnx")
    (board.tmp / "elsewhere").rename(folder)
    assert Path(host.file(tmp_path / "other.onnx")).read_bytes() == b"y"


@pytest.fixture
def sweeping(board, tmp_path, monkeypatch, capsys):
    """A sweep by the command line: (status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(SWEEP)
    flags = ["--host", board.name, "--host-python", sys.executable, "--board", "cpu", "--backend", "ort-cpu"]
    short = ["--target-ci", "20%", "--rounds", "1", "--budget", "10s", "--db", "x.db", "--json"]

    def sweep(*more):
        status = run(["sweep", "s.toml", *flags, *short, *more])
        return status, *capsys.readouterr()

    return sweep


@pytest.fixture
def refused(sweeping):
    """Message and hint of a sweep that is refused before it begins."""

    def sweep(*more):
        status, _, err = sweeping(*more)
        assert status == 2, err
        *_, message, hint = err.splitlines()
        assert message.startswith("error: ")
        assert hint.startswith("hint: ")
        assert not Path("x.db").exists()
        return message, hint

    return sweep


def test_a_sweep_over_ssh(sweeping):
    status, out, err = sweeping()
    assert status == 0, err
    assert json.loads(out)["measured"] == 2
    with Store(Path("x.db")) as store:
        measured = store.measurements()
        assert [m.status for m in measured] == ["ok", "ok"]
        assert {m.case.machine for m in measured} == {detect_machine().model}
        assert all(m.latency_ms > 0 and m.kernels for m in measured)
    assert json.loads(sweeping()[1])["reused"] == 2


def test_an_unknown_host_key_is_refused(board, refused):
    board.trust(None)
    message, hint = refused()
    assert "Host key verification failed" in message
    assert "by hand: ssh board" in hint
    board.trust("stranger")
    message, _ = refused()
    assert "key" in message


def test_a_wrong_key_is_refused(board, refused):
    board.write_config("stranger")
    message, hint = refused()
    assert "Permission denied" in message
    assert "ssh-copy-id board" in hint


def test_a_board_that_is_off_is_refused(board, refused):
    board.stop()
    message, hint = refused()
    assert "refused" in message
    assert "ssh board" in hint


def test_an_interpreter_that_will_not_do_is_refused(refused):
    message, hint = refused("--host-python", "python3.99")
    assert "python3.99" in message
    assert "--host-python" in hint
    old = Path.home() / ".pyenv/versions/2.7.18/bin/python"
    if old.exists():
        message, hint = refused("--host-python", str(old))
        assert "this is Python 2.7" in message
        assert "--host-python" in hint


@pytest.mark.parametrize("missing", ["numpy", "onnxruntime"])
def test_a_missing_library_is_refused_with_its_remedy(missing, refused, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / f"{missing}.py").write_text(f"raise ImportError('No module named {missing}')\n")
    message, hint = refused("--host-python", f"PYTHONPATH={tmp_path}/lib {sys.executable}")
    assert missing in message
    assert "on board: " in hint
    assert "pip install numpy onnxruntime" in hint


def test_a_shell_that_talks_is_named(refused):
    message, hint = refused("--host-python", f"sh -c 'echo Welcome; exec {sys.executable} \"$@\"' sh")
    assert "nonsense: Welcome" in message
    assert "print nothing" in hint


def test_an_interpreter_of_no_board_is_refused(capsys):
    assert run(["sweep", "--host-python", "python3"]) == 2
    assert "--host USER@BOARD" in capsys.readouterr().err


def test_a_simulated_board_is_not_over_ssh(refused):
    message, hint = refused("--backend", "simulated:gtx960-theano")
    assert "simulated" in message
    assert "--host" in hint


# --- trouble in the middle


@pytest.mark.parametrize(
    ("how", "reason"), [("worker", "crashed or was killed"), ("client", "SIGKILL"), ("line", "was lost")]
)
def test_trouble_costs_one_request(how, reason, host, board):
    with contextlib.closing(open_backend("ort-cpu", host)) as backend:
        assert backend.measure(case(), 1, QUICK, None).status == "ok"
        pid = backend.facts()["pid"]
        victim = backend._worker.pid if how == "client" else pid
        trouble = subprocess.Popen(
            ["sh", "-c", "sleep 0.5" if how == "line" else f"sleep 0.5; kill -9 {victim}"]
        )
        if how == "line":
            threading.Timer(0.5, board.cut).start()
        with pytest.raises(WorkerError, match=reason):
            backend.measure(case(fc=2), 1, LONG, None)
        trouble.wait()
        assert ended(pid)
        assert backend.measure(case(fc=2), 1, QUICK, None).status == "ok"


class Cut:
    """A real backend that something happens to in the middle of its n-th case; its machine does not drift."""

    def __init__(self, backend, at, trouble):
        self._backend, self._at, self._trouble, self._count = backend, at, trouble, 0
        self.name, self.launches, self.simulated = backend.name, backend.launches, False
        self.runtime, self.facts, self.restart = backend.runtime, backend.facts, backend.restart

    def measure(self, case, number, stop, tiles):
        if number == 0:  # a sentinel
            return Round(number=1, status="ok", runs_ns=np.full(20, 10**6, np.int64))
        self._count += 1
        if self._count == self._at:
            threading.Timer(0.5, self._trouble).start()
            stop = LONG
        return self._backend.measure(case, number, stop, tiles)


def sweep(board, db, at=0, trouble=None):
    with (
        contextlib.closing(Host(board.name, sys.executable)) as host,
        open_target("cpu", "ort-cpu", place=host) as target,
        host.lock("test", pytest.fail),
        Store(db, create=True) as store,
    ):
        cases = [case(fc=fc) for fc in range(1, 4)]
        backend = Cut(target.backend, at, trouble)
        return run_session(cases, store, backend, "minimum", rounds=1, stop=QUICK, seed=1, sense=host.sense)


def test_a_lost_connection_is_a_failed_case_and_the_sweep_goes_on(board, tmp_path):
    result = sweep(board, tmp_path / "x.db", 2, board.cut)
    assert len(result.failed) == 1
    assert "was lost" in result.failed[0][1]
    assert result.measured == 2
    assert board.left() == []
    resumed = sweep(board, tmp_path / "x.db")
    assert (resumed.measured, resumed.reused, resumed.failed) == (1, 2, ())


def test_a_board_that_stays_away_ends_the_sweep_and_the_same_command_goes_on(board, tmp_path):
    with pytest.raises(BoardError, match="cannot be reached again") as caught:
        sweep(board, tmp_path / "x.db", 2, board.stop)
    assert "the same command goes on" in caught.value.hint
    assert [row[4] for row in rounds_in(tmp_path / "x.db")] == ["ok", "failed"]
    board.start()
    resumed = sweep(board, tmp_path / "x.db")
    assert (resumed.measured, resumed.reused, resumed.failed) == (2, 1, ())


def test_two_desks_do_not_measure_at_once(host, board):
    told = []
    with contextlib.closing(Host(board.name, sys.executable)) as other:

        def waiting(text):
            told.append(text)
            raise KeyboardInterrupt

        with other.lock("gpu", pytest.fail), pytest.raises(KeyboardInterrupt), host.lock("gpu", waiting):
            pytest.fail("it did not wait")
        assert "another sweep is using gpu" in told[0]
        with host.lock("gpu", pytest.fail):
            assert (board.tmp / f"edgeprof-gpu-{os.getuid()}.lock").exists()
    assert not (board.tmp / f"edgeprof-gpu-{os.getuid()}.lock").exists()


def test_what_a_killed_guest_left_goes_with_the_next(board, host, tmp_path):
    with contextlib.closing(open_backend("ort-cpu", host)) as backend:
        backend.measure(case(), 1, QUICK, None)
        [guest] = board.guests()
        os.kill(guest, signal.SIGKILL)
        assert ended(guest)
        deadline = time.monotonic() + 60
        while host._guest.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        assert board.guests() == [guest]
        host.machine()
        assert guest not in board.guests()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_desk_that_ends_leaves_nothing_on_the_board(number, board):
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with subprocess.Popen([sys.executable, "-c", DESK], text=True, start_new_session=True, **pipes) as desk:
        assert desk.stdout.readline() == "ready\n"
        assert board.guests()
        os.killpg(desk.pid, number)
        desk.wait(timeout=60)
    assert board.left() == []


def beside_a_card(card):
    """The board's interpreter, where a library in C stands in for the driver's: what is parsed, no figure of a GPU."""
    names = ("LD_LIBRARY_PATH", "NVML_STAND_IN")
    return " ".join(["env", *(f"{name}={os.environ[name]}" for name in names), sys.executable])


def test_a_gpu_is_known_by_its_own_name(board, card):
    with closing(Host(board.name, beside_a_card(card))) as host:
        machine = host.machine()
        assert (machine.gpus, machine.gpu_mib) == (("NVIDIA A2",), (15356,))
        assert find_board("auto", machine).name == find_board("discrete", machine).name == "a2"
        with closing(host.gauges("0000:05:00.0")) as gauges:
            reading = gauges.read().reading
            assert (reading.rails_mw, reading.gpu_mhz) == ({"card": 15000}, 1200)
            assert reading.counter is not None
            (card / "lost").touch()
            assert gauges.read().reading == Reading()
        assert not host.gauges("0000:06:00.0").sources


def test_a_board_without_a_gpu_says_why(board, card, capsys):
    (card / "no_gpu").touch()
    flags = ["--host", board.name, "--host-python", beside_a_card(card)]
    assert run(["sweep", "quick", "--board", "discrete", *flags]) == 2
    said = capsys.readouterr().err
    assert "board: the NVIDIA driver lists no GPU" in said
    assert "hint: on board: nvidia-smi must list" in said


def test_sensors_and_power_mode_are_the_board_s(host):
    assert host.power_mode() == Here().power_mode()
    with closing(host.gauges()) as gauges:  # no Jetson: no sources
        assert bool(gauges.sources) == Path("/etc/nv_tegra_release").exists()
    found = host.reading()
    here = read_sysfs().used_mib  # of the whole machine, where other tests run as well
    assert here / 4 < found.used_mib < 4 * here


# --- power modes, on an emulated board at the other end


HOLD = """
import sys
from pathlib import Path
from edgeprof.timing.ssh import Host
host = Host("board", sys.argv[1])
power = host.power()
try:
    with host.lock("test", print), power.kept():
        power.use(power.modes(["7W"])[0], "max")
        print("set", flush=True)
        sys.stdin.read()
finally:
    host.close()
"""


def power_state(root):
    clock = read_gpu_clock(root)
    return read_power_mode(root).name, clock.min_mhz, clock.max_mhz


def python_of(root):
    return f"env EDGEPROF_ROOT={root} {sys.executable}"


@pytest.fixture
def orin(board, emulated):
    root = emulated("orin-nano")
    with closing(Host(board.name, python_of(root))) as opened:
        yield root, opened


def test_a_sweep_in_a_power_mode_over_ssh(board, emulated, tmp_path, monkeypatch, capsys):
    root = emulated("orin-nano")
    before = power_state(root)
    monkeypatch.setattr(
        "edgeprof.timing.session.PAUSES_S", ()
    )  # no wait for a quiet machine, and one sentinel
    monkeypatch.setattr("edgeprof.timing.drift.SENTINELS", {"compute": SENTINELS["compute"]})
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(SWEEP.replace("[1, 2]", "[1]"))
    flags = [
        "--host",
        board.name,
        "--host-python",
        python_of(root),
        "--board",
        "jetson",
        "--backend",
        "ort-cpu",
    ]
    flags += ["--rounds", "1", "--db", "x.db", "--power-mode", "7W", "--clocks", "max", "--json"]
    assert run(["sweep", "s.toml", *flags]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["measured"] == 1
    assert power_state(root) == before
    with Store(Path("x.db")) as store:
        [measured] = store.measurements()
    assert measured.case.setting == ("7W", "max")
    assert measured.case.machine.startswith("NVIDIA Jetson Orin Nano Developer Kit, emulated on ")
    assert measured.telemetry["gpu_mhz"] == 408
    assert measured.telemetry["energy_mj_per_tile"] > 0


def test_a_mode_outlives_a_lost_connection_and_is_put_back_over_another_one(orin, board):
    root, host = orin
    before, power = power_state(root), host.power()
    with host.lock("test", pytest.fail), power.kept():
        power.use(power.modes(["7W"])[0], "max")
        board.cut()
        assert power_state(root) == ("7W", 408, 408)
        (root / "sys/class/devfreq/17000000.gpu/min_freq").write_text("306000000")  # as after a restart
        assert power.left() == Was(0, "15W", True)  # asked over another connection
        assert power_state(root) == ("7W", 408, 408)
        board.cut()
    assert power_state(root) == before
    assert power.left() is None


def test_a_board_that_stays_away_keeps_its_journal_and_the_doctor_mends_it(orin, board, monkeypatch, capsys):
    root, host = orin
    before, power = power_state(root), host.power()
    monkeypatch.setattr("edgeprof.boards.power.REACH_S", 0.2)

    def lost():
        with power.kept():
            power.use(power.modes(["7W"])[0], None)
            board.stop()

    with pytest.raises(
        BoardError, match="the power mode of board was not put back: board cannot be reached"
    ) as caught:
        lost()
    assert caught.value.hint.startswith("edgeprof doctor --restore --host board --host-python 'env ")
    board.start()
    assert power.left() == Was(0, "15W", True)
    words = shlex.split(caught.value.hint)[1:]
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"]["name"] == "15W"
    assert power_state(root) == before
    assert run(words) == 0
    assert capsys.readouterr().out == "nothing to put back\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_desk_that_ends_puts_it_back_or_leaves_the_journal(number, orin, board):
    root, host = orin
    before = power_state(root)
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    command = [sys.executable, "-c", HOLD, python_of(root)]
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as desk:
        assert desk.stdout.readline() == "set\n"
        assert power_state(root) == ("7W", 408, 408)
        os.killpg(desk.pid, number)
        desk.wait(timeout=60)
    if number == signal.SIGKILL:
        assert host.power().left() == Was(0, "15W", True)
        host.power().restore()
    assert host.power().left() is None
    assert power_state(root) == before


def test_a_board_that_reboots_for_a_mode_is_waited_for(board, emulated, monkeypatch):
    root = emulated("agx-orin")
    monkeypatch.setattr("edgeprof.boards.power.REBOOT_STEP_S", 0.1)

    def reboot(into):
        while not (root / "rebooted").exists() or (root / "rebooted").read_text() != into:
            time.sleep(0.02)
        board.stop()
        board.start()

    with closing(Host(board.name, python_of(root))) as host:
        power = host.power()
        modes = power.modes(["MAXN", "15W"])
        with host.lock("test", pytest.fail), power.kept():
            assert power.behind_reboot(modes) == modes[1:]
            power.agree()
            for into, at in (("MODE_15W\n", modes[1]), ("MAXN\n", None)):
                thread = threading.Thread(target=reboot, args=(into,), daemon=True)
                thread.start()
                if at is None:
                    break
                power.use(at, "max")
                thread.join()
                assert power_state(root) == ("MODE_15W", 408, 408)
        thread.join()
        assert power_state(root)[0] == "MAXN"
        assert power.left() is None


@pytest.fixture
def somebody():
    """A folder for everybody, the interpreter of somebody who is not root, whose board is below ``root``, and a sudo
    there that asks for a password."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not os.path.exists("/usr/bin/python3"):
        pytest.skip("only root can be somebody else")
    newer = "import sys; sys.exit(sys.version_info < (3, 10))"  # as the stand-ins for programs need it
    if subprocess.run(["/usr/bin/python3", "-SEc", newer], check=False).returncode:
        pytest.skip("the system's Python is older than 3.10")
    folder = Path(tempfile.mkdtemp(prefix="edgeprof-tree-", dir="/tmp"))
    sudo = folder / "root/usr/bin/sudo"
    sudo.parent.mkdir(parents=True)
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
    sudo.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    python = f"env TMPDIR={folder}/tmp EDGEPROF_ROOT={folder}/root {nobody} /usr/bin/python3"
    yield folder, python, sudo
    shutil.rmtree(folder)


def test_somebody_who_may_not_is_told_what_would_let_him(board, emulated, somebody):
    folder, python, sudo = somebody
    shutil.copytree(emulated("orin-nano"), folder / "root", dirs_exist_ok=True)
    for path in (folder, folder / "root", *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o777 if not path.is_symlink() else path.lstat().st_mode)
    for program in (folder / "root/usr").rglob("*/*"):  # by a Python that anybody may run
        if program != sudo:
            program.write_text("#!/usr/bin/python3 -SE\n" + program.read_text().partition("\n")[2])
    with closing(Host(board.name, python)) as host:
        with (
            pytest.raises(BoardError, match="sudo: a password is required") as caught,
            host.power().kept(),
        ):
            pytest.fail("it was set")
        assert "USER ALL=(root) NOPASSWD: /usr/sbin/nvpmodel, /usr/bin/jetson_clocks" in caught.value.hint
        sudo.write_text('#!/bin/sh\nshift; exec "$@"\n')
        with host.power().kept():
            host.power().use(host.power().modes(["7W"])[0], "max")
            assert power_state(folder / "root") == ("7W", 408, 408)
        assert power_state(folder / "root")[0] == "15W"


# --- clocks of a GPU, held by a program that stands in for nvidia-smi at the other end

ADDRESS = "0000:05:00.0"
A2 = Locked("GPU-0a2", "NVIDIA A2")
HOLD_CLOCKS = """
import sys
from edgeprof.timing.ssh import Host
host = Host("board", sys.argv[1])
locks = host.locks("0000:05:00.0")
try:
    with host.lock("test", print), locks.kept():
        locks.use(None, "max")
        print("set", flush=True)
        sys.stdin.read()
finally:
    host.close()
"""
HELD = {"gpu_lock": "1770 1770\n", "memory_lock": "6251 6251\n"}


def held(root):
    return {path.name: path.read_text() for path in (root / "card").glob("*_lock")}


@pytest.fixture
def box(board, tmp_path):
    root = tmp_path / "box"
    write_smi(root)
    with closing(Host(board.name, python_of(root))) as opened:
        yield root, opened


def test_a_sweep_with_clocks_locked_over_ssh(box, tmp_path, monkeypatch):
    """The processor there computes where a GPU would: what is set around measurements, no figure of a GPU."""
    root, host = box
    monkeypatch.setattr("edgeprof.timing.session.PAUSES_S", ())
    monkeypatch.setattr("edgeprof.timing.drift.SENTINELS", {"compute": SENTINELS["compute"]})
    monkeypatch.setattr("edgeprof.modes.settle", lambda case, backend: True)  # seconds, on a busy machine
    sweep = parse_sweep(
        {"name": "s", "net": dict(conv=0, neurons=8, batch=2, threads=1, clocks="base")}, "test"
    )
    found, said = [], []
    with open_target("cpu", "ort-cpu", place=host) as target:
        facts = {**target.backend.facts(), "gpu_address": ADDRESS}
        monkeypatch.setattr(target.backend, "facts", lambda: facts)
        done = run_sweep(
            [sweep],
            tmp_path / "x.db",
            replace(target, spec=read_board("a2")),
            rounds=1,
            stop=QUICK,
            watch=lambda progress: found.append(held(root)),
            say=said.append,
        )
        assert (done.measured, done.failed) == (1, ())
        assert {"gpu_lock": "4294967041 4294967041\n", "memory_lock": "6251 6251\n"} in found
        assert held(root) == {}
        assert host.locks().left() is None
    assert any("SM clock of NVIDIA A2 on board locked at its base" in line for line in said)
    with Store(tmp_path / "x.db") as store:
        assert store.measurements()[0].case.setting == (None, "base")


def test_clocks_outlive_a_lost_connection_and_are_given_back_over_another_one(box, board):
    root, host = box
    locks = host.locks(ADDRESS)
    with host.lock("test", pytest.fail), locks.kept():
        locks.use(None, "max")
        assert held(root) == HELD
        board.cut()
        (root / "card/gpu_lock").unlink()  # as after a restart
        assert locks.left() == A2  # asked over another connection
        assert held(root) == HELD
        board.cut()
    assert held(root) == {}
    assert locks.left() is None


def test_clocks_of_a_machine_that_stays_away_are_given_back_by_the_doctor(box, board, monkeypatch, capsys):
    root, host = box
    locks = host.locks(ADDRESS)
    monkeypatch.setattr("edgeprof.boards.locks.REACH_S", 0.2)

    def lost():
        with locks.kept():
            locks.use(None, "max")
            board.stop()

    with pytest.raises(
        BoardError, match="clocks of the GPU of board were not given back: board cannot"
    ) as caught:
        lost()
    board.start()
    words = shlex.split(caught.value.hint)[1:]
    assert words[:4] == ["doctor", "--restore", "--host", "board"]
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"restored": None, "clocks": asdict(A2)}
    assert held(root) == {}
    assert run(words) == 0
    assert capsys.readouterr().out == "nothing to put back\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_desk_that_ends_gives_clocks_back_or_leaves_the_journal(number, box, board):
    root, host = box
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    command = [sys.executable, "-c", HOLD_CLOCKS, python_of(root)]
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as desk:
        assert desk.stdout.readline() == "set\n"
        assert held(root) == HELD
        os.killpg(desk.pid, number)
        desk.wait(timeout=60)
    if number == signal.SIGKILL:
        assert held(root) == HELD
        assert host.locks().left() == A2
        assert host.locks().restore() == A2
    assert host.locks().left() is None
    assert held(root) == {}


def test_what_a_sweep_over_ssh_set_is_not_put_back_meanwhile(box, board, monkeypatch, capsys):
    root, host = box
    words = ["doctor", "--restore", "--host", board.name, "--host-python", python_of(root)]
    locks = host.locks(ADDRESS)
    with host.lock("a2", pytest.fail), locks.kept():
        locks.use(None, "max")
        assert run(words) == 2
        assert "error: a sweep of a2 is running" in capsys.readouterr().err
        assert held(root) == HELD
        monkeypatch.setattr("tempfile.tempdir", str(board.tmp))  # as on the machine itself
        assert Here().busy() == ["a2"]
    assert Here().busy() == []


def test_memory_that_cannot_be_locked_there_is_said(box):
    root, host = box
    (root / "card/volta").touch()
    locks = host.locks(ADDRESS)
    with locks.kept():
        said = locks.use(None, "max")
        assert said.startswith(
            "SM clock of NVIDIA A2 on board locked at 1770 MHz, its memory's not: it cannot be"
        )
        assert held(root) == {"gpu_lock": "1770 1770\n"}
    assert held(root) == {}


def test_clocks_without_nvidia_smi_are_refused(box):
    root, host = box
    (root / "usr/bin/nvidia-smi").unlink()
    with pytest.raises(BoardError, match="no nvidia-smi on PATH on board"), host.locks(ADDRESS).kept():
        pytest.fail("it was set")


def test_somebody_who_may_not_lock_clocks_gets_the_command(board, somebody):
    folder, python, sudo = somebody
    card = write_smi(folder / "root", "/usr/bin/python3 -SE")
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o777)
    with closing(Host(board.name, python)) as host:
        locks = host.locks(ADDRESS)
        with (
            pytest.raises(
                BoardError, match=r"locked by root alone \(sudo: a password is required\)"
            ) as caught,
            locks.kept(),
        ):
            locks.use(None, "max")
        assert "USER ALL=(root) NOPASSWD: /usr/bin/nvidia-smi; or by hand: ssh -t board " in caught.value.hint
        assert f"ssh -t board sudo nvidia-smi -i {ADDRESS} -lgc 1770,1770 (back: " in caught.value.hint
        assert locks.left() is None
        sudo.write_text('#!/bin/sh\nshift; exec "$@"\n')
        with locks.kept():
            locks.use(None, "max")
            assert held(folder / "root") == HELD
        assert held(folder / "root") == {}
        (card / "denied").touch()  # as in a container whose root may not
        with pytest.raises(BoardError, match=r"on board can be locked by root alone$"), locks.kept():
            locks.use(None, "base")
        assert locks.left() is None
