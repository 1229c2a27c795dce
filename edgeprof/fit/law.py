"""Law: a form with fitted coefficients, their uncertainty, validity domain and provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from edgeprof.boards.spec import read_board
from edgeprof.document import shown
from edgeprof.errors import EdgeprofError, SpecError
from edgeprof.fit.composition import Composition
from edgeprof.fit.expressions import Expression, parse
from edgeprof.fit.forms import CLOCKS, NET_VARIABLES, Form, Group
from edgeprof.fit.hybrid import Hybrid
from edgeprof.fit.intervals import LARGEST, Strata, bounded, half_widths, strata, unknown
from edgeprof.fit.memory import MemoryModel
from edgeprof.fit.quanta import Quantum
from edgeprof.fit.roofline import Roofline, of_board
from edgeprof.fit.rules import KernelRules, Rule

Finite = Annotated[float, Field(allow_inf_nan=False)]
PositiveMs = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LogError = Annotated[float, Field(ge=-100, le=100)]
LEVEL = 0.9


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
        """The rules by which operators become kernels.

        :raises SpecError: one that is none.
        """
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
        """The opaque part: by operator type the trees whose factor multiplies a kernel's price.

        :raises SpecError: trees that are none.
        """
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
        """The conformal interval of a latency at ``level``; None where none is known (:meth:`unknown`)."""
        if self.unknown(widening):
            return None
        half = min(float(half_widths(self.strata, np.array(latency_ms), level)) * widening, LARGEST)
        return latency_ms * math.exp(-half), latency_ms * math.exp(half)

    def widened(self, latency_ms: Any, widening: Any) -> Any:
        """How much wider the intervals of these latencies are, by what is outside the domain (``widening``); infinite
        where none is known (:func:`edgeprof.fit.intervals.bounded`)."""
        latency = np.asarray(latency_ms, np.float64)
        return bounded(widening, half_widths(self.strata, latency, LEVEL) if self.strata else 0.0)

    def unknown(self, widening: float = 1.0) -> str:
        """Why no interval so much wider is known; empty where one is."""
        return unknown(self.strata, widening)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from edgeprof.report.notebook import law_html

        return law_html(self)
