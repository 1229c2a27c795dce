"""Result: where a sweep is while it goes on, and what it did when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeprof.sweeps.case import Case


@dataclass(frozen=True)
class Progress:
    """Where a sweep is: for those who watch."""

    done: int
    total: int
    number: int
    rounds: int
    label: str


@dataclass(frozen=True)
class SweepResult:
    """What a sweep did. ``failed`` has (case, reason), ``warned`` (case, code of the advice), without a case where
    it is of the machine; times in seconds, ``measuring_s`` with a network running."""

    cases: int
    measured: int
    reused: int
    failed: tuple[tuple[Case, str], ...]
    wall_s: float
    measuring_s: float
    stopped: str
    warned: tuple[tuple[Case | None, str], ...]

    def longer(self, spent_s: float, failed: Sequence[tuple[Case, str]]) -> SweepResult:
        """The same with so many seconds more of running networks, and what failed of that."""
        return replace(
            self,
            failed=(*self.failed, *failed),
            wall_s=self.wall_s + spent_s,
            measuring_s=self.measuring_s + spent_s,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Codes of the advice, one for each case that it touches."""
        return tuple(code for _, code in self.warned)


def together(results: Sequence[SweepResult]) -> SweepResult:
    """What several sweeps of cases that differ did, one after another."""
    return SweepResult(
        cases=sum(r.cases for r in results),
        measured=sum(r.measured for r in results),
        reused=sum(r.reused for r in results),
        failed=tuple(pair for r in results for pair in r.failed),
        wall_s=sum(r.wall_s for r in results),
        measuring_s=sum(r.measuring_s for r in results),
        stopped=next((r.stopped for r in results if r.stopped), ""),
        warned=tuple(dict.fromkeys(pair for r in results for pair in r.warned)),
    )
