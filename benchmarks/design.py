"""Does a designed choice of networks teach a law more than a random one of the same size?

``python -m benchmarks.design --db DB`` takes a database of recorded random networks (``edgeprof sweep family --nets
150 --db DB``), holds a third out, and fits laws on random and on designed choices from the rest, again and again. The
same is done on a law of known shape: the law of all the networks, played back with noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeprof.backends.base import Stop
from edgeprof.backends.simulated import SimulatedBackend
from edgeprof.fit.examples import usable
from edgeprof.fit.fitting import sketch_law
from edgeprof.fit.forms import Form, read_form
from edgeprof.fit.law import Law
from edgeprof.fit.validate import judge, score
from edgeprof.store import Store
from edgeprof.sweeps.adaptive import choose_next
from edgeprof.timing.measurement import Measurement, measurement

STEP = 4


def played_back(law: Law, measured: Sequence[Measurement], noise: float) -> list[Measurement]:
    """The same networks as ``law`` would have it, with noise of each kernel."""
    backend = SimulatedBackend(law, noise)
    found = []
    for m in measured:
        rounds = [backend.measure(m.case, number, Stop(), None) for number in (1, 2, 3)]
        made = measurement(m.case, rounds, "median", 3, True)
        found.append(replace(made, environment=m.environment))
    return found


def designed(pool: list[Measurement], size: int, form: Form) -> list[Measurement]:
    """A third of the pool in its order, the rest chosen."""
    taken, left = pool[: size // 3], pool[size // 3 :]
    family = [(m.case.net, m.case.batch) for m in pool]
    while len(taken) < size:
        nets = [[(m.case.net, m.case.batch) for m in some] for some in (taken, left)]
        chosen = choose_next(sketch_law(taken, form), nets[0], nets[1], family, min(STEP, size - len(taken)))
        taken = [*taken, *(left[i] for i in chosen)]
        left = [m for i, m in enumerate(left) if i not in chosen]
    return taken


def compare(name: str, measured: list[Measurement], form: Form, sizes: Sequence[int], repeats: int) -> None:
    """Print held-out errors as Markdown."""
    print(f"\n{name}: {len(measured)} networks, a third held out, {repeats} repeats\n")
    print(
        "| networks | random: MAPE, median, p95 % | designed: MAPE, median, p95 % | MAPE falls by | device time |"
    )
    print("|---|---|---|---|---|")
    for size in sizes:
        scores: dict[str, list[tuple[float, float, float]]] = {"random": [], "designed": []}
        time = {"random": 0.0, "designed": 0.0}
        for seed in range(repeats):
            order = np.random.default_rng(seed).permutation(len(measured))
            shuffled = [measured[i] for i in order]
            held, pool = shuffled[: len(shuffled) // 3], shuffled[len(shuffled) // 3 :]
            for how, train in (("random", pool[:size]), ("designed", designed(pool, size, form))):
                s = score(judge(sketch_law(train, form), usable(held)), 0.9)
                scores[how].append((s.mape_pct, s.mdape_pct, s.p95_ape_pct))
                time[how] += sum(m.latency_ms or 0 for m in train)
        a, b = (np.mean(scores[how], axis=0) for how in ("random", "designed"))
        cells = [", ".join(f"{v:.2f}" for v in means) for means in (a, b)]
        fall, ratio = 100 * (1 - b[0] / a[0]), time["designed"] / time["random"]
        print(f"| {size} | {cells[0]} | {cells[1]} | {fall:.0f} % | × {ratio:.2f} of a run |")


def enough(measured: list[Measurement], form: Form, size: int, held_out: int, repeats: int) -> None:
    """Print how far the error with ``size`` networks is above that with all there are."""
    most = len(measured) - held_out
    print(f"\nrecorded: {size} networks against {most} random ones, {held_out} held out, {repeats} repeats\n")
    print(f"| | MAPE % | median % | p95 % | MAPE over that of {most} (mean, 95 % interval) |")
    print("|---|---|---|---|---|")
    scores: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(len(measured))
        held, pool = [measured[i] for i in order[:held_out]], [measured[i] for i in order[held_out:]]
        for name, train in (
            (f"{most} random", pool),
            (f"{size} random", pool[:size]),
            (f"{size} designed", designed(pool, size, form)),
        ):
            s = score(judge(sketch_law(train, form), usable(held)), 0.9)
            scores.setdefault(name, []).append((s.mape_pct, s.mdape_pct, s.p95_ape_pct))
    all_of = np.array(scores[f"{most} random"])[:, 0]
    for name, rows in scores.items():
        mape, median, p95 = np.mean(rows, axis=0)
        ratios = np.array(rows)[:, 0] / all_of
        half = 1.96 * ratios.std(ddof=1) / np.sqrt(repeats)
        total = f"{mape / all_of.mean():.2f} (paired {ratios.mean():.2f} ± {half:.2f})"
        print(f"| {name} | {mape:.2f} | {median:.2f} | {p95:.1f} | {total} |", flush=True)


def main() -> None:
    """Both comparisons, and whether few are enough."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--enough", type=int, default=60, help="networks that should do")
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--sizes", type=int, nargs="+", default=[18, 30, 60])
    given = parser.parse_args()
    form = read_form("kernels")
    with Store(given.db) as store:
        measured = [m for m in store.measurements() if m.latency_ms is not None]
    enough(measured, form, given.enough, given.held_out, 2 * given.repeats)
    compare("recorded", measured, form, given.sizes, given.repeats)
    law = sketch_law(measured, form)
    compare(
        "law of known shape, noise 2 %", played_back(law, measured, 0.02), form, given.sizes, given.repeats
    )


if __name__ == "__main__":
    main()
