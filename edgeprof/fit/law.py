"""Law: a form with fitted coefficients, their uncertainty, validity domain and provenance; and what it predicts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgeprof import catalogue
from edgeprof.boards.spec import read_board
from edgeprof.errors import DomainError, EdgeprofError, SpecError
from edgeprof.files import write_whole
from edgeprof.fit import reach as reaches
from edgeprof.fit.clocks import between, knobs_of, scaled
from edgeprof.fit.composition import Composition, overlap_ms
from edgeprof.fit.datasheet import instead_of, needs_board, on_board
from edgeprof.fit.expressions import Expression, parse
from edgeprof.fit.features import columns, design, net_values
from edgeprof.fit.forms import CLOCKS, NET_VARIABLES, Form, Group
from edgeprof.fit.gaps import Gap, gaps_of
from edgeprof.fit.hybrid import Hybrid
from edgeprof.fit.intervals import LARGEST, Strata, half_widths, strata, widening
from edgeprof.fit.memory import MemoryModel
from edgeprof.fit.quanta import Quantum
from edgeprof.fit.roofline import Roofline, of_board
from edgeprof.fit.rules import KernelRules, Planned, Rule
from edgeprof.nets.fusion import fused
from edgeprof.nets.network import Network, net_operators
from edgeprof.nets.operators import Operator
from edgeprof.nets.spec import NetSpec, first_problem, shown

VERSION = 1
Finite = Annotated[float, Field(allow_inf_nan=False)]
PositiveMs = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LogError = Annotated[float, Field(ge=-100, le=100)]
LEVEL = 0.9
WAIT = "wait"  # the kind of the time that a device waits for launches


class Term(BaseModel):
    """A term of a law: its expression, its coefficient (ms) with standard error, and a note where it needs one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=2000)]
    coefficient: Annotated[Finite, Field(ge=0)]
    standard_error: Finite | None = None
    note: str = ""


