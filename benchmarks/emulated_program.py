"""nvpmodel, jetson_clocks and tegrastats of an emulated board, by the name that this file is called by.

They work on the files of the tree in whose usr/sbin or usr/bin they lie, and behave as NVIDIA's do where edgeprof
relies on it: names and places are those of the Jetson Linux Developer Guide, outputs are shaped like recorded ones.
"""

import json
import re
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOARD = json.loads((ROOT / "emulation.json").read_text())
STATUS = ROOT / "var/lib/nvpmodel/status"
LIMITS = ("sys/class/devfreq/*/", "sys/devices/system/cpu/cpu*/cpufreq/scaling_")  # with min_freq, max_freq


def nvpmodel(arguments: list[str]) -> int:
    """``-q`` tells the mode, ``-m N`` sets it; a mode that needs a reboot asks for a yes on standard input."""
    modes = {mode["id"]: mode for mode in BOARD["modes"]}
    if arguments[:1] == ["-q"]:
        mode = modes[found(r"pmode:(\d+)", STATUS)]
        print(f"NV Power Mode: {mode['name']}\n{mode['id']}")
        return 0
    if arguments[:1] == ["-m"] and int(arguments[1]) in modes:
        mode, present = modes[int(arguments[1])], modes[found(r"pmode:(\d+)", STATUS)]
        if mode.get("reboot") != present.get("reboot"):
            print(f"NVPM WARN: Reboot required for changing to this power mode: {mode['id']}")
            print("NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:", flush=True)
            if sys.stdin.readline().strip() not in ("YES", "yes"):
                return 0
            (ROOT / "proc/sys/kernel/random/boot_id").write_text(f"{uuid.uuid4()}\n")
            (ROOT / "rebooted").write_text(f"{mode['name']}\n")
        for path in ROOT.glob(LIMITS[0] + "max_freq"):
            path.write_text(f"{round(mode['gpu_mhz'] * 1e6)}\n")
            (path.parent / "min_freq").write_text(f"{round(BOARD['gpu_min_mhz'] * 1e6)}\n")
        STATUS.write_text(f"pmode:{mode['id']:04d} fmode:quiet\n")
        return 0
    print("NVPM ERROR: unknown mode", file=sys.stderr)
    return 255


def jetson_clocks(arguments: list[str]) -> int:
    """Without arguments the clocks go to their limits and stay there; ``--store`` and ``--restore`` take a file."""
    paths = [
        p for limit in LIMITS for end in ("min_freq", "max_freq") for p in sorted(ROOT.glob(limit + end))
    ]
    if arguments[:1] == ["--store"] and Path(arguments[1]).exists():
        print(f"File {arguments[1]} already exists. Can I overwrite it? Y/N:")
        return 0 if sys.stdin.readline().strip() in ("y", "Y") else 1
    if arguments[:1] == ["--store"]:
        lines = [f"/{path.relative_to(ROOT)}:{path.read_text().strip()}" for path in paths]
        Path(arguments[1]).write_text("\n".join(lines) + "\n")
    elif arguments[:1] == ["--restore"]:
        for stored in Path(arguments[1]).read_text().splitlines():
            name, _, value = stored.rpartition(":")
            (ROOT / name.lstrip("/")).write_text(value + "\n")
    elif arguments[:1] == ["--show"]:
        print("\n".join(f"{path.name}={path.read_text().strip()}" for path in paths))
    elif not arguments:
        for path in paths:
            if path.name.endswith("min_freq"):
                limit = path.with_name(path.name.replace("min", "max")).read_text()
                path.write_text(limit)
                for now in ("cur_freq", "cpuinfo_cur_freq", "scaling_cur_freq"):
                    if path.with_name(now).exists():
                        path.with_name(now).write_text(limit)
    else:
        print(f"Error: Unknown option {arguments[0]}", file=sys.stderr)
        return 1
    return 0


def tegrastats(arguments: list[str]) -> int:
    """A line every ``--interval`` milliseconds."""
    interval = int(arguments[arguments.index("--interval") + 1]) if "--interval" in arguments else 1000
    while True:
        print(line(BOARD["style"]), flush=True)
        time.sleep(interval / 1000)


def line(style: str) -> str:
    """The board's state as the release ``style`` writes it."""
    gpu = next(ROOT.glob("sys/class/devfreq/*"))
    mhz = number(gpu / "cur_freq") / 1e6
    load = number(gpu / "device/load") if (gpu / "device/load").exists() else 0.0
    total, free = (
        found(name + r":\s+(\d+)", ROOT / "proc/meminfo") // 1024 for name in ("MemTotal", "MemAvailable")
    )
    power = rails()
    zones = {
        (zone / "type").read_text().strip().partition("-")[0]: number(zone / "temp") / 1000
        for zone in sorted(ROOT.glob("sys/class/thermal/thermal_zone*"))
    }
    core = f"{BOARD['cpu_load']}%@{BOARD['cpu_mhz']}"
    cores = ",".join(core for _ in range(BOARD["cores"]))
    parts = [f"RAM {total - free}/{total}MB (lfb 8x2MB) CPU [{cores}]"]
    pct = round(load / 10)
    if style == "R32":
        parts += [f"EMC_FREQ 0%@204 GR3D_FREQ {pct}%@{mhz:.0f} APE 25"]
        parts += [f"{name}@{c:g}C" for name, c in zones.items()]
        parts += [f"{name} {mw:.0f}/{mw:.0f}" for name, mw in power.items()]
    elif style == "R36":
        parts += [f"EMC_FREQ 3%@2133 GR3D_FREQ {pct}%@[{mhz:.0f}]", "VIC off"]
        parts += [f"{name}@{c:g}C" for name, c in zones.items()]
        parts += [f"{name} {mw:.0f}mW/{mw:.0f}mW" for name, mw in power.items()]
    else:
        parts += [f"EMC_FREQ 34%@4266 GR3D_FREQ {BOARD['gpu_load']}%@[{mhz:.0f},{mhz:.0f}]"]
        parts += [f"{name}@{c:g}C/{c:g}C" for name, c in zones.items()]
        parts += [f"{name} {mw:.0f}mW/{mw:.0f}mW/{mw:.0f}mW" for name, mw in power.items()]
    return " ".join(([] if style == "R32" else [time.strftime("%m-%d-%Y %H:%M:%S")]) + parts)


def rails() -> dict[str, float]:
    """Power by rail."""
    power = {}
    for label in sorted(ROOT.glob("sys/class/hwmon/hwmon*/in*_label")):
        channel = label.name[2:-6]
        mv, ma = (number(label.with_name(name + channel + "_input")) for name in ("in", "curr"))
        power[label.read_text().strip()] = mv * ma / 1000
    for name in sorted(ROOT.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*")):
        power[name.read_text().strip()] = number(name.with_name(f"in_power{name.name[-1]}_input"))
    return power


def number(path: Path) -> float:
    """A file's number."""
    return float(path.read_text())


def found(pattern: str, path: Path) -> int:
    """The whole number that ``pattern`` finds in a file."""
    match = re.search(pattern, path.read_text())
    assert match is not None
    return int(match[1])


if __name__ == "__main__":
    sys.exit(
        {f.__name__: f for f in (nvpmodel, jetson_clocks, tegrastats)}[Path(__file__).name](sys.argv[1:])
    )
