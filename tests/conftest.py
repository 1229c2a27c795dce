"""What every test may rely on."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

from benchmarks.emulation import write_board
from edgeprof.backends import ort_cuda
from edgeprof.backends import tensorrt as own_tensorrt
from edgeprof.boards.sensors.gpu import GpuState
from edgeprof.timing.process import QUIET


def pytest_configure() -> None:
    """Ctrl-C is met as in the foreground: a shell's background job, and all that it starts, would ignore it. The
    runtime reports to nobody. Drawn examples are the same each time, and take the time that a busy machine needs."""
    settings.register_profile(
        "steady",
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("steady")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(QUIET)


@cache
def no_gpu() -> str:
    """Why networks cannot run on a GPU here; empty where they can."""
    try:
        ort_cuda.describe()
    except ImportError as error:
        return str(error)
    return ""


@cache
def no_tensorrt() -> str:
    """Why TensorRT cannot run networks here; empty where it can."""
    try:
        own_tensorrt.describe()
    except ImportError as error:
        return str(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What needs a device that is not there is left out, and says why."""
    if item.get_closest_marker("gpu") and (reason := no_gpu()):
        pytest.skip(f"no GPU: {reason}")
    if item.get_closest_marker("tensorrt") and (reason := no_tensorrt()):
        pytest.skip(reason)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made():
    """Make one side of a comparison: networks measured in rounds that are made up (:func:`made_rounds`)."""

    def side(**settings):
        from edgeprof.compare.side import measured_side
        from edgeprof.timing.measurement import measurement

        simulated, estimator = settings.pop("simulated", False), settings.pop("estimator", "low-decile")
        found = made_rounds(**settings)
        measured = [(measurement(case, rounds, estimator, 3, simulated), rounds) for case, rounds in found]
        return measured_side("made", measured)

    return side


@pytest.fixture
def database():
    """Write networks measured in rounds that are made up (:func:`made_rounds`) to a database."""

    def write(path, **settings):
        from edgeprof.store import Store

        with Store(Path(path), create=True) as store:
            for case, rounds in made_rounds(**settings):
                store.add_cases([case], "low-decile", False, 3)
                for measured in rounds:
                    store.add_round(case, measured, "s")

    return write


def made_rounds(
    *,
    nets,
    first=0,
    rounds=3,
    noise=0.01,
    seed=0,
    factors=None,
    slow=None,
    names=None,
    failing=None,
    same_net=False,
    profiled=True,
    **identity,
):
    """(case, rounds) of networks. Number i of ``first`` … ``first + nets - 1`` has batch i + 1, a Conv of i + 2 ms
    and a Gemm of 1 ms, each times its kind's part in ``factors``, both times what ``slow`` says of the network; their
    noise from round to round is ``noise``. ``names`` calls kinds otherwise; ``failing`` has why a network fails."""
    from edgeprof.nets.spec import net_spec
    from edgeprof.sweeps.case import Case
    from edgeprof.timing.measurement import KernelTimes, Round

    where = dict(
        precision="fp32",
        threads=1,
        launch="blocking",
        board="cpu",
        machine="EPYC",
        backend="ort-cpu",
        runtime="onnxruntime 1.31.1",
    )
    rng = np.random.default_rng([seed, 11])
    found = []
    for i in range(first, first + nets):
        net = net_spec(depth=8 if same_net else 8 + i)
        case = Case(**{**where, "net": net, "batch": i + 1, **identity})
        if i in (failing or {}):
            found.append((case, [Round(number=1, status="failed", reason=failing[i])]))
            continue
        base = {"Conv.nchwc": i + 2.0, "Gemm": 1.0}
        of = np.array([ms * (factors or {}).get(kind, 1.0) for kind, ms in base.items()])
        own = []
        for number in range(1, rounds + 1):
            ms = of * (slow or {}).get(i, 1.0) * np.exp(noise * rng.normal(size=2))
            kernels = tuple(
                KernelTimes((names or {}).get(kind, kind), f"{kind}1", ("conv1",), (us,) * 5)
                for kind, us in zip(base, 1e3 * ms, strict=True)
            )
            own.append(
                Round(
                    number=number,
                    status="ok",
                    runs_ns=np.rint(1e6 * ms.sum() * np.exp(0.001 * rng.normal(size=40))).astype(np.int64),
                    stopped="target",
                    half_width=0.001,
                    kernels=kernels if profiled else (),
                    profiled_us=(1e3 * ms.sum(),) * 5 if profiled else (),
                )
            )
        found.append((case, own))
    return found


@pytest.fixture
def emulated(tmp_path: Path) -> Callable[[str], Path]:
    """Write an emulated Jetson and give its root: tx1, nano, xavier-nx, orin-nano, agx-orin or thor."""
    return lambda name: write_board(tmp_path / name, name)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's management library, stood in for (``tests/data/nvml/nvml.c``)."""
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("there is no C compiler (cc)")
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).parent / "data/nvml/nvml.c"
    strict = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run([cc, *strict, str(source), "-o", str(path)], check=True)
    return path


