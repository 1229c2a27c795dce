"""What a machine is, from a ``/proc`` and ``/sys`` of one's own and from the real ones."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgeprof import catalogue
from edgeprof.boards.detect import (
    FILES,
    Machine,
    System,
    detect_board,
    detect_machine,
    find_board,
    load_1m,
    physical_cores,
    usable_cores,
)
from edgeprof.boards.sensors.nvml import Gpu, gpus_here
from edgeprof.boards.spec import read_board
from edgeprof.errors import BoardError, CatalogueError, EdgeprofError

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
cache size\t: 6144 KB
flags\t\t: fpu sse sse2 ssse3 fma avx f16c avx2 bmi2
bugs\t\t:

processor\t: 1
model name\t: another one
flags\t\t: fpu avx512f
"""
ARM = """processor\t: 0
model name\t: ARMv8 Processor rev 1 (v8l)
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp
CPU implementer\t: 0x41
"""
PI = """processor\t: 0
Features\t: half thumb fastmult vfp edsp neon vfpv3

Hardware\t: BCM2711
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


def root(folder: Path, files: dict[str, str]) -> Path:
    """A file system with these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def caches(*rows: tuple[str, str, str]) -> dict[str, str]:
    folder = "sys/devices/system/cpu/cpu0/cache/index"
    return {
        f"{folder}{i}/{name}": f"{value}\n"
        for i, row in enumerate(rows)
        for name, value in zip(("type", "level", "size"), row, strict=True)
    }


def test_an_x86_laptop(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": X86,
        "proc/meminfo": "MemTotal:        8052336 kB\nMemFree:          1 kB\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3400000\n",
        **caches(
            ("Data", "1", "32K"),
            ("Instruction", "1", "64K"),
            ("Unified", "2", "256K"),
            ("Unified", "3", "6M"),
        ),
    }
    machine = detect_machine(root(tmp_path, files))
    assert machine.model == "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz"
    assert (machine.lanes, machine.isa) == (8, ("avx2", "avx", "sse2"))  # of the first core
    assert (machine.l1d_kib, machine.l2_kib, machine.l3_kib) == (32, 256, 6144)
    assert machine.memory_mib == 7863
    assert (machine.governor, machine.max_mhz) == ("powersave", 3400)
    assert machine.title() == f"{machine.model}, {machine.physical_cores} cores, 8 GiB"


def test_avx512_is_the_widest(tmp_path: Path) -> None:
    assert detect_machine(root(tmp_path, {"proc/cpuinfo": X86.replace("bmi2", "avx512f")})).lanes == 16


@pytest.mark.parametrize(
    ("cpuinfo", "model", "isa"),
    [(ARM, "ARMv8 Processor rev 1 (v8l)", "asimd"), (PI, "Raspberry Pi 4 Model B Rev 1.4", "neon")],
)
def test_an_arm_board(tmp_path: Path, cpuinfo: str, model: str, isa: str) -> None:
    machine = detect_machine(root(tmp_path, {"proc/cpuinfo": cpuinfo, **caches(("Data", "1", "64K"))}))
    assert (machine.model, machine.lanes, machine.isa) == (model, 4, (isa,))
    assert (machine.l1d_kib, machine.l2_kib, machine.l3_kib) == (64, None, None)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    machine = detect_machine(tmp_path)
    assert machine.model
    assert (machine.lanes, machine.isa) == (4, ())
    assert machine.l1d_kib is machine.l2_kib is machine.l3_kib is None
    assert (machine.governor, machine.max_mhz) == (None, None)
    assert machine.memory_mib == psutil.virtual_memory().total // 2**20


def test_files_that_say_nothing(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "\nno colon\n: \n",
        "proc/meminfo": "",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "<unknown>\n",
        **caches(("Data", "1", ""), ("", "2", "256K"), ("Unified", "", "6M")),
    }
    machine = detect_machine(root(tmp_path, files))
    assert (machine.max_mhz, machine.l1d_kib, machine.l2_kib, machine.l3_kib) == (None, None, None, None)
    assert machine.memory_mib > 0


