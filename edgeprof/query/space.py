"""Space: ranges of every knob of a network and of its batch, and the networks that they span, slab by slab."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError

from edgeprof.document import first_problem
from edgeprof.errors import SpecError
from edgeprof.nets.columns import BODY, SAME, Bodies, Ints, pixels_left
from edgeprof.nets.spec import DEFAULTS, NetSpec
from edgeprof.sweeps.case import Workload

HEAD = ("fc", "neurons", "classes")
KNOBS = (*BODY, *HEAD)
MAX_COMBINATIONS = 10**11
RANGE = re.compile(r"(\d{1,9})\s*\.\.\s*(\d{1,9})(?:\s*:\s*(\d{1,9}))?")

Value = int | str


def parse_choice(knob: str, text: str) -> tuple[Value, ...]:
    """``5..80``, ``128..2048:128``, ``3,5,7``, ``valid,same`` or ``1..3,8`` as values, each once, in the order given.

    :raises SpecError: it is none of these.
    """
    flag = f"--{knob.replace('_', '-')}"
    found: dict[Value, None] = {}
    for part in (part.strip() for part in text.split(",")):
        values = RANGE.fullmatch(part)
        if values:
            low, high, step = int(values[1]), int(values[2]), int(values[3] or 1)
            if low > high or step < 1 or high > 2**20:
                raise SpecError(f"{flag} {part!r} is no range", "write low..high or low..high:step")
            found.update(dict.fromkeys(range(low, high + 1, step)))
        elif re.fullmatch(r"\d{1,9}", part):
            found[int(part)] = None
        elif knob == "padding" and part in ("valid", "same"):
            found[part] = None
        else:
            hint = "write a number, low..high, low..high:step, or several of them with commas"
            raise SpecError(f"{flag} {part!r} is neither a number nor a range", hint)
    return tuple(found)


@dataclass(frozen=True)
class Slab:
    """Some bodies of a space: their places in it, and which of a knob's choices each has."""

    places: Ints
    picks: Mapping[str, Ints]
    bodies: Bodies


@dataclass(frozen=True)
class Heads:
    """Some heads of a space, as columns that broadcast to [fc, neurons, classes]; ``places`` is of that shape, and
    ``picks`` says which of a knob's choices each has."""

    places: Ints
    picks: Mapping[str, Ints]
    fc: Ints
    neurons: Ints
    classes: Ints


