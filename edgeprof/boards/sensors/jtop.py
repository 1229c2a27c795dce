"""jtop: the service of jetson-stats, asked through its own client, which is looked for when needed.

The service runs as root, so it tells what files and programs tell root alone. While a client is connected it looks at
everything once an interval, and takes processor time for it: hence a second, and no less.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from edgeprof.boards.sensors.host import IDLE_C
from edgeprof.boards.sensors.reading import MONITORED, Reading, Ready
from edgeprof.errors import BoardError

CONNECT_S = 10.0


class Jtop(Ready):
    """A connection to the service."""

    name = "jtop"
    gives = MONITORED | {"fan_pct"}

    def __init__(self, interval_s: float = 1.0) -> None:
        """:raises BoardError: jetson-stats is not installed, or its service does not answer."""
        try:
            import jtop
        except ImportError:
            raise BoardError(
                "jetson-stats is not installed",
                "pip install jetson-stats, or edgeprof with its extra: pip install 'edgeprof[jetson]'",
            ) from None
        self.interval_s = interval_s
        self._client = jtop.jtop(interval=interval_s)
        trouble = _connect(self._client)
        if trouble is not None:
            with contextlib.suppress(Exception):
                self._client.close()
            raise BoardError(
                f"the service of jetson-stats does not answer: {trouble}",
                "start it: sudo systemctl start jtop.service (after an update: sudo jtop --install-service)",
            )

    def read(self) -> Reading | None:
        try:
            return reading(self._client) if self._client.ok(spin=True) else None
        except Exception:  # whatever ended the client's thread: the service is gone
            return None

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close()


def reading(client: Any) -> Reading:
    """What the client's documented properties say."""
    gpu: Mapping[str, Any] = next(iter(client.gpu.values()), {})
    clocks = [
        core["freq"]["cur"] for core in client.cpu.get("cpu", ()) if core.get("online") and "freq" in core
    ]
    duties = [duty for fan in client.fan.values() for duty in fan.get("speed", ())]
    memory = client.memory
    clock = memory.get("EMC", {}).get("cur", 0)  # kHz; 1 where the service does not know it
    return Reading(
        rails_mw=_rails(client.power),
        gpu_mhz=_mhz(gpu.get("freq", {}).get("cur")),
        gpu_load_pct=gpu.get("status", {}).get("load"),
        cpu_mhz=_mhz(max(clocks, default=None)),
        memory_mhz=_mhz(clock) if clock > 1 else None,
        temperature_c={
            name: zone["temp"] for name, zone in client.temperature.items() if zone["temp"] > IDLE_C + 1
        },
        used_mib=_mib(memory.get("RAM", {}).get("used")),
        swap_mib=_mib(memory.get("SWAP", {}).get("used")),
        fan_pct=max(duties, default=None),
    )


def _rails(power: Mapping[str, Any]) -> dict[str, float]:
    """Every rail; the one that jtop takes for the total is not among the others."""
    rails = {name: float(rail["power"]) for name, rail in power.get("rail", {}).items()}
    total = power.get("tot", {})
    return {**rails, total["name"]: float(total["power"])} if "name" in total else rails


def _mhz(khz: float | None) -> float | None:
    return None if khz is None else khz / 1000


def _mib(kib: float | None) -> float | None:
    return None if kib is None else kib / 1024


def _connect(client: Any) -> str | None:
    """Connect, in bounds: what went wrong, or None. A service that is stuck answers nobody."""
    trouble: list[str] = ["no answer"]

    def start() -> None:
        try:
            client.start()
            trouble[0] = ""
        except Exception as error:  # JtopException, and whatever its queue raises
            trouble[0] = " ".join(str(getattr(error, "message", error)).split()) or type(error).__name__

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join(CONNECT_S)
    return trouble[0] or None