class LawGroup(BaseModel):
    """Kernels priced alike: their terms, their part of the time of the networks seen, what the data did not tell; with
    launches that overlap, ``host`` is what the host takes to launch one, ms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kinds: tuple[str, ...]
    terms: tuple[Term, ...]
    host: Term | None = None
    share: Finite | None = None
    note: str = ""
    covariance: tuple[tuple[Finite, ...], ...] = ()


class Law(BaseModel):
    """A law file. Coefficients are in ms per ``unit`` (``run`` or ``tile``). ``domain`` has per knob the least and
    greatest value seen, or the choices; ``conformal`` the predicted latency (ms) and log error of every network held
    out, ``parted_ms`` the latency that parts them in two strata; ``seen`` a short name of every network that the law
    was fitted on; ``steps`` the blocks that kernels work in, where the data vary a dimension in small steps; ``table``,
    of a law from somebody else's table, its file, signature, target and rows (the domain is then over its columns);
    ``boost`` by operator type boosted trees on what the terms leave, which no person can read;
    ``composition`` how kernels make up a run (edgeprof.fit.composition), ``execution`` which operators of a table's
    networks become kernels; ``reach`` has by kind of kernel the sizes seen, ``roofline`` the rates that kernels reached
    (for operators of other kinds); ``memory`` tells what a network takes; ``prior`` is the law that it was transferred
    from, with the boards' scale; ``settings``, of a law whose terms name clocks, are those it was fitted on, the
    highest first (:mod:`edgeprof.fit.clocks`), and ``constants`` has the clocks that it predicts for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: str
    about: str = ""
    board: str
    machine: Mapping[str, Any] = {}
    backend: str
    runtime: str
    threads: int | None = None
    precision: str = "fp32"
    launch: str = "blocking"
    simulated: bool = False
    form: str
    scope: Literal["kernel", "net"]
    unit: Literal["run", "tile"]
    composition: Composition = "sum"
    execution: str = ""
    define: Mapping[str, str] = {}
    groups: tuple[LawGroup, ...]
    overhead: tuple[Term, ...]
    rules: Mapping[str, Mapping[str, Any]] = {}
    constants: Mapping[str, Finite] = {}
    domain: Mapping[str, tuple[Any, ...]]
    family: Mapping[str, Any] = {}
    conformal: tuple[tuple[PositiveMs, LogError], ...] = ()
    parted_ms: PositiveMs | None = None
    scores: Mapping[str, Any] = {}
    sweeps: tuple[Mapping[str, Any], ...] = ()
    networks: int = 0
    seen: tuple[str, ...] = ()
    noise_pct: Finite | None = None
    steps: tuple[Quantum, ...] = ()
    date: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()
    table: Mapping[str, Any] = {}
    boost: Mapping[str, Mapping[str, Any]] = {}
    prior: Mapping[str, Any] = {}
    reach: Mapping[str, Mapping[str, tuple[Finite, Finite]]] = {}
    roofline: Roofline | None = None
    settings: tuple[Mapping[str, Any], ...] = ()
    memory: MemoryModel | None = None

    @field_validator("domain")
    @classmethod
    def _ranges(cls, domain: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        for knob, seen in domain.items():
            if knob == "padding":
                continue
            if len(seen) != 2 or not all(type(v) in (int, float) and abs(v) < 1e18 for v in seen):
                raise ValueError(f"{knob}: the least and the greatest value seen, not {shown(seen)}")
        return domain

    def model_post_init(self, _: Any) -> None:
        if not all(len(scores) for _, scores in self.strata):
            raise ValueError("parted_ms: no error of a network held out is on one of its sides")
        if missing := [name for name in self.as_form.clocks if not self.constants.get(name, 0) > 0]:
            raise ValueError(f"constants.{missing[0]}: the terms name this clock, and it has no MHz")
        assert self.parsed is not None  # every expression is read when the law is
        assert self.kernel_rules is not None
        assert self.hybrids is not None

    @cached_property
    def as_form(self) -> Form:
        """The form that this law is a fit of."""
        return Form(
            name=self.form,
            scope=self.scope,
            unit=self.unit,
            composition=self.composition,
            define=self.define,
            group=tuple(
                Group(name=g.name, kinds=g.kinds, terms=tuple(t.text for t in g.terms)) for g in self.groups
            ),
            overhead=tuple(t.text for t in self.overhead),
        )

    @property
    def clocks(self) -> dict[str, float]:
        """The clocks (MHz) that the law predicts for; none where its terms name none."""
        return {name: self.constants[name] for name in CLOCKS if name in self.constants}

    @cached_property
    def parsed(self) -> tuple[Expression, ...]:
        """The terms of the overhead; the groups' are :attr:`as_form`'s."""
        assert self.as_form.expressions is not None
        return tuple(parse(t.text, NET_VARIABLES) for t in self.overhead)

    @cached_property
    def kernel_rules(self) -> KernelRules:
        """The rules by which operators become kernels."""
        try:
            return KernelRules(
                *(
                    {k: Rule.from_dict(v) for k, v in self.rules.get(part, {}).items()}
                    for part in ("operators", "between")
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise SpecError(
                f"law '{self.name}': a kernel rule is wrong: {error}", "fit the law again"
            ) from None

    @cached_property
    def hybrids(self) -> dict[str, Hybrid]:
        """The opaque part: by operator type the trees whose factor multiplies a kernel's price."""
        try:
            return {kind: Hybrid.from_dict(data) for kind, data in self.boost.items()}
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise SpecError(
                f"law '{self.name}': the boosted trees are wrong: {error}", "fit the law again"
            ) from None

    @cached_property
    def rates(self) -> Roofline | None:
        """The roofline of kernels that the law does not know: its own, or that of its board's datasheet."""
        if self.roofline is not None:
            return self.roofline
        try:
            return of_board(read_board(self.board))
        except EdgeprofError:
            return None

    @cached_property
    def strata(self) -> Strata:
        """What predictions are judged by: (least latency in ms, sorted absolute log errors), small networks first."""
        return strata(self.conformal, self.parted_ms) if self.conformal else ()

    def interval(self, latency_ms: float, level: float, widening: float = 1.0) -> tuple[float, float] | None:
        """The conformal interval of a latency at ``level``; None where the law has no errors to judge by."""
        if not self.strata:
            return None
        half = min(float(half_widths(self.strata, np.array(latency_ms), level)) * widening, LARGEST)
        return latency_ms * math.exp(-half), latency_ms * math.exp(half)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from edgeprof.report.notebook import law_html

        return law_html(self)


@dataclass(frozen=True)
class KernelPrice:
    """What a law says of one kernel, ms per run."""

    kind: str
    name: str
    ms: float


@dataclass(frozen=True)
class Prediction:
    """What a law says of one network at one batch; times in ms per run. ``outside`` tells what is out of the domain,
    ``gaps`` the operators that no kernel of the law was fitted on; where they have no price, ``latency_ms`` is without
    them."""

    net: Network
    batch: int
    latency_ms: float
    kernels: tuple[KernelPrice, ...]
    overhead_ms: float
    interval_ms: tuple[float, float] | None
    level: float
    outside: tuple[Mapping[str, Any], ...]
    gaps: tuple[Gap, ...] = ()

    @property
    def in_domain(self) -> bool:
        """True where the network is like those the law was fitted on."""
        return not self.outside and not self.gaps

    @property
    def gap_share(self) -> float | None:
        """The part of the latency that is not of fitted kernels; None where it cannot be told."""
        known = [gap.ms for gap in self.gaps if gap.ms is not None]
        return sum(known) / self.latency_ms if len(known) == len(self.gaps) else None

    @property
    def ms_per_tile(self) -> float:
        """Time of one tile."""
        return self.latency_ms / self.batch

    @property
    def tiles_per_ms(self) -> float:
        """Throughput."""
        return self.batch / self.latency_ms


def predict(law: Law, net: Network, batch: int, level: float = LEVEL) -> Prediction:
    """The latency of ``net`` at ``batch`` by ``law``, kernel by kernel.

    :raises DomainError: where the law has nothing to say.
    """
    return predict_many(law, [(net, batch)], level)[0]


@np.errstate(over="ignore")
def predict_many(
    law: Law,
    nets: Sequence[tuple[Network, int]],
    level: float = LEVEL,
    clocks: Sequence[Mapping[str, float]] | None = None,
) -> list[Prediction]:
    """:func:`predict` for many networks at once; ``clocks`` are those of each (MHz), where they are not the law's."""
    if not nets:
        return []
    clocks = clocks if clocks is not None else [law.clocks] * len(nets)
    runs = [
        fused(net_operators(net, batch)).operators if law.scope == "kernel" else () for net, batch in nets
    ]
    prices = operator_prices(law, runs, clocks) if law.scope == "kernel" else _by_net(law, nets, clocks)
    scale = np.array([batch if law.unit == "tile" else 1 for _, batch in nets], np.float64)
    rows = [
        {**net_values(net, batch), **mhz, "k": float(len(p))}
        for (net, batch), mhz, p in zip(nets, clocks, prices, strict=True)
    ]
    values = columns(rows, law.constants)
    fixed = (
        design(law.parsed, {}, values, len(nets)) @ np.array([t.coefficient for t in law.overhead]) * scale
    )
    return [
        _predicted(law, net, batch, level, run, kernels, float(overhead), mhz)
        for (net, batch), run, kernels, overhead, mhz in zip(nets, runs, prices, fixed, clocks, strict=True)
    ]


def _predicted(
    law: Law,
    net: Network,
    batch: int,
    level: float,
    run: Sequence[Operator],
    kernels: list[KernelPrice],
    overhead: float,
    clocks: Mapping[str, float],
) -> Prediction:
    """The prices of a network's kernels put together."""
    strange, wide, gaps = outside(law, net, batch, {}), 1.0, dict[int, Gap]()
    if run and not isinstance(net, NetSpec):
        plan = law.kernel_rules.plan(run)
        rates = scaled(law.rates, law, clocks)
        gaps = gaps_of(run, plan, law.reach, law.as_form, law.kernel_rules, rates)
        for place, gap in gaps.items():
            kernels[place] = KernelPrice(gap.op_type, gap.name, gap.ms or 0.0)
        if law.reach:
            own = [(plan[i], k.ms) for i, k in enumerate(kernels[: len(plan)]) if i not in gaps]
            strange, wide = reaches.strangest(own, law.reach), reaches.widening(own, law.reach)
    elif strange:
        wide = widening(strange)
    fast_or_slow = strange_clocks(law, clocks)
    strange, wide = (*strange, *fast_or_slow), wide * clocks_widening(law, clocks)
    parts = [overhead, *(k.ms for k in kernels)]
    unpriced = any(gap.ms is None for gap in gaps.values())
    if not 0 < sum(parts) < math.inf:
        amount = "no time at all" if sum(parts) == 0 else "no finite time"
        raise DomainError(f"law '{law.name}' gives {amount} for {net.label()}", "fit it on such networks")
    latency = math.fsum(parts)
    known = math.fsum([overhead, *(k.ms for i, k in enumerate(kernels) if i not in gaps)])
    interval = law.interval(known, level, wide) if known > 0 and not unpriced else None
    if interval is not None and gaps:
        low, high = (sum(getattr(gap, side) for gap in gaps.values()) for side in ("low_ms", "high_ms"))
        interval = interval[0] + low, interval[1] + high
    return Prediction(
        net=net,
        batch=batch,
        latency_ms=latency,
        kernels=tuple(kernels),
        overhead_ms=overhead,
        interval_ms=interval,
        level=level,
        outside=strange,
        gaps=tuple(gaps.values()),
    )


def group_prices(
    law: Law, nets: Sequence[tuple[Network, int]], clocks: Sequence[Mapping[str, float]]
) -> list[list[KernelPrice]]:
    """What each network's kernels cost by ``law`` at these clocks, the overhead apart."""
    if law.scope == "kernel":
        runs = [fused(net_operators(net, batch)).operators for net, batch in nets]
        return operator_prices(law, runs, clocks)
    return _by_net(law, nets, clocks)


def _by_net(
    law: Law, nets: Sequence[tuple[Network, int]], clocks: Sequence[Mapping[str, float]]
) -> list[list[KernelPrice]]:
    """One kernel per group, for a law in the network's own variables."""
    form = law.as_form
    other = next((net for net, _ in nets if not isinstance(net, NetSpec)), None)
    if other is not None:
        raise DomainError(
            f"law '{law.name}' is in the family's variables, and {other.label()} is not of the family",
            "a law of kernels can price it: edgeprof fit --form kernels",
        )
    rows = [{**net_values(net, batch), **mhz} for (net, batch), mhz in zip(nets, clocks, strict=True)]
    values = columns(rows, law.constants)
    found: list[list[KernelPrice]] = [[] for _ in nets]
    for group in law.groups:
        x = design(form.expressions[group.name], form.definitions, values, len(nets))
        ms = x @ np.array([t.coefficient for t in group.terms])
        for own, value, (_, batch) in zip(found, ms, nets, strict=True):
            own.append(
                KernelPrice(group.name, group.name, float(value) * (batch if law.unit == "tile" else 1))
            )
    return found


def operator_prices(
    law: Law, runs: Sequence[Sequence[Operator]], clocks: Sequence[Mapping[str, float]] | None = None
) -> list[list[KernelPrice]]:
    """For each run of operators the kernels that the law's rules expect, each priced by its group; averaged where the
    rules are not sure. For a law of kernels; ``clocks`` are those of each run, where they are not the law's.

    :raises DomainError: the law is of whole networks of a table, or of a table and has no price for an operator that
        multiplies.
    """
    if law.execution:
        raise DomainError(
            f"law '{law.name}' is of networks told by {law.table.get('signature')} alone, as a runtime ran those",
            f"predict --table prices them; {instead_of(law)}",
        )
    form = law.as_form
    plans = [law.kernel_rules.plan(run) for run in runs]
    if law.table:
        _check_priced(law, runs, plans)
    by_group: dict[str, list[tuple[int, int, float, Planned]]] = {}
    for i, plan in enumerate(plans):
        for j, kernel in enumerate(plan):
            for kind, weight in kernel.mix:
                group = form.group_of(kind)
                if group is not None and form.needs[group.name] <= kernel.dims.keys():
                    by_group.setdefault(group.name, []).append((i, j, weight, kernel))
    ms = [np.zeros(len(plan)) for plan in plans]
    for law_group in law.groups:
        rows = by_group.get(law_group.name, [])
        if not rows:
            continue
        at = clocks or [{}] * len(runs)
        prices = group_ms(law, law_group, [{**kernel.dims, **at[i]} for i, _, _, kernel in rows])
        for (i, j, weight, _), price in zip(rows, prices, strict=True):
            ms[i][j] += weight * price
    _multiplied(law, plans, ms)
    found = [
        [KernelPrice(k.kind, k.name, float(v)) for k, v in zip(plan, own, strict=True)]
        for plan, own in zip(plans, ms, strict=True)
    ]
    if law.composition == "overlap":
        for own in found:
            own.append(_waiting(law, own))
    return found


def _waiting(law: Law, kernels: Sequence[KernelPrice]) -> KernelPrice:
    """The time that the device waits for launches, as one more kernel."""
    form = law.as_form
    launch = {g.name: g.host.coefficient if g.host else 0.0 for g in law.groups}
    groups = [form.group_of(k.kind) for k in kernels]
    host = np.array([launch[g.name] if g else 0.0 for g in groups])
    device = np.array([k.ms for k in kernels])
    return KernelPrice(WAIT, "waiting for launches", overlap_ms(device, host) - float(device.sum()))


def _check_priced(law: Law, runs: Sequence[Sequence[Operator]], plans: Sequence[Sequence[Planned]]) -> None:
    heavy = {op.op_type for run in runs for op in run if op.macs}
    free = {
        k.kind for plan in plans for k in plan if not any(law.as_form.group_of(kind) for kind, _ in k.mix)
    }
    if missing := sorted(heavy & free):
        raise DomainError(
            f"law '{law.name}' is of a table of {law.table.get('signature')} and has no price for {', '.join(missing)}",
            "fit one on a table that has them, or on a sweep's networks",
        )


def _multiplied(law: Law, plans: Sequence[Sequence[Planned]], ms: Sequence[NDArray[np.float64]]) -> None:
    """Multiply the prices ``ms`` of planned kernels by what the law's trees say, in place."""
    for op_type, hybrid in law.hybrids.items():
        own = [
            (i, j)
            for i, plan in enumerate(plans)
            for j, kernel in enumerate(plan)
            if kernel.kind.partition(".")[0] == op_type and ms[i][j] > 0
        ]
        if own:
            prices = np.array([ms[i][j] for i, j in own])
            factors = hybrid.factors([plans[i][j].dims for i, j in own], prices)
            for (i, j), factor in zip(own, factors, strict=True):
                ms[i][j] *= factor


def group_ms(law: Law, group: LawGroup, dims: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Times (ms) of kernels with these dimensions."""
    form = law.as_form
    x = design(form.expressions[group.name], form.definitions, columns(dims, law.constants), len(dims))
    return np.asarray(x @ np.array([t.coefficient for t in group.terms]), dtype=np.float64)


# --- domain


def knobs(net: Network, batch: int) -> dict[str, tuple[Any, ...]]:
    """Every knob of a network with the values that its layers have; of one that is not of the family, the batch."""
    if not isinstance(net, NetSpec):
        return {"batch": (batch,)}
    found = {k: v if isinstance(v, tuple) else (v,) for k, v in net.model_dump().items()}
    return {**found, "batch": (batch,)}


def domain_of(nets: Sequence[tuple[Network, int]]) -> dict[str, tuple[Any, ...]]:
    """Per knob the least and greatest value of ``nets``; for padding the choices."""
    seen: dict[str, set[Any]] = {}
    for net, batch in nets:
        for knob, values in knobs(net, batch).items():
            seen.setdefault(knob, set()).update(values)
    return {
        knob: tuple(sorted(values, key=str)) if knob == "padding" else (min(values), max(values))
        for knob, values in seen.items()
        if values
    }


def outside(
    law: Law, net: Network, batch: int, clocks: Mapping[str, float] | None = None
) -> tuple[Mapping[str, Any], ...]:
    """What of a network, and of its clocks (the law's, if none are given), is out of the law's domain: knob, value, and
    what was seen."""
    mhz = law.clocks if clocks is None else clocks
    return (*strange(law, knobs(net, batch)), *strange_clocks(law, mhz))


def strange_clocks(law: Law, clocks: Mapping[str, float]) -> tuple[Mapping[str, Any], ...]:
    """What of these clocks is out of the law's domain."""
    return strange(law, knobs_of(clocks)) if clocks else ()


def strange(law: Law, values_of: Mapping[str, Sequence[Any]]) -> tuple[Mapping[str, Any], ...]:
    """Which of these values of knobs are out of the law's domain."""
    found: list[Mapping[str, Any]] = []
    for knob, values in values_of.items():
        seen = law.domain.get(knob)
        if seen is None:
            continue
        for value in dict.fromkeys(values):
            if knob == "padding":
                inside = value in seen
            else:
                inside = seen[0] <= value <= seen[1]
            if not inside:
                found.append({"what": knob, "value": value, "seen": list(seen)})
    return tuple(found)


def clocks_widening(law: Law, clocks: Mapping[str, float]) -> float:
    """How much wider an interval is at these clocks: beyond the law's domain, and between the settings it has seen."""
    return widening(strange_clocks(law, clocks)) * between(law, clocks)


# --- files


def parse_law(text: str, source: str) -> Law:
    """A law from the text of its file.

    :raises SpecError: no JSON, a newer version, a missing or wrong key, an expression that is not allowed.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} is not JSON: {error}", "edgeprof fit --out writes laws") from None
    if not isinstance(data, dict):
        raise SpecError(f"{source} is no law", "edgeprof fit --out writes laws")
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SpecError(
            f"{source} is a law of version {version}; this edgeprof reads {VERSION}", "upgrade edgeprof"
        )
    try:
        return Law(**data)
    except ValidationError as error:
        raise SpecError(f"{source}: {first_problem(error)}", "edgeprof fit --out writes laws") from None
    except (TypeError, RecursionError) as error:
        raise SpecError(f"{source}: {error}", "edgeprof fit --out writes laws") from None


def read_law(name: str) -> Law:
    """The law called ``name``, or in the file of that name; ``LAW:BOARD`` is a law in a board's peaks, put on that
    board (:mod:`edgeprof.fit.datasheet`).

    :raises CatalogueError: no such law or board. :raises SpecError: the file is wrong, or the law lacks a board.
    """
    own, _, board = (name, "", "") if Path(name).is_file() else name.partition(":")
    path = catalogue.find("laws", own)
    law = parse_law(catalogue.read_text(path), str(path))
    if board:
        return on_board(law, read_board(board))
    if needs_board(law):
        raise SpecError(
            f"law '{law.name}' is in the peaks of a board",
            f"name one: {own}:jetson-nano (edgeprof list boards)",
        )
    return law


def law_json(law: Law) -> str:
    """The text of a law's file."""
    content = law.model_dump(mode="json")
    for key in ("reach", "roofline", "settings", "memory"):  # newer than version 1, and not of every law
        if not content[key]:
            del content[key]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_law(law: Law, path: Path) -> None:
    """Write a law's file, whole or not at all.

    :raises SpecError: where it cannot be written.
    """
    write_whole(path, law_json(law))
