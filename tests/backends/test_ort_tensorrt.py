"""ONNX Runtime's TensorRT provider: without its package, TensorRT or a driver, and, where there is a GPU, on it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi import _pybind_state

from edgeprof.backends import ort, ort_cuda, ort_tensorrt
from edgeprof.backends.cuda import CudaError, Device
from edgeprof.backends.engines import TensorrtBackend
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec

HAS_PROVIDER = ort_tensorrt.PROVIDER in onnxruntime.get_available_providers()
NET = model_bytes(net_spec(conv=1, depth=4, fc=1, neurons=8), 2)


def no_gpu() -> str:
    """Why there is no GPU; empty where there is one."""
    try:
        Device()
    except CudaError as error:
        return str(error)
    return ""


def no_tensorrt() -> str:
    """Why the provider cannot be used; empty where it can."""
    try:
        ort_tensorrt.describe()
    except ImportError as error:
        return str(error)
    return ""


class NoDevice:
    """What a session asks of a GPU before there is one."""

    number, stream = 0, 4096

    def free_bytes(self) -> int:
        return 0


@pytest.mark.skipif(HAS_PROVIDER, reason="this is the runtime's package for GPUs")
def test_the_package_for_processors_is_told_from_that_for_gpus() -> None:
    with pytest.raises(ort_cuda.Missing, match="it is the package for processors") as caught:
        ort_tensorrt.describe()
    assert "edgeprof[gpu]" in caught.value.hint


@pytest.mark.skipif(not HAS_PROVIDER, reason="this is the runtime's package for processors")
@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_the_package_for_gpus_without_one() -> None:
    with pytest.raises(CudaError, match="NVIDIA driver") as caught:
        ort_tensorrt.describe()
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_silent_fall_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime's own answer to a provider that it cannot load is a session of another one."""
    monkeypatch.setitem(ort_cuda.devices, 0, NoDevice())
    options = {"trt_fp16_enable": "True", "trt_cuda_graph_enable": "True", "session.disable_prepacking": "1"}
    with pytest.raises(ort_cuda.Refused) as caught:
        ort_tensorrt.load(NET, 1, [ort_tensorrt.PROVIDER], options, None, False)
    if HAS_PROVIDER:
        assert "the TensorRT provider cannot be loaded: lib" in str(caught.value)
        assert "tensorrt-cu13<11" in caught.value.hint
    assert ort_cuda.trouble_of_libraries(ort_tensorrt.FILES).startswith("lib") == HAS_PROVIDER


@pytest.mark.skipif(not HAS_PROVIDER, reason="this is the runtime's package for processors")
@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_options_are_as_the_provider_reads_them(tmp_path: Path) -> None:
    """It reads them before it looks for TensorRT, and says which it does not know."""
    backend = TensorrtBackend()
    known = {
        "device_id": "0",
        "user_compute_stream": "4096",
        **ort_tensorrt.caches(str(tmp_path / "a.onnx"), {}),
    }
    for precision in backend.precisions:
        for launch in backend.launches:
            known.update(ort_cuda.parted(dict(backend.options(precision, launch)))[1])
    backend.close()
    assert "fallback to CPU EP" in refusal(known)
    assert "trt_fp16_enable' should be 'True' or 'False'" in refusal({**known, "trt_fp16_enable": "1"})
    assert "Invalid TensorRT EP option: use_tf32" in refusal({"use_tf32": "0"})


def refusal(options: dict[str, str]) -> str:
    """What the runtime says of a provider's options, without the look for TensorRT that its Python begins with."""
    settings = ort.settings_of(1, {"session.disable_cpu_ep_fallback": "1"})
    session = _pybind_state.InferenceSession(settings, NET, False, False)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of the runtime's own classes)
        session.initialize_session([ort_tensorrt.PROVIDER], [options], set())
    return str(caught.value)


def test_nodes_that_another_provider_runs_are_told() -> None:
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("the runtime tells no assignment before 1.24")
    settings = ort.recorded(ort.settings_of(1, {}))
    session = onnxruntime.InferenceSession(NET, settings, providers=["CPUExecutionProvider"])
    assert ort.assigned_elsewhere(session, "CPUExecutionProvider") == []
    elsewhere = ort.assigned_elsewhere(session, ort_tensorrt.PROVIDER)
    assert "CPUExecutionProvider runs conv1" in elsewhere
    with pytest.raises(ort_cuda.Refused, match="not all of the network runs in the TensorRT provider: CPU"):
        ort_tensorrt.EngineSession(session, 0.0, None, NoDevice(), 0)


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_several_runs_at_once_want_a_gpu_too() -> None:
    with pytest.raises(CudaError, match="NVIDIA driver"):
        ort_tensorrt.lanes(2, NET, 1, [ort_tensorrt.PROVIDER], {}, None)


def test_versions_as_the_library_counts() -> None:
    assert [ort_tensorrt.version_text(n) for n in (8601, 8510, 100000, 101303)] == [
        "8.6.1",
        "8.5.10",
        "10.0.0",
        "10.13.3",
    ]


def test_an_engine_has_a_folder_of_its_own_beside_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime's own name of an engine knows neither weights nor shapes."""
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    one, other = (ort_tensorrt.caches(str(tmp_path / name), {}) for name in ("a.onnx", "b.onnx"))
    assert one["trt_engine_cache_path"] != other["trt_engine_cache_path"]
    assert one["trt_timing_cache_path"] == other["trt_timing_cache_path"]
    half = ort_tensorrt.caches(str(tmp_path / "a.onnx"), {"trt_fp16_enable": "True"})
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    exact = ort_tensorrt.caches(str(tmp_path / "a.onnx"), {})
    assert len({found["trt_timing_cache_path"] for found in (one, half, exact)}) == 3
    for found in (one, other, half, exact):
        assert Path(found["trt_engine_cache_path"]).is_dir()
        assert Path(found["trt_timing_cache_path"]).is_dir()


def test_the_oldest_engines_go_where_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_tensorrt, "KEPT_BYTES", 250)
    for age, name in enumerate(("new", "middle", "old")):
        folder = Path(ort_tensorrt.folder_of(str(tmp_path), name))
        (folder / "x.engine").write_bytes(bytes(100))
        os.utime(folder, (1e9 - age, 1e9 - age))
    ort_tensorrt.folder_of(str(tmp_path), "next")
    assert sorted(p.name for p in (tmp_path / "engines").iterdir()) == ["middle", "new", "next"]


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"trt_fp16_enable": "True"}, {"trt_cuda_graph_enable": "True"}])
def test_runs_in_tensorrt(options: dict[str, str], tmp_path: Path) -> None:
    if reason := no_tensorrt():
        pytest.skip(reason)
    model = tmp_path / "net.onnx"
    model.write_bytes(NET)
    results, loads = [], []
    inputs = {"input": ort.noise({"shape": (2, 1, 28, 28)}, 0)}
    for _ in range(2):
        session = ort_tensorrt.load(str(model), 1, [ort_tensorrt.PROVIDER], dict(options), None, False)
        loads.append(session.load_ms)
        try:
            session.bind(inputs)
            for _ in range(3):
                session.run()
            results.append(session.run_from_host()[0])
            found = session.observe(lambda: 0)
        finally:
            session.close()
    plain = onnxruntime.InferenceSession(NET, providers=["CPUExecutionProvider"])
    (on_cpu,) = plain.run(None, inputs)
    np.testing.assert_allclose(results[0], on_cpu, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-7)
    assert list((tmp_path / "engines" / "net.onnx").glob("*.engine"))
    assert list((tmp_path / "timing").glob("*/*"))
    assert min(found["device_ns"]) > 1000
