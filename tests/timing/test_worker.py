"""The worker: a real process with a real runtime, killed, starved and hung for real."""

import ast
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper

from edgeprof.backends import engines, gpu
from edgeprof.errors import BackendError, OutOfMemory, WorkerError
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec
from edgeprof.timing import loop
from edgeprof.timing import worker as device_side
from edgeprof.timing.process import Worker, program
from edgeprof.timing.worker import memory_taken

DRIVER = "edgeprof.backends.ort"
DEVICE_FILES = [
    resources.files("edgeprof") / "timing/loop.py",
    resources.files("edgeprof") / "timing/worker.py",
    resources.files("edgeprof") / "backends/ort.py",
    resources.files("edgeprof") / "timing/guest.py",
    resources.files("edgeprof") / "boards/console.py",
    resources.files("edgeprof") / "backends/cuda.py",
    resources.files("edgeprof") / "backends/cupti.py",
    resources.files("edgeprof") / "nvml.py",
    resources.files("edgeprof") / "backends/ort_cuda.py",
    resources.files("edgeprof") / "backends/ort_tensorrt.py",
    resources.files("edgeprof") / "backends/ort_rtx.py",
    resources.files("edgeprof") / "backends/tensorrt.py",
]
STOP = {"target_ci": 0.2, "min_runs": 3, "min_s": 0.005, "max_s": 0.05}


def request(model, **more):
    return {
        "do": "measure",
        "model": str(model),
        "input": None,
        "seed": 0,
        "threads": 1,
        "providers": ["CPUExecutionProvider"],
        "options": {},
        "stop": STOP,
        "profile_s": 0.01,
        "graph": False,
        **more,
    }


def forever(model):
    """A request that keeps the worker busy much longer than any test waits."""
    return request(model, stop={"target_ci": 1e-12, "min_runs": 10**9, "min_s": 600, "max_s": 600})


def old_pythons():
    """Executables of Python 3.6 to 3.8 that work."""
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [f"python3.{minor}" for minor in (6, 7, 8)]
    found = [shutil.which(name) for name in names]
    found += [str(path) for name in names for path in sorted(roots.glob(f"*/bin/{name}"))]
    return [
        f
        for f in found
        if f and subprocess.run([f, "--version"], capture_output=True, check=False).returncode == 0
    ]


def ends(pid, within_s=60.0):
    """True when the process is gone (or waits for nobody but its parent) in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    path.write_bytes(model_bytes(net_spec(conv=1, depth=4, fc=1, neurons=8), 2))
    return path


@pytest.fixture
def worker():
    with Worker(DRIVER) as started:
        yield started


@pytest.mark.parametrize("path", DEVICE_FILES, ids=lambda path: path.name)
def test_device_files_keep_to_the_syntax_of_python_36(path):
    ast.parse(path.read_text("utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("path", DEVICE_FILES, ids=lambda path: path.name)
def test_device_files_import_nothing_of_edgeprof_but_each_other(path):
    sent = {f.stem for f in DEVICE_FILES}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module in ("edgeprof", "edgeprof.backends"):
            assert {alias.name for alias in node.names} <= sent
        else:
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            root = name.partition(".")[0]
            known = ("cupti", "numpy", "onnxruntime", "pynvml", "tensorrt")
            assert root in sys.stdlib_module_names or root in known


def test_old_pythons_compile_the_device_files(tmp_path):
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python 3.6 to 3.8 on this machine")
    for python in pythons:
        for path in DEVICE_FILES:
            code = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2], doraise=True)"
            done = subprocess.run(
                [python, "-c", code, str(path), str(tmp_path / "out.pyc")],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{python}: {done.stderr}"


def test_the_program_is_the_source_in_the_order_it_is_loaded():
    parts = program(DRIVER)
    assert [name for name, _ in parts] == ["edgeprof.timing.loop", DRIVER, "edgeprof.timing.worker"]
    assert [text for _, text in parts] == [DEVICE_FILES[i].read_text("utf-8") for i in (0, 2, 1)]


def test_what_the_driver_imports_goes_before_it():
    names = [name for name, _ in program(gpu.DRIVER, gpu.NEEDS)]
    assert names[1:-1] == [*gpu.NEEDS, "edgeprof.backends.ort_cuda"]


@pytest.mark.parametrize("backend", [gpu.CudaBackend, engines.TensorrtBackend, engines.RtxBackend])
def test_a_driver_finds_what_it_imports_where_edgeprof_is_not_installed(backend, tmp_path):
    """As on a board: the worker's Python sees nothing of this checkout."""
    (tmp_path / "sitecustomize.py").write_text("")
    bare = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    with (
        Worker(backend.driver, bare, needs=backend.needs) as worker,
        pytest.raises(BackendError) as caught,
    ):
        worker.ask({"do": "describe"}, 60)
    assert "edgeprof" not in caught.value.message  # it is the runtime or the driver that is missing
    assert caught.value.hint


