"""The plans that cuDNN's heuristics pick for the family's convolutions, with or without a GPU.

``python -m benchmarks.cudnn_plans [--out FILE]`` asks for the GPU of this machine, whose properties it dumps by the
documented call (cudnn-frontend, DeviceProperties); where there is none, for handmade properties of each of
``--capability 8.0 8.6 …``, or for those of ``--properties FILE``. ``--export FILE`` compares the plans with the kernels
that CUPTI saw on that GPU. It needs ``pip install nvidia-cudnn-cu13 nvidia-cudnn-frontend nvidia-cublas`` and, to show
a tree, scikit-learn. Without a driver cuDNN's libraries do not load, so that a library in its place is compiled (cc).

A plan is an engine and its knobs, asked for as ONNX Runtime's CUDA provider does: heuristic B, NCHW, float32, and a
convolution with its bias and ReLU as one graph. ``--precision fp32`` (the default) has ``NVIDIA_TF32_OVERRIDE=0``.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from ctypes import CDLL, RTLD_GLOBAL
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.nets.network import net_operators
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import read_sweep

SHAPES = 300
REPEATS = 3
PARTS = 10  # of the shapes, each held out once
DRIVER = "libcuda.so.1"
MARK = (
    "EDGEPROF_CUDNN_PLANS"  # set where the process began anew: the folder of a library in the driver's place
)
# What cuDNN 9.28 looks for in the driver's library; none of it is called to list plans.
SYMBOLS = """cuGetErrorString cuGetErrorName cuModuleGetFunction cuModuleLoadData cuModuleUnload cuTensorMapEncodeIm2col
cuTensorMapEncodeTiled cuLaunchKernelEx cuCtxGetCurrent cuCtxGetLimit cuCtxPopCurrent cuCtxPushCurrent cuStreamGetCtx
cuDriverGetVersion cuLinkCreate cuLinkAddData cuLinkComplete cuLinkDestroy cuLaunchKernel cuLaunchCooperativeKernel
cuDeviceGetCount cuDeviceGet cuLibraryLoadData cuLibraryLoadFromFile cuLibraryGetKernel cuLibraryUnload
cuKernelSetAttribute cuKernelGetAttribute cuKernelGetFunction cuOccupancyMaxPotentialClusterSize"""
# By compute capability: shared memory of a block and of a multiprocessor (KiB), threads and blocks of a multiprocessor
# (CUDA C++ Programming Guide, technical specifications), and a device of it: multiprocessors, L2 (MiB), memory (GiB),
# bus (bits), clocks (MHz), after NVIDIA's data sheets of A100, RTX 3060, AGX Orin, RTX 4070, H100 and B200.
CAPABILITIES = {
    "8.0": (163, 164, 2048, 32, 108, 40, 40, 5120, 1410, 1215),
    "8.6": (99, 100, 1536, 16, 28, 2.25, 12, 192, 1777, 7501),
    "8.7": (163, 164, 1536, 16, 16, 4, 64, 256, 1300, 3200),
    "8.9": (99, 100, 1536, 24, 46, 36, 12, 192, 2475, 10501),
    "9.0": (227, 228, 2048, 32, 132, 50, 80, 5120, 1980, 2619),
    "10.0": (227, 228, 2048, 32, 148, 126, 180, 8192, 1965, 3996),
}
VARIED: Mapping[str, Mapping[str, float]] = {
    "one multiprocessor less": {"multiProcessorCount": 0.999},
    "half the multiprocessors": {"multiProcessorCount": 0.5},
    "twice the multiprocessors": {"multiProcessorCount": 2},
    "half the clocks": {"smClockRateKHz": 0.5, "memClockRateKHz": 0.5},
    "half the bus": {"memoryBusWidth": 0.5},
    "half the L2": {"l2CacheSize": 0.5},
    "half the memory": {"totalGlobalMem": 0.5},
}


@dataclass(frozen=True, order=True)
class Shape:
    """A convolution of square pictures: batch, channels, size, filters, window, stride, padding before and behind."""

    batch: int
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int
    before: int
    behind: int

    @property
    def result(self) -> int:
        """Size of what it gives."""
        return (self.size + self.before + self.behind - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Plan:
    """An engine of cuDNN's and its knobs, as cudnn-frontend names them: ``eng12`` and ``k5=1_k6=0``."""

    engine: str
    knobs: str


