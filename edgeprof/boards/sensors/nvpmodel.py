"""Power modes of a Jetson: what ``nvpmodel -q`` prints, and the modes that its configuration file defines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeprof.boards.sensors.files import text

NAME = re.compile(r"NV Power Mode:[ \t]*(\S.*?)[ \t\r]*$", re.MULTILINE)
FAN = re.compile(r"NV Fan Mode:[ \t]*(\S.*?)[ \t\r]*$", re.MULTILINE)
NUMBER = re.compile(r"^[ \t]*([0-9]{1,4})[ \t\r]*$", re.MULTILINE)
STATUS = re.compile(r"\bpmode:([0-9]{1,4})\b")
SECTION = re.compile(r"<\s*(POWER_MODEL|PM_CONFIG|[A-Z_]+)\b([^>]*)>")
ATTRIBUTE = re.compile(r"(\w+)=(\S+)")
CONFIGURATION = "etc/nvpmodel.conf"
STATE = "var/lib/nvpmodel/status"
FILES = (CONFIGURATION, STATE)  # below a root, what tells the present mode


@dataclass(frozen=True)
class PowerMode:
    """The present mode. Trust the name: the same number means other modes on other boards and configurations.
    ``messages`` are the lines of warnings and errors (without root there are many, and the mode is still right)."""

    name: str | None = None
    number: int | None = None
    fan: str | None = None
    messages: tuple[str, ...] = ()


def parse_query(output: str) -> PowerMode:
    """What ``nvpmodel -q`` prints, with ``--verbose`` or not, with root or not."""
    name, fan = NAME.search(output), FAN.search(output)
    number = NUMBER.search(output, name.end() if name else 0)
    messages = (line.strip() for line in output.splitlines() if re.match(r"\s*NVPM (WARN|ERROR)", line))
    return PowerMode(
        name[1] if name else None,
        int(number[1]) if number else None,
        fan[1] if fan else None,
        tuple(messages),
    )


@dataclass(frozen=True)
class ModeDefinition:
    """A mode as the configuration file defines it: ``settings`` by parameter and argument, as written."""

    number: int
    name: str
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def gpu_mhz(self) -> float | None:
        """The highest GPU clock (MHz) that the mode allows; None where it sets no limit."""
        hertz = self.settings.get("GPU", {}).get("MAX_FREQ", "")
        return int(hertz) / 1e6 if re.fullmatch(r"[0-9]{1,12}", hertz) and int(hertz) > 0 else None

    @property
    def cores(self) -> int | None:
        """Processor cores that are on; None where the mode does not say."""
        switches = self.settings.get("CPU_ONLINE", {}).values()
        return sum(switch == "1" for switch in switches) if switches else None


@dataclass(frozen=True)
class Configuration:
    """``/etc/nvpmodel.conf``: the modes, and the number of the one that a fresh board is in."""

    modes: tuple[ModeDefinition, ...] = ()
    default: int | None = None

    def named(self, number: int) -> str | None:
        """The name of a mode."""
        return next((mode.name for mode in self.modes if mode.number == number), None)


def parse_configuration(content: str) -> Configuration:
    """The modes that a configuration file defines. Its format is explained in each shipped file: sections begin
    with ``< POWER_MODEL ID=n NAME=… >`` and hold lines ``PARAMETER ARGUMENT VALUE``; ``< PM_CONFIG DEFAULT=n >``.
    What is neither is passed over."""
    modes: list[ModeDefinition] = []
    default = None
    settings: dict[str, dict[str, str]] | None = None
    for raw in content.splitlines():
        line = raw.split("#")[0].strip()
        section = SECTION.match(line)
        if section:
            settings, said = None, dict(ATTRIBUTE.findall(section[2]))
            number = _whole(said.get("DEFAULT" if section[1] == "PM_CONFIG" else "ID"))
            if section[1] == "PM_CONFIG":
                default = number if number is not None else default
            elif section[1] == "POWER_MODEL" and number is not None and "NAME" in said:
                settings = {}
                modes.append(ModeDefinition(number, said["NAME"], settings))
        elif settings is not None and len(words := line.split()) == 3:
            settings.setdefault(words[0], {})[words[1]] = words[2]
    return Configuration(tuple(modes), default)


def read_power_mode(root: Path = Path("/")) -> PowerMode | None:
    """The mode that nvpmodel's own state file under ``root`` names; None where there is none. Needs no root and no
    program."""
    found = STATUS.search(text(root / STATE) or "")
    if not found:
        return None
    number = int(found[1])
    return PowerMode(parse_configuration(text(root / CONFIGURATION) or "").named(number), number)


def _whole(written: str | None) -> int | None:
    return int(written) if written and re.fullmatch(r"[0-9]{1,4}", written) else None