def test_it_describes_what_runs_here(worker):
    found = worker.ask({"do": "describe"}, 60)
    assert found["runtime"] == "onnxruntime"
    assert "CPUExecutionProvider" in found["providers"]
    assert found["numpy"] == np.__version__
    assert found["python"] == sys.version.split()[0]
    assert found["pid"] == worker.pid


def test_one_worker_serves_many_requests(worker, model):
    first = worker.ask(request(model), 60)
    pid = worker.pid
    second = worker.ask(request(model, graph=True), 60)
    assert worker.pid == pid
    for found in (first, second):
        assert min(found["runs_ns"]) > 0
        assert len(found["runs_ns"]) % found["repeats"] == 0
        assert found["stopped"] in ("target", "time")
        assert min(found["host_ns"]) > 0
        assert found["load_ms"] > 0
        assert found["first_ns"] > 0
        assert found["memory"]["memory_mib"] >= found["memory"]["build_mib"] >= 0
        counters = {"involuntary_switches", "minor_faults", "major_faults", "cpu_s", "resident_kib"}
        assert set(found["counters"]) == counters
        assert [k["op_type"] for k in found["kernels"]].count("Softmax") == 1
        assert {len(k["us"]) for k in found["kernels"]} == {len(found["profiled_us"])}
    assert "graph" not in first
    assert second["graph"]


def test_what_a_network_takes_is_seen_whatever_ran_before_it(worker, tmp_path):
    """What others have left is given back: a large network takes as much again after a large one."""
    large, small = tmp_path / "large.onnx", tmp_path / "small.onnx"
    large.write_bytes(model_bytes(net_spec(conv=1, depth=8, fc=2, neurons=2000), 16))  # 31 MiB of weights
    small.write_bytes(model_bytes(net_spec(conv=1, depth=2, fc=0), 1))
    worker.ask({"do": "describe"}, 60)  # as every sweep does: the runtime is no part of a network
    first, little, again = (
        worker.ask(request(path, profile_s=0), 60)["memory"] for path in (large, small, large)
    )
    for found in (first, again):
        assert 31 < found["build_mib"] <= found["memory_mib"] < 31 * 6
    assert again["memory_mib"] > 4 * little["memory_mib"]
    assert first["memory_mib"] / 3 < again["memory_mib"] < first["memory_mib"] * 3
    assert again["process_mib"] < first["process_mib"] + 31
    assert 0 < first["room_mib"] < psutil.virtual_memory().total / 2**20
    assert "shared_memory_mib" not in first


def look(resident, peak, available, floor=None):
    """A look at memory, MiB in KiB."""
    floor = resident if floor is None else floor
    told = dict(resident=resident, peak=peak, available=available, room=available, floor=floor)
    return {name: mib * 1024 for name, mib in told.items()}


def test_memory_that_is_shared_counts_once():
    """A process of 100 MiB reads a network: 60 MiB more for a moment, of which 20 stay, and the GPU takes 50 MiB; then
    runs, for which the GPU takes 200 more and the process 10."""
    before, built, ran = look(100, 100, 3000), look(120, 160, 2930), look(130, 130, 2720)
    found = memory_taken(before, built, ran, True)
    assert (found["build_mib"], found["memory_mib"]) == (60, 60)
    assert found["shared_build_mib"] == 70 + 40  # both now, and what the process had for a moment
    assert found["shared_memory_mib"] == 280
    assert (found["process_mib"], found["room_mib"]) == (100, 3000)
    alone = memory_taken(before, built, ran, False)
    assert not any(name.startswith("shared") for name in alone)


def test_a_peak_that_an_earlier_one_hides_is_not_known():
    hidden = look(100, 400, 3000, floor=400)
    assert memory_taken(hidden, look(150, 400, 2900), look(160, 400, 2900), True).keys() == {
        "process_mib",
        "room_mib",
    }
    above = memory_taken(hidden, look(150, 420, 2900), look(160, 160, 2900), False)
    assert (above["build_mib"], above["memory_mib"]) == (320, 320)


def test_without_a_profile_there_are_no_kernels(worker, model):
    assert "kernels" not in worker.ask(request(model, profile_s=0), 60)


