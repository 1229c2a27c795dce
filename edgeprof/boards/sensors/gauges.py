"""Gauges: the sources that a board has, in the order of preference, and one reading from all of them.

jtop, sysfs, tegrastats, NVML: for each field the first that knows it. A source is opened only where it may know what
those before it do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgeprof.boards.sensors.jtop import Jtop
from edgeprof.boards.sensors.l4t import read_release
from edgeprof.boards.sensors.monitor import Monitor, find_program
from edgeprof.boards.sensors.nvml import NvmlGauge
from edgeprof.boards.sensors.reading import Reading, Source, merged
from edgeprof.boards.sensors.sysfs import Sysfs, denied
from edgeprof.errors import BoardError

WANTED = frozenset(("rails_mw", "gpu_mhz", "gpu_load_pct", "temperature_c", "used_mib"))
FIRST_LINE_S = 3.0
AS_ROOT = 'sudo "$(command -v edgeprof)"'  # sudo has a PATH of its own, without a virtual environment


@dataclass(frozen=True)
class Seen:
    """A reading, and which source each of its fields is from."""

    reading: Reading
    sources: Mapping[str, str]


class Gauges:
    """Sources in the order of preference. ``denied`` are names of a reading that root alone may have here, ``absent``
    what a source said that could not be opened."""

    def __init__(
        self,
        sources: Sequence[Source],
        denied: tuple[str, ...] = (),
        absent: Mapping[str, BoardError] | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.denied = denied
        self.absent = dict(absent or {})

    @property
    def interval_s(self) -> float:
        """How old a reading may be."""
        return max((source.interval_s for source in self.sources), default=0.0)

    def read(self) -> Seen:
        """The present reading."""
        return Seen(*merged([(source.name, source.read()) for source in self.sources]))

    @contextmanager
    def awake(self) -> Iterator[Callable[[], Seen]]:
        """Readings are wanted meanwhile, and not before or after."""
        for source in self.sources:
            source.wake()
        try:
            yield self.read
        finally:
            for source in self.sources:
                source.rest()

    def close(self) -> None:
        """Give every source back."""
        for source in self.sources:
            source.close()


def open_gauges(root: Path = Path("/")) -> Gauges:
    """The gauges of the machine under ``root``; without any source on a machine that is no Jetson. Services of this
    machine (jtop, NVIDIA's driver) are asked only where the root is ``/``."""
    if read_release(root) is None:
        return Gauges(())
    own = root == Path("/")
    sources: list[Source] = []
    absent: dict[str, BoardError] = {}
    known: frozenset[str] = frozenset()
    openers: list[tuple[str, frozenset[str], Callable[[], Source]]] = [
        *([("jtop", Jtop.gives, Jtop)] if own else []),
        ("sysfs", Sysfs.gives, lambda: Sysfs(root)),
        ("tegrastats", Monitor.gives, lambda: _monitor(root)),
        *([("nvml", NvmlGauge.gives, NvmlGauge)] if own else []),
    ]
    with ExitStack() as stack:
        for name, gives, opened in openers:
            if not gives & WANTED - known and name != "sysfs":
                continue
            try:
                source = opened()
            except BoardError as error:
                absent[name] = error
                continue
            stack.callback(source.close)
            sources.append(source)
            reading = source.first(FIRST_LINE_S) if isinstance(source, Monitor) else source.read()
            known |= reading.known() if reading else frozenset()
            source.rest()
        stack.pop_all()
    return Gauges(sources, tuple(name for name in denied(root) if name not in known), absent)


def _monitor(root: Path) -> Monitor:
    program = find_program("tegrastats", root)
    if program is None:
        raise BoardError("there is no tegrastats on PATH", "it is part of NVIDIA's Linux: nvidia-l4t-tools")
    try:
        return Monitor(program)
    except OSError as error:
        raise BoardError(
            f"tegrastats cannot be started: {error.strerror}", "see whether it runs by hand"
        ) from None


def mean(seen: Sequence[Seen]) -> Seen:
    """The mean of several readings, field by field, over those that know it; of counters the last, and why clocks were
    cut in any of them."""
    if not seen:
        return Seen(Reading(), {})
    readings = [s.reading for s in seen]
    found = replace(
        readings[-1],
        rails_mw=_mean_table([r.rails_mw for r in readings]),
        temperature_c=_mean_table([r.temperature_c for r in readings]),
        gpu_mhz=_mean(r.gpu_mhz for r in readings),
        gpu_load_pct=_mean(r.gpu_load_pct for r in readings),
        cpu_mhz=_mean(r.cpu_mhz for r in readings),
        memory_mhz=_mean(r.memory_mhz for r in readings),
        used_mib=_mean(r.used_mib for r in readings),
        swap_mib=_mean(r.swap_mib for r in readings),
        fan_pct=_mean(r.fan_pct for r in readings),
        gpu_memory_mhz=_mean(r.gpu_memory_mhz for r in readings),
        cuts=_any(r.cuts for r in readings),
    )
    return Seen(found, {name: source for s in seen for name, source in s.sources.items()})


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _any(tables: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = [table for table in tables if table is not None]
    return tuple(dict.fromkeys(text for table in known for text in table)) if known else None


def _mean_table(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for table in tables for name in table)
    columns = {name: [table[name] for table in tables if name in table] for name in names}
    return {name: sum(column) / len(column) for name, column in columns.items()}
