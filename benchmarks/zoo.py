"""The zoo against a law that never saw it: ``python -m benchmarks.zoo --law LAW --db zoo.db`` prints Markdown.

Networks are measured by the usual protocol (those that the database has already are not measured again), and predicted
from kernels alone. ``--fit DB`` fits the law instead, on a database of the sweeps ``family`` and ``kernels``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprof.boards.detect import load_1m
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import Prediction, predict
from edgeprof.nets.network import ZooNet
from edgeprof.nets.zoo import zoo_names
from edgeprof.store import Store
from edgeprof.sweeps.case import Case, Workload
from edgeprof.target import Target, alone, open_target
from edgeprof.timing.measurement import Measurement
from edgeprof.timing.session import run_session


@dataclass(frozen=True)
class Row:
    """A network measured and predicted."""

    name: str
    measured: Measurement
    predicted: Prediction

    @property
    def error(self) -> float:
        """Relative, of the measured latency."""
        assert self.measured.latency_ms is not None
        return self.predicted.latency_ms / self.measured.latency_ms - 1

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the measured latency."""
        ends = self.predicted.interval_ms
        assert self.measured.latency_ms is not None
        return None if ends is None else ends[0] <= self.measured.latency_ms <= ends[1]


def fitted(db: Path) -> Law:
    """A law of kernels on everything in a database."""
    with Store(db) as store:
        return fit_law(store.measurements(), read_form("kernels"), sweeps=store.sweeps()).law


def measured(
    db: Path, names: Sequence[str], batch: int, rounds: int, target: Target
) -> dict[str, Measurement]:
    """The networks ``names`` on one thread, by the usual protocol."""
    cases: dict[str, Case] = {
        name: target.case(Workload(net=ZooNet(name=name), batch=batch, threads=1)) for name in names
    }
    facts = {"machine": target.machine, "board": target.board, "backend": target.backend.name}
    with Store(db, create=True) as store, alone(target, print):
        run_session(
            tuple(cases.values()), store, target.backend, target.estimator, rounds=rounds, facts=facts
        )
        found = {m.case: m for m in store.measurements()}
    return {name: found[case] for name, case in cases.items() if found[case].latency_ms is not None}


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown, a line a network."""
    lines = [
        "| network | measured, ms | rounds differ by | kernels' sum | predicted, ms | error | interval | unfitted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m, p = row.measured, row.predicted
        assert m.latency_ms is not None
        total = sum(k.ms for k in m.kernels) / m.latency_ms - 1
        ends = "" if p.interval_ms is None else f"{p.interval_ms[0]:.4g} to {p.interval_ms[1]:.4g}"
        mark = {True: "", False: " (missed)", None: ""}[row.covered]
        share = "?" if p.gap_share is None else f"{100 * p.gap_share:.1f} %"
        lines.append(
            f"| {row.name} | {m.latency_ms:.4g} | {m.spread_pct or 0:.1f} % | {100 * total:+.1f} % | "
            f"{p.latency_ms:.4g} | {100 * row.error:+.1f} % | {ends}{mark} | {share} |"
        )
    return lines


def summary(rows: Sequence[Row]) -> str:
    """A sentence on all of them."""
    sizes = sorted(abs(row.error) for row in rows)
    within = sum(size <= 0.1 for size in sizes)
    known = [row.covered for row in rows if row.covered is not None]
    covered = f", {sum(known)} of {len(known)} intervals hold the measured latency" if known else ""
    return (
        f"{within} of {len(rows)} within 10 %, MAPE {100 * sum(sizes) / len(sizes):.1f} %, "
        f"largest {100 * sizes[-1]:.1f} %{covered}"
    )


def main() -> None:
    """Measure, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--law")
    parser.add_argument("--fit", type=Path)
    parser.add_argument("--db", type=Path, default=Path("zoo.db"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    law = fitted(options.fit) if options.fit else read_law(options.law)
    before = load_1m() or 0.0
    with open_target() as target:
        found = measured(options.db, options.names or zoo_names(), options.batch, options.rounds, target)
        print(f"{target.machine_title}, {target.runtime}, load {before:.1f} before\n")
    rows = [
        Row(name, m, predict(law, m.case.net, options.batch))
        for name, m in sorted(found.items(), key=lambda item: item[1].latency_ms or 0.0)
    ]
    print(*table(rows), "", summary(rows), sep="\n")


if __name__ == "__main__":
    main()