@dataclass(frozen=True)
class Space:
    """Choices for every knob: all networks of which every layer is alike. A knob without meaning (the depth of no conv
    layer, the pooling before an only one, the neurons of no layer) keeps its first choice, so no network comes twice.

    A network's place is its number among all combinations, the batch varying slowest, the classes fastest.
    """

    choices: Mapping[str, tuple[Value, ...]]

    @property
    def combinations(self) -> int:
        """Combinations of all choices, those that are no network and those that come twice included."""
        return math.prod(len(values) for values in self.choices.values())

    @cached_property
    def body_shape(self) -> tuple[int, ...]:
        """The number of choices of each knob of :data:`BODY`, the batch first."""
        return tuple(len(self.choices[knob]) for knob in self.body_knobs)

    @property
    def body_knobs(self) -> tuple[str, ...]:
        """Knobs of bodies in the order of places."""
        return ("batch", *(knob for knob in BODY if knob != "batch"))

    @cached_property
    def head_count(self) -> int:
        """Heads for each body, those that come twice included."""
        return math.prod(len(self.choices[knob]) for knob in HEAD)

    def slabs(self, rows: int) -> Iterator[tuple[Slab, int]]:
        """Bodies, at most ``rows`` at a time, and how many others were no networks."""
        total = math.prod(self.body_shape)
        for begin in range(0, total, rows):
            places = np.arange(begin, min(begin + rows, total))
            picks = dict(zip(self.body_knobs, np.unravel_index(places, self.body_shape), strict=True))
            knobs = self._columns(picks)
            again = np.zeros(len(places), bool)  # a knob without meaning beyond its first choice
            for knob in ("depth", "kernel", "stride", "padding", "pool", "pool_before"):
                meant = knobs["conv"] > (1 if knob == "pool_before" else 0)
                again |= ~meant & (picks[knob] > 0)
            good = pixels_left(knobs)
            kept = np.flatnonzero(good & ~again)
            bodies = Bodies({knob: column[kept] for knob, column in knobs.items()})
            yield (
                Slab(places[kept], {k: v[kept] for k, v in picks.items()}, bodies),
                int((~good & ~again).sum()),
            )

    def heads(self, count: int) -> list[Heads]:
        """All heads, about ``count`` at a time; those without hidden layers apart."""
        fc, neurons, classes = (np.array(self.choices[knob], np.int64) for knob in HEAD)
        shape = len(fc), len(neurons), len(classes)
        places = np.arange(self.head_count).reshape(shape)
        hidden = np.flatnonzero(fc > 0)
        found = []
        if len(hidden) < len(fc):
            at = int(np.flatnonzero(fc == 0)[0])
            found.append(_heads(places, fc, neurons * 0, classes, np.array([at]), np.array([0])))
        step = max(count // max(len(hidden) * len(classes), 1), 1)
        if hidden.size:
            found += [
                _heads(places, fc, neurons, classes, hidden, np.arange(i, min(i + step, len(neurons))))
                for i in range(0, len(neurons), step)
            ]
        return found

    def at(self, places: Ints) -> tuple[Slab, Heads]:
        """The networks at these places, one head a body: all columns are of one shape."""
        body, head = np.divmod(places, self.head_count)
        picks = dict(zip(self.body_knobs, np.unravel_index(body, self.body_shape), strict=True))
        slab = Slab(body, picks, Bodies(self._columns(picks)))
        own = dict(zip(HEAD, np.unravel_index(head, tuple(len(self.choices[k]) for k in HEAD)), strict=True))
        fc, neurons, classes = (np.array(self.choices[knob], np.int64)[own[knob]] for knob in HEAD)
        return slab, Heads(head, own, fc, np.where(fc > 0, neurons, 0), classes)

    def net(self, place: int) -> tuple[NetSpec, int]:
        """The network at a place, and its batch."""
        body, head = divmod(place, self.head_count)
        picks = [
            *zip(self.body_knobs, np.unravel_index(body, self.body_shape), strict=True),
            *zip(HEAD, np.unravel_index(head, tuple(len(self.choices[k]) for k in HEAD)), strict=True),
        ]
        knobs: dict[str, Any] = {knob: self.choices[knob][int(pick)] for knob, pick in picks}
        batch = int(knobs.pop("batch"))
        return NetSpec(**knobs), batch

    def _columns(self, picks: Mapping[str, Any]) -> dict[str, Ints]:
        return {knob: _numbers(knob, self.choices[knob])[picks[knob]] for knob in BODY}


def space(choices: Mapping[str, tuple[Value, ...]], batch: int) -> Space:
    """The space of these choices; a knob without one has NetSpec's default, or this ``batch``.

    :raises SpecError: a value that no network has, or more combinations than a query can go through.
    """
    fields = {k: NetSpec.model_fields[k].default for k in KNOBS if k in NetSpec.model_fields}
    full: dict[str, tuple[Value, ...]] = {
        **{k: (v,) for k, v in {**fields, **DEFAULTS, "batch": batch}.items()},
        **choices,
    }
    for knob in full:
        if knob not in KNOBS:
            raise SpecError(f"unknown knob '{knob}'", f"known are {', '.join(KNOBS)}")
        numbers = [value for value in full[knob] if isinstance(value, int)]
        words = [value for value in full[knob] if not isinstance(value, int)]
        for value in (*words, *((min(numbers), max(numbers)) if numbers else ())):
            _check(knob, value)
    found = Space({knob: full[knob] for knob in KNOBS})
    if found.combinations > MAX_COMBINATIONS:
        raise SpecError(
            f"{found.combinations:.1e} networks are too many",
            "take wider steps, such as --neurons 64..2048:64",
        )
    return found


def _check(knob: str, value: Value) -> None:
    """One value by NetSpec's own rules."""
    roomy: dict[str, Any] = {"tile": 65_536, "kernel": 2048 if knob == "padding" else 1, "pool": 1}
    try:
        if knob == "batch":
            Workload(net=NetSpec(), batch=value)  # type: ignore[arg-type]
        else:
            NetSpec(**{**roomy, knob: value})
    except ValidationError as error:
        flag = f"--{knob.replace('_', '-')}"
        raise SpecError(
            f"{flag} {value}: {first_problem(error)}", "sizes and counts are whole numbers from 1"
        ) from None


def _numbers(knob: str, values: tuple[Value, ...]) -> Ints:
    if knob != "padding":
        return np.array(values, np.int64)
    return np.array([{"valid": 0, "same": SAME}.get(str(v), v) for v in values], np.int64)


def _heads(places: Ints, fc: Ints, neurons: Ints, classes: Ints, layers: Any, widths: Any) -> Heads:
    picks = {"fc": layers, "neurons": widths, "classes": np.arange(len(classes))}
    axes = {"fc": (slice(None), None, None), "neurons": (None, slice(None), None), "classes": (None, None)}
    return Heads(
        places[np.ix_(layers, widths, picks["classes"])],
        {knob: picks[knob][axes[knob]] for knob in HEAD},
        fc[layers][axes["fc"]],
        neurons[widths][axes["neurons"]],
        classes[axes["classes"]],
    )