def test_real_inputs_are_used(worker, model, tmp_path):
    np.save(tmp_path / "tiles.npy", np.zeros((2, 1, 28, 28), np.float32))
    assert worker.ask(request(model, input=str(tmp_path / "tiles.npy")), 60)["runs_ns"]
    np.save(tmp_path / "wrong.npy", np.zeros((3, 1, 28, 28), np.float32))
    with pytest.raises(BackendError, match="reshape"):
        worker.ask(request(model, input=str(tmp_path / "wrong.npy")), 60)
    assert worker.ask(request(model), 60)["runs_ns"]


def test_no_file_is_left_behind(worker, model, tmp_path):
    with Worker(DRIVER, {"TMPDIR": str(tmp_path)}) as other:
        other.ask(request(model, graph=True), 60)
        assert list(tmp_path.iterdir()) == []


def test_the_runtime_reports_to_nobody(worker, model):
    worker.ask(request(model), 60)
    environment = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    assert b"ORT_DISABLE_TELEMETRY=1" in environment


def test_several_runs_at_once_and_one_after_them(worker, model):
    asked = request(model, do="overlap", depths=[1, 3], turns=2, turn_s=0.01)
    for _ in range(2):
        one, three = worker.ask(asked, 60)["depths"]
        assert (one["depth"], three["depth"]) == (1, 3)
        assert len(one["runs_per_s"]) == len(three["runs_per_s"]) == 2
    assert worker.ask(request(model), 60)["runs_ns"]
    with pytest.raises(BackendError, match="Load model"):
        worker.ask({**asked, "model": str(model) + ".not"}, 60)


def test_a_driver_that_runs_one_at_a_time_says_so(model):
    found = device_side.answer({**request(model), "do": "overlap", "depths": [2]}, loop, object(), None)
    assert found["kind"] == "refused"
    assert "not run several times at once" in found["error"]


@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_as_asked(model, threads):
    """Inside a request the runtime has the worker's own thread and the others of its pool."""
    if threads > (os.cpu_count() or 1):
        pytest.skip("not so many cores")
    busy = subprocess.Popen(
        [sys.executable, "-c", ASK_FOREVER, str(model), str(threads)], stdout=subprocess.PIPE, text=True
    )
    try:
        pid, idle = (int(word) for word in busy.stdout.readline().split())
        deadline = time.monotonic() + 60
        seen = 0
        while time.monotonic() < deadline and seen < idle + threads - 1:
            seen = psutil.Process(pid).num_threads()
            time.sleep(0.02)
        time.sleep(0.1)
        assert psutil.Process(pid).num_threads() == idle + threads - 1
    finally:
        busy.kill()
        busy.wait()
        busy.stdout.close()


ASK_FOREVER = f"""
import sys
import psutil
from edgeprof.timing.process import Worker
worker = Worker({DRIVER!r})
worker.ask({{"do": "describe"}}, 60)
request = {request("")!r}
request["model"], request["threads"] = sys.argv[1], int(sys.argv[2])
worker.ask({{**request, "stop": {{"target_ci": 0.5, "min_runs": 3, "min_s": 0.001, "max_s": 0.01}}}}, 60)
request["stop"] = {{"target_ci": 1e-12, "min_runs": 10**9, "min_s": 600, "max_s": 600}}
request["threads"] = 1
worker.ask({{"do": "describe"}}, 60)
request["threads"] = int(sys.argv[2])
print(worker.pid, psutil.Process(worker.pid).num_threads(), flush=True)
worker.ask(request, 600)
"""


def test_it_ends_with_a_parent_that_is_killed(model):
    """Even in the middle of a long measurement."""
    parent = subprocess.Popen(
        [sys.executable, "-c", ASK_FOREVER, str(model), "1"], stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline().split()[0])
    time.sleep(0.2)
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert ends(pid)


def test_it_ends_when_its_input_ends(worker):
    worker.ask({"do": "describe"}, 60)
    pid = worker.pid
    worker.close()
    assert worker.pid is None
    assert ends(pid, 1.0)
    worker.close()


def test_ctrl_c_is_for_the_parent(worker, model):
    worker.ask({"do": "describe"}, 60)
    os.kill(worker.pid, signal.SIGINT)
    assert worker.ask(request(model), 60)["runs_ns"]


def test_a_killed_worker_is_an_error_of_one_request(worker, model):
    worker.ask({"do": "describe"}, 60)
    pid = worker.pid
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {pid}"])
    with pytest.raises(WorkerError, match="SIGKILL") as caught:
        worker.ask(forever(model), 60)
    killer.wait()
    assert caught.value.hint
    assert worker.pid is None
    assert worker.ask(request(model), 60)["runs_ns"]
    assert worker.pid not in (None, pid)


