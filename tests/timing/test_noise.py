"""Noise: neighbours, leaks and page faults that are really there, and a clock in a made-up /sys."""

import contextlib
import os
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from edgeprof.advice import ADVICE, summary
from edgeprof.backends.base import Stop
from edgeprof.backends.runtime import RuntimeBackend
from edgeprof.boards.sensors.host import HostReading, between, read_host
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.drift import SENTINELS
from edgeprof.timing.measurement import Round
from edgeprof.timing.noise import SWITCHES_PER_S, SamplingNoise, of_machine, of_sampling, sampling_noise
from edgeprof.timing.session import run_session

STOP = Stop(target_ci=1e-9, min_runs=10, min_s=0.3, max_s=0.3, profile=False)
CASE = Case(
    net=net_spec(conv=1, depth=16, fc=1, neurons=256),
    batch=16,
    precision="fp32",
    threads=1,
    launch="blocking",
    board="cpu",
    machine="m",
    backend="ort-cpu",
    runtime="r",
)

TROUBLE = """
import mmap

HOARD = []


def leak():
    HOARD.append(b"x" * 2**17)


def fault():
    with mmap.mmap(-1, 2**20) as pages:
        for start in range(0, 2**20, mmap.PAGESIZE):
            pages[start] = 1


TROUBLE = {"leak": leak, "fault": fault, "none": lambda: None}


class Session(Session):
    def run(self):
        TROUBLE[os.environ["TROUBLE"]]()
        super(Session, self).run()
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """ONNX Runtime's driver with trouble in each run, as a module that a worker can be told to run."""
    root = tmp_path_factory.mktemp("drivers")
    package = root / "edgeprof_test_noise"
    package.mkdir()
    (package / "__init__.py").touch()
    ours = (resources.files("edgeprof") / "backends/ort.py").read_text("utf-8")
    (package / "troubled.py").write_text(ours + TROUBLE)
    sys.path.insert(0, str(root))
    yield "edgeprof_test_noise.troubled"
    sys.path.remove(str(root))
    sys.modules.pop("edgeprof_test_noise", None)


@pytest.fixture
def measured(driver):
    """One round of a network with trouble of a name."""

    def measure(trouble):
        backend = RuntimeBackend(
            "ort-cpu", driver, ("CPUExecutionProvider",), ("blocking",), {"TROUBLE": trouble}
        )
        with contextlib.closing(backend):
            return backend.measure(CASE, 1, STOP, None)

    return measure


def test_memory_that_grows_is_seen(measured):
    found = measured("leak")
    noise = found.telemetry["disturbance"]
    assert noise["growth_mib"] == pytest.approx(len(found.runs_ns) / 8, rel=0.1)
    assert found.telemetry["left_mib"] > noise["growth_mib"]  # nothing gives it back
    assert "growing" in found.warnings


def test_page_faults_are_seen(measured):
    found = measured("fault")
    assert found.telemetry["counters"]["minor_faults"] >= 256 * len(found.runs_ns)
    assert found.telemetry["disturbance"]["growth_mib"] < 1
    assert "faulted" in found.warnings
    assert "growing" not in found.warnings


def test_without_trouble_the_memory_is_still(measured):
    """What a network needs is there after its warm-up: no page comes later."""
    found = measured("none")
    assert found.telemetry["disturbance"]["growth_mib"] < 1
    assert found.telemetry["disturbance"]["faults_per_s"] < 500
    assert not {"growing", "faulted"}.intersection(found.warnings)


LOAD = "import os, sys\nprint(flush=True)\nwhile os.getppid() == int(sys.argv[1]): sum(range(10000))"


