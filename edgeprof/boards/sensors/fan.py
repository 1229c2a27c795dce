"""The fan's duty: the kernel's pwm-fan, or, before L4T 34, NVIDIA's own driver.

Linux, Documentation/hwmon/pwm-fan.rst and sysfs-interface.rst: ``pwm1`` from 0 to 255.
"""

from __future__ import annotations

from pathlib import Path

from edgeprof.boards.sensors.files import number, text

OLD = "sys/devices/pwm-fan/target_pwm"
FULL = 255.0


def read_fan_pct(root: Path = Path("/")) -> float | None:
    """Duty of the fastest fan (percent) of the machine whose ``/sys`` is under ``root``; None without a fan."""
    found = [number(root / OLD)]
    for folder in (root / "sys/class/hwmon").glob("hwmon*"):
        if (text(folder / "name") or "").startswith("pwm"):
            found.append(number(folder / "pwm1"))
    known = [value for value in found if value is not None]
    return 100 * max(known) / FULL if known else None
