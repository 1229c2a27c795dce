"""How far laws are off on networks never seen, on recorded measurements, beside the methods that others use.

``python -m benchmarks.accuracy --db DB`` takes a database of recorded random networks (``edgeprof sweep family --nets
320 --seed 11 --db DB``), and again and again fits 60 of them and predicts the others. On the same splits: a polynomial
per layer (NeuralPower, ACML 2017: second degree in the layer's numbers, with multiply-accumulates and bytes, LASSO), a
random forest per kernel (nn-Meter, MobiSys 2021; kernels by our rules), and the reference study's form.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LassoCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from edgeprof.fit.examples import Example, usable
from edgeprof.fit.fitting import fit_law, sketch_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.learning import leader, learn
from edgeprof.fit.validate import Row, Scores, judge, score
from edgeprof.nets.operators import Operator
from edgeprof.store import Store

LEVELS = (0.5, 0.8, 0.9, 0.95)
STRATA = {"under 1 ms": (0.0, 1.0), "1 to 10 ms": (1.0, 10.0), "10 ms and more": (10.0, float("inf"))}
Numbers = tuple[float, ...]
Predict = Callable[[Sequence[Example]], list[float]]


def numbers(op: Operator) -> Numbers:
    """What polynomials and forests are told of an operator."""
    names = ("B", "C", "M", "H", "W", "Kh", "S", "P", "R", "N", "X", "Y")
    return (*(float(op.dims.get(n, 0)) for n in names), float(op.macs), float(op.parameter_bytes))


def by_layer(train: Sequence[Example]) -> Predict:
    """A polynomial for each type of operator, whatever kernel runs; fitted on relative error."""
    rows: dict[str, list[tuple[Numbers, float]]] = {}
    for e in train:
        types = {op.name: op for op in e.operators}
        spent: dict[str, float] = {}
        for k in e.measurement.kernels:
            name = leader(k.kind, k.operators, {n: o.op_type for n, o in types.items()})
            if name in types:
                spent[name] = spent.get(name, 0.0) + k.ms
        for name, ms in spent.items():
            rows.setdefault(types[name].op_type, []).append((numbers(types[name]), ms))
    models = {}
    for kind, found in rows.items():
        x, y = np.array([f for f, _ in found]), np.array([max(ms, 1e-4) for _, ms in found])
        if len(y) >= 10:
            model = make_pipeline(
                StandardScaler(), PolynomialFeatures(2), StandardScaler(), LassoCV(cv=5, max_iter=5000)
            )
            models[kind] = model.fit(x, y, lassocv__sample_weight=1 / y**2)
    return lambda examples: [
        max(
            sum(
                max(float(models[op.op_type].predict([numbers(op)])[0]), 0.0)
                for op in e.operators
                if op.op_type in models
            ),
            1e-3,
        )
        for e in examples
    ]


def forest(train: Sequence[Example]) -> Predict:
    """A random forest for each kind of kernel, on the logarithm of its time."""
    rules = learn(e.observed for e in train)
    rows: dict[str, list[tuple[Numbers, float]]] = {}
    for e in train:
        for k in e.measurement.kernels:
            rows.setdefault(k.kind, []).append((_dims(e.dims(k)), max(k.ms, 2e-4)))
    models = {
        kind: RandomForestRegressor(100, random_state=0, n_jobs=1).fit(
            np.array([f for f, _ in found]), np.log([ms for _, ms in found])
        )
        for kind, found in rows.items()
    }

    def predict(examples: Sequence[Example]) -> list[float]:
        asked: dict[str, list[tuple[int, Numbers]]] = {}
        for i, e in enumerate(examples):
            for k in rules.plan(e.operators):
                asked.setdefault(k.kind, []).append((i, _dims(k.dims)))
        total = np.zeros(len(examples))
        for kind, found in asked.items():
            if kind in models:
                ms = np.exp(models[kind].predict(np.array([f for _, f in found])))
                np.add.at(total, [i for i, _ in found], ms)
        return [max(float(t), 1e-3) for t in total]

    return predict


def _dims(dims: object) -> Numbers:
    known = dict(dims)  # type: ignore[call-overload]
    names = ("B", "C", "M", "H", "W", "Hi", "Kh", "S", "P", "R", "N", "X", "Y")
    found = [float(known.get(n, 0)) for n in names]
    macs = known.get("R", 0) * known.get("N", 0) * known.get("M", 0) or (
        known["B"]
        * known.get("H", 1)
        * known.get("W", 1)
        * known.get("Kh", 1) ** 2
        * known.get("C", 1)
        * known["M"]
    )
    return (*found, float(macs))


def rows_of(examples: Sequence[Example], predicted: Sequence[float]) -> list[Row]:
    """Measured against predicted, for :func:`score`."""
    return [
        Row(e.measurement.case.net.label(), e.measurement.case.batch, e.latency_ms, p, None, None)
        for e, p in zip(examples, predicted, strict=True)
    ]


def law_of(form: str) -> Callable[[Sequence[Example]], Predict]:
    """A law of ours, as the others' methods are called."""

    def fit(train: Sequence[Example]) -> Predict:
        law = sketch_law([e.measurement for e in train], read_form(form))
        return lambda examples: [r.predicted_ms for r in judge(law, examples)]

    return fit


METHODS: dict[str, Callable[[Sequence[Example]], Predict]] = {
    "law `kernels`": law_of("kernels"),
    "polynomial per layer": by_layer,
    "random forest per kernel": forest,
    "law `eq13`": law_of("eq13"),
}


