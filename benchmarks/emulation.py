"""Emulated Jetsons: the files and programs that edgeprof asks, written below a folder.

Paths are those of the kernel's and NVIDIA's documentation, values those of recorded boards (tests/data/jetson): an
emulated board says what a real one said at one moment, until somebody writes something else into its files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("emulated_program.py")


@dataclass(frozen=True)
class Model:
    """What a board says: of its rails (mV, mA), temperature zones (°C), modes (number, name, GPU MHz)."""

    device_tree: str
    compatible: tuple[str, ...]
    release: str
    style: str  # of tegrastats
    cores: int
    cpu_mhz: int
    memory_mib: tuple[int, int]  # total, in use
    gpu: str  # of devfreq
    gpu_mhz: tuple[float, float, float]  # least, present, highest
    gpu_load: int | None  # percent, in sysfs
    rails: Mapping[str, tuple[int, int]]
    zones: Mapping[str, float]
    modes: tuple[tuple[int, str, float], ...]
    mode: int
    driver: str = "ina3221"  # ina3221x: NVIDIA's older one
    reboots: tuple[int, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)
    fan: int | None = None  # of 255


MODELS: Mapping[str, Model] = {
    "tx1": Model(
        device_tree="jetson_tx1",
        compatible=("nvidia,p2597-2180", "nvidia,jetson-cv", "nvidia,tegra210"),
        release="# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t210ref, EABI: aarch64, DATE: x",
        style="R32",
        cores=4,
        cpu_mhz=102,
        memory_mib=(3983, 1179),
        gpu="57000000.gpu",
        gpu_mhz=(76.8, 76.8, 998.4),
        gpu_load=0,
        rails={"VDD_IN": (19000, 133), "VDD_GPU": (19000, 1), "VDD_CPU": (19000, 4)},
        zones={"AO-therm": 42.5, "CPU-therm": 37.5, "GPU-therm": 39.0, "PMIC-Die": 100.0},
        modes=((0, "MAXN", 998.4),),
        mode=0,
        driver="ina3221x",
    ),
    "nano": Model(
        device_tree="NVIDIA Jetson Nano Developer Kit",
        compatible=("nvidia,p3450-0000", "nvidia,jetson-nano", "nvidia,tegra210"),
        release="# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t210ref, EABI: aarch64, DATE: x",
        style="R32",
        cores=4,
        cpu_mhz=204,
        memory_mib=(3964, 534),
        gpu="57000000.gpu",
        gpu_mhz=(76.8, 76.8, 921.6),
        gpu_load=0,
        rails={"POM_5V_IN": (5000, 204), "POM_5V_GPU": (5000, 0), "POM_5V_CPU": (5000, 41)},
        zones={"PLL-therm": 34.0, "CPU-therm": 36.5, "PMIC-Die": 100.0, "GPU-therm": 36.0},
        modes=((0, "MAXN", 921.6), (1, "5W", 640.0)),
        mode=0,
        driver="ina3221x",
        fan=120,
    ),
    "xavier-nx": Model(
        device_tree="NVIDIA Jetson Xavier NX Developer Kit",
        compatible=("nvidia,p3449-0000+p3668-0000", "nvidia,p3668-0000", "nvidia,tegra194"),
        release="# R35 (release), REVISION: 5.0, GCID: 1, BOARD: t186ref, EABI: aarch64, DATE: x",
        style="R36",
        cores=6,
        cpu_mhz=1190,
        memory_mib=(7772, 4412),
        gpu="17000000.gv11b",
        gpu_mhz=(114.75, 306.0, 1109.25),
        gpu_load=62,
        rails={"VDD_IN": (5000, 813), "VDD_CPU_GPU_CV": (5000, 148), "VDD_SOC": (5000, 271)},
        zones={"AO-therm": 41.5, "CPU-therm": 43.5, "GPU-therm": 43.0, "PMIC-Die": 100.0},
        modes=((0, "MODE_15W_2CORE", 1109.25), (2, "MODE_15W_6CORE", 1109.25), (3, "MODE_10W_2CORE", 803.25)),
        mode=2,
        reboots=(3,),
        events={"oc1": 0, "oc2": 0},
        fan=80,
    ),
    "orin-nano": Model(
        device_tree="NVIDIA Jetson Orin Nano Developer Kit",
        compatible=("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"),
        release="# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x",
        style="R36",
        cores=6,
        cpu_mhz=729,
        memory_mib=(7620, 6185),
        gpu="17000000.gpu",
        gpu_mhz=(306.0, 621.0, 625.0),
        gpu_load=63,
        rails={"VDD_IN": (5000, 2495), "VDD_CPU_GPU_CV": (5000, 933), "VDD_SOC": (5000, 563)},
        zones={"cpu-thermal": 53.968, "gpu-thermal": 53.343, "cv0-thermal": -256.0, "tj-thermal": 53.968},
        modes=((0, "15W", 625.0), (1, "7W", 408.0)),
        mode=0,
        events={"oc1": 0, "oc2": 0, "oc3": 37},
        fan=102,
    ),
    "agx-orin": Model(
        device_tree="NVIDIA Jetson AGX Orin Developer Kit",
        compatible=("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
        release="# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x",
        style="R36",
        cores=12,
        cpu_mhz=2201,
        memory_mib=(62840, 2448),
        gpu="17000000.gpu",
        gpu_mhz=(306.0, 1300.5, 1300.5),
        gpu_load=12,
        rails={"VDD_GPU_SOC": (19000, 260), "VDD_CPU_CV": (19000, 52), "VIN_SYS_5V0": (5000, 888)},
        zones={"cpu-thermal": 42.0, "gpu-thermal": 37.75, "tj-thermal": 42.0},
        modes=((0, "MAXN", 1300.5), (1, "MODE_15W", 408.0), (2, "MODE_30W", 612.0), (3, "MODE_50W", 816.0)),
        mode=0,
        reboots=(1,),
        events={"oc1": 0, "oc2": 0, "oc3": 0},
        fan=60,
    ),
    "thor": Model(
        device_tree="NVIDIA Jetson AGX Thor Developer Kit",
        compatible=("nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"),
        release="# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x",
        style="R39",
        cores=14,
        cpu_mhz=2601,
        memory_mib=(125749, 8353),
        gpu="gpu-gpc-0",
        gpu_mhz=(306.0, 1574.0, 1574.0),
        gpu_load=None,
        rails={"VDD_GPU": (20000, 1897), "VIN_SYS_5V0": (5000, 3097), "VIN": (20000, 6224)},
        zones={"cpu-thermal": 58.25, "gpu-thermal": 56.937, "tj-thermal": 66.625},
        modes=((0, "MAXN", 1574.0), (1, "120W", 1386.0)),
        mode=0,
        fan=200,
    ),
}


def write_board(root: Path, name: str) -> Path:
    """The emulated board ``name`` below the new folder ``root``: its root."""
    model = MODELS[name]
    for path, text in {**_system(model), **_power(model)}.items():
        _write(root / path, text)
    for link, target in _links(model).items():
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target)
    for folder, program in (("sbin", "nvpmodel"), ("bin", "jetson_clocks"), ("bin", "tegrastats")):
        command = root / "usr" / folder / program
        _write(command, f"#!{sys.executable} -SE\n{PROGRAM.read_text()}")
        command.chmod(0o755)
    return root


def rail_file(root: Path, rail: str) -> Path:
    """The file with the current (mA; mW with the older driver) of a rail of an emulated board."""
    for label in (*root.glob("sys/class/hwmon/hwmon*/in*_label"), *root.glob("sys/bus/i2c/**/rail_name_*")):
        if label.read_text().strip() == rail:
            channel = "".join(filter(str.isdigit, label.name))
            names = [label.with_name(n) for n in (f"curr{channel}_input", f"in_power{channel}_input")]
            return next(path for path in names if path.exists())
    raise KeyError(rail)


def power_mw(name: str) -> dict[str, float]:
    """What the rails of an emulated board say at first."""
    return {rail: mv * ma / 1000 for rail, (mv, ma) in MODELS[name].rails.items()}


def _system(model: Model) -> dict[str, str]:
    total, used = (1024 * mib for mib in model.memory_mib)
    files = {
        "proc/device-tree/model": model.device_tree + "\0",
        "proc/device-tree/compatible": "\0".join(model.compatible) + "\0",
        "sys/firmware/devicetree/base/model": model.device_tree + "\0",
        "sys/firmware/devicetree/base/compatible": "\0".join(model.compatible) + "\0",
        "etc/nv_tegra_release": model.release + "\n",
        "proc/meminfo": f"MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {total - used} kB\n"
        "Buffers: 0 kB\nCached: 0 kB\nSwapTotal: 4096 kB\nSwapFree: 1024 kB\n",
        "proc/stat": "cpu  100 0 100 1000 0 0 0 0 0 0\nprocs_running 2\n",
        "proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000000\n",
        "proc/loadavg": "0.10 0.10 0.10 1/100 1000\n",
        "proc/cpuinfo": "".join(f"processor : {i}\nFeatures : fp asimd\n\n" for i in range(model.cores)),
    }
    for core in range(model.cores):
        folder, clock = f"sys/devices/system/cpu/cpu{core}/cpufreq", str(1000 * model.cpu_mhz)
        files |= {f"{folder}/{name}": clock for name in ("scaling_cur_freq", "cpuinfo_cur_freq")}
        files |= {
            f"{folder}/scaling_{name}_freq": value for name, value in (("min", "102000"), ("max", "2035200"))
        }
        files |= {f"{folder}/cpuinfo_min_freq": "102000", f"{folder}/cpuinfo_max_freq": "2035200"}
        files[f"{folder}/scaling_governor"] = "schedutil"
    for number, (zone, celsius) in enumerate(model.zones.items()):
        folder = f"sys/class/thermal/thermal_zone{number}"
        files |= {f"{folder}/type": zone, f"{folder}/temp": str(round(1000 * celsius))}
        files |= {f"{folder}/trip_point_0_type": "passive", f"{folder}/trip_point_0_temp": "95000"}
    least, present, most = (round(1e6 * mhz) for mhz in model.gpu_mhz)
    folder = f"sys/class/devfreq/{model.gpu}"
    files |= {
        f"{folder}/cur_freq": str(present),
        f"{folder}/min_freq": str(least),
        f"{folder}/max_freq": str(most),
    }
    files |= {f"{folder}/governor": "nvhost_podgov", f"{folder}/device/of_node/name": "gpu\0"}
    files |= {f"{folder}/device/{name}": "0" for name in ("railgate_enable", "tpc_pg_mask")}
    files[f"{folder}/device/enable_3d_scaling"] = "1"
    if model.gpu_load is not None:
        files[f"{folder}/device/load"] = str(10 * model.gpu_load)
    return files


def _power(model: Model) -> dict[str, str]:
    files: dict[str, str] = {}
    hwmon, iio = "sys/class/hwmon/hwmon1", "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for number, (rail, (mv, ma)) in enumerate(model.rails.items()):
        if model.driver == "ina3221x":
            values = {"voltage": mv, "current": ma, "power": mv * ma // 1000}
            files |= {f"{iio}/in_{name}{number}_input": str(value) for name, value in values.items()}
            files[f"{iio}/rail_name_{number}"] = rail
            files["sys/bus/i2c/drivers/ina3221x/6-0040/name"] = "ina3221x"
        else:
            files |= {f"{hwmon}/in{number + 1}_input": str(mv), f"{hwmon}/curr{number + 1}_input": str(ma)}
            files[f"{hwmon}/in{number + 1}_label"] = rail
    if model.driver != "ina3221x":
        files |= {f"{hwmon}/name": model.driver, "sys/bus/i2c/devices/1-0040/name": model.driver}
    for name, count in model.events.items():
        files |= {
            "sys/class/hwmon/hwmon3/name": "soctherm_oc",
            f"sys/class/hwmon/hwmon3/{name}_event_cnt": str(count),
        }
    if model.fan is not None:
        files |= {"sys/class/hwmon/hwmon0/name": "pwmfan", "sys/class/hwmon/hwmon0/pwm1": str(model.fan)}
    sections = [
        f"< POWER_MODEL ID={number} NAME={name} >\nGPU MAX_FREQ {round(1e6 * mhz)}\n"
        for number, name, mhz in model.modes
    ]
    files["etc/nvpmodel.conf"] = "\n".join(sections) + f"< PM_CONFIG DEFAULT={model.mode} >\n"
    files["var/lib/nvpmodel/status"] = f"pmode:{model.mode:04d} fmode:quiet\n"
    files["emulation.json"] = json.dumps(_program_facts(model))
    return files


def _links(model: Model) -> dict[str, str]:
    """Other names by which the kernel has the same files, as far as jetson-stats goes by them."""
    if model.driver == "ina3221x":
        return {
            "sys/bus/i2c/devices/6-0040": "../drivers/ina3221x/6-0040",
            "sys/devices/virtual/thermal": "../../class/thermal",
        }
    return {
        "sys/bus/i2c/devices/1-0040/hwmon/hwmon1": "../../../../../class/hwmon/hwmon1",
        "sys/devices/virtual/thermal": "../../class/thermal",
    }


def _program_facts(model: Model) -> dict[str, Any]:
    return {
        "style": model.style,
        "cores": model.cores,
        "cpu_load": 5,
        "cpu_mhz": model.cpu_mhz,
        "gpu_load": model.gpu_load or 87,
        "gpu_min_mhz": model.gpu_mhz[0],
        "modes": [
            {"id": number, "name": name, "gpu_mhz": mhz, "reboot": number in model.reboots}
            for number, name, mhz in model.modes
        ],
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