def test_a_worker_killed_between_requests_is_replaced(worker, model):
    worker.ask({"do": "describe"}, 60)
    pid = worker.pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert worker.ask(request(model), 60)["runs_ns"]


def test_an_answer_cut_short_is_a_crash(tmp_path):
    """A worker that is killed while it answers leaves half a line."""
    with Worker(DRIVER) as worker:
        worker.ask({"do": "describe"}, 60)
        os.kill(worker.pid, signal.SIGSTOP)
        process = psutil.Process(worker.pid)
        pipes = [fd for fd in Path(f"/proc/{process.pid}/fd").iterdir() if "pipe" in os.readlink(fd)]
        answers = next(fd for fd in pipes if int(fd.name) > 2)
        half = subprocess.Popen(
            # after the request was sent, or the next one would find the worker gone and start another
            ["sh", "-c", f"sleep 1; printf '{{\"ok\": {{' > {answers}; kill -9 {process.pid}"],
        )
        with pytest.raises(WorkerError, match="SIGKILL"):
            worker.ask({"do": "describe"}, 60)
        half.wait()
        assert worker.ask({"do": "describe"}, 60)["runtime"] == "onnxruntime"


def test_a_hung_worker_is_given_up(worker, model):
    worker.ask({"do": "describe"}, 60)
    pid = worker.pid
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(WorkerError, match="no answer for 1 s"):
        worker.ask(request(model), 1.0)
    assert time.monotonic() - begin < 60
    assert ends(pid)
    assert worker.ask(request(model), 60)["runs_ns"]


def test_a_request_that_takes_too_long_is_given_up(worker, model):
    with pytest.raises(WorkerError, match="no answer"):
        worker.ask(forever(model), 2.0)
    assert worker.ask(request(model), 60)["runs_ns"]


def test_an_interrupted_request_leaves_no_answer_behind(worker, model):
    worker.ask({"do": "describe"}, 60)
    pid = worker.pid
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -INT {os.getpid()}"])
    with pytest.raises(KeyboardInterrupt):
        worker.ask(forever(model), 60)
    killer.wait()
    assert ends(pid)
    assert worker.ask({"do": "describe"}, 60)["runtime"] == "onnxruntime"


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("Failed to allocate memory for requested buffer of size 4423680000", 4423680000),
        ("Available memory of 256 is smaller than requested bytes of 1024", 1024),
        ("cuMemAlloc_v2: out of memory (2): requested buffer of size 65", 65),
        (
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; file=b.cc ; line=7 ; expr=cudaMalloc(&p, n);",
            None,
        ),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", None),
        ("CUDNN failure 4004: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0", None),
    ],
)
def test_memory_of_a_gpu_that_is_short_is_told_from_other_trouble(said, size):
    """As ONNX Runtime 1.31.1 words it, the driver, and the names of states in NVIDIA's headers."""

    class Short:
        @staticmethod
        def describe():
            raise RuntimeError(said)

    answer = device_side.answer({"do": "describe"}, None, Short, None)
    assert (answer["kind"], answer["bytes"]) == ("memory", size)


def test_a_network_may_be_waited_for_longer_than_a_month(worker):
    """Patience grows with the multiply-accumulates, and a batch of 2²⁰ has many."""
    assert worker.ask({"do": "describe"}, 1e9)["runtime"] == "onnxruntime"


def test_out_of_memory_is_an_error_with_a_reason_and_others_go_on(worker, model, tmp_path):
    worker.ask(request(model), 60)
    limit = psutil.Process(worker.pid).memory_info().vms + 200 * 2**20
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))
    path = tmp_path / "large.onnx"
    path.write_bytes(model_bytes(net_spec(conv=1, depth=64, fc=0, padding="same"), 8192))
    with pytest.raises(OutOfMemory, match="were asked for") as caught:
        worker.ask(request(path), 60)
    assert caught.value.bytes_asked >= 4 * 8192 * 64 * 28 * 28  # the output of its convolution
    assert "smaller" in caught.value.hint
    assert worker.ask(request(model), 60)["runs_ns"]


