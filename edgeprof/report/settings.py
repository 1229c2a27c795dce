"""Settings: everything about a case but the network and its batch. Measurements of one setting can be drawn as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from edgeprof.nets.spec import NetSpec
from edgeprof.report.figure import Series
from edgeprof.report.grids import Grid, grids_of
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Measurement

PARTS = tuple(name for name in Case.model_fields if name not in ("net", "batch"))
MAIN = ("machine", "runtime", "precision", "threads", "launch")  # what a single setting is called by
TELLING = (
    "machine",
    "threads",
    "launch",
    "power_mode",
    "precision",
    "runtime",
    "backend",
    "board",
)  # the plainest first


@dataclass(frozen=True)
class Setting:
    """One setting with its measurements that have a latency, in their order, and what it is called among others."""

    label: str
    parts: tuple[tuple[str, Any], ...]
    measurements: tuple[Measurement, ...]

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """The grids among its measurements."""
        return grids_of(self.measurements)

    @property
    def case(self) -> Case:
        """A case of this setting."""
        return self.measurements[0].case

    def points(self, rows: Sequence[tuple[float, float, Measurement]]) -> Series:
        """A series of this name with a point for each (x, y, measurement)."""
        return Series(
            name=self.label,
            x=tuple(x for x, *_ in rows),
            y=tuple(y for _, y, _ in rows),
            notes=tuple(m.case.label() for *_, m in rows),
        )


def item_of(measurements: Iterable[Measurement]) -> str:
    """What a batch is of, for people: tiles, or inputs where any network is not of the family."""
    return "tile" if all(isinstance(m.case.net, NetSpec) for m in measurements) else "input"


def item_in(settings: Iterable[Setting]) -> str:
    """:func:`item_of` of all that is in ``settings``."""
    return item_of(m for setting in settings for m in setting.measurements)


def settings_of(measurements: Iterable[Measurement]) -> tuple[Setting, ...]:
    """The settings of ``measurements``, in the order first met; each is called by what tells it from the others."""
    found: dict[tuple[Any, ...], list[Measurement]] = {}
    for m in measurements:
        if m.latency_ms is not None:
            found.setdefault(tuple(getattr(m.case, part) for part in PARTS), []).append(m)
    names = _telling(list(found)) if len(found) > 1 else MAIN
    return tuple(
        Setting(
            label=_label(dict(zip(PARTS, key, strict=True)), names),
            parts=tuple(zip(PARTS, key, strict=True)),
            measurements=tuple(own),
        )
        for key, own in found.items()
    )


def _telling(keys: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """The fewest parts that tell all settings apart."""
    order = (*TELLING, *(part for part in PARTS if part not in TELLING))
    for count in range(1, len(order) + 1):
        for names in combinations(order, count):
            places = [PARTS.index(name) for name in names]
            if len({tuple(key[i] for i in places) for key in keys}) == len(keys):
                return names
    raise AssertionError("settings are equal")


def _label(parts: dict[str, Any], names: Sequence[str]) -> str:
    return " · ".join(text for name in names if (text := _words(name, parts[name])))


def _words(name: str, value: Any) -> str:
    """A part for people."""
    match name:
        case "threads":
            return f"{value} thread{'' if value == 1 else 's'}"
        case "launch":
            return f"{value} launches"
        case "provider_options":
            return ", ".join(f"{k}={v}" for k, v in value) or "no provider options"
        case "power_mode":
            return f"power mode {value}" if value else "no power mode"
        case "inputs":
            return f"inputs {value}"
    return str(value)