@pytest.fixture
def card(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GPU at 0000:05:00.0 that a library in C stands in for, here and in processes that are started, and a program
    for nvidia-smi below ``tmp_path``: calls and arguments are real, figures are made up. Files in this folder tell what
    it is like."""
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    folder = write_smi(tmp_path)
    others = os.environ.get("LD_LIBRARY_PATH")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{nvml_library.parent}{':' + others if others else ''}")
    monkeypatch.setenv("NVML_STAND_IN", str(folder))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return folder


def write_smi(root: Path, python: str = sys.executable) -> Path:
    """Write the stand-in for nvidia-smi below ``root``: the folder of its state."""
    program = root / "usr/bin/nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!{python}\n" + (Path(__file__).parent / "data/nvml/nvidia_smi.py").read_text())
    program.chmod(0o755)
    (root / "card").mkdir()
    return root / "card"


@pytest.fixture
def gpu_state() -> GpuState:
    """What the stand-in's driver tells of its GPU, where no file says otherwise."""
    return GpuState(
        "NVIDIA A2",
        "600.00",
        mhz=1200,
        max_mhz=1770,
        memory_mhz=6001,
        max_memory_mhz=6251,
        temperature_c=51,
        headroom_c=38,
        limit_w=60,
        default_limit_w=60,
        persistent=False,
        ecc=True,
        processes=(),
    )


# --- small ONNX files

IR = {7: 3, 9: 4, 11: 6, 13: 7, 17: 8, 21: 10}  # of the ONNX release that brought the opset
TOKENS, WIDTH = 50, 16


def _random(shape: Sequence[int], dtype: Any = np.float32) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, Any],
    opset: int = 13,
    domains: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Write a model of these parts; files of IR version 3 list their weights among the inputs, as they must."""
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    ir = IR.get(opset, 8)
    listed = list(inputs)
    if ir == 3:
        listed += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(list(nodes), "g", listed, list(outputs), tensors)
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=ir), path, **options)
    return path


def image_model(path: Path, opset: int = 13, dtype: Any = np.float32, **options: Any) -> Path:
    """Conv → BatchNormalization → Relu → MaxPool → Flatten → Gemm → Softmax, with an open batch: ``image``
    [N, 3, 16, 16] to ``probability`` [N, 5]."""
    kind = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], name="stem/conv", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], name="stem/bn"),
        helper.make_node("Relu", ["b"], ["r"], name="stem/relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "head", "bias"], ["g"], name="head"),
        helper.make_node("Softmax", ["g"], ["probability"], name="softmax", axis=1),
    ]
    ones = np.ones(8, dtype)
    weights = {"w": _random((8, 3, 3, 3), dtype), "scale": ones, "shift": ones, "mean": ones, "var": ones}
    weights |= {"head": _random((512, 5), dtype), "bias": _random((5,), dtype)}
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("image", kind, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("probability", kind, ["N", 5])],
        weights,
        opset,
        **options,
    )


def text_model(path: Path, opset: int = 17) -> Path:
    """Token ids and a mask, both int64 with open batch and length, and a float value to add: an embedding, a layer
    norm, one head of attention."""
    shared: list[Any] = ["batch", "length"]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], name="embed"),
        helper.make_node("LayerNormalization", ["e", "gain", "lift"], ["n"], name="norm", axis=-1),
        helper.make_node("MatMul", ["n", "q"], ["query"], name="query"),
        helper.make_node("Transpose", ["n"], ["keys"], name="keys", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["query", "keys"], ["s"], name="scores"),
        helper.make_node("Cast", ["mask"], ["m"], name="mask/float", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "one"], ["m2"], name="mask/row"),
        helper.make_node("Add", ["s", "m2"], ["s2"], name="masked"),
        helper.make_node("Softmax", ["s2"], ["a"], name="attention", axis=-1),
        helper.make_node("MatMul", ["a", "n"], ["mixed"], name="values"),
        helper.make_node("Add", ["mixed", "extra"], ["out"], name="extra/add"),
    ]
    weights = {"table": _random((TOKENS, WIDTH)), "gain": _random((WIDTH,)), "lift": _random((WIDTH,))}
    weights |= {"q": _random((WIDTH, WIDTH)), "one": np.array([1], np.int64)}
    return save(
        path,
        nodes,
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, shared),
            helper.make_tensor_value_info("mask", TensorProto.INT64, shared),
            helper.make_tensor_value_info("extra", TensorProto.FLOAT, [*shared, WIDTH]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [*shared, WIDTH])],
        weights,
        opset,
    )


def branch_model(path: Path) -> Path:
    """A branch with graphs inside: the image doubled or negated, by whether ``flag`` is true."""

    def inner(name: str, op_type: str, inputs: list[str]) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [1, 64])
        node = helper.make_node(op_type, inputs, [f"{name}_out"], name=f"{name}/{op_type}")
        return helper.make_graph([node], name, [], [out])

    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="before"),
        helper.make_node(
            "If",
            ["flag"],
            ["y"],
            name="choice",
            then_branch=inner("then", "Add", ["r", "r"]),
            else_branch=inner("else", "Neg", ["r"]),
        ),
        helper.make_node("Sigmoid", ["y"], ["out"], name="after"),
    ]
    return save(
        path,
        nodes,
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 64])],
        {},
    )


def custom_model(path: Path) -> Path:
    """An operator that no runtime knows."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="before"),
        helper.make_node("Wobble", ["r"], ["out"], name="odd", domain="com.example"),
    ]
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 64])],
        {},
        domains=["com.example"],
    )


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Files that tests read: ``image7`` … ``image21`` by opset, ``half`` in float16, ``apart`` with its weights in
    another file, ``text``, ``branch``, and ``custom``, which cannot run."""
    folder = tmp_path_factory.mktemp("models")
    found = {f"image{opset}": image_model(folder / f"image{opset}.onnx", opset) for opset in IR}
    found["half"] = image_model(folder / "half.onnx", dtype=np.float16)
    kept = {"save_as_external_data": True, "location": "apart.bin", "size_threshold": 0}
    found["apart"] = image_model(folder / "apart.onnx", **kept)
    for name, build in (("text", text_model), ("branch", branch_model), ("custom", custom_model)):
        found[name] = build(folder / f"{name}.onnx")
    return found
