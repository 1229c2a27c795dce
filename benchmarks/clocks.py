"""How should a law follow a board's clocks? Four ways, on a law that is played back at several settings.

``python -m benchmarks.clocks`` takes a law of kernels that was measured on a processor and puts its terms over clocks:
work over the core's, bytes over the memory's, launches over none; or of each term half over the core's, a quarter over
the memory's, a quarter over none. It plays networks back at several settings with noise, fits them in four ways, and
prints the error on networks that no fit saw, at settings that it saw and at others. It takes a minute.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from edgeprof.fit.clocks import settings_of
from edgeprof.fit.fitting import fit_law
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_clocks import at_clocks
from edgeprof.fit.law_file import law_json, parse_law, read_law, write_law
from edgeprof.fit.prediction import predict_many
from edgeprof.nets.network import Network
from edgeprof.store import Store
from edgeprof.sweep import run_sweep
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import read_sweep
from edgeprof.target import open_target
from edgeprof.timing.measurement import Measurement

Clocks = tuple[float, float]  # core and memory, MHz
Predictor = Callable[[Clocks, Sequence[tuple[Network, int]]], np.ndarray]

LAW = Path(__file__).parents[1] / "tests/data/laws/cpu-kernels.json"
HIGHEST = (1300.0, 2000.0)
SWEPT: Mapping[str, Sequence[Clocks]] = {
    "3 × 2 clocks": [(c, m) for c in (400.0, 800.0, 1300.0) for m in (1000.0, 2000.0)],
    "3 modes": [(400.0, 1000.0), (800.0, 2000.0), HIGHEST],
    "2 modes": [(400.0, 1000.0), HIGHEST],
}
OTHERS = ((600.0, 1500.0), (1100.0, 1200.0), (500.0, 2000.0))
NETS, NEW = 40, 60
FORM = "kernels"


def over_clocks(law: Law, mixed: bool) -> Law:
    """The law with its terms over clocks, the same at the highest."""
    data = json.loads(law_json(law))
    for group in data["groups"]:
        made = []
        for term in group["terms"]:
            text, ms = term["text"], term["coefficient"]
            moved = any(word in text for word in ("cold", "L2", "L3")) or text in ("X", "Y")
            parts = (0.25, 0.5, 0.25) if mixed else (text == "1", not moved and text != "1", moved)
            over = (text, f"({text})/core_mhz", f"({text})/memory_mhz")
            made += [
                {"text": own, "coefficient": part * ms * mhz}
                for own, part, mhz in zip(over, parts, (1.0, *HIGHEST), strict=True)
                if part
            ]
        group["terms"], group["covariance"] = made, []
    data["constants"] |= {"core_mhz": HIGHEST[0], "memory_mhz": HIGHEST[1]}
    return parse_law(json.dumps(data | {"name": "truth", "reach": {}, "domain": {}}), "truth")


def at(law: Law, clocks: Clocks) -> Law:
    """A law at these clocks; one blind to them as it is."""
    asked = dict(zip(("core_mhz", "memory_mhz"), clocks, strict=True))
    return at_clocks(law, {name: mhz for name, mhz in asked.items() if name in law.clocks})


def played(truth: Law, settings: Sequence[Clocks], noise: str, folder: Path) -> list[Measurement]:
    """Networks of the family at each of these settings."""
    write_law(truth, folder / "truth.json")
    sweep = read_sweep("family").resampled(NETS, 7)
    for core, memory in settings:
        given = f"noise={noise},core_mhz={core:g},memory_mhz={memory:g}"
        with open_target("auto", f"simulated:{folder / 'truth.json'},{given}") as target:
            run_sweep([sweep], folder / "clocks.db", target)
    with Store(folder / "clocks.db") as store:
        return store.measurements()


def ways(measured: Sequence[Measurement]) -> dict[str, Predictor]:
    """By name, what predicts networks at a setting."""

    def fitted(some: Sequence[Measurement]) -> Law:
        return fit_law(some, read_form(FORM), cross_validate=False).law

    def ms(law: Law, nets: Sequence[tuple[Network, int]]) -> np.ndarray:
        return np.array([p.latency_ms for p in predict_many(law, nets)])

    settings = settings_of(measured)
    own = {}
    for s in settings:
        there = [m for m in measured if m.case.clocks == s["clocks"]]
        own[s["core_mhz"], s["memory_mhz"]] = fitted(there)
    highest = max(own)
    unknown = [replace(m, telemetry={}, case=m.case.model_copy(update={"clocks": None})) for m in measured]
    blind, every = fitted(unknown), fitted(measured)

    def nearest(clocks: Clocks) -> Clocks:
        return min(own, key=lambda seen: float(np.abs(np.log(np.array(seen) / np.array(clocks))).sum()))

    return {
        "one law, blind to clocks": lambda clocks, nets: ms(blind, nets),
        "the highest setting's law × 1/f_core": lambda c, nets: ms(own[highest], nets) * highest[0] / c[0],
        "a law a setting, the nearest": lambda clocks, nets: ms(own[nearest(clocks)], nets),
        "terms over clocks": lambda clocks, nets: ms(at(every, clocks), nets),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--law", type=Path, default=LAW)
    parser.add_argument("--noise", default="1%")
    given = parser.parse_args()
    nets: list[tuple[Network, int]] = [
        (w.net, w.batch) for w in expand(read_sweep("family").resampled(NEW, 99))
    ]
    print("| law | swept | way | MAPE % where swept | elsewhere | worst setting |\n|---|---|---|---|---|---|")
    for (kind, mixed), (name, settings) in product({"plain": False, "mixed": True}.items(), SWEPT.items()):
        truth = over_clocks(read_law(str(given.law)), mixed)
        with tempfile.TemporaryDirectory() as folder:
            found = ways(played(truth, settings, given.noise, Path(folder)))
        for way, predictor in found.items():
            errors = []
            for clocks in (*settings, *OTHERS):
                right = np.array([p.latency_ms for p in predict_many(at(truth, clocks), nets)])
                errors.append(100 * float(np.abs(predictor(clocks, nets) / right - 1).mean()))
            seen, others = errors[: len(settings)], errors[len(settings) :]
            cells = (np.mean(seen), np.mean(others), max(errors))
            print(f"| {kind} | {name} | {way} | {' | '.join(f'{cell:.1f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
