"""The driver's interface: where there is no driver, where it finds no GPU, and what is called with what.

The last is against a library in C that looks at its arguments: it shows that calls are as the reference has them, and
says nothing of a GPU.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeprof.backends.cuda import CudaError, Device
from edgeprof.timing.worker import bytes_asked

CC = shutil.which("cc")
needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler (cc)")

# Prototypes after the CUDA Driver API reference.
SOURCE = r"""
#include <stddef.h>
#include <string.h>
#include <stdio.h>
static int events = 0, streams = 0;
static void *const context = (void *)0x7f0000000010, *const stream = (void *)0x7f0000000020;
int cuInit(unsigned flags) { return flags ? 1 : INIT; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 5 + ordinal; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int device) { *c = context; return device == 5 ? 0 : 101; }
int cuCtxSetCurrent(void *c) { return c == context ? 0 : 201; }
int cuCtxSynchronize(void) { return 0; }
int cuStreamCreate(void **s, unsigned flags) { *s = (char *)stream + 16 * streams++; return flags == 1 ? 0 : 1; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "GPU number %d", device); return 0; }
int cuDeviceGetPCIBusId(char *id, int size, int device) { snprintf(id, size, "0000:0%d:00.0", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return device == 5 ? 0 : 101; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device)
{
    *value = which == 75 ? 9 : which == 76 ? 0 : which == 16 ? 132 : which == 38 ? 50 << 20 : which == 18 ? 1 : -1;
    return device == 5 ? 0 : 101;
}
int cuMemGetInfo_v2(size_t *bytes, size_t *total) { *bytes = (size_t)70 << 30; *total = (size_t)80 << 30; return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = (void *)(0x7f0000001000 + ++events); return flags ? 1 : 0; }
int cuEventRecord(void *event, void *s) { return s == stream && event > stream ? 0 : 400; }
int cuEventSynchronize(void *event) { return event == (void *)(0x7f0000001000 + events) ? 0 : 400; }
int cuEventElapsedTime(float *ms, void *begin, void *end) { *ms = 1.5f; return begin < end ? 0 : 400; }
int cuEventDestroy_v2(void *event) { return event ? 0 : 400; }
int cuStreamSynchronize(void *s) { return s == stream ? 0 : 400; }
static char memory[64];

int cuMemAlloc_v2(unsigned long long *place, size_t size)
{
    if (size > sizeof memory) return 2;
    *place = (unsigned long long)memory;
    return 0;
}
int cuMemFree_v2(unsigned long long place) { return place == (unsigned long long)memory ? 0 : 1; }
int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t size)
{
    if (to != (unsigned long long)memory || size > sizeof memory) return 1;
    memcpy(memory, from, size);
    return 0;
}
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t size)
{
    if (from != (unsigned long long)memory || size > sizeof memory) return 1;
    memcpy(to, memory, size);
    return 0;
}
static int captures = 0;
static void *const graph = (void *)0x7f0000000030, *const executable = (void *)0x7f0000000040;
int cuStreamBeginCapture_v2(void *s, int mode) { captures++; return s == stream && mode == 1 ? 0 : 400; }
int cuStreamEndCapture(void *s, void **g) { *g = graph; return captures-- == 1 && s == stream ? 0 : 401; }
int cuGraphInstantiateWithFlags(void **e, void *g, unsigned long long flags)
{
    *e = executable;
    return g == graph && !flags ? 0 : 1;
}
int cuGraphDestroy(void *g) { return g == graph ? 0 : 1; }
int cuGraphLaunch(void *e, void *s) { return e == executable && s == stream ? 0 : 1; }
int cuGraphExecDestroy(void *e) { return e == executable ? 0 : 1; }
int cuGetErrorString(int status, const char **text)
{
    *text = status == 100 ? "no CUDA-capable device is detected" : status == 2 ? "out of memory" : NULL;
    return *text ? 0 : 1;
}
"""


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[int], str]:
    """A library with the driver's functions, whose cuInit gives this status."""

    def build(status: int) -> str:
        assert CC
        path = tmp_path / f"libcuda-{status}.so"
        command = [CC, "-shared", "-fPIC", f"-DINIT={status}", "-x", "c", "-", "-o", str(path)]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        return str(path)

    return build


def test_without_a_driver() -> None:
    with pytest.raises(CudaError, match=r"no NVIDIA driver is installed here: libnowhere\.so") as caught:
        Device(library="libnowhere.so")
    assert "nvidia-smi" in caught.value.hint


@needs_cc
def test_a_driver_that_finds_no_gpu(driver: Callable[[int], str]) -> None:
    with pytest.raises(CudaError, match=r"finds no GPU: cuInit: no CUDA-capable device is detected \(100\)"):
        Device(library=driver(100))
    with pytest.raises(CudaError, match=r"cuInit: unknown error \(999\)"):
        Device(library=driver(999))


@needs_cc
def test_a_number_that_there_is_not(driver: Callable[[int], str]) -> None:
    with pytest.raises(CudaError, match="lists 1 GPUs, and number 1"):
        Device(1, driver(0))


@needs_cc
def test_calls_are_as_the_reference_has_them(driver: Callable[[int], str]) -> None:
    device = Device(0, driver(0))
    assert device.stream == 0x7F0000000020
    assert device.streams(3) == [0x7F0000000020, 0x7F0000000030, 0x7F0000000040]
    assert device.streams(2) == [0x7F0000000020, 0x7F0000000030]
    assert device.describe() == {
        "gpu": "GPU number 5",
        "gpu_address": "0000:05:00.0",
        "gpu_compute_capability": "9.0",
        "gpu_sms": 132,
        "gpu_l2_kib": 50 * 1024,
        "gpu_memory_mib": 80 * 1024,
        "cuda_driver": "13.2",
    }
    assert device.free_bytes() == 70 * 2**30
    assert device.integrated()
    device.synchronize()
    runs: list[int] = []
    assert device.time_ns(lambda: runs.append(1)) == 1_500_000
    assert runs == [1]


@needs_cc
def test_memory_is_taken_filled_read_and_given_back(driver: Callable[[int], str]) -> None:
    device = Device(0, driver(0))
    address = device.allocate(16)
    device.upload(address, np.arange(4, dtype=np.float32))
    found = np.zeros(4, np.float32)
    device.download(found, address)
    device.free(address)
    device.finish()
    assert found.tolist() == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="cuMemAlloc_v2: out of memory") as caught:
        device.allocate(65)
    assert bytes_asked(str(caught.value)) == 65


@needs_cc
def test_launches_are_captured_and_replayed(driver: Callable[[int], str]) -> None:
    device = Device(0, driver(0))
    runs: list[int] = []
    executable = device.capture(lambda: runs.append(1))
    device.replay(executable)
    device.forget(executable)
    assert runs == [1]

    def fail() -> None:
        raise ValueError("no launch")

    with pytest.raises(ValueError, match="no launch"):
        device.capture(fail)
    assert device.capture(lambda: None) == executable  # the stream is not in capture any more
