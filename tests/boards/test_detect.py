"""What a machine is, from a ``/proc`` and ``/sys`` of one's own and from the real ones."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgeprof.boards.detect import Machine, detect_board, detect_machine, load_1m, usable_cores
from edgeprof.errors import CatalogueError

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