def test_this_machine() -> None:
    machine = detect_machine()
    assert machine == detect_machine(Path("/"))
    assert machine.model
    assert machine.architecture == platform.machine()
    assert 1 <= machine.physical_cores == usable_cores() <= machine.logical_cores == (os.cpu_count() or 1)
    assert machine.memory_mib == pytest.approx(psutil.virtual_memory().total / 2**20, rel=0.01)
    assert machine.lanes in (4, 8, 16)
    if machine.architecture == "x86_64":
        assert "sse2" in machine.isa  # part of x86-64
    assert Machine(**machine.as_dict()) == machine
    assert load_1m() >= 0


def test_the_most_particular_board_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = detect_machine(root(tmp_path / "root", {"proc/cpuinfo": ARM}))
    rest = 'kind = "jetson"\nbackend = "ort-cpu"\nestimator = "median"\n'
    boards = {
        "boards/armv8.toml": f'name = "armv8"\n{rest}match = {{ model = "ARMv8" }}\n',
        "boards/armv8-rev1.toml": f'name = "armv8-rev1"\n{rest}match = {{ model = "ARMv8", lanes = "4" }}\n',
        "boards/armv9.toml": f'name = "armv9"\n{rest}match = {{ model = "ARMv9", lanes = "4", isa = "asimd" }}\n',
    }
    monkeypatch.setenv("EDGEPROF_CATALOGUE", str(root(tmp_path / "catalogue", boards)))
    assert detect_board(machine).name == "armv8-rev1"
    assert detect_board(replace(machine, lanes=8)).name == "armv8"
    assert detect_board(replace(machine, model="something else")).name == "cpu"


def test_a_machine_that_no_board_file_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = 'name = "cpu"\nkind = "cpu"\nbackend = "ort-cpu"\nestimator = "minimum"\nmatch = { model = "none such" }\n'
    monkeypatch.setenv("EDGEPROF_CATALOGUE", str(root(tmp_path, {"boards/cpu.toml": never})))
    machine = replace(detect_machine(tmp_path), model="something")
    with pytest.raises(CatalogueError) as caught:
        detect_board(machine)
    assert "--board" in caught.value.hint


MEMORY = {mib: f"MemTotal: {mib * 1024} kB\n" for mib in (3900, 7620, 15388, 30697, 62801, 64000, 125749)}


