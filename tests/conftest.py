"""What every test may rely on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Ctrl-C is met as in the foreground: a shell's background job, and all that it starts, would ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
