"""A real runtime behind the backend's protocol. Nothing here depends on how fast the machine is."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeprof.backends import ort
from edgeprof.backends.base import Stop
from edgeprof.backends.open import open_backend
from edgeprof.backends.runtime import RuntimeBackend, chain_bytes, plain_reason
from edgeprof.errors import BackendError, WorkerError
from edgeprof.nets.build import build_model
from edgeprof.nets.model import model_file
from edgeprof.nets.network import ZooNet, net_operators, weights_folder
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.launches import Clock, Span, within
from edgeprof.timing.measurement import KernelTimes, measurement
from edgeprof.timing.traced import Traced

QUICK = Stop(target_ci=0.3, min_runs=3, min_s=0.002, max_s=0.02)


def case(**more):
    identity = dict(
        precision="fp32", threads=1, launch="blocking", board="cpu", machine="m", backend="ort-cpu"
    )
    net = net_spec(conv=2, depth=(5, 16), fc=1, neurons=8)
    return Case(**{"net": net, "batch": 2, "runtime": "r", **identity, **more})


@pytest.fixture(scope="module")
def backend():
    opened = open_backend("ort-cpu")
    yield opened
    opened.close()


def test_it_says_what_runs(backend):
    assert backend.name == "ort-cpu"
    assert not backend.simulated
    assert backend.runtime() == f"onnxruntime {onnxruntime.__version__}"
    assert backend.facts()["numpy"] == np.__version__


def test_a_round_has_all_that_can_be_observed(backend):
    found = backend.measure(case(), 2, QUICK, None)
    assert (found.number, found.status, found.reason) == (2, "ok", "")
    assert found.runs_ns.dtype == np.int64
    assert found.runs_ns.min() > 0
    assert len(found.runs_ns) >= 3 * found.repeats
    assert found.stopped in ("target", "time")
    assert found.latency_ms > 0
    assert found.load_ms > 0
    assert found.first_run_ms > 0
    assert found.host_ms > 0
    assert found.event_us >= 0
    assert found.telemetry["memory_mib"] >= 0
    assert set(found.telemetry["counters"]) >= {"involuntary_switches", "cpu_s"}
    assert found.kernels
    for kernel in found.kernels:
        assert len(kernel.us) == len(found.profiled_us)
        assert min(kernel.us) >= 0
        assert kernel.operators
    assert ("target-missed" in found.warnings) == (found.stopped == "time")


def test_nodes_are_told_on_the_hosts_clock():
    """Of a real profile, by which kernels of a GPU are told to nodes."""
    model = build_model(case().net, 2).SerializeToString()
    session = ort.load(model, 1, ["CPUExecutionProvider"], {}, None, "times")
    try:
        session.bind({name: ort.noise(one, 0) for name, one in session.inputs().items()})
        windows = []
        for _ in range(5):
            begin = time.time_ns()
            session.run()
            windows.append(Span(begin, time.time_ns()))
        found = session.timeline(3)
    finally:
        session.close()
    runs = [Span(*ends) for ends in found["runs"]]
    assert within(Clock(0), windows[-3:], runs)
    assert not within(Clock(0), windows[:3], runs)
    assert found["events"][0]["op_type"] in ("Conv", "FusedConv", "ReorderInput")
    for run, nodes in zip(found["runs"], found["nodes"], strict=True):
        assert len(nodes) == len(found["events"])
        ends = [time for node in nodes for time in node]
        assert ends == sorted(ends)
        assert run[0] <= ends[0] <= ends[-1] <= run[1] + 2000


class Told(RuntimeBackend):
    """The runtime for processors, whose kernels a device tells of."""

    def traced(self, case, request, timeout_s):
        kernel = KernelTimes("Gemm.gemm.fp32.64x64", "fc1", ("fc1",), (3.0, 4.0))
        return Traced((kernel,), (9.0,), {"kernels_from": "CUPTI"}, ("tf32-ran",), 0.5)


def test_what_a_device_tells_of_kernels_takes_the_place_of_the_profile():
    backend = Told("ort-cpu", "edgeprof.backends.ort", ("CPUExecutionProvider",), ("blocking",))
    try:
        found = backend.measure(case(), 1, QUICK, None)
        plain = backend.measure(case(), 1, replace(QUICK, profile=False), None)
    finally:
        backend.close()
    assert [k.kind for k in found.kernels] == ["Gemm.gemm.fp32.64x64"]
    assert found.event_us == 0
    assert found.profiled_us == (9.0,)
    assert found.telemetry["kernels_from"] == "CUPTI"
    assert "tf32-ran" in found.warnings
    assert found.running_s > 0.5
    assert (plain.kernels, plain.telemetry.get("kernels_from")) == ((), None)


def test_every_operator_is_in_one_kernel(backend):
    one = case()
    found = backend.measure(one, 1, QUICK, None)
    covered = [name for kernel in found.kernels if not kernel.glue for name in kernel.operators]
    assert sorted(covered) == sorted(op.name for op in net_operators(one.net, one.batch))


def test_rounds_of_a_case_ran_the_same_kernels_in_any_session(backend):
    rounds = [backend.measure(case(), number, QUICK, None) for number in (1, 2)]
    other = open_backend("ort-cpu")
    try:
        rounds.append(other.measure(case(), 3, QUICK, None))
    finally:
        other.close()
    found = measurement(case(), rounds, "minimum", 3, False)
    assert "kernels-disagree" not in found.warnings
    assert found.host_to_host_ms > 0
    assert found.coverage > 0


@pytest.mark.parametrize("most", [2**31, 1000], ids=["in one file", "weights apart"])
def test_any_file_runs_with_weights_inside_or_outside(most, backend, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeprof.nets.model.MAX_BYTES", most)
    model = build_model(net_spec(conv=1, depth=4, fc=1, neurons=8), 1)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    path = tmp_path / f"{most}.onnx"
    onnx.save(model, path, save_as_external_data=True, location=f"{most}.bin", size_threshold=0)
    net = model_file(path, batch=3)
    assert (weights_folder(net) is None) == (most > 1000)
    one = case(net=net, batch=net.batch)
    found = backend.measure(one, 1, QUICK, None)
    assert found.status == "ok"
    covered = [name for kernel in found.kernels if not kernel.glue for name in kernel.operators]
    assert sorted(covered) == sorted(op.name for op in net_operators(net, 3))


def test_a_network_of_the_zoo_runs(backend):
    one = case(net=ZooNet(name="lenet5"), batch=1)
    found = measurement(one, [backend.measure(one, 1, QUICK, None)], "minimum", 1, False)
    assert {name for k in found.kernels for name in k.operators} >= {"classifier", "softmax"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/edgeprof-1/a.onnx failed:/onnxruntime_src/core/graph/"
            "model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&) Unsupported"
            " model IR version: 99, max supported IR version: 13",
            "Unsupported model IR version: 99, max supported IR version: 13",
        ),
        (
            "Error in execution: Non-zero status code returned while running Gather node. Name:'g' Status Message:"
            " indices element out of data bounds, idx=1",
            "Gather g: indices element out of data bounds, idx=1",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/a.onnx failed:Fatal error:"
            " com.example:Wobble(-1) is not a registered function/op",
            "Fatal error: com.example:Wobble(-1) is not a registered function/op",
        ),
        (
            "Error in execution: Non-zero status code returned while running Conv node. Name:'conv1' Status Message:"
            " /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void*"
            " onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory"
            " for requested buffer of size 4423680000",
            "Conv conv1: Failed to allocate memory for requested buffer of size 4423680000",
        ),
        (
            "Non-zero status code returned while running Conv node. Name:'conv1' Status Message: OP not supported by"
            " CUDNN Frontend: /onnxruntime_src/onnxruntime/core/providers/cuda/cudnn_fe_call.cc:117"
            " std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*,"
            " const char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cudnn_frontend::error_object; bool"
            " THRW = true; SUCCTYPE = cudnn_frontend::error_code_t; std::conditional_t<THRW, void, common::Status> ="
            " void] CUDNN_FE failure 6: GRAPH_EXECUTION_PLAN_CREATION_FAILED ; GPU=0 ; hostname=somebody ;"
            " file=/onnxruntime_src/onnxruntime/core/providers/cuda/nn/conv.cc ; line=248 ;"
            " expr=s_.cudnn_fe_graph->check_support(handle); with the cudnn frontend json: "
            '{"nodes":[{"tag":"CONV_FPROP"}]}',
            "Conv conv1: OP not supported by CUDNN Frontend: CUDNN_FE failure 6:"
            " GRAPH_EXECUTION_PLAN_CREATION_FAILED in s_.cudnn_fe_graph->check_support(handle);",
        ),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_reasons_are_told_without_the_runtimes_insides(said, reason):
    assert plain_reason(said) == reason


def test_real_tiles_are_fed_and_wrong_ones_refused(backend, tmp_path):
    np.save(tmp_path / "tiles.npy", np.zeros((2, 1, 28, 28), np.float32))
    assert backend.measure(case(), 1, QUICK, tmp_path / "tiles.npy").status == "ok"
    np.save(tmp_path / "tiles.npy", np.zeros((2, 1, 27, 28), np.float32))
    with pytest.raises(BackendError, match="reshape"):
        backend.measure(case(), 1, QUICK, tmp_path / "tiles.npy")


def test_an_option_of_the_runtime_changes_what_runs(backend):
    plain = case(provider_options=(("session.disable_prepacking", "1"),))
    assert backend.measure(plain, 1, QUICK, None).status == "ok"
    with pytest.raises(BackendError):
        backend.measure(case(provider_options=(("x" * 2000, "1"),)), 1, QUICK, None)


def test_it_begins_afresh_after_a_restart_or_a_kill(backend):
    backend.measure(case(), 1, QUICK, None)
    first = backend._worker.pid
    backend.restart()
    assert backend._worker.pid is None
    backend.measure(case(), 1, QUICK, None)
    second = backend._worker.pid
    assert second != first
    os.kill(second, signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    os.waitid(os.P_PID, second, os.WEXITED | os.WNOWAIT)
    assert backend.measure(case(), 1, QUICK, None).status == "ok"


def test_a_provider_that_the_runtime_lacks_is_refused():
    with_cuda = RuntimeBackend("ort-odd", "edgeprof.backends.ort", ("OddExecutionProvider",), ("blocking",))
    try:
        with pytest.raises(BackendError, match="no OddExecutionProvider"):
            with_cuda.runtime()
    finally:
        with_cuda.close()


def test_a_runtime_that_cannot_be_imported_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')\n")
    broken = RuntimeBackend(
        "ort-cpu",
        "edgeprof.backends.ort",
        ("CPUExecutionProvider",),
        ("blocking",),
        {"PYTHONPATH": str(tmp_path)},
    )
    try:
        with pytest.raises(BackendError, match="onnxruntime") as caught:
            broken.runtime()
        assert "pip install" in caught.value.hint
    finally:
        broken.close()


def test_closing_leaves_no_process_and_no_folder():
    opened = open_backend("ort-cpu")
    opened.measure(case(), 1, QUICK, None)
    pid, folder = opened._worker.pid, Path(opened._folder.name)
    assert folder.is_dir()
    opened.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_chain_that_prices_an_event_is_nothing_but_kernels():
    model = onnx.load_model_from_string(chain_bytes(7))
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Neg"] * 7


def test_a_profile_without_kernels_is_an_error(backend, monkeypatch):
    monkeypatch.setattr(backend._worker, "ask", lambda request, timeout_s: {"runs_ns": [1], "kernels": []})
    with pytest.raises(WorkerError, match="no kernels"):
        backend.measure(case(batch=3), 1, QUICK, None)