@pytest.mark.parametrize(
    ("model", "compatible", "mib", "name"),
    [
        ("jetson_tx1", "nvidia,jetson-cv nvidia,tegra210", 3900, "tx1"),
        ("NVIDIA Jetson TX1 Developer Kit", "nvidia,p2371-2180 nvidia,tegra210", 3900, "tx1"),
        ("quill", "nvidia,quill nvidia,tegra186", 7620, "tx2"),
        ("NVIDIA Jetson TX2 Developer Kit", "nvidia,p2771-0000 nvidia,tegra186", 7620, "tx2"),
        ("NVIDIA Jetson Nano Developer Kit", "nvidia,jetson-nano nvidia,tegra210", 3900, "nano"),
        ("NVIDIA Jetson Nano Developer Kit", "", 3900, "nano"),
        (
            "NVIDIA Jetson Xavier NX Developer Kit (SD-card)",
            "nvidia,p3509-0000+p3668-0000",
            7620,
            "xavier-nx-8gb",
        ),
        ("", "nvidia,p3449-0000+p3668-0003 nvidia,tegra194", 15388, "xavier-nx-16gb"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "", 15388, "xavier-nx-16gb"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "", 7620, "xavier-nx-8gb"),
        ("jetson-xavier", "nvidia,jetson-xavier", 30697, "agx-xavier"),
        ("Jetson-AGX", "", 30697, "agx-xavier"),
        ("NVIDIA Jetson AGX Xavier Developer Kit", "nvidia,p2972-0000 nvidia,tegra194", 30697, "agx-xavier"),
        ("", "nvidia,p3768-0000+p3767-0004", 3900, "orin-nano-4gb"),
        ("", "nvidia,p3768-0000+p3767-0004-super", 3900, "orin-nano-4gb"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "", 3900, "orin-nano-4gb"),
        ("NVIDIA Orin Nano Developer Kit", "", 7620, "orin-nano-8gb"),
        (
            "NVIDIA Jetson Orin Nano Developer Kit",
            "nvidia,p3768-0000+p3767-0005 nvidia,p3767-0005 nvidia,tegra234",
            7620,
            "orin-nano-8gb",
        ),
        (
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            "nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234",
            7620,
            "orin-nano-8gb-super",
        ),
        (
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            "",
            7620,
            "orin-nano-8gb-super",
        ),
        ("", "nvidia,p3509-0000+p3767-0001", 7620, "orin-nx-8gb"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "", 7620, "orin-nx-8gb"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "", 15388, "orin-nx-16gb"),
        (
            "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
            "nvidia,p3768-0000+p3767-0001 nvidia,p3767-0001 nvidia,tegra234",
            7620,
            "orin-nx-8gb",
        ),
        ("", "nvidia,p3768-0000+p3767-0000-super nvidia,p3767-0000", 15388, "orin-nx-16gb"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "nvidia,p3737-0000+p3701-0004", 30697, "agx-orin-32gb"),
        ("Jetson AGX Orin", "nvidia,p3737-0000+p3701-0000", 30697, "agx-orin-64gb"),
        ("Jetson AGX Orin", "", 62801, "agx-orin-64gb"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "nvidia,p4071-0000+p3834-0000", 64000, "t4000"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "", 64000, "t4000"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "", 125749, "t5000"),
        (
            "NVIDIA Jetson AGX Thor Developer Kit",
            "nvidia,p4071-0000+p3834-0008 nvidia,p3834-0008 nvidia,tegra264",
            125749,
            "t5000",
        ),
    ],
)
def test_a_jetson_is_the_module_that_its_device_tree_says(
    tmp_path: Path, model: str, compatible: str, mib: int, name: str
) -> None:
    files = {"proc/cpuinfo": ARM, "proc/meminfo": MEMORY[mib]}
    if model:
        files["proc/device-tree/model"] = f"{model}\0"
    if compatible:
        files["proc/device-tree/compatible"] = compatible.replace(" ", "\0") + "\0"
    machine = detect_machine(root(tmp_path, files))
    assert machine.device_tree == (model or None)
    assert machine.compatible == tuple(compatible.split())
    assert find_board("jetson", machine) == find_board("auto", machine) == read_board(f"jetson-{name}")
    assert find_board("cpu", machine).name == "cpu"
    assert Machine(**machine.as_dict()) == machine


def test_the_release_of_linux_is_a_fact(tmp_path: Path) -> None:
    release = "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n"
    assert detect_machine(root(tmp_path, {"etc/nv_tegra_release": release})).l4t == "36.4.3"


def test_the_patterns_name_all_that_is_read(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": ARM,
        "proc/meminfo": MEMORY[7620],
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "sys/firmware/devicetree/base/compatible": "nvidia,p3767-0005\0nvidia,tegra234\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1510400\n",
        "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
        "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1\n",
        "sys/devices/system/cpu/cpu2/topology/thread_siblings_list": "2\n",
        **caches(("Data", "1", "64K"), ("Unified", "2", "256K")),
    }
    whole, copy = root(tmp_path / "whole", files), tmp_path / "copy"
    root(copy, {str(p.relative_to(whole)): p.read_text() for pattern in FILES for p in whole.glob(pattern)})
    system = System("Linux 5.15.148-tegra", "aarch64", "aarch64", 6, 6)
    machine = detect_machine(copy, system=system)
    assert machine == detect_machine(whole, system=system)
    assert (machine.architecture, machine.logical_cores, machine.physical_cores) == ("aarch64", 6, 6)
    assert (machine.l4t, machine.governor, machine.l2_kib) == ("36.4.3", "schedutil", 256)
    assert find_board("auto", machine).kind == "jetson"
    assert physical_cores(copy) == 2
    assert physical_cores(tmp_path) is None


