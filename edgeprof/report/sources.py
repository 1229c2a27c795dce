"""Sources: the measurements and sentinels of one or several databases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeprof.fit.examples import matching
from edgeprof.store import Sentinel, Store
from edgeprof.timing.measurement import Measurement


def read_databases(
    paths: Sequence[Path], where: Sequence[str] = ()
) -> tuple[list[Measurement], list[Sentinel], int]:
    """Every measurement whose case has all ``KEY=VALUE`` of ``where``, each case once; every sentinel; and how many
    cases lie in several files, of which the first that was measured counts.

    :raises StoreError: a file that is no database. :raises FitError: no such key, or nothing left.
    """
    measurements: dict[str, Measurement] = {}
    sentinels: list[Sentinel] = []
    doubles: set[str] = set()
    for path in paths:
        with Store(path) as store:
            for m in store.measurements():
                key = m.case.key()
                if key in measurements:
                    doubles.add(key)
                if key not in measurements or measurements[key].latency_ms is None:
                    measurements[key] = m
            sentinels += store.sentinels()
    every = list(measurements.values())
    return matching(every, where) if where else every, sentinels, len(doubles)
