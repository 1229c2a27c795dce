"""Frames: what edgeprof measures, fits, answers and compares, as pandas frames whose columns carry their units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from edgeprof.compare import Comparison, flat_rows
from edgeprof.export import flat, knobs
from edgeprof.fit.law import Law
from edgeprof.fit.prediction import Prediction
from edgeprof.query import Answer, Found
from edgeprof.store import Store
from edgeprof.timing.measurement import Measurement

NESTED = ("kernels", "environment")  # of a measurement: no value for a cell


def frame(
    value: str | Path | Store | Sequence[Measurement | Prediction] | Law | Answer | Comparison,
) -> pd.DataFrame:
    """A frame of a database (by its path, or open), of measurements or predictions: a row each; of a law: a row for
    each term; of a query's answer: a row for each network; of a comparison: a row for each case (kind ``latency``) and
    one for each of its kinds of kernel.

    Knobs of a network are columns ``net.depth`` and so on, a number where all layers are alike, else as flags are
    written (``8,16``). What is unknown is missing.
    """
    match value:
        case Law():
            rows: Iterable[Mapping[str, Any]] = _terms(value)
        case Comparison():
            rows = flat_rows(value)
        case Answer():
            rows = map(_found, value.nets)
        case str() | Path() | Store():
            rows = map(_measured, _measurements(value))
        case _:
            rows = [_predicted(v) if isinstance(v, Prediction) else _measured(v) for v in value]
    return pd.DataFrame(list(rows))


def kernel_frame(value: str | Path | Store | Sequence[Measurement]) -> pd.DataFrame:
    """A row for each kernel of each measurement: its kind, name and operators, ``ms`` per run and ``ms_per_tile``, its
    ``share`` of the latency, and the network."""
    return pd.DataFrame(
        [
            {
                **knobs(m.case.net),
                "batch": m.case.batch,
                "kind": kernel.kind,
                "name": kernel.name,
                "operators": kernel.operators,
                "ms": kernel.ms,
                "ms_per_tile": kernel.ms / m.case.batch,
                "share": kernel.share,
            }
            for m in _measurements(value)
            for kernel in m.kernels
        ]
    )


def _measurements(value: str | Path | Store | Sequence[Measurement]) -> Sequence[Measurement]:
    match value:
        case Store():
            return value.measurements()
        case str() | Path():
            with Store(Path(value)) as store:
                return store.measurements()
    return value


def _measured(m: Measurement) -> dict[str, Any]:
    row = {name: value for name, value in flat(m).items() if name not in NESTED}
    return row | knobs(m.case.net) | {"rounds_ms": m.rounds_ms, "warnings": m.warnings}


def _predicted(p: Prediction) -> dict[str, Any]:
    low, high = p.interval_ms or (None, None)
    return {
        **knobs(p.net),
        "batch": p.batch,
        "latency_ms": p.latency_ms,
        "low_ms": low,
        "high_ms": high,
        "interval_unknown": p.interval_unknown,
        "ms_per_tile": p.ms_per_tile,
        "tiles_per_ms": p.tiles_per_ms,
        "overhead_ms": p.overhead_ms,
        "in_domain": p.in_domain,
    }


def _found(net: Found) -> dict[str, Any]:
    row: dict[str, Any] = {name: v for name, v in vars(net).items() if name not in ("net", "outside")}
    for name, ends in (
        ("interval_ms", ("low_ms", "high_ms")),
        ("interval", ("low_tiles_per_ms", "high_tiles_per_ms")),
    ):
        row |= dict(zip(ends, row.pop(name) or (None, None), strict=True))
    return {"law": row.pop("law"), **knobs(net.net), **row}


def _terms(law: Law) -> Iterable[Mapping[str, Any]]:
    groups = [(g.name, g.share, term) for g in law.groups for term in g.terms]
    for name, share, term in (*groups, *(("overhead", None, term) for term in law.overhead)):
        yield {
            "group": name,
            "share": share,
            "term": term.text,
            "coefficient_ms": term.coefficient,
            "standard_error_ms": term.standard_error,
            "per": law.unit,
            "note": term.note,
        }