def test_no_jetson_says_what_was_looked_for(tmp_path: Path) -> None:
    machine = detect_machine(root(tmp_path, {"proc/cpuinfo": X86}))
    with pytest.raises(BoardError, match="/proc/device-tree/model and no /proc/device-tree/compatible"):
        find_board("jetson", machine)
    files = {
        "proc/device-tree/model": "Raspberry Pi 4\0",
        "proc/device-tree/compatible": "raspberrypi,4\0brcm,bcm2711\0",
    }
    with pytest.raises(
        BoardError, match="'Raspberry Pi 4', compatible raspberrypi,4, brcm,bcm2711"
    ) as caught:
        find_board("jetson", detect_machine(root(tmp_path, files)))
    assert "boards/README.md" in caught.value.hint


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        (Gpu("GeForce GTX 960", 2002), "gtx-960"),
        (Gpu("NVIDIA GeForce RTX 2060", 6144), "rtx-2060"),
        (Gpu("NVIDIA GeForce RTX 2060", 12288), None),
        (Gpu("NVIDIA GeForce RTX 3060", 12288), "rtx-3060-12gb"),
        (Gpu("NVIDIA GeForce RTX 3060", 8192), None),
        (Gpu("NVIDIA GeForce RTX 3060 Ti", 8192), None),
        (Gpu("NVIDIA GeForce RTX 3080", 10240), "rtx-3080-10gb"),
        (Gpu("NVIDIA GeForce RTX 4070 Laptop GPU", 8188), None),
        (Gpu("NVIDIA GeForce RTX 4090", None), "rtx-4090"),
        (Gpu("NVIDIA GeForce RTX 5090", 32607), "rtx-5090"),
        (Gpu("Tesla T4", 15360), "t4"),
        (Gpu("NVIDIA L4", 23034), "l4"),
        (Gpu("NVIDIA L40S", 46068), None),
        (Gpu("NVIDIA A2", 15356), "a2"),
        (Gpu("NVIDIA A100-PCIE-40GB", 40960), "a100-pcie-40gb"),
        (Gpu("NVIDIA A100 80GB PCIe", 81920), "a100-pcie-80gb"),
        (Gpu("NVIDIA H100 PCIe", 81559), "h100-pcie"),
        (Gpu("NVIDIA H100 80GB HBM3", 81559), "h100-sxm"),
        (Gpu("NVIDIA H200", 143771), "h200-sxm"),
    ],
)
def test_a_discrete_gpu_is_the_card_that_its_driver_names(tmp_path: Path, gpu: Gpu, name: str | None) -> None:
    machine = detect_machine(root(tmp_path, {"proc/cpuinfo": X86}), [gpu])
    if name is None:
        assert find_board("auto", machine).name == "cpu"
        with pytest.raises(BoardError, match=f"the driver says {gpu.name}"):
            find_board("discrete", machine)
    else:
        assert find_board("discrete", machine) == find_board("auto", machine) == read_board(name)


def test_of_two_gpus_the_driver_s_first(tmp_path: Path) -> None:
    gpus = [Gpu("Tesla T4", 15360), Gpu("NVIDIA A100-PCIE-40GB", 40960)]
    assert find_board("auto", detect_machine(root(tmp_path, {}), gpus)).name == "t4"
    assert find_board("auto", detect_machine(root(tmp_path, {}), gpus[::-1])).name == "a100-pcie-40gb"


def test_no_discrete_gpu_says_why() -> None:
    machine = detect_machine(gpus=gpus_here())
    if machine.gpus:
        pytest.skip("this machine has one")
    with pytest.raises(BoardError, match=r"nvidia-ml-py|NVIDIA driver"):
        find_board("discrete", machine)


def test_a_new_board_is_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = 'kind = "jetson"\nbackend = "ort-cpu"\nestimator = "median"\n'
    mine = f'name = "orin-mine"\n{rest}match = {{ device_tree = "Orin Nano", lanes = "4" }}\n'
    monkeypatch.setenv("EDGEPROF_CATALOGUE", str(root(tmp_path / "mine", {"boards/orin-mine.toml": mine})))
    files = {"proc/cpuinfo": ARM, "proc/device-tree/model": "NVIDIA Jetson Orin Nano Something New\0"}
    assert find_board("jetson", detect_machine(root(tmp_path / "root", files))).name == "orin-mine"


def test_every_kind_s_error_is_for_people(tmp_path: Path) -> None:
    machine = replace(detect_machine(root(tmp_path, {})), gpus=("Some GPU",))
    for kind in ("jetson", "discrete"):
        with pytest.raises(EdgeprofError) as caught:
            find_board(kind, machine)
        assert caught.value.hint
    assert {"jetson", "discrete"}.isdisjoint(entry.name for entry in catalogue.entries("boards"))
