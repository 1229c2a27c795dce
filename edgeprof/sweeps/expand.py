"""SweepSpec → workloads: a grid in the order written, or seeded draws. No duplicates, stable order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from pydantic import ValidationError

from edgeprof.errors import SpecError
from edgeprof.nets.network import total_macs
from edgeprof.nets.spec import PER_CONV, PER_FC, first_problem, net_spec
from edgeprof.sweeps.case import Workload
from edgeprof.sweeps.spec import CASE_KNOBS, PER_LAYER, Range, Sample, SweepSpec

MAX_CASES = 100_000
DRAWS_PER_NET = 500
BARREN_DRAWS = 5_000  # and 20 for each network asked for: after so many in a row it gives up


def expand(sweep: SweepSpec) -> tuple[Workload, ...]:
    """Every workload of ``sweep``.

    :raises SpecError: naming the combination that is no network, or a sample that cannot be drawn.
    """
    found = _drawn(sweep, sweep.sample) if sweep.sample else _grid(sweep)
    unique = tuple(dict.fromkeys(found))
    if not unique:
        raise SpecError(f"sweep '{sweep.name}' has no cases", "give it [net], [vary] or [sample]")
    return unique


def _grid(sweep: SweepSpec) -> Iterator[Workload]:
    size = 1
    for values in sweep.vary.values():
        size *= len(values)
    if size > MAX_CASES:
        raise SpecError(f"sweep '{sweep.name}' has {size:,} cases", f"at most {MAX_CASES:,}; split it")
    for values in itertools.product(*sweep.vary.values()):
        yield workload(sweep.name, {**sweep.net, **dict(zip(sweep.vary, values, strict=True))})


def _drawn(sweep: SweepSpec, sample: Sample) -> Iterator[Workload]:
    rng = Random(sample.seed)
    seen: set[Workload] = set()
    refused = ""
    barren = 0
    for _ in range(sample.nets * DRAWS_PER_NET):
        if len(seen) == sample.nets:
            return
        if barren > BARREN_DRAWS + 20 * sample.nets:
            break
        barren += 1
        try:
            drawn = workload(sweep.name, {**sweep.net, **draw(sample.knobs, sweep.net, rng)})
            if sample.max_macs and total_macs(drawn.net, drawn.batch) > sample.max_macs:
                refused = f"more than {sample.max_macs:g} MACs a run"
                continue
        except SpecError as error:  # no network, or one whose weights fit in no file
            refused = error.message
            continue
        if drawn not in seen:
            seen.add(drawn)
            barren = 0
            yield drawn
    if len(seen) < sample.nets:
        why = f"; the last was refused: {refused}" if refused else ""
        raise SpecError(
            f"sweep '{sweep.name}': only {len(seen)} of {sample.nets} networks could be drawn{why}",
            "widen the ranges, raise max_macs, or ask for fewer nets",
        )


def draw(
    knobs: Mapping[str, Range | tuple[int | str, ...]], fixed: Mapping[str, Any], rng: Random
) -> dict[str, Any]:
    """One draw: numbers of layers first, then the other knobs, those of layers afresh for each layer."""

    def one(knob: str) -> Any:
        source = knobs[knob]
        return source.draw(rng) if isinstance(source, Range) else rng.choice(source)

    def layers(count: str) -> int:
        lists = (fixed.get(knob) for knob in (PER_CONV if count == "conv" else PER_FC))
        implied = next((len(values) for values in lists if isinstance(values, list | tuple)), 1)
        number = drawn.get(count, fixed.get(count, implied))
        # 65 is one more than NetSpec takes: it refuses that, and what is no number, and says why
        return min(max(number, 0), 65) if isinstance(number, int) else 1

    drawn: dict[str, Any] = {knob: one(knob) for knob in ("conv", "fc") if knob in knobs}
    for knob in knobs:
        if knob in drawn:
            continue
        if knob in PER_LAYER and knob != "padding":
            drawn[knob] = tuple(one(knob) for _ in range(layers("conv" if knob in PER_CONV else "fc")))
        else:
            drawn[knob] = one(knob)
    return drawn


def workload(name: str, knobs: Mapping[str, Any]) -> Workload:
    """A workload from knobs of the network and of the case.

    :raises SpecError: naming the knob.
    """
    case = {knob: knobs[knob] for knob in CASE_KNOBS if knob in knobs}
    net = net_spec(**{knob: value for knob, value in knobs.items() if knob not in case})
    try:
        return Workload(net=net, **case)
    except ValidationError as error:
        raise SpecError(
            f"sweep '{name}': {first_problem(error)}", "edgeprof show quick is an example"
        ) from None


def sweep_of(work: Workload, name: str, launch: bool = True) -> SweepSpec:
    """A sweep of one workload; without ``launch`` it names no launch mode."""
    knobs = {**work.net.model_dump(), **work.model_dump(exclude={"net"} if launch else {"net", "launch"})}
    return SweepSpec(name=name, net={k: v for k, v in knobs.items() if v != ()})