def splits(examples: Sequence[Example], nets: int, repeats: int) -> list[tuple[list[Example], list[Example]]]:
    """Random splits in ``nets`` to fit and the others."""
    found = []
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(len(examples))
        found.append(([examples[i] for i in order[:nets]], [examples[i] for i in order[nets:]]))
    return found


def _mean(scores: Sequence[Scores]) -> str:
    columns: list[NDArray[np.float64]] = [
        np.array(v)
        for v in zip(
            *(
                (s.mape_pct, s.mdape_pct, s.p95_ape_pct, s.bias_pct, s.within_5_pct.pct, s.within_10_pct.pct)
                for s in scores
            ),
            strict=True,
        )
    ]
    mape, median, p95, bias, five, ten = columns
    spread = f" ± {mape.std(ddof=1):.1f}" if len(mape) > 1 else ""
    return (
        f"{mape.mean():.2f}{spread} | {median.mean():.2f} | {p95.mean():.1f} | {bias.mean():+.1f}"
        f" | {five.mean():.0f} | {ten.mean():.0f}"
    )


def methods(examples: Sequence[Example], nets: int, repeats: int) -> None:
    """All methods on the same splits."""
    print(
        f"\n{nets} networks to fit, {len(examples) - nets} held out, mean of {repeats} splits (± between splits)\n"
    )
    print(
        "| method | MAPE % | median % | p95 % | bias % | within ±5 % | ±10 % |\n|---|---|---|---|---|---|---|"
    )
    drawn = splits(examples, nets, repeats)
    for name, method in METHODS.items():
        scores = [score(rows_of(held, method(train)(held)), 0.9) for train, held in drawn]
        print(f"| {name} | {_mean(scores)} |", flush=True)


def sizes(examples: Sequence[Example], repeats: int) -> None:
    """The error by the number of networks to fit, on the same networks held out."""
    held = 60
    print(f"\nBy networks to fit, {held} held out, mean of {repeats} splits\n")
    print(
        "| networks | MAPE % | median % | p95 % | bias % | within ±5 % | ±10 % |\n|---|---|---|---|---|---|---|"
    )
    for nets in (20, 40, 60, 100, 200, len(examples) - held):
        scores = []
        for seed in range(repeats):
            order = np.random.default_rng(seed).permutation(len(examples))
            train, test = (
                [examples[i] for i in order[held : held + nets]],
                [examples[i] for i in order[:held]],
            )
            scores.append(score(rows_of(test, law_of("kernels")(train)(test)), 0.9))
        print(f"| {nets} | {_mean(scores)} |", flush=True)


def coverage(examples: Sequence[Example], nets: int, repeats: int) -> None:
    """Whether intervals hold what they say, by level and by stratum."""
    form = read_form("kernels")
    found: dict[tuple[str, float], list[float]] = {}
    widths: dict[float, list[float]] = {}
    for train, held in splits(examples, nets, repeats):
        law = fit_law([e.measurement for e in train], form).law
        for level in LEVELS:
            rows = judge(law, held, level)
            for name, (low, high) in {"all": (0.0, float("inf")), **STRATA}.items():
                inside = [
                    (r.low_ms or 0) <= r.measured_ms <= (r.high_ms or 0)
                    for r in rows
                    if low <= r.measured_ms < high
                ]
                found.setdefault((name, level), []).append(100 * float(np.mean(inside)))
            widths.setdefault(level, []).extend((r.high_ms or 0) / r.predicted_ms - 1 for r in rows)
    print(
        f"\nCoverage of intervals (%), {nets} networks to fit, mean over {repeats} splits [least, greatest]\n"
    )
    print("| networks | " + " | ".join(f"at {100 * level:.0f} %" for level in LEVELS) + " |")
    print("|---|" + "---|" * len(LEVELS))
    for name in ("all", *STRATA):
        cells = [found[name, level] for level in LEVELS]
        print(
            f"| {name} | "
            + " | ".join(f"{np.mean(c):.1f} [{min(c):.0f}, {max(c):.0f}]" for c in cells)
            + " |"
        )
    print(
        "| mean half-width | "
        + " | ".join(f"±{100 * np.mean(widths[level]):.1f} %" for level in LEVELS)
        + " |"
    )


def strata(examples: Sequence[Example], nets: int, repeats: int) -> None:
    """Where the error is: by latency."""
    print(
        "\nBy latency, law `kernels`\n\n| networks | number | MAPE % | within ±10 % | noise % | kernel sum % |"
    )
    print("|---|---|---|---|---|---|")
    rows: list[Row] = []
    for train, held in splits(examples, nets, repeats):
        law = sketch_law([e.measurement for e in train], read_form("kernels"))
        rows += [replace(r, low_ms=None, high_ms=None) for r in judge(law, held)]
    for name, (low, high) in {**STRATA, "all": (0.0, float("inf"))}.items():
        own = [r for r in rows if low <= r.measured_ms < high]
        s = score(own, 0.9)
        print(
            f"| {name} | {len(own) // repeats} | {s.mape_pct:.2f} | {s.within_10_pct.pct:.0f}"
            f" | {s.noise_pct or 0:.2f} | {s.floor_mape_pct or 0:.2f} |"
        )


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--nets", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    with Store(given.db) as store:
        examples = usable([m for m in store.measurements() if not m.designed])
    strata(examples, given.nets, given.repeats)
    coverage(examples, given.nets, given.repeats)
    sizes(examples, given.repeats)
    methods(examples, given.nets, min(given.repeats, 5))


if __name__ == "__main__":
    main()
