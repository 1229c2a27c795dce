"""ONNX Runtime's CUDA provider: without its package, without a driver, and, where there is a GPU, on it."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgeprof.backends import ort_cuda
from edgeprof.backends.cuda import CudaError, Device
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec

HAS_PROVIDER = ort_cuda.PROVIDER in onnxruntime.get_available_providers()
NET = model_bytes(net_spec(conv=1, depth=4, fc=1, neurons=8), 2)


def no_gpu() -> str:
    """Why there is no GPU; empty where there is one."""
    try:
        Device()
    except CudaError as error:
        return str(error)
    return ""


@pytest.mark.skipif(HAS_PROVIDER, reason="this is the runtime's package for GPUs")
def test_the_package_for_processors_is_told_from_that_for_gpus() -> None:
    with pytest.raises(
        ort_cuda.Missing, match="no CUDAExecutionProvider: it is the package for processors"
    ) as caught:
        ort_cuda.describe()
    assert "edgeprof[gpu]" in caught.value.hint


@pytest.mark.skipif(not HAS_PROVIDER, reason="this is the runtime's package for processors")
@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_the_package_for_gpus_without_one() -> None:
    with pytest.raises(CudaError, match="NVIDIA driver") as caught:
        ort_cuda.describe()
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_nothing_is_loaded_without_a_gpu() -> None:
    with pytest.raises(CudaError, match="NVIDIA driver"):
        ort_cuda.load(NET, 1, [ort_cuda.PROVIDER], {}, None, False)


class NoDevice:
    """What a session asks of a GPU before there is one."""

    number, stream = 0, 4096

    def free_bytes(self) -> int:
        return 0


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_silent_fall_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime itself gives a session of the processor in place of what was asked for."""
    monkeypatch.setitem(ort_cuda.devices, 0, NoDevice())
    given = onnxruntime.InferenceSession(NET, providers=["CPUExecutionProvider"]).get_providers()
    assert given == ["CPUExecutionProvider"]
    with pytest.raises(ort_cuda.Refused) as caught:
        ort_cuda.load(
            NET, 1, [ort_cuda.PROVIDER], {"use_tf32": "0", "session.disable_prepacking": "1"}, None, False
        )
    if HAS_PROVIDER:
        assert "cannot be loaded: lib" in str(caught.value)
        assert "onnxruntime-gpu[cuda,cudnn]" in caught.value.hint
    assert ort_cuda.trouble_of_libraries().startswith("lib") == HAS_PROVIDER


class HostMemory:
    """The processor's memory by addresses, as a GPU's is had; ``taken`` is what nobody gave back."""

    number = 0

    def __init__(self) -> None:
        self.taken: dict[int, np.ndarray] = {}

    def free_bytes(self) -> int:
        return 2**40 - sum(place.nbytes for place in self.taken.values())

    def integrated(self) -> bool:
        return False

    def allocate(self, size: int) -> int:
        place = np.zeros(size, np.uint8)
        self.taken[place.ctypes.data] = place
        return place.ctypes.data

    def free(self, address: int) -> None:
        del self.taken[address]

    def upload(self, address: int, array: np.ndarray) -> None:
        self.taken[address][:] = array.reshape(-1).view(np.uint8)

    def synchronize(self) -> None:
        pass


class HostSession(ort_cuda.CudaSession):
    """The same session with its places in the processor's memory, where the processor's provider works on them."""

    place = "cpu"


def test_inputs_and_outputs_have_places_of_their_own_and_give_them_back() -> None:
    plain = onnxruntime.InferenceSession(NET, providers=["CPUExecutionProvider"])
    first, second = ({"input": ort_cuda.noise({"shape": (2, 1, 28, 28)}, seed)} for seed in (0, 1))
    memory = HostMemory()
    session = HostSession(plain, 0.0, None, memory, memory.free_bytes())
    session.bind(first)
    addresses = set(memory.taken)
    session.run()
    (out,) = session.run_from_host()
    np.testing.assert_array_equal(out, plain.run(None, first)[0])
    session._inputs = second
    (other,) = session.run_from_host()
    np.testing.assert_array_equal(other, plain.run(None, second)[0])
    assert set(memory.taken) == addresses
    assert sorted(place.nbytes for place in memory.taken.values()) == [4 * 2 * 10, 4 * 2 * 28 * 28]
    session.close()
    session.close()
    assert memory.taken == {}


def test_what_is_left_to_others_is_told_of_a_session_alone() -> None:
    settings = ort_cuda.ort.settings_of(1, {"session.disable_cpu_ep_fallback": "1"})
    found = ort_cuda.left_over(NET, settings, ["CPUExecutionProvider"], ort_cuda.PROVIDER)
    assert found == []  # nothing runs by that provider at all
    assert ort_cuda.left_over(b"no model", settings, ["CPUExecutionProvider"], "any") == []


@pytest.mark.gpu
def test_nodes_that_the_processor_would_run_are_named() -> None:
    """An Einsum of whole numbers, for which the CUDA provider of 1.31 has no kernel."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], name="whole", to=TensorProto.INT32),
        helper.make_node("Einsum", ["i", "i"], ["j"], name="product", equation="ij,kj->ik"),
        helper.make_node("Cast", ["j"], ["y"], name="back", to=TensorProto.FLOAT),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("x", [4, 8]), ("y", [4, 4]))
    ]
    graph = helper.make_graph(nodes, "whole", *ends)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(
        ort_cuda.Refused, match="runs in the CUDA provider: CPUExecutionProvider runs product"
    ):
        ort_cuda.load(model.SerializeToString(), 1, [ort_cuda.PROVIDER], {}, None, False)


@pytest.mark.gpu
def test_runs_on_the_gpu() -> None:
    session = ort_cuda.load(NET, 1, [ort_cuda.PROVIDER], {"use_tf32": "0"}, None, False)
    try:
        session.bind({"input": ort_cuda.noise({"shape": (2, 1, 28, 28)}, 0)})
        session.run()
        (on_gpu,) = session.run_from_host()
        session._inputs = {"input": np.zeros((2, 1, 28, 28), np.float32)}
        (other,) = session.run_from_host()
        found = session.observe(lambda: 0)
    finally:
        session.close()
    plain = onnxruntime.InferenceSession(NET, providers=["CPUExecutionProvider"])
    (on_cpu,) = plain.run(None, {"input": ort_cuda.noise({"shape": (2, 1, 28, 28)}, 0)})
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-6)
    assert not np.allclose(on_gpu, other, rtol=1e-4)
    assert min(found["device_ns"]) > 1000
    assert found["gpu_memory_mib"] >= found["gpu_build_mib"] >= 0


@pytest.mark.gpu
def test_a_captured_graph_gives_what_single_launches_give() -> None:
    results = []
    for options in ({}, {"enable_cuda_graph": "1"}):
        session = ort_cuda.load(NET, 1, [ort_cuda.PROVIDER], {"use_tf32": "0", **options}, None, False)
        try:
            session.bind({"input": ort_cuda.noise({"shape": (2, 1, 28, 28)}, 0)})
            for _ in range(3):
                session.run()
            session._inputs = {"input": ort_cuda.noise({"shape": (2, 1, 28, 28)}, 1)}
            results.append(session.run_from_host()[0])
        finally:
            session.close()
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-7)
