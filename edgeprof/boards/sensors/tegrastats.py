"""A line of ``tegrastats``, NVIDIA's monitor on every Jetson, as a value.

The format is documented in part (Jetson Linux Developer Guide, "tegrastats Utility") and differs by release: L4T 28
wrote ``cpu`` and ``GR3D``; JetPack 5 put a date before it and ``mW`` behind powers; R39 adds maxima. Without root,
clocks and powers are missing. Each rule below knows one kind of token; what no rule knows is kept in ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edgeprof.boards.sensors.host import IDLE_C


@dataclass(frozen=True)
class Core:
    """A processor core that is on."""

    load_pct: float | None = None
    mhz: float | None = None


@dataclass(frozen=True)
class Engine:
    """A unit of its own clock (video, DLA, audio …), or the second GPU cluster."""

    on: bool = True
    load_pct: float | None = None
    mhz: float | None = None


@dataclass(frozen=True)
class Tegrastats:
    """What a line says. What it does not say is None or absent, never zero.

    ``cpu`` has None for a core that is off. ``gpu_mhz`` is the fastest of ``gpu_clusters_mhz``; a GPU that is switched
    off reports 0. ``temperature_c`` leaves out sensors of blocks without power (``idle_sensors``). ``power_mw`` is the
    present, ``power_average_mw`` and ``power_max_mw`` since the monitor's start; inputs that are not connected
    (``NC``) are left out. ``free_blocks`` of ``free_block_mib`` are the largest blocks of free memory.
    """

    at: datetime | None = None
    ram_mib: float | None = None
    ram_total_mib: float | None = None
    free_blocks: int | None = None
    free_block_mib: float | None = None
    swap_mib: float | None = None
    swap_total_mib: float | None = None
    swap_cached_mib: float | None = None
    iram_kib: float | None = None
    iram_total_kib: float | None = None
    cpu: tuple[Core | None, ...] = ()
    emc_load_pct: float | None = None
    emc_mhz: float | None = None
    gpu_load_pct: float | None = None
    gpu_mhz: float | None = None
    gpu_clusters_mhz: tuple[float, ...] = ()
    engines: Mapping[str, Engine] = field(default_factory=dict)
    mts_foreground_pct: float | None = None
    mts_background_pct: float | None = None
    temperature_c: Mapping[str, float] = field(default_factory=dict)
    temperature_max_c: Mapping[str, float] = field(default_factory=dict)
    idle_sensors: tuple[str, ...] = ()
    power_mw: Mapping[str, float] = field(default_factory=dict)
    power_average_mw: Mapping[str, float] = field(default_factory=dict)
    power_max_mw: Mapping[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def parse(line: str) -> Tegrastats:
    """Read a line of any release. Never fails: what cannot be read is in ``unknown``."""
    found: dict[str, Any] = {}
    unknown: list[str] = []
    place = 0
    while place < len(line):
        if line[place].isspace():
            place += 1
            continue
        for rule, note in RULES:
            token = rule.match(line, place)
            if token and note(token, found):
                place = token.end()
                break
        else:
            word = WORD.match(line, place)
            assert word is not None  # the place is no blank
            unknown.append(word[0])
            place = word.end()
    return Tegrastats(**found, unknown=tuple(unknown))


N = r"[0-9]{1,9}"
REAL = rf"-?{N}(?:\.{N})?"
END = r"(?=\s|$)"
CLOCK = rf"(?:(?P<load>{N})%)?(?:@(?P<mhz>{N}|\[\s*{N}(?:\s*,\s*{N})*\s*\]))?"
UNIT = {"k": 1 / 1024, "M": 1.0, "G": 1024.0}
WORD = re.compile(r"\S+")
CORE = re.compile(rf"(?P<load>{N})%(?:@(?P<mhz>{N}))?")

# Units whose clock R32 and R35 wrote as a bare number ("APE 174"); every other name needs a form that only clocks have.
BARE = r"(?:APE|VIC|OFA|SE|VI|ISP|MSENC|NVENC\d*|NVDEC\d*|NVJPG\d*|NVDLA\d*|NVCSI|PVA\d*|TSEC\d*)(?:_FREQ)?"


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _clocks(token: re.Match[str]) -> tuple[float, ...]:
    return tuple(float(n) for n in re.findall(N, token["mhz"] or ""))


def _time(token: re.Match[str], found: dict[str, Any]) -> bool:
    try:
        found["at"] = datetime.strptime(token[0], "%m-%d-%Y %H:%M:%S")
    except ValueError:
        return False
    return True


def _memory(token: re.Match[str], found: dict[str, Any]) -> bool:
    name = token["name"].lower()
    unit, scale = ("kib", 1024.0) if name == "iram" else ("mib", 1.0)
    size = UNIT[token["unit"]] * scale
    found[f"{name}_{unit}"] = float(token["used"]) * size
    found[f"{name}_total_{unit}"] = float(token["total"]) * size
    if token["blocks"] and name == "ram":
        found["free_blocks"] = int(token["blocks"])
        found["free_block_mib"] = float(token["block"]) * UNIT[token["blockunit"]]
    if token["cached"] and name == "swap":
        found["swap_cached_mib"] = float(token["cached"]) * UNIT[token["cachedunit"]]
    return True


def _cpu(token: re.Match[str], found: dict[str, Any]) -> bool:
    common = _number(token["mhz"])
    cores: list[Core | None] = []
    for text in (part.strip() for part in token["cores"].split(",")):
        core = CORE.fullmatch(text)
        if core is None and text != "off":
            return False
        cores.append(core and Core(float(core["load"]), _number(core["mhz"]) if core["mhz"] else common))
    found["cpu"] = tuple(cores)
    return True


def _memory_clock(token: re.Match[str], found: dict[str, Any]) -> bool:
    if not token["load"] and not token["mhz"]:
        return False
    found["emc_load_pct"] = _number(token["load"])
    found["emc_mhz"] = max(_clocks(token), default=None)
    return True


def _gpu(token: re.Match[str], found: dict[str, Any]) -> bool:
    if not token["load"] and not token["mhz"]:
        return False
    found["gpu_load_pct"] = _number(token["load"])
    found["gpu_clusters_mhz"] = _clocks(token)
    found["gpu_mhz"] = max(_clocks(token), default=None)
    return True


def _engine(token: re.Match[str], found: dict[str, Any]) -> bool:
    parts = token.groupdict()
    if not (parts.get("off") or parts.get("load") or parts.get("mhz")):
        return False
    engine = Engine(
        on=not parts.get("off"),
        load_pct=_number(parts.get("load")),
        mhz=max(_clocks(token), default=None) if parts.get("mhz") else None,
    )
    found.setdefault("engines", {})[token["name"].removesuffix("_FREQ")] = engine
    return True


def _mts(token: re.Match[str], found: dict[str, Any]) -> bool:
    found["mts_foreground_pct"], found["mts_background_pct"] = float(token["fg"]), float(token["bg"])
    return True


def _temperature(token: re.Match[str], found: dict[str, Any]) -> bool:
    name, now = token["name"], float(token["now"])
    if now <= IDLE_C + 1:
        found["idle_sensors"] = (*found.get("idle_sensors", ()), name)
        return True
    found.setdefault("temperature_c", {})[name] = now
    if token["max"] and float(token["max"]) > IDLE_C + 1:
        found.setdefault("temperature_max_c", {})[name] = float(token["max"])
    return True


def _power(token: re.Match[str], found: dict[str, Any]) -> bool:
    if token["name"] == "NC":
        return True
    for key, part in (("power_mw", "now"), ("power_average_mw", "average"), ("power_max_mw", "max")):
        if token[part]:
            found.setdefault(key, {})[token["name"]] = float(token[part])
    return True


Note = Callable[[re.Match[str], dict[str, Any]], bool]
RULES: tuple[tuple[re.Pattern[str], Note], ...] = tuple(
    (re.compile(pattern + END, re.ASCII), note)
    for pattern, note in (
        (r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d", _time),
        (
            rf"(?P<name>RAM|SWAP|IRAM)\s+(?P<used>{N})/(?P<total>{N})(?P<unit>[kMG])B"
            rf"(?:\s*\(lfb (?:(?P<blocks>{N})x)?(?P<block>{N})(?P<blockunit>[kMG])B\))?"
            rf"(?:\s*\(cached (?P<cached>{N})(?P<cachedunit>[kMG])B\))?",
            _memory,
        ),
        (rf"(?:CPU|cpu)\s+\[(?P<cores>[^\]\[]*)\](?:@(?P<mhz>{N}))?", _cpu),
        (rf"EMC(?:_FREQ)?\s+{CLOCK}", _memory_clock),
        (rf"GR3D(?:_FREQ)?\s+{CLOCK}", _gpu),
        (rf"MTS\s+fg\s+(?P<fg>{N})%\s+bg\s+(?P<bg>{N})%", _mts),
        (rf"(?P<name>{BARE})\s+(?P<mhz>{N})", _engine),
        (rf"(?P<name>[A-Z][A-Z0-9_]*_FREQ)\s+(?P<mhz>{N})", _engine),
        (r"(?P<name>[A-Z][A-Z0-9_]*)\s+(?P<off>off)", _engine),
        (rf"(?P<name>[A-Z][A-Z0-9_]*)\s+{CLOCK}", _engine),
        (rf"(?P<name>[^\s@]+)@(?P<now>{REAL})C(?:/(?P<max>{REAL})C)?", _temperature),
        (
            rf"(?P<name>[A-Za-z][A-Za-z0-9_.+-]*)\s+(?P<now>{REAL})(?:mW)?/(?P<average>{REAL})(?:mW)?"
            rf"(?:/(?P<max>{REAL})(?:mW)?)?",
            _power,
        ),
    )
)
