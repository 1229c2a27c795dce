"""The ``edgeprof`` command, and ``python -m edgeprof``: Ctrl-C is met in order from the first import on."""

from __future__ import annotations

import sys

from edgeprof.interrupt import met


def main() -> None:
    """See :func:`edgeprof.cli.main`."""
    try:
        from edgeprof.cli import main as run
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(met())
    run()


if __name__ == "__main__":
    main()
