"""How far are laws fitted to tables of somebody else, and other methods on the same splits?

``python -m benchmarks.tables --data FOLDER`` reads ``gpu_conv.csv.gz`` and ``gpu_linear.csv.gz`` of the folder (see
``docs/decisions/0010``), parts the rows of every device 70/30 at random several times, and prints a Markdown table of
mean absolute errors in percent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.record_law import fit_records, predict_records
from edgeprof.fit.records import Record, Records, read_records
from edgeprof.fit.regress import fit_log
from edgeprof.fit.trend import places

FILES = {"conv": "gpu_conv.csv.gz", "linear": "gpu_linear.csv.gz"}
TRAIN = 0.7
TREES = 100


def work(rows: Sequence[Record]) -> NDArray[np.float64]:
    """Constant, FLOP and bytes of each row: [n, 3]."""
    ops = [row.operators[0] for row in rows]
    return np.array([[1.0, 2.0 * op.macs, op.activation_bytes + op.parameter_bytes] for op in ops])


def forest_features(rows: Sequence[Record]) -> NDArray[np.float64]:
    """The columns of the table with FLOP and bytes."""
    return np.column_stack([[list(row.values.values()) for row in rows], work(rows)])


def latencies(rows: Sequence[Record]) -> NDArray[np.float64]:
    return np.array([row.latency_ms for row in rows], np.float64)


def by_law(law: Law, rows: Sequence[Record]) -> NDArray[np.float64]:
    return np.array([p.latency_ms for p in predict_records(law, rows)])


def compare(records: Records, seed: int) -> dict[str, float]:
    """Errors in percent on 30 % of the rows, by methods that saw the others."""
    order = np.random.default_rng(seed).permutation(len(records.rows))
    cut = int(TRAIN * len(order))
    train, test = (tuple(records.rows[i] for i in part) for part in (order[:cut], order[cut:]))
    measured = latencies(test)
    begin = time.perf_counter()
    seen = replace(records, rows=train)
    hybrid = fit_records(seen, read_form("gpu"), boost=True, cross_validate=False, errors=False).law
    seconds = time.perf_counter() - begin
    readable = Law(**{**hybrid.model_dump(), "boost": {}})
    forest = RandomForestRegressor(TREES, random_state=seed)
    forest.fit(forest_features(train), np.log(latencies(train)))
    found = {
        "readable": by_law(readable, test),
        "hybrid": by_law(hybrid, test),
        "forest": np.exp(forest.predict(forest_features(test))),
        "a + b·FLOP + c·bytes": work(test) @ fit_log(work(train), latencies(train)),
    }
    trend = float(readable.table["trend_ms"])
    place = places([row.line for row in records.rows])[order[cut:]]
    found["place known"] = np.maximum(found["readable"] + trend * (place - 0.5), 1e-3)
    errors = {name: float(np.mean(np.abs(p / measured - 1)) * 100) for name, p in found.items()}
    return {
        **errors,
        "trend, ms": trend,
        "branches": len(readable.groups),
        "terms": sum(len(g.terms) for g in readable.groups),
        "fit, s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--seeds", type=int, default=3, help="random splits")
    parser.add_argument("--device", default="", help="only devices whose name has this")
    parser.add_argument("--kinds", default=",".join(FILES), help="conv, linear or both")
    arguments = parser.parse_args()
    header = False
    for kind in arguments.kinds.split(","):
        path = arguments.data / FILES[kind]
        for device in sorted(pd.read_csv(path)["device"].unique()):
            if arguments.device not in device:
                continue
            records = read_records(path, "latency_ms", [f"device={device}"])
            runs = pd.DataFrame([compare(records, seed) for seed in range(arguments.seeds)])
            mean, spread = runs.mean(), runs.std(ddof=1) if len(runs) > 1 else runs.mean() * 0
            if not header:
                print(f"| layer | device | {' | '.join(runs.columns)} |\n|{'---|' * (len(runs.columns) + 2)}")
                header = True
            cells = [
                f"{mean.iloc[i]:.3g} ± {spread.iloc[i]:.1g}" if i < 5 else f"{mean.iloc[i]:.2g}"
                for i in range(len(runs.columns))
            ]
            print(f"| {kind} | {device} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