NONE = Plan("none", "")


def main() -> int:
    """List, count and compare; status 2 where cuDNN cannot be had."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--capability", nargs="*", default=list(CAPABILITIES))
    parser.add_argument("--properties", type=Path, help="of a device, as --out has them")
    parser.add_argument("--precision", choices=("fp32", "tf32"), default="fp32")
    parser.add_argument("--fused", action="store_true", help="with bias and ReLU as one graph")
    parser.add_argument("--export", type=Path, help="of measurements on this device, with kernels by CUPTI")
    parser.add_argument("--shapes", type=int, default=SHAPES)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if lacking := missing(given.precision):
        print(f"error: {lacking}", file=sys.stderr)
        return 2
    devices = properties_of(given.properties, given.capability)
    seen = kernels_seen(given.export) if given.export else {}
    shapes = sorted(seen) or family_shapes(given.shapes)
    listed, found = {}, {}
    for name, device in devices.items():
        listed[name], found[name] = study(device, shapes, fused=given.fused)
    versions = {name: _version(name) for name in ("nvidia-cudnn-cu13", "nvidia-cudnn-frontend")}
    figures: dict[str, Any] = {"versions": versions, "precision": given.precision, "fused": given.fused}
    figures |= {"shapes": [astuple(s) for s in shapes], "devices": devices, "figures": found}
    figures["alike"] = alike({name: [plans[0] for plans in of] for name, of in listed.items()})
    for name in listed:
        figures["figures"][name]["tree"] = tree(shapes, [plans[0].engine for plans in listed[name]])
        figures["figures"][name]["first"] = [f"{p[0].engine}_{p[0].knobs}".strip("_") for p in listed[name]]
        if seen:
            figures["figures"][name]["seen"] = compared(dict(zip(shapes, listed[name], strict=True)), seen)
    if given.out:
        given.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(report(figures))
    return 0


def missing(precision: str) -> str:
    """What cuDNN lacks here; empty where it can be asked. The process begins anew first, since NVIDIA's libraries look
    at the environment when they start."""
    if MARK not in os.environ:
        try:
            CDLL(DRIVER)
            driver = ""
        except OSError:
            try:
                driver = in_the_drivers_place()
            except (OSError, subprocess.CalledProcessError) as error:
                return f"there is no NVIDIA driver, and no C compiler to make a library in its place: {error}"
        paths = [*(str(path) for path in _packaged()), os.environ.get("LD_LIBRARY_PATH", "")]
        exact = {"NVIDIA_TF32_OVERRIDE": "0"} if precision == "fp32" else {}
        own = {MARK: driver, "LD_LIBRARY_PATH": os.pathsep.join(path for path in paths if path)}
        command = [sys.executable, "-m", "benchmarks.cudnn_plans", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **exact, **own})
    if os.environ[MARK]:
        CDLL(os.path.join(os.environ[MARK], DRIVER), mode=RTLD_GLOBAL)
        shutil.rmtree(os.environ[MARK])
    try:
        import cudnn  # noqa: F401
    except (ImportError, OSError) as error:
        return f"{error}: pip install nvidia-cudnn-cu13 nvidia-cudnn-frontend nvidia-cublas"
    return ""


def in_the_drivers_place() -> str:
    """A folder with a library of the driver's name, whose functions all fail: what cuDNN links can then be loaded."""
    folder = tempfile.mkdtemp(prefix="cudnn-plans-")
    source = "".join(f"int {name}(void) {{ return 100; }}\n" for name in SYMBOLS.split())
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{DRIVER}", "-x", "c", "-", "-o"]
    subprocess.run([*command, os.path.join(folder, DRIVER)], input=source, text=True, check=True)
    return folder


