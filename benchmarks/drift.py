"""Does a sweep find what slows a machine down, and is its law the law of a quiet machine all the same?

``python -m benchmarks.drift`` plays the reference study's groups 3 and 4 back with faults, with and without the
sentinels, and then measures a small sweep for real, with a busy process on the same core for a part of it. It prints
after how many slow rounds trouble was found, rounds measured again, cases that carry a warning in the end; and of the
law how far its coefficients are off those of the quiet sweep's (standard errors, at most), how far their predictions
lie apart in the mean, and its error; then the same of a sweep that is blind, without sentinels.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.backends.base import Backend, Stop
from edgeprof.backends.simulated import SimulatedBackend, parse_simulated
from edgeprof.boards.detect import load_1m
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law, Term
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import predict_many
from edgeprof.plan import cases_of
from edgeprof.store import Store, now
from edgeprof.sweeps.case import Case
from edgeprof.sweeps.spec import read_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Round
from edgeprof.timing.result import Progress
from edgeprof.timing.session import run_session

BOARD = "gtx960-theano"
FAULTS = (
    "leak",
    "leak:0.05%",
    "worker:20%@40",
    "worker:5%@60",
    "clock:20%@40+50",
    "clock:5%@60+60",
    "clock:20%@60",
)
SLOW = 0.03  # what a sentinel should find
BUSY = """
import os, sys, time
print(flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end and os.getppid() == int(sys.argv[2]):
    sum(range(10000))
"""


class Witness:
    """A backend that counts the rounds from when its machine is slow to the first restart."""

    def __init__(self, backend: Backend, slow: Callable[[], bool]) -> None:
        self.found_after: int | None = None
        self._backend, self._slow = backend, slow
        self._rounds = 0
        self.told: dict[str, Any] = {}  # beside the backend's own facts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def facts(self) -> dict[str, Any]:
        return {**self._backend.facts(), **self.told}

    def measure(self, case: Case, number: int, stop: Stop, tiles: Path | None) -> Round:
        self._rounds += number > 0 and self._slow()
        return self._backend.measure(case, number, stop, tiles)

    def restart(self) -> None:
        if self.found_after is None:
            self.found_after = self._rounds
        self._backend.restart()


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep: its law and latencies (ms), after how many slow rounds trouble was found, how many rounds
    were measured again, and how many cases carry a warning in the end."""

    law: Law
    latencies: dict[Case, float]
    found_after: int | None
    again: int
    flagged: int


def swept(backend: Witness, cases: Sequence[Case], form: str, **settings: Any) -> Sweep:
    """Measure ``cases`` and fit a law."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "sweep.db"
        with Store(path, create=True) as store:
            run_session(cases, store, backend, seed=3, **settings)
            found = store.measurements()
        with contextlib.closing(sqlite3.connect(path)) as db:
            (again,) = db.execute("SELECT count(*) FROM rounds WHERE superseded = 1").fetchone()
    law = fit_law(found, read_form(form), cross_validate=False).law
    latencies = {m.case: m.latency_ms for m in found if m.latency_ms is not None}
    flagged = sum("drift" in m.warnings for m in found)
    return Sweep(law, latencies, backend.found_after, again, flagged)


def terms(law: Law) -> dict[tuple[str, str], Term]:
    """Every term of a law by its group and text."""
    found = {(group.name, term.text): term for group in law.groups for term in group.terms}
    return found | {("overhead", term.text): term for term in law.overhead}


def apart(law: Law, truth: Law) -> float:
    """How many standard errors of ``truth`` the coefficients of ``law`` are from it, at most."""
    theirs = terms(truth)
    return max(
        abs(term.coefficient - theirs[key].coefficient) / error
        for key, term in terms(law).items()
        if key in theirs and (error := theirs[key].standard_error)
    )


def mape(law: Law, truth: dict[Case, float]) -> float:
    """Mean absolute error (percent) of a law against latencies."""
    predicted = predict_many(law, [(case.net, case.batch) for case in truth])
    return 100 * float(
        np.mean([abs(p.latency_ms / ms - 1) for p, ms in zip(predicted, truth.values(), strict=True)])
    )


def differ(law: Law, other: Law, cases: Sequence[Case]) -> float:
    """How far the predictions of two laws lie apart in the mean (percent)."""
    nets = [(case.net, case.batch) for case in cases]
    pairs = zip(predict_many(law, nets), predict_many(other, nets), strict=True)
    return 100 * float(np.mean([abs(a.latency_ms / b.latency_ms - 1) for a, b in pairs]))


def row(name: str, found: Sweep, quiet: Sweep, truth: dict[Case, float], blind: Sweep | None) -> None:
    """Print one line of a table."""
    cells = [name, found.found_after, found.again, found.flagged]
    for sweep in (found, blind):
        law = sweep and sweep.law
        figures = (apart(law, quiet.law), differ(law, quiet.law, [*truth]), mape(law, truth)) if law else ()
        cells += [f"{figure:.2f}" for figure in figures] or [""] * 3
    print(f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |", flush=True)


HEAD = """
| {} | found after | measured again | flagged | off | apart % | MAPE % | blind: off | apart % | MAPE % |
|---|---|---|---|---|---|---|---|---|---|"""


def simulated() -> None:
    """Faults in the reference study's groups 3 and 4, played back with 1 % noise."""
    law = read_law(BOARD)

    def play(fault: str, watched: bool = True) -> Sweep:
        _, noise, faults, _ = parse_simulated(f"{BOARD},noise=1%" + (f",fault={fault}" if fault else ""))
        backend = SimulatedBackend(law, noise, faults)
        witness = Witness(backend, lambda: backend.slowdown() > 1 + SLOW)
        if not watched:
            witness.told = {"faults": []}
        return swept(witness, cases, "eq13", estimator="median")

    with open_target("auto", f"simulated:{BOARD},noise=1%") as target:
        cases = cases_of([read_sweep("group3"), read_sweep("group4")], target)
    truth = {
        case: predicted.latency_ms
        for case, predicted in zip(cases, predict_many(law, [(c.net, c.batch) for c in cases]), strict=True)
    }
    quiet = play("")
    print(f"\n## {BOARD} played back: {len(cases)} cases × 3 rounds, noise 1 %; error against the true law")
    print(HEAD.format("fault"))
    row("none", quiet, quiet, truth, None)
    for fault in FAULTS:
        row(fault, play(fault), quiet, truth, play(fault, watched=False))


def real(nets: int, load_s: float) -> None:
    """A busy process on the only core, for a while in the midst of a sweep."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})

    def sweep(load: bool, sentinel_s: float) -> Sweep:
        neighbours: list[subprocess.Popen[bytes]] = []

        def watch(progress: Progress) -> None:
            if load and not neighbours and progress.done >= nets // 3:
                command = [sys.executable, "-c", BUSY, str(load_s), str(os.getpid())]
                neighbours.append(subprocess.Popen(command, stdout=subprocess.PIPE))
                assert neighbours[0].stdout
                neighbours[0].stdout.readline()

        witness = Witness(target.backend, lambda: any(n.poll() is None for n in neighbours))
        try:
            return swept(
                witness,
                cases,
                "kernels",
                estimator=target.estimator,
                rounds=1,
                watch=watch,
                sentinel_s=sentinel_s,
                facts={"machine": target.machine},
            )
        finally:
            for neighbour in neighbours:
                neighbour.kill()
                neighbour.communicate()

    with open_target() as target:
        cases = cases_of([read_sweep("quick").resampled(nets, None)], target)
        print(
            f"\n## {target.machine_title}, {target.runtime}, one core, load {load_1m():.2f}, {now()[:10]}: {len(cases)}"
            f" networks of `quick`, one round; a busy process for {load_s:.0f} s; error against the quiet sweep"
        )
        quiet = sweep(False, 5.0)
        print(HEAD.format("neighbour"))
        row("none", quiet, quiet, quiet.latencies, None)
        row("none, again", sweep(False, 5.0), quiet, quiet.latencies, None)
        row("busy", sweep(True, 5.0), quiet, quiet.latencies, sweep(True, float("inf")))


def main() -> None:
    """Both, in a few minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", type=int, default=24, help="of the sweep with a busy process")
    parser.add_argument("--load-s", type=float, default=10.0, help="how long it is busy")
    given = parser.parse_args()
    simulated()
    real(given.nets, given.load_s)


if __name__ == "__main__":
    main()
