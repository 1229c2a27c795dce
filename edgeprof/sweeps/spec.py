"""SweepSpec: a named set of cases. Reads ``sweeps/*.toml``."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    field_validator,
    model_validator,
)

from edgeprof import catalogue
from edgeprof.document import shown, value_of
from edgeprof.errors import SpecError
from edgeprof.nets.blocks import LAYER, Of
from edgeprof.nets.spec import PER_CONV, PER_FC, NetSpec

BLOCK_KNOBS = ("size", "channels", "layers", "multiple", *LAYER, "batch")
SETTING = ("power_mode", "clocks")  # of the board
CASE_KNOBS = ("batch", "precision", "threads", "launch", *SETTING)
KNOBS = (*NetSpec.model_fields, *CASE_KNOBS)
PER_LAYER = (*PER_CONV, *PER_FC)
WHOLE = (*PER_LAYER, "power_mode")  # several values are one list, not a choice
RANGE = re.compile(r"^\s*(\d{1,12})\s*\.\.\s*(\d{1,12})\s*(log)?\s*$")

Value = StrictInt | str | tuple[StrictInt | str, ...]
Limit = Annotated[int, Field(strict=True, ge=0, le=10**12)]


class Range(BaseModel):
    """Whole numbers from ``low`` to ``high``, both included, drawn evenly or evenly on a log scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Limit
    high: Limit
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"'{self.text()}' is no range: its low end is above its high end")
        if self.log and self.low < 1:
            raise ValueError(f"'{self.text()}' is no range: a log scale starts at 1 or above")
        return self

    def draw(self, rng: Random) -> int:
        """One number."""
        if not self.log:
            return rng.randint(self.low, self.high)
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def text(self) -> str:
        """As a sweep file writes it."""
        return f"{self.low}..{self.high}{' log' if self.log else ''}"