def _packaged() -> Iterator[Path]:
    """Folders of NVIDIA's libraries among Python's packages."""
    for entry in sys.path:
        yield from (p for p in sorted(Path(entry or ".").glob("nvidia/*/lib")) if p.is_dir())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def properties_of(file: Path | None, capabilities: Sequence[str]) -> dict[str, Any]:
    """Properties of devices by name: a file's, else those of the GPU here, else handmade ones."""
    import cudnn

    if file:
        told = json.loads(file.read_text("utf-8"))
        return dict(told.get("devices", {file.stem: told}))
    try:
        return {"this GPU": json.loads(cudnn.create_device_properties(0).serialize())}
    except RuntimeError:  # no driver, no GPU
        return {name: handmade(name) for name in capabilities}


def handmade(capability: str) -> dict[str, Any]:
    """Properties as cuDNN 9.28 wants them, of a device of that compute capability."""
    block, shared, threads, blocks, sms, l2, memory, bus, clock, memory_clock = CAPABILITIES[capability]
    return {
        "deviceName": f"handmade {capability}",
        "cudaDeviceId": 0,
        "deviceVer": int(float(capability) * 10) * 10,
        "driverVer": 13000,
        "multiProcessorCount": sms,
        "smCountOrigin": 0,
        "totalGlobalMem": int(memory * 2**30),
        "maxGridSize": [2**31 - 1, 65535, 65535],
        "maxBlockSize": [1024, 1024, 64],
        "regsPerBlock": 65536,
        "warpSize": 32,
        "maxSharedMemoryPerBlock": 48 * 1024,
        "maxSharedMemoryPerBlockOptin": block * 1024,
        "oversizedSharedMemoryPerBlock": 0,
        "reservedSharedMemoryPerBlock": 1024,
        "maxSharedMemoryPerSM": shared * 1024,
        "maxRegistersPerSM": 65536,
        "maxCtasPerSM": blocks,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerSM": threads,
        "pciDeviceId": 0,
        "isTccDriver": 0,
        "supportCoopLaunch": 1,
        "smClockRateKHz": clock * 1000,
        "memClockRateKHz": memory_clock * 1000,
        "memoryBusWidth": bus,
        "l2CacheSize": int(l2 * 2**20),
    }


def family_shapes(count: int) -> list[Shape]:
    """Different convolutions of random networks of the sweep ``family-gpu``."""
    found: dict[Shape, None] = {}
    for work in expand(read_sweep("family-gpu").resampled(count, None)):
        found.update(dict.fromkeys(shapes_of(work.net, work.batch).values()))
    return sorted(list(found)[:count])


def shapes_of(net: Any, batch: int) -> dict[str, Shape]:
    """The convolutions of a network by name, those in groups and of oblong windows left out."""
    found = {}
    for op in net_operators(net, batch):
        if op.op_type == "Conv" and op.dims["G"] == 1 and op.dims["Kh"] == op.dims["Kw"]:
            d = {key: int(value) for key, value in op.dims.items()}
            before = d["P"] // 2
            found[op.name] = Shape(batch, d["C"], d["Hi"], d["M"], d["Kh"], d["S"], before, d["P"] - before)
    return found


def study(
    device: Mapping[str, Any], shapes: Sequence[Shape], fused: bool
) -> tuple[list[list[Plan]], dict[str, Any]]:
    """Plans of every shape, and how fast they come, how many differ, and what of the device they depend on."""
    listed = listing(device, shapes, fused)
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        listing(device, shapes, fused)
        times.append(time.process_time() - begin)
    first = [plans[0] for plans in listed]
    varied = {}
    for name, factors in VARIED.items():
        other = {**device, **{key: int(device[key] * factor) for key, factor in factors.items()}}
        again = [plans[0] for plans in listing(other, shapes, fused)]
        varied[name] = sum(a != b for a, b in zip(first, again, strict=True))
    return listed, {
        "answers_per_s": len(shapes) / float(np.median(times)),
        "plans": len(set(first)),
        "engines": dict(Counter(plan.engine for plan in first).most_common()),
        "alternatives": float(np.median([len(plans) for plans in listed])),
        "changed_by": varied,
    }


