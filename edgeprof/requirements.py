"""Requirements: ``p99_ms<33``, judged from a quantity's interval, for tests of acceptance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeprof.errors import SpecError

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
PATTERN = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|<|>)\s*([0-9.]+(?:e[+-]?\d+)?)\s*", re.IGNORECASE)
WRITE = "write it in quotes as 'p99_ms<33', with <, <=, > or >="


@dataclass(frozen=True)
class Quantity:
    """What is known of a number: its value, and the interval in which it lies, whose ends are None where nothing bounds
    them. ``why`` tells what is missing."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Requirement:
    """A quantity that must be below or above a limit."""

    name: str
    sign: Literal["<", "<=", ">", ">="]
    limit: float

    def text(self) -> str:
        """As a command line writes it."""
        return f"{self.name}{self.sign}{self.limit:g}"

    def holds(self, value: float) -> bool:
        """Whether a value meets it."""
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.sign]


@dataclass(frozen=True)
class Verdict:
    """PASS: the whole interval meets the requirement; FAIL: none of it does; INCONCLUSIVE: part of it, or it is not
    known."""

    requirement: Requirement
    outcome: Outcome
    quantity: Quantity


def speeds(
    latency_ms: float, interval_ms: tuple[float, float] | None, batch: int, why: str = ""
) -> dict[str, Quantity | None]:
    """Latency of a run, and what follows from it, as quantities; ``why`` tells why there is no interval."""
    low, high = interval_ms or (None, None)
    return {
        "latency_ms": Quantity(latency_ms, low, high, why),
        "ms_per_tile": Quantity(latency_ms / batch, low and low / batch, high and high / batch, why),
        "tiles_per_ms": Quantity(
            batch / latency_ms, batch / high if high else None, batch / low if low else None, why
        ),
    }


def exact(value: float) -> Quantity:
    """A number that is known."""
    return Quantity(value, value, value)


def parse_requirement(text: str) -> Requirement:
    """``p99_ms<33`` read.

    :raises SpecError: it is none.
    """
    found = PATTERN.fullmatch(text)
    try:
        if found:
            return Requirement(found[1], found[2], float(found[3]))  # type: ignore[arg-type]
    except ValueError:
        pass
    raise SpecError(f"--require {text!r} is no requirement", WRITE)


def check_names(requirements: Sequence[Requirement], names: Iterable[str]) -> None:
    """See that every requirement is of a known quantity.

    :raises SpecError: one is not.
    """
    known = list(names)
    for requirement in requirements:
        if requirement.name not in known:
            raise SpecError(
                f"there is no quantity '{requirement.name}' to require", f"known here: {', '.join(known)}"
            )


def judge(
    requirements: Sequence[Requirement], quantities: Mapping[str, Quantity | None]
) -> tuple[Verdict, ...]:
    """A verdict on each requirement.

    :raises SpecError: a quantity that there is none of this name.
    """
    check_names(requirements, quantities)
    found = []
    for requirement in requirements:
        quantity = quantities[requirement.name] or Quantity(None, why="not measured here")
        found.append(Verdict(requirement, _outcome(requirement, quantity), quantity))
    return tuple(found)


def all_met(verdicts: Sequence[Verdict]) -> bool:
    """True where every requirement is shown to be met."""
    return all(verdict.outcome == "PASS" for verdict in verdicts)


def _outcome(requirement: Requirement, quantity: Quantity) -> Outcome:
    below = requirement.sign in ("<", "<=")
    worst, best = (quantity.high, quantity.low) if below else (quantity.low, quantity.high)
    if worst is not None and requirement.holds(worst):
        return "PASS"
    return "FAIL" if best is not None and not requirement.holds(best) else "INCONCLUSIVE"
