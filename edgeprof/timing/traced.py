"""Traced: a device's own record of a network's kernels as the kernels of a round, named after how they work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from edgeprof.timing.breakdown import Kernel
from edgeprof.timing.kernel_names import PRODUCTS, UNKNOWN, KernelName, plain_name, read_name
from edgeprof.timing.launches import NodeKernel, node_kernels
from edgeprof.timing.measurement import KernelTimes

SOURCE = "CUPTI"  # telemetry.kernels_from, and a law's machine.kernels_from
MULTIPLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Of a node's kernels the one that does its work; the others prepare for it or tidy up behind it.
HELPERS = ("layout", "split-k-reduction", "setup", "copy", "memset")
WORKING = ("winograd", "fft", "depthwise", "direct", "implicit-gemm", "explicit-gemm", "gemm", "gemv")
TENSOR_CORES = "tf32"
LEAST_SHARE = 0.01  # of the time of products: less of another precision is not worth a word


@dataclass(frozen=True)
class Traced:
    """Kernels of a round, the microseconds of the profiled runs, what is told beside them, codes of advice, and the
    seconds that runs took in a session of their own."""

    kernels: tuple[KernelTimes, ...]
    profiled_us: tuple[float, ...] = ()
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    running_s: float = 0.0


def traced(trace: Mapping[str, Any], nodes: Sequence[Kernel], precision: str) -> Traced:
    """The kernels of a ``trace`` (edgeprof.timing.launches.node_kernels) of a network that ran ``nodes``, in their
    order, asked for in ``precision``. Every kernel is kept; the one that does a node's work is named after it."""
    found = node_kernels(trace)
    kernels: list[KernelTimes] = []
    for number in sorted({k.node for k in found if k.node is not None}):
        node, own = nodes[number], [k for k in found if k.node == number]
        names = [read_name(k.kernel.name) for k in own]
        main = leading(names)
        for place, (kernel, name) in enumerate(zip(own, names, strict=True)):
            kind = node_kind(node, name) if place == main else name.implementation
            kernels.append(KernelTimes(kind, node.name, node.operators, kernel.us, node.glue, kernel.kernel))
    ran = shares(found)
    outside: dict[str, float] = {}
    for kernel in found:
        if kernel.node is None:
            plain = plain_name(kernel.kernel.name)
            outside[plain] = outside.get(plain, 0.0) + median(kernel.us)
    spans_us = [(end - begin) / 1e3 for begin, end in trace.get("replayed", trace)["windows"]]
    return Traced(
        kernels=tuple(kernels),
        profiled_us=tuple(spans_us),
        telemetry={
            "kernels_from": SOURCE,
            "gpu_kernels_ms": sum(median(k.us) for k in found) / 1e3,
            **({"precision_ran": ran} if ran else {}),
            **({"kernels_outside_us": outside} if outside else {}),
        },
        warnings=told_precision(precision, ran),
        running_s=sum(spans_us) / 1e6,
    )


def leading(names: Sequence[KernelName]) -> int:
    """The place of the kernel that does a node's work: the first of the implementation that tells most (a Winograd
    convolution multiplies with a GEMM of its own), else the first that is no helper."""

    def rank(place: int) -> tuple[int, int]:
        word = names[place].implementation
        if word in WORKING:
            return WORKING.index(word), place
        return len(WORKING) + (word in HELPERS), place

    return min(range(len(names)), key=rank)


def node_kind(node: Kernel, name: KernelName) -> str:
    """The kind of the kernel that does the work of ``node``: ``Conv.implicit-gemm.tf32.128x128x16``. Of operators that
    do not multiply the type alone: how their kernels work is told by it."""
    if name.implementation in PRODUCTS:
        return f"{node.kind}.{name.words}"
    return f"{node.kind}.{UNKNOWN}" if node.op_type in MULTIPLY else node.kind


def shares(found: Sequence[NodeKernel]) -> dict[str, float]:
    """Of the time of all kernels that multiply and say in what precision: each precision's part."""
    times: dict[str, float] = {}
    for kernel in found:
        name = read_name(kernel.kernel.name)
        if name.implementation in PRODUCTS and name.precision:
            times[name.precision] = times.get(name.precision, 0.0) + median(kernel.us)
    total = sum(times.values())
    return {word: time / total for word, time in sorted(times.items())} if total else {}


def told_precision(asked: str, ran: Mapping[str, float]) -> tuple[str, ...]:
    """Advice where another precision ran than the one ``asked``: TF32 in a network of fp32, and none of it where it was
    allowed."""
    if asked == "fp32" and ran.get(TENSOR_CORES, 0.0) > LEAST_SHARE:
        return ("tf32-ran",)
    if asked == TENSOR_CORES and ran and ran.get(TENSOR_CORES, 0.0) <= LEAST_SHARE:
        return ("fp32-ran",)
    return ()