def test_an_absurdly_large_network_is_an_error_with_a_reason(worker, model, tmp_path):
    shape = [2**20, 2**15]
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["much"], name="much"),
        helper.make_node("Add", ["much", "input"], ["output"], name="add"),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)]
    sizes = [helper.make_tensor("shape", TensorProto.INT64, [2], shape)]
    graph = helper.make_graph(nodes, "huge", inputs, outputs, sizes)
    path = tmp_path / "huge.onnx"
    path.write_bytes(
        helper.make_model(
            graph, ir_version=7, opset_imports=[helper.make_opsetid("", 13)]
        ).SerializeToString()
    )
    worker.ask({"do": "describe"}, 60)
    limit = 16 * 2**30  # a quarter of what one value of it takes
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))
    with pytest.raises(WorkerError, match=r"(?i)alloc|memory|signal"):
        worker.ask(request(path, options={"session.disable_cpu_ep_fallback": "0"}), 60)
    assert worker.ask(request(model), 60)["runs_ns"]


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256)) * 40])
def test_a_broken_model_is_refused(worker, model, tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendError) as caught:
        worker.ask(request(path), 60)
    assert caught.value.message
    assert "\n" not in caught.value.message
    assert worker.ask(request(model), 60)["runs_ns"]


def test_a_missing_model_is_refused(worker, tmp_path):
    with pytest.raises(BackendError, match=r"nowhere\.onnx"):
        worker.ask(request(tmp_path / "nowhere.onnx"), 60)


def test_a_provider_that_is_not_there_is_no_silent_fallback(worker, model):
    with pytest.raises(BackendError, match="CUDAExecutionProvider"):
        worker.ask(request(model, providers=["CUDAExecutionProvider", "CPUExecutionProvider"]), 60)


def test_a_missing_runtime_is_named_with_its_remedy(model, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')\n")
    with Worker(DRIVER, {"PYTHONPATH": str(tmp_path)}) as worker:
        for asked in ({"do": "describe"}, request(model)):
            with pytest.raises(BackendError, match="onnxruntime") as caught:
                worker.ask(asked, 60)
            assert "pip install" in caught.value.hint


def test_a_python_without_numpy_says_so(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('No module named numpy')\n")
    with Worker(DRIVER, {"PYTHONPATH": str(tmp_path)}) as worker:
        for _ in range(2):
            with pytest.raises(BackendError, match="numpy") as caught:
                worker.ask({"do": "describe"}, 60)
            assert "pip install" in caught.value.hint


def test_what_the_runtime_prints_does_not_get_between_the_answers(model, tmp_path):
    """A runtime that prints from Python and straight to the file descriptor, as native code does."""
    (tmp_path / "chatty.py").write_text(
        (resources.files("edgeprof") / "backends/ort.py").read_text("utf-8")
        + "\n\n_load = load\n\n\ndef load(*arguments):\n"
        "    print('loading')\n    os.write(1, b'{\"ok\": 1}\\n' * 100)\n    return _load(*arguments)\n"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import edgeprof.timing.process as process
from pathlib import Path
parts = dict(process.program({DRIVER!r}))
parts[{DRIVER!r}] = Path({str(tmp_path / "chatty.py")!r}).read_text()
process.program = lambda driver, needs: list(parts.items())
with process.Worker({DRIVER!r}) as worker:
    found = worker.ask({request(model)!r}, 60)
    assert found["runs_ns"]
    assert worker.ask({{"do": "describe"}}, 60)["runtime"] == "onnxruntime"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_environment_is_set_before_the_runtime_starts(tmp_path):
    with Worker(DRIVER, {"EDGEPROF_TEST_LAUNCH": "blocking"}) as worker:
        worker.ask({"do": "describe"}, 60)
        assert psutil.Process(worker.pid).environ()["EDGEPROF_TEST_LAUNCH"] == "blocking"


def test_others_look_while_a_network_runs_on_and_on(worker, model):
    looks = []
    asked = request(model, do="sustain", seconds=0.5, rate_hz=0)
    found = worker.ask(asked, 60, meanwhile=lambda: looks.append(time.monotonic()), every_s=0.1)
    assert 3 <= len(looks) <= 5
    assert looks[-1] - looks[0] < 0.5
    assert found["runs"] > 100
    assert 0.5e9 <= found["spent_ns"] < 0.6e9
    paced = worker.ask({**asked, "rate_hz": 40.0}, 60)
    assert paced["runs"] == 20
    assert paced["busy_ns"] < 0.25e9
    assert 0 < paced["percentiles_ns"]["p50"] <= paced["percentiles_ns"]["max"]


def test_a_worker_that_hangs_while_others_look(worker, model):
    looks = []
    with pytest.raises(WorkerError, match="no answer"):
        worker.ask(
            request(model, do="sustain", seconds=600, rate_hz=0), 1.0, meanwhile=lambda: looks.append(1)
        )
    assert looks
    assert not worker.alive