@pytest.fixture
def shared_core():
    """This process and what it starts, on one core with a busy neighbour."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    neighbour = subprocess.Popen([sys.executable, "-c", LOAD, str(os.getpid())], stdout=subprocess.PIPE)
    neighbour.stdout.readline()
    yield
    neighbour.kill()
    neighbour.communicate()
    os.sched_setaffinity(0, before)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "edgeprof.db", create=True) as opened:
        yield opened


def test_a_busy_neighbour_is_seen(store, driver, shared_core):
    environment = {"TROUBLE": "none"}
    with contextlib.closing(
        RuntimeBackend("ort-cpu", driver, ("CPUExecutionProvider",), ("blocking",), environment)
    ) as backend:
        result = run_session([CASE], store, backend, "low-decile", rounds=1, stop=STOP, sleep=lambda s: None)
    (found,) = store.measurements()
    noise = found.telemetry["disturbance"]
    assert noise["switches_per_s"] > 1  # the scheduler's slices are longer where others run as well
    assert noise["runnable"] >= 2
    assert ("switched" in found.warnings) == (noise["switches_per_s"] > SWITCHES_PER_S)
    assert "contended" in found.warnings
    assert set(found.warnings) & {"switched", "contended"} <= set(result.warnings)


class Moving:
    """A backend on whose machine every network takes a millisecond, and the clock is ``after`` in the end."""

    simulated = False
    name = "ort-cpu"
    launches = ("blocking",)

    def __init__(self, root, after):
        self._cpu, self._after, self._runs = root / "sys/devices/system/cpu/cpu0", after, 0
        self.set("cpufreq/scaling_cur_freq", 3_000_000)
        self.set("thermal_throttle/core_throttle_count", 7)

    def set(self, name, value):
        (self._cpu / name).parent.mkdir(parents=True, exist_ok=True)
        (self._cpu / name).write_text(f"{value}\n")

    def runtime(self):
        return "r"

    def facts(self):
        return {}

    def measure(self, case, number, stop, tiles):
        if (case.net, case.batch) not in SENTINELS.values():
            for name, value in self._after.items():
                self.set(name, value + self._runs)  # counters go on counting
            self._runs += 1
        return Round(number=number, status="ok", runs_ns=np.full(20, 10**6, np.int64), stopped="target")

    def restart(self):
        pass

    def close(self):
        pass


@pytest.mark.parametrize(
    ("after", "codes"),
    [
        ({}, ()),
        ({"cpufreq/scaling_cur_freq": 3_100_000}, ()),
        ({"cpufreq/scaling_cur_freq": 2_400_000}, ("clock-moved",)),
        ({"thermal_throttle/core_throttle_count": 8}, ("throttled",)),
    ],
)
def test_a_clock_that_moves_and_a_processor_that_throttles(after, codes, store, tmp_path):
    backend = Moving(tmp_path, after)
    run_session([CASE], store, backend, "low-decile", rounds=1, sense=lambda: read_host(tmp_path))
    (found,) = store.measurements()
    assert found.warnings == (*codes, "few-rounds")
    assert found.telemetry["disturbance"]["mhz"] > 2000


def test_time_that_a_hypervisor_took():
    def seen(steal):
        return between(HostReading(0.0, steal=0, total=0), HostReading(1.0, steal=steal, total=200))

    assert of_machine(seen(3)) == ()
    assert of_machine(seen(5)) == ("stolen",)
    assert of_machine(between(HostReading(0.0), HostReading(1.0))) == ()


def test_rates_are_of_the_time_that_was_sampled():
    counters = {"involuntary_switches": 30, "minor_faults": 400, "major_faults": 1, "resident_kib": 2048}
    noise = sampling_noise(counters, 0.5)
    assert noise == SamplingNoise(60.0, 802.0, 1, 2.0)
    assert of_sampling(noise) == ("switched", "faulted")  # a page from the disk
    assert of_sampling(sampling_noise(dict.fromkeys(counters, 0), 0.0)) == ()


def test_each_warning_has_a_remedy_and_is_said_once():
    codes = ("switched", "faulted", "growing", "clock-moved", "stolen", "contended", "throttled")
    assert all(ADVICE[code].remedy for code in codes)
    (line,) = summary(["switched"] * 7)
    assert "(7 cases)" in line
