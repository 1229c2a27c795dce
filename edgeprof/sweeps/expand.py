"""SweepSpec → workloads: a grid in the order written, or seeded draws. No duplicates, stable order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from pydantic import ValidationError

from edgeprof.document import first_problem
from edgeprof.errors import SpecError
from edgeprof.nets.blocks import LAYER, block
from edgeprof.nets.network import net_operators, total_macs
from edgeprof.nets.spec import PER_CONV, PER_FC, net_spec
from edgeprof.sweeps.case import Workload
from edgeprof.sweeps.spec import CASE_KNOBS, PER_LAYER, Blocks, Chain, Range, Sample, SweepSpec

MAX_CASES = 100_000
DRAWS_PER_NET = 500
WIDEN = "widen the ranges, raise max_macs, or ask for fewer nets"
BARREN_DRAWS = 5_000  # and 20 for each network asked for: after so many in a row it gives up


def expand(sweep: SweepSpec) -> tuple[Workload, ...]:
    """Every workload of ``sweep``; those of a power mode together.

    :raises SpecError: naming the combination that is no network, or a sample that cannot be drawn.
    """
    modes = sweep.modes
    if modes:
        rest = {knob: value for knob, value in sweep.net.items() if knob != "power_mode"}
        plain = expand(sweep.model_copy(update={"net": rest}))
        return tuple(
            w.model_copy(update={"power_mode": mode}) for mode in dict.fromkeys(modes) for w in plain
        )
    if sweep.blocks:
        found = _blocks(sweep, sweep.blocks)
    else:
        found = _drawn(sweep, sweep.sample) if sweep.sample else _grid(sweep)
    unique = tuple(dict.fromkeys(found))
    if not unique:
        raise SpecError(f"sweep '{sweep.name}' has no cases", "give it [net], [vary], [sample] or [blocks]")
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
    for knob in set(CASE_KNOBS) & sample.knobs.keys():
        choices = sample.knobs[knob]
        for value in () if isinstance(choices, Range) else choices:
            workload(sweep.name, {knob: value})  # what no network could have is no draw to be drawn again
    rng = Random(sample.seed)
    seen: set[Workload] = set()
    refused: SpecError | None = None
    barren = 0
    own = f"sweep '{sweep.name}': "
    for _ in range(sample.nets * DRAWS_PER_NET):
        if len(seen) == sample.nets:
            return
        if barren > BARREN_DRAWS + 20 * sample.nets:
            break
        barren += 1
        try:
            drawn = workload(sweep.name, {**sweep.net, **draw(sample.knobs, sweep.net, rng)})
            if sample.max_macs and total_macs(drawn.net, drawn.batch) > sample.max_macs:
                raise SpecError(f"more than {sample.max_macs:g} MACs a run", WIDEN)
        except SpecError as error:  # no network, or one whose weights fit in no file
            refused = error
            continue
        if drawn not in seen:
            seen.add(drawn)
            barren = 0
            yield drawn
    if len(seen) < sample.nets:
        why = f"; the last was refused: {refused.message.removeprefix(own)}" if refused else ""
        raise SpecError(
            f"{own}only {len(seen)} of {sample.nets} networks could be drawn{why}",
            refused.hint if refused and not seen else WIDEN,
        )


def _blocks(sweep: SweepSpec, blocks: Blocks) -> Iterator[Workload]:
    for number, chain in enumerate(blocks.chain):
        rng = Random(f"{blocks.seed} {number}")
        seen: set[Workload] = set()
        refused = ""
        for _ in range(chain.nets * DRAWS_PER_NET):
            if len(seen) == chain.nets:
                break
            try:
                drawn = _block(chain, sweep.net, rng)
                found = net_operators(drawn.net, drawn.batch)
            except SpecError as error:
                refused = error.message
                continue
            macs = sum(op.macs for op in found)
            values = max(math.prod(s) for op in found for s in (*op.inputs, *op.outputs))
            if macs > blocks.max_macs or values > blocks.max_values:
                refused = f"{macs:.2g} MACs, a tensor of {values:.2g} numbers"
            elif drawn not in seen:
                seen.add(drawn)
                yield drawn
        if len(seen) < chain.nets:
            raise SpecError(
                f"sweep '{sweep.name}': only {len(seen)} of {chain.nets} blocks of {chain.of} could be drawn; the last "
                f"was refused: {refused}",
                "widen the ranges, raise max_macs or max_values, or ask for fewer nets",
            )


def _block(chain: Chain, fixed: Mapping[str, Any], rng: Random) -> Workload:
    """One random block."""

    def one(knob: str) -> Any:
        source = chain.knobs[knob]
        return source.draw(rng) if isinstance(source, Range) else rng.choice(source)

    layers = one("layers") if "layers" in chain.knobs else 1
    multiple = one("multiple") if "multiple" in chain.knobs else 1
    knobs: dict[str, Any] = {"of": chain.of}
    for knob in chain.knobs:
        if knob in LAYER:
            knobs[knob] = tuple(one(knob) for _ in range(layers))
        elif knob not in ("layers", "multiple", *CASE_KNOBS):
            knobs[knob] = one(knob)
    for knob in {"channels", "depth"} & knobs.keys():
        given = knobs[knob]
        up = [-(-v // multiple) * multiple for v in (given if isinstance(given, tuple) else (given,))]
        knobs[knob] = tuple(up) if isinstance(given, tuple) else up[0]
    case = {"batch": one("batch") if "batch" in chain.knobs else 1, **fixed}
    return Workload(net=block(**knobs), **case)


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
    return SweepSpec(name=name, net={k: v for k, v in knobs.items() if v not in ((), None)})
