"""Measurements as plain values, for JSON, CSV and Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from edgeprof.errors import StoreError
from edgeprof.nets.network import Network
from edgeprof.timing.measurement import KernelMeasurement, Measurement


def as_dict(m: Measurement) -> dict[str, Any]:
    """A measurement with every field named by quantity and unit; unknown is None."""
    return {
        "case": {**m.case.identity(), "clocks": m.case.clocks},
        "status": m.status,
        "reason": m.reason or None,
        "latency_ms": m.latency_ms,
        "estimator": m.estimator,
        "ci_ms": m.ci_ms,
        "percentiles_ms": dict(m.percentiles_ms),
        "ms_per_tile": m.ms_per_tile,
        "tiles_per_ms": m.tiles_per_ms,
        "rounds_ms": m.rounds_ms,
        "spread_pct": m.spread_pct,
        "target_met": m.target_met,
        "samples": m.samples,
        "load_ms": m.load_ms,
        "first_run_ms": m.first_run_ms,
        "host_to_host_ms": m.host_to_host_ms,
        "kernels": [_kernel(kernel) for kernel in m.kernels],
        "unattributed_ms": m.unattributed_ms,
        "profiled_latency_ms": m.profiled_latency_ms,
        "coverage": m.coverage,
        "telemetry": dict(m.telemetry),
        "environment": dict(m.environment),
        "warnings": m.warnings,
        "simulated": m.simulated,
        "designed": m.designed,
    }


def _kernel(kernel: KernelMeasurement) -> dict[str, Any]:
    """A kernel; what the device tells of it (name, grid, block, registers, shared memory) where it was asked."""
    plain = asdict(kernel)
    return {k: v for k, v in plain.items() if k != "glue" and not (k == "device" and v is None)}


def flat(m: Measurement) -> dict[str, Any]:
    """The same in one row: names joined by dots, lists of numbers and kernels as JSON."""
    row: dict[str, Any] = {}
    for key, value in as_dict(m).items():
        if key in ("case", "percentiles_ms", "telemetry"):
            row.update(joined("" if key == "case" else key, value))
        elif key == "ci_ms":
            row.update(zip(("ci_low_ms", "ci_high_ms"), value or (None, None), strict=True))
        else:
            row[key] = (
                json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else value
            )
    return row


def joined(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values one in another as one level: names joined by dots, lists as JSON."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            found.update(joined(name, value))
        else:
            found[name] = json.dumps(value) if isinstance(value, list | tuple) else value
    return found


def knobs(net: Network) -> dict[str, Any]:
    """Every knob of a network as ``net.NAME``: one value where all layers are alike, None where there is no layer, else
    one a layer as a flag has them (``8,16``)."""
    return {f"net.{name}": _layers(value) for name, value in net.model_dump().items()}


def _layers(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    alike = len(set(value)) == 1
    return (value[0] if alike else ",".join(map(str, value))) if value else None


def rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """:func:`flat` of each, with the same columns in every row."""
    flats = [flat(m) for m in measurements]
    names = list(dict.fromkeys(name for row in flats for name in row))
    return [{name: row.get(name) for name in names} for row in flats]


def table(measurements: Sequence[Measurement], format_: str) -> bytes:
    """A CSV (UTF-8) or Parquet file with a row for each measurement.

    :raises StoreError: pyarrow, which writes Parquet, is not installed.
    """
    frame = pd.DataFrame(rows(measurements))
    if format_ == "csv":
        return frame.to_csv(index=False).encode()
    try:
        return frame.to_parquet()
    except ImportError:
        raise StoreError("parquet needs pyarrow", "pip install 'edgeprof[parquet]'") from None