class Sample(BaseModel):
    """A random sample: ``nets`` draws from ``seed``; each knob is a choice, a range or one value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nets: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    max_macs: Annotated[float, Field(strict=True, gt=0)] | None = None
    knobs: Mapping[str, Range | Annotated[tuple[StrictInt | str, ...], Field(min_length=1)]]


Choices = Range | Annotated[tuple[StrictInt | str, ...], Field(min_length=1)]


class Chain(BaseModel):
    """``nets`` random blocks of one kind (:mod:`edgeprof.nets.blocks`): each knob is a choice, a range or one value;
    ``layers`` says how many layers, whose knobs are drawn afresh for each, and channels are rounded up to a
    ``multiple``, drawn once a block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: Of
    nets: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    knobs: Mapping[str, Choices]

    @model_validator(mode="before")
    @classmethod
    def _knobs(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        own = {key: value for key, value in given.items() if key in ("of", "nets")}
        knobs = given.get("knobs", {})  # as a dump has them; a file has them beside nets
        rest = {key: value for key, value in given.items() if key not in own and key != "knobs"}
        for knob in (*knobs, *rest):
            if knob not in BLOCK_KNOBS:
                raise ValueError(f"unknown knob '{knob}' of a block; known are {', '.join(BLOCK_KNOBS)}")
        return {**own, "knobs": {key: parse_range(key, value) for key, value in {**knobs, **rest}.items()}}


class Blocks(BaseModel):
    """Random blocks, chain by chain, from ``seed``; none with more than ``max_macs`` multiply-accumulates a run, or
    with a tensor of more than ``max_values`` numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    max_macs: Annotated[float, Field(strict=True, gt=0)] = 1e9
    max_values: Annotated[float, Field(strict=True, gt=0)] = 4e6
    chain: Annotated[tuple[Chain, ...], Field(min_length=1, max_length=100)]

    def scaled(self, nets: int | None, seed: int | None) -> Blocks:
        """The same chains with ``nets`` blocks in all, or another seed; None leaves it. Each chain has one at least,
        unless there are fewer blocks than chains."""
        counts = [chain.nets for chain in self.chain]
        if nets is not None:
            least = int(nets >= len(counts))
            more = _shared(nets - least * len(counts), [least * (n - 1) for n in counts])
            counts = [least + n for n in more]
        chains = tuple(c.model_copy(update={"nets": n}) for c, n in zip(self.chain, counts, strict=True))
        return self.model_copy(update={"chain": chains, "seed": self.seed if seed is None else seed})


def _shared(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts in proportion to ``weights``; even parts where all are 0."""
    weights = weights if any(weights) else [1] * len(weights)
    ends = [total * end // sum(weights) for end in (0, *itertools.accumulate(weights))]
    return [high - low for low, high in itertools.pairwise(ends)]


class SweepSpec(BaseModel):
    """A sweep file: what is fixed (``net``), a grid (``vary``), a random sample of the family (``sample``), or random
    ``blocks``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=100)]
    about: str = ""
    net: Mapping[str, Value] = {}
    vary: Mapping[str, tuple[Value, ...]] = {}
    sample: Sample | None = None
    blocks: Blocks | None = None

    @field_validator("sample", mode="before")
    @classmethod
    def _sample(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        own = {key: value for key, value in given.items() if key in ("nets", "seed", "max_macs")}
        knobs = given.get("knobs", {})  # as a dump has them; a file has them beside nets and seed
        if not isinstance(knobs, Mapping):
            raise ValueError(f"knobs: a table of knobs, not {shown(knobs)}")
        rest = {key: value for key, value in given.items() if key not in own and key != "knobs"}
        return {**own, "knobs": {key: parse_range(key, value) for key, value in {**knobs, **rest}.items()}}

    @field_validator("vary", mode="before")
    @classmethod
    def _vary(cls, given: Any) -> Any:
        for key, values in given.items() if isinstance(given, Mapping) else ():
            if not isinstance(values, list | tuple) or not values:
                raise ValueError(f"vary.{key} needs a list of values, not {shown(values)}")
        return given

    def model_post_init(self, _: Any) -> None:
        for section, knobs in (
            ("net", self.net),
            ("vary", self.vary),
            ("sample", self.sample.knobs if self.sample else {}),
        ):
            for knob in knobs:
                if knob not in KNOBS:
                    raise SpecError(
                        f"sweep '{self.name}': unknown key '{knob}' in [{section}]",
                        f"known are {', '.join(KNOBS)}",
                    )
        if self.blocks and (self.sample or self.vary or not set(self.net) <= set(CASE_KNOBS)):
            raise SpecError(
                f"sweep '{self.name}' has [blocks] beside networks of the family", "write two sweep files"
            )
        if self.sample and self.vary:
            raise SpecError(f"sweep '{self.name}' has both [vary] and [sample]", "write two sweep files")

    def override(self, knobs: Mapping[str, tuple[Value, ...]]) -> SweepSpec:
        """The same sweep with ``knobs`` in place of what the file says of them. Several values are one per layer for
        knobs of layers, and say how many layers there are; every network is run in each of several power modes; they
        are a grid or a choice for others.

        :raises SpecError: a sweep of blocks has no such knob, or takes one value of it.
        """
        for knob, given in knobs.items() if self.blocks else ():
            if knob not in CASE_KNOBS or (len(given) > 1 and knob != "power_mode"):
                raise SpecError(
                    f"--{knob.replace('_', '-')} is not for sweep '{self.name}', which is of blocks",
                    f"one value of {', '.join(CASE_KNOBS)} is",
                )
        lists = {k for k, v in knobs.items() if k in PER_LAYER and (len(v) > 1 or isinstance(v[0], tuple))}
        replaced = {*knobs, *("conv" if k in PER_CONV else "fc" for k in lists)}
        net = {k: v for k, v in self.net.items() if k not in replaced}
        vary = {k: v for k, v in self.vary.items() if k not in replaced}
        sample = self.sample
        for knob, values in knobs.items():
            if len(values) == 1:
                net[knob] = values[0]
            elif knob in WHOLE:
                net[knob] = tuple(v for v in values if not isinstance(v, tuple))
            elif sample is None:
                vary[knob] = values
        if sample is not None:
            kept = {k: v for k, v in sample.knobs.items() if k not in replaced}
            choices: dict[str, Any] = {k: v for k, v in knobs.items() if len(v) > 1 and k not in WHOLE}
            sample = sample.model_copy(update={"knobs": {**kept, **choices}})
        return self.model_copy(update={"net": net, "vary": vary, "sample": sample})

    def names(self, knob: str) -> bool:
        """Whether it says anything of a knob."""
        return knob in {*self.net, *self.vary, *(self.sample.knobs if self.sample else ())}

    @property
    def modes(self) -> tuple[str, ...]:
        """The power modes that every network is run in; none where the sweep names none, or makes them a dimension."""
        given = self.net.get("power_mode", ())
        return tuple(map(str, given if isinstance(given, tuple) else (given,)))

    @property
    def sets(self) -> bool:
        """Whether power mode or clocks of the board are to be set."""
        return any(self.names(knob) for knob in SETTING)

    def resampled(self, nets: int | None, seed: int | None) -> SweepSpec:
        """The same random sample with another number of networks or another seed; None leaves it.

        :raises SpecError: it is no random sample.
        """
        changes = {k: v for k, v in (("nets", nets), ("seed", seed)) if v is not None}
        if not changes:
            return self
        if self.blocks is not None:
            return self.model_copy(update={"blocks": self.blocks.scaled(nets, seed)})
        if self.sample is None:
            raise SpecError(
                f"sweep '{self.name}' is no random sample", "--nets and --seed are for sweeps with [sample]"
            )
        return self.model_copy(update={"sample": self.sample.model_copy(update=changes)})


def parse_range(knob: str, value: Any) -> Range | tuple[int | str, ...]:
    """What a sample may draw ``knob`` from: ``"a..b"``, ``"a..b log"``, a list (a choice), or one value.

    :raises ValueError: where it is none of these.
    """
    if isinstance(value, Range):
        return value
    if isinstance(value, Mapping):
        return Range.model_validate(value)
    if isinstance(value, str) and ".." in value:
        found = RANGE.match(value)
        if not found or int(found[1]) > int(found[2]):
            raise ValueError(f"{knob}: {shown(value)} is no range; write it as low..high or low..high log")
        if found[3] and int(found[1]) < 1:
            raise ValueError(f"{knob}: {shown(value)} is no range; a log scale starts at 1 or above")
        return Range(low=int(found[1]), high=int(found[2]), log=bool(found[3]))
    if isinstance(value, list | tuple):
        if not value or not all(isinstance(v, int | str) and not isinstance(v, bool) for v in value):
            raise ValueError(f"{knob}: a choice is a list of numbers or words, not {shown(value)}")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{knob}: a number, a word, a list or a range, not {shown(value)}")
    return (value,)


def parse_sweep(data: Mapping[str, Any], source: str) -> SweepSpec:
    """A sweep from the content of its file.

    :raises SpecError: with the key that is wrong.
    """
    hint = "see sweeps/README.md and the shipped sweeps"
    return value_of(SweepSpec, {"name": "unnamed", **data}, source, hint)


def read_sweep(name: str) -> SweepSpec:
    """The sweep called ``name``, or in the file of that name.

    :raises CatalogueError: no such sweep. :raises SpecError: the file is wrong.
    """
    path = catalogue.find("sweeps", name)
    data = catalogue.parse_toml(catalogue.read_text(path), str(path))
    return parse_sweep({"name": path.stem, **data}, str(path))