def listing(device: Mapping[str, Any], shapes: Sequence[Shape], fused: bool) -> list[list[Plan]]:
    """The plans for each shape, the heuristics' first choice first."""
    import cudnn

    properties = cudnn.create_device_properties(json.dumps(device))
    found = []
    for shape in shapes:
        try:
            found.append(plans_for(properties, shape, fused))
        except cudnn.cudnnGraphNotSupportedError:
            try:  # the runtime then adds the bias by itself
                plain = plans_for(properties, shape, False) if fused else []
            except cudnn.cudnnGraphNotSupportedError:
                plain = []
            found.append([Plan(f"plain {p.engine}", p.knobs) for p in plain] or [NONE])
    return found


def plans_for(properties: Any, shape: Shape, fused: bool) -> list[Plan]:
    """The plans for a convolution, alone, or with bias and ReLU. Source of the graphs: ONNX Runtime's CUDA provider
    (onnxruntime/core/providers/cuda/nn/conv.cc), which asks for the first; where it fuses a bias, it adds a tensor of
    zeros where layouts are NCHW."""
    import cudnn

    kind, out = cudnn.data_type.FLOAT, shape.result
    graph = cudnn.pygraph(
        io_data_type=kind, intermediate_data_type=kind, compute_data_type=kind, device_property=properties
    )
    result = (shape.batch, shape.filters, out, out)
    x = _tensor(graph, "x", (shape.batch, shape.channels, shape.size, shape.size))
    w = _tensor(graph, "w", (shape.filters, shape.channels, shape.kernel, shape.kernel))
    steps = {"stride": [shape.stride] * 2, "dilation": [1, 1]}
    y = graph.conv_fprop(x, w, pre_padding=[shape.before] * 2, post_padding=[shape.behind] * 2, **steps)
    if fused:
        y = graph.add(y, _tensor(graph, "z", result))
        y = graph.relu(graph.add(y, _tensor(graph, "b", (1, shape.filters, 1, 1))))
    y.set_output(True)
    y.set_dim(list(result))
    y.set_stride(_strides(result))
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.B])
    names = (graph.get_plan_name_at_index(i) for i in range(graph.get_execution_plan_count()))
    return [Plan(engine, knobs) for engine, _, knobs in (name.partition("_") for name in names)]


def _tensor(graph: Any, name: str, sizes: Sequence[int]) -> Any:
    return graph.tensor(name=name, dim=list(sizes), stride=_strides(sizes))


def _strides(sizes: Sequence[int]) -> list[int]:
    return [int(np.prod(sizes[i + 1 :])) for i in range(len(sizes))]


def alike(first: Mapping[str, Sequence[Plan]]) -> dict[str, dict[str, float]]:
    """For each pair of devices the part of shapes with the same first plan."""
    return {
        a: {b: float(np.mean([p == q for p, q in zip(of, first[b], strict=True)])) for b in first}
        for a, of in first.items()
    }


def tree(shapes: Sequence[Shape], engines: Sequence[str]) -> dict[str, Any]:
    """How well short trees over a convolution's numbers tell the engine, on shapes held out, and the tree of
    eight leaves; nothing for few shapes, or without scikit-learn."""
    if len(shapes) < 10 * PARTS:
        return {}
    try:
        from sklearn.model_selection import KFold, cross_val_predict
        from sklearn.tree import DecisionTreeClassifier, export_text
    except ImportError:
        return {}
    names = ["batch", "channels", "size", "filters", "kernel", "stride", "pixels", "weights"]
    table = np.array(
        [
            [s.batch, s.channels, s.size, s.filters, s.kernel, s.stride, s.batch * s.result**2,
             s.channels * s.kernel**2]
            for s in shapes
        ]
    )  # fmt: skip
    wrong = {"the most frequent": 1 - max(Counter(engines).values()) / len(engines)}
    for leaves in (4, 8, 16, 64):
        model = DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=0)
        guessed = cross_val_predict(
            model, table, np.array(engines), cv=KFold(PARTS, shuffle=True, random_state=0)
        )
        wrong[f"{leaves} leaves"] = float(np.mean(guessed != np.array(engines)))
    short = DecisionTreeClassifier(max_leaf_nodes=8, random_state=0).fit(table, np.array(engines))
    return {"wrong": wrong, "text": export_text(short, feature_names=names, decimals=0)}


