"""Laws for NAS-Bench-201 cells from tables of others: ``python -m benchmarks.cells --data FOLDER`` prints Markdown.

Every ``*.csv`` and ``*.csv.gz`` of the folder with a column ``cell`` is read; latencies are its columns ``…_ms``, and
``NAME_BATCH`` where the batch is part of the name.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edgeprof.fit.forms import Form, read_form
from edgeprof.fit.law import Law
from edgeprof.fit.network_law import (
    Runs,
    choose_execution,
    fit_networks,
    kernels_of,
    price_networks,
    runs_of,
    sample,
    transfer_networks,
)
from edgeprof.fit.records import Record, Records, batch_of, read_records
from edgeprof.fit.regress import fit_log

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
TRAIN, FEW = 60, 10


@dataclass(frozen=True)
class Target:
    """Latencies of one device: of one batch, or of several."""

    name: str
    path: Path
    column: str
    batch: int | None = None

    def read(self) -> Records:
        return read_records(self.path, self.column, batch=self.batch)


def targets(folder: Path) -> Iterator[Target]:
    """What the folder's tables tell of cells."""
    for path in sorted(folder.glob("*.csv*")):
        names = [str(c) for c in pd.read_csv(path, nrows=1).columns]
        if "cell" not in names:
            continue
        yield from (Target(n.removesuffix("_ms"), path, n) for n in names if n.endswith("_ms"))
        batched = [m for n in names if (m := re.fullmatch(r"(.*)_(\d+)", n))]
        for device in dict.fromkeys(m[1] for m in batched):
            batches = [int(m[2]) for m in batched if m[1] == device]
            yield Target(f"{device}, batch {max(batches)}", path, f"{device}_{max(batches)}", max(batches))
            yield Target(f"{device}, batches {', '.join(map(str, batches))}", path, device + "_{batch}")


class Prepared:
    """A target's networks under each execution, described once."""

    def __init__(self, records: Records, form: Form) -> None:
        self.records, self.form = records, form
        self._runs: dict[str, Runs] = {}

    def runs(self, execution: str) -> Runs:
        if execution not in self._runs:
            self._runs[execution] = runs_of(self.records, self.records.rows, self.form, execution)
        return self._runs[execution]


def accuracy(target: Target, splits: int) -> tuple[str, Vector, Counter[str]]:
    """The form, MAPE in percent of each split on the networks that it leaves out, and the executions chosen."""
    form = read_form("launches" if "{batch}" in target.column else "networks")
    prepared = Prepared(target.read(), form)
    rows = prepared.records.rows
    owner = np.array([hash(r.key) for r in rows])
    scores, chosen = [], Counter[str]()
    for seed in range(splits):
        drawn = sample(rows, TRAIN, seed)
        train = np.isin(owner, [hash(r.key) for r in drawn])
        way = choose_execution(replace(prepared.records, rows=drawn), form)
        runs = prepared.runs(way)
        prices = runs.of(np.flatnonzero(train)).fit(form, form.composition, short=True)
        rest = runs.of(np.flatnonzero(~train))
        off = np.abs(rest.predicted(prices, form.composition) / rest.latency_ms - 1)
        scores.append(100 * float(off.mean()))
        chosen[way] += 1
    return form.name, np.array(scores), chosen


def transfers(one: Target, other: Target, draws: int) -> dict[str, Vector]:
    """MAPE in percent on ``other`` of each way to predict it from ten networks and sixty of ``one``."""
    source, goal = one.read(), other.read()
    found: dict[str, list[float]] = {}
    for seed in range(draws):
        for method, error in _transfer(source, goal, seed).items():
            found.setdefault(method, []).append(error)
    return {name: np.array(values) for name, values in found.items()}


def _transfer(source: Records, goal: Records, seed: int) -> dict[str, float]:
    form = read_form("networks")
    here = {r.key: r.latency_ms or 0.0 for r in source.rows}
    drawn = sample(source.rows, TRAIN, seed)
    taken = {r.key for r in drawn}
    prior = fit_networks(replace(source, rows=drawn), form, cross_validate=False, errors=False).law
    others = [r for r in goal.rows if r.key not in taken and r.key in here]
    few = sample(others, FEW, seed)
    keys = {r.key for r in few}
    test = [r for r in others if r.key not in keys]
    few_ms = np.array([r.latency_ms or 0.0 for r in few])

    def mapped(rows: Sequence[Record]) -> Matrix:
        return np.array([[1.0, here[r.key]] for r in rows])

    def parts(law: Law, rows: Sequence[Record]) -> Matrix:
        kernels = [kernels_of(goal, r, law.execution) for r in rows]
        prices = price_networks(law, kernels, [batch_of(r) for r in rows])
        return np.array([[*(k.ms for k in p.kernels), p.overhead_ms] for p in prices])

    groups, groups_few = parts(prior, test), parts(prior, few)
    mine = replace(goal, rows=few)
    own = fit_networks(mine, form.model_copy(update={"terms": "all"}), cross_validate=False, errors=False).law
    predicted = {
        "linear map of the other board's latency": mapped(test) @ fit_log(mapped(few), few_ms),
        "the prior times one scale": groups.sum(axis=1)
        * fit_log(groups_few.sum(axis=1, keepdims=True), few_ms)[0],
        "a scale for each group": groups @ fit_log(groups_few, few_ms),
        "no prior: the form on ten networks": parts(own, test).sum(axis=1),
        "ridge to the scaled prior": parts(transfer_networks(mine, prior).law, test).sum(axis=1),
    }
    measured = np.array([r.latency_ms or 0.0 for r in test])
    return {name: 100 * float(np.abs(ms / measured - 1).mean()) for name, ms in predicted.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of tables with a column cell")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--only", default="", help="only targets with this text in their name")
    parser.add_argument("--from", dest="source", default="", help="transfer from targets with this text")
    parser.add_argument("--what", choices=("all", "accuracy", "transfer"), default="all")
    arguments = parser.parse_args()
    found = [t for t in targets(arguments.data) if arguments.only in t.name]
    if arguments.what != "transfer":
        print(f"{TRAIN} networks, {arguments.splits} random splits, MAPE on all others.\n")
        print("| target | form | MAPE % mean (spread) | least–greatest | how the networks run |")
        print("|---|---|---|---|---|")
        for target in found:
            form, scores, chosen = accuracy(target, arguments.splits)
            ways = ", ".join(f"{way} {count}" for way, count in chosen.most_common())
            print(
                f"| {target.name} | {form} | {scores.mean():.2f} ({scores.std():.2f})"
                f" | {scores.min():.2f}–{scores.max():.2f} | {ways} |",
                flush=True,
            )
    if arguments.what != "accuracy":
        single = [t for t in found if t.batch is None and "{batch}" not in t.column]
        print(f"\nTransfer with {FEW} networks, {arguments.draws} draws, prior of {TRAIN} networks.\n")
        print("| from → to | method | MAPE % mean (spread) | worst draw |")
        print("|---|---|---|---|")
        for one in single:
            for other in single:
                if one is other or one.path != other.path or arguments.source not in one.name:
                    continue
                for method, scores in transfers(one, other, arguments.draws).items():
                    print(
                        f"| {one.name} → {other.name} | {method} | {scores.mean():.2f} ({scores.std():.2f})"
                        f" | {scores.max():.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
