"""A device's record becomes the kernels of a round: names, kinds, precision, and what no node launched."""

import pytest

from edgeprof.advice import ADVICE
from edgeprof.timing.breakdown import Kernel
from edgeprof.timing.kernel_names import read_name
from edgeprof.timing.traced import leading, node_kind, told_precision, traced

TF32 = (
    "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16_stage4_warpsize2x2x1"
)
LAYOUT = "void nchwToNhwcKernel<float, float, float, bool=1, bool=0>(int, int)"
POOL = "void cudnn::pooling_fw_4d_kernel<float, float>(cudnnTensorStruct)"
SGEMM = "ampere_sgemm_128x64_tn"
SPLIT = "void splitKreduce_kernel<(int)32, (int)16, int, float>(int)"
MEMSET = "[CUDA memset]"
COPY = "[CUDA memcpy DtoD]"
NODES = (
    Kernel("Conv", "conv1", "Conv", ("conv1", "conv1_relu")),
    Kernel("MaxPool", "pool1", "MaxPool", ("pool1",)),
    Kernel("Flatten", "flatten", "Flatten", ("flatten",)),
    Kernel("Gemm", "fc1", "Gemm", ("fc1",)),
)
# What each node launches, each (kernel, us); None: in no node.
LAUNCHED = {
    0: [(LAYOUT, 2), (TF32, 30), (LAYOUT, 2)],
    1: [(POOL, 5)],
    2: [],
    3: [(MEMSET, 1), (SGEMM, 10), (SPLIT, 3)],
}


def made(launched, runs=4, outside=()):
    """A trace of ``runs``: nodes of 100 us, their calls one us each, kernels one after another; then those outside."""
    kinds = list(dict.fromkeys(name for own in (*launched.values(), outside) for name, _ in own))
    found = {
        "windows": [],
        "runs": [],
        "nodes": [],
        "launches": [],
        "kernels": [],
        "clocks": [[0, 0], [1, 1]],
    }
    number = 0
    for run in range(runs):
        begin = run * 10_000_000
        at = begin + 1_000_000
        spans = []
        for place, own in enumerate([*launched.values(), outside]):
            start = begin + place * 100_000
            if place < len(launched):
                spans.append([start + 10, start + 90_000])
            for i, (name, us) in enumerate(own):
                number += 1
                found["launches"].append([number, start + 1000 + 5000 * i, start + 2000 + 5000 * i])
                found["kernels"].append([kinds.index(name), at, at + 1000 * us, number])
                at += 1000 * us + 100
        found["nodes"].append(spans)
        found["windows"].append([begin - 5000, begin + 2_000_000])
        found["runs"].append([begin, begin + 1_900_000])
    grid = {MEMSET: [], COPY: []}
    found["kinds"] = [
        [name, grid.get(name, [8, 2, 1]), grid.get(name, [256, 1, 1]), 96, 4096] for name in kinds
    ]
    return found


def test_every_kernel_is_kept_and_the_one_that_does_the_work_names_the_node():
    found = traced(made(LAUNCHED), NODES, "tf32")
    assert [(k.kind, k.name) for k in found.kernels] == [
        ("layout", "conv1"),
        ("Conv.implicit-gemm.tf32.128x128x16", "conv1"),
        ("layout", "conv1"),
        ("MaxPool", "pool1"),
        ("memset", "fc1"),
        ("Gemm.gemm.fp32.128x64", "fc1"),
        ("split-k-reduction", "fc1"),
    ]
    assert [k.us for k in found.kernels] == [(float(us),) * 4 for us in (2, 30, 2, 5, 1, 10, 3)]
    assert found.kernels[1].operators == ("conv1", "conv1_relu")
    device = found.kernels[1].device
    assert (device.name, device.grid, device.block) == (TF32, (8, 2, 1), (256, 1, 1))
    assert (device.registers, device.shared_bytes) == (96, 4096)
    assert found.kernels[4].device.grid == ()
    assert found.telemetry["kernels_from"] == "CUPTI"
    assert found.telemetry["gpu_kernels_ms"] == pytest.approx(0.053)
    assert found.telemetry["precision_ran"] == pytest.approx({"tf32": 0.75, "fp32": 0.25})
    assert "kernels_outside_us" not in found.telemetry
    assert found.profiled_us == (2005.0,) * 4
    assert found.running_s == pytest.approx(4 * 2005e-6)


def test_what_no_node_launched_is_told_beside_the_kernels():
    found = traced(made(LAUNCHED, outside=((COPY, 4), (COPY, 6))), NODES, "tf32")
    assert len(found.kernels) == 7
    assert found.telemetry["kernels_outside_us"] == {COPY: 10.0}
    assert found.telemetry["gpu_kernels_ms"] == pytest.approx(0.063)


def test_a_replayed_graph_has_the_nodes_of_the_network_run_node_by_node():
    trace = made(LAUNCHED)
    replay = made({0: [own for nodes in LAUNCHED.values() for own in nodes]}, runs=3)
    replay.update(nodes=[], runs=[])
    found = traced({**trace, "replayed": replay}, NODES, "tf32")
    alone = traced(trace, NODES, "tf32")
    assert [(k.kind, k.name, k.us[0]) for k in found.kernels] == [
        (k.kind, k.name, k.us[0]) for k in alone.kernels
    ]
    assert {len(k.us) for k in found.kernels} == {3}


@pytest.mark.parametrize(
    ("names", "place"),
    [
        ([LAYOUT, TF32, LAYOUT], 1),
        ([MEMSET, SGEMM, SPLIT], 1),
        ([SGEMM, "winogradForwardData4x4", "winogradForwardOutput4x4"], 1),
        (["fft2d_r2c_32x32", "ampere_gcgemm_64x64_nt", "fft2d_c2r_32x32"], 0),
        ([LAYOUT, "mine"], 1),
        ([MEMSET], 0),
    ],
)
def test_of_several_kernels_one_does_the_work(names, place):
    assert leading([read_name(name) for name in names]) == place


def test_kinds_of_nodes():
    conv, pool, gemm = NODES[0], NODES[1], NODES[3]
    assert node_kind(conv, read_name("my_kernel")) == "Conv.unknown"
    assert node_kind(pool, read_name("my_kernel")) == "MaxPool"
    assert node_kind(gemm, read_name("nvjet_hsh_64x8_64x16_4x1_v_bz_TNT")) == "Gemm.gemm.fp16.64x8x64"


def test_another_precision_than_the_one_asked_for_is_told():
    assert told_precision("fp32", {"fp32": 0.9, "tf32": 0.1}) == ("tf32-ran",)
    assert told_precision("tf32", {"fp32": 1.0}) == ("fp32-ran",)
    assert told_precision("fp32", {"fp32": 1.0}) == ()
    assert told_precision("tf32", {"fp32": 0.5, "tf32": 0.5}) == ()
    assert told_precision("tf32", {}) == ()  # nothing multiplied, or no name tells
    assert traced(made(LAUNCHED), NODES, "fp32").warnings == ("tf32-ran",)
    assert {"tf32-ran", "fp32-ran", "host-kernels"} <= set(ADVICE)