def kernels_seen(export: Path) -> dict[Shape, tuple[str, str, str]]:
    """By shape: the implementation, and the name, of the kernel that CUPTI saw for a convolution; and its precision.

    :raises SystemExit: an export without such kernels.
    """
    data = export.read_bytes()
    told = json.loads(gzip.decompress(data) if export.suffix == ".gz" else data)
    found = {}
    for m in told if isinstance(told, list) else told["measurements"]:
        case = Case.model_validate(m["case"])
        shapes = shapes_of(case.net, case.batch)
        for kernel in m["kernels"]:
            shape = next((shapes[name] for name in kernel["operators"] if name in shapes), None)
            if shape and kernel.get("device") and kernel["kind"].startswith(("Conv.", "FusedConv.")):
                found[shape] = (kernel["kind"], kernel["device"]["name"], case.precision)
    if not found:
        sys.exit(f"error: {export} has no convolutions with kernels by CUPTI")
    return found


def compared(
    listed: Mapping[Shape, Sequence[Plan]], seen: Mapping[Shape, tuple[str, str, str]]
) -> dict[str, Any]:
    """Whether a first plan tells the kernel: the part of shapes whose kernel is the most frequent one of their plan
    (and of their engine, by kind), beside the part that one guess for all would have."""
    by_plan: defaultdict[Plan, Counter[str]] = defaultdict(Counter)
    by_engine: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for shape, (kind, name, _) in seen.items():
        by_plan[listed[shape][0]][name] += 1
        by_engine[listed[shape][0].engine][kind] += 1

    def told(groups: Mapping[Any, Counter[str]]) -> float:
        return sum(max(group.values()) for group in groups.values()) / len(seen)

    return {
        "shapes": len(seen),
        "plan_tells_kernel": told(by_plan),
        "engine_tells_kind": told(by_engine),
        "one_kernel_for_all": max(Counter(name for _, name, _ in seen.values()).values()) / len(seen),
        "kinds_by_engine": {engine: dict(kinds) for engine, kinds in by_engine.items()},
    }


def report(figures: Mapping[str, Any]) -> str:
    """The figures as tables for people."""
    lines = [f"{figures['precision']}, fused: {figures['fused']}; {len(figures['shapes'])} convolutions", ""]
    lines += [
        "| device | answers a second of processor time | plans | engines | changed by |",
        "|---|---|---|---|---|",
    ]
    for name, f in figures["figures"].items():
        engines = ", ".join(f"{engine} {count}" for engine, count in f["engines"].items())
        changed = ", ".join(f"{what} {n}" for what, n in f["changed_by"].items() if n) or "nothing"
        lines.append(f"| {name} | {f['answers_per_s']:.0f} | {f['plans']} | {engines} | {changed} |")
    lines += ["", "Shapes with the same first plan:", ""]
    for name, others in figures["alike"].items():
        lines.append(f"- {name}: " + ", ".join(f"{o} {100 * share:.0f} %" for o, share in others.items()))
    for name, f in figures["figures"].items():
        if f["tree"]:
            wrong = ", ".join(f"{what} {100 * part:.0f} %" for what, part in f["tree"]["wrong"].items())
            lines += ["", f"{name}, engine told wrongly: {wrong}", "", f["tree"]["text"]]
        if "seen" in f:
            lines += ["", f"{name}, against CUPTI: {json.dumps(f['seen'], ensure_ascii=False)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
