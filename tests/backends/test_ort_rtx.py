"""The plugin of TensorRT-RTX: without its package, a driver or a GPU that it takes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnxruntime
import pytest

from edgeprof.backends import ort, ort_cuda, ort_rtx
from edgeprof.backends.cuda import CudaError, Device
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec

NET = model_bytes(net_spec(conv=1, depth=4, fc=1, neurons=8), 2)
needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec(ort_rtx.PACKAGE) is None, reason=f"{ort_rtx.PACKAGE} is not installed"
)
needs_no_plugin = pytest.mark.skipif(
    importlib.util.find_spec(ort_rtx.PACKAGE) is not None, reason=f"{ort_rtx.PACKAGE} is installed"
)
GPU = {"gpu": "NVIDIA GeForce GTX 960", "gpu_address": "0000:01:00.0", "gpu_compute_capability": "5.2"}


def no_gpu() -> str:
    """Why there is no GPU; empty where there is one."""
    try:
        Device()
    except CudaError as error:
        return str(error)
    return ""


needs_no_gpu = pytest.mark.skipif(not no_gpu(), reason="there is a GPU")


class NoDevice:
    """What a session asks of a GPU before there is one."""

    number, stream = 0, 4096

    def free_bytes(self) -> int:
        return 0

    def describe(self) -> dict[str, str]:
        return GPU


@needs_no_plugin
def test_the_plugin_is_missing() -> None:
    with pytest.raises(
        ort_cuda.Missing, match=r"plugin of TensorRT-RTX is not installed: No module"
    ) as caught:
        ort_rtx.describe()
    assert "onnxruntime-ep-nv-tensorrt-rtx-cu13" in caught.value.hint


def test_a_runtime_that_takes_no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "register_execution_provider_library", raising=False)
    with pytest.raises(
        ort_cuda.Missing, match=r"onnxruntime \S+ takes no providers that are plugins"
    ) as caught:
        ort_rtx.describe()
    assert "onnxruntime>=1.24" in caught.value.hint


@pytest.fixture
def no_plugin_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package of the plugin's name whose library is none."""
    (tmp_path / "broken.so").write_bytes(b"no library")
    package = ModuleType(ort_rtx.PACKAGE)
    package.get_library_path = lambda: str(tmp_path / "broken.so")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, ort_rtx.PACKAGE, package)


@pytest.mark.usefixtures("no_plugin_inside")
def test_a_plugin_that_cannot_be_loaded_says_what_the_runtime_says() -> None:
    with pytest.raises(ort_cuda.Missing, match=r"cannot be loaded: .*broken\.so"):
        ort_rtx.register(ort_rtx.package())


def test_a_gpu_that_the_plugin_does_not_take() -> None:
    with pytest.raises(ort_cuda.Refused, match=r"GTX 960 of compute capability 5\.2: it lists 0") as caught:
        ort_rtx.pick(GPU)
    assert "8.6, 8.9 and from 12.0" in caught.value.hint


def test_the_gpu_is_chosen_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(name: str, address: str) -> SimpleNamespace:
        return SimpleNamespace(ep_name=name, device=SimpleNamespace(metadata={"pci_bus_id": address}))

    wanted = listed(ort_rtx.PROVIDER, "0000:01:00.0")
    others = [listed("CPUExecutionProvider", ""), listed(ort_rtx.PROVIDER, "0000:02:00.0")]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [*others, wanted])
    assert ort_rtx.pick({**GPU, "gpu_address": "0000:01:00.0"}) is wanted
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: others)
    with pytest.raises(ort_cuda.Refused, match="it lists 1 devices, none at 0000:01"):
        ort_rtx.pick(GPU)


@needs_no_gpu
def test_several_runs_at_once_want_a_gpu_too() -> None:
    with pytest.raises(CudaError, match="NVIDIA driver"):
        ort_rtx.lanes(2, NET, 1, [ort_rtx.PROVIDER], {}, None)


def test_a_session_of_the_processor_is_refused() -> None:
    session = onnxruntime.InferenceSession(NET, ort.settings_of(1, {}), providers=["CPUExecutionProvider"])
    with pytest.raises(ort_cuda.Refused, match=r"asked for Nv.*, but the session uses CPUExecutionProvider"):
        ort_rtx.RtxSession(session, 0.0, None, NoDevice(), 0)


@needs_plugin
@needs_no_gpu
def test_the_plugin_without_a_driver() -> None:
    """It links the driver, so that the driver is looked for first."""
    with pytest.raises(CudaError, match="NVIDIA driver") as caught:
        ort_rtx.describe()
    assert "nvidia-smi" in caught.value.hint
    with pytest.raises(ort_cuda.Missing, match=r"plugin of TensorRT-RTX cannot be loaded: .*libcuda\.so\.1"):
        ort_rtx.register(ort_rtx.package())


def library(folder: Path, name: str, functions: str) -> None:
    """A library of this name whose functions all say that there is no device."""
    source = "".join(f"int {function}(void) {{ return 100; }}\n" for function in functions.split())
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-x", "c", "-", "-o", str(folder / name)]
    subprocess.run(command, input=source, text=True, check=True)


@needs_plugin
@needs_no_gpu
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_the_plugin_with_a_driver_that_finds_no_gpu(tmp_path: Path) -> None:
    """It is registered, and lists nothing that a network could run on."""
    package = importlib.import_module(ort_rtx.PACKAGE)
    found = subprocess.run(
        ["nm", "-D", "--undefined-only", package.get_library_path()],
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = [line.split()[-1].partition("@")[0] for line in found.stdout.splitlines()]
    driver = [name for name in wanted if name.startswith("cu") and not name.startswith("cuda")]
    more = ["cuInit", "cuDeviceGetCount", "cuGetErrorString", "cuDriverGetVersion", "cuGetProcAddress_v2"]
    library(tmp_path, "libcuda.so.1", " ".join(sorted({*driver, *more})))
    library(tmp_path, "libnvidia-ml.so.1", " ".join(name for name in wanted if name.startswith("nvml")))
    code = (
        "from edgeprof.backends import ort_cuda, ort_rtx\n"
        "ort_rtx.register(ort_rtx.package())\n"
        "ort_rtx.register(ort_rtx.package())\n"
        f"gpu = {GPU!r}\n"
        "try:\n    ort_rtx.pick(gpu)\n"
        "except ort_cuda.Refused as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "it lists 0 devices" in done.stdout
