"""A budget: a limited time is spent on the networks that teach a law most, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Sequence

from edgeprof.backends.base import Backend
from edgeprof.backends.simulated import SimulatedBackend
from edgeprof.errors import DomainError, FitError
from edgeprof.fit.fitting import sketch_law
from edgeprof.fit.forms import Form, read_form
from edgeprof.store import Store
from edgeprof.sweeps.adaptive import choose_next
from edgeprof.sweeps.case import Case, Setting
from edgeprof.timing.result import SweepResult

STEP = 6  # networks between two looks at what to measure next


def spend(
    pool: Sequence[Case],
    store: Store,
    backend: Backend,
    measure: Callable[..., SweepResult],
    *,
    rounds: int,
    budget_s: float,
    now: Container[Setting] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SweepResult:
    """Spend ``budget_s`` on what teaches a law most: one of the form ``kernels``, or of a simulated law's own.

    In the first round a third of the cases is taken from the random ``pool`` in its order, and the rest chosen from it
    by design, a few at a time; the later rounds measure the same cases again. Of several settings of the board (power
    mode, clocks) the first chooses, and the others measure the same networks. What the store has of the pool counts.

    :param now: the settings that are measured (None: all). Where others have networks already, none is added.
    """
    begin, form = clock(), _design_form(backend)
    done, designed = store.done(), store.designed()

    def has(case: Case, done: Container[tuple[str, int]], of: Callable[[Iterable[bool]], bool]) -> bool:
        return of((case.key(), n) in done for n in range(1, rounds + 1))

    own: dict[Case, list[Case]] = {}  # a network's first case of those that are measured → all of these
    everywhere: dict[Case, list[Case]] = {}  # … → those of other settings too
    for cases in _by_network(pool):
        if measured := [case for case in cases if now is None or case.setting in now]:
            own[measured[0]], everywhere[measured[0]] = measured, cases
    taken = [lead for lead, cases in everywhere.items() if any(has(case, done, any) for case in cases)]
    complete = now is not None and any(has(case, done, any) for case in pool if case.setting not in now)
    first_s = budget_s / rounds / max(map(len, own.values()), default=1)
    results: list[SweepResult] = []
    while not complete and len(taken) < len(own) and clock() - begin < first_s:
        left = [case for case in own if case not in set(taken)]
        count = STEP // 3 if len(taken) >= STEP else STEP
        drawn, rest = left[:count], left[count:]
        chosen = _telling(store, form, taken, rest, list(own), STEP - count) if taken else []
        store.add_designed(c for case in chosen for c in everywhere[case] if c.key() not in designed)
        taken += [*drawn, *chosen]
        results.append(measure([*drawn, *chosen], rounds=1, budget_s=max(first_s - clock() + begin, 0.0)))
    cases = [case for lead in taken for case in own[lead]]
    reused = sum(has(case, done, all) for case in cases)
    results.append(measure(cases, rounds=rounds, budget_s=max(budget_s - clock() + begin, 0.0)))
    failed = dict(pair for result in results for pair in result.failed)
    done = store.done()
    return SweepResult(
        cases=len(cases),
        measured=sum(has(case, done, any) for case in cases if case not in failed) - reused,
        reused=reused,
        failed=tuple(failed.items()),
        wall_s=clock() - begin,
        measuring_s=sum(result.measuring_s for result in results),
        stopped="budget",
        warned=tuple(dict.fromkeys(pair for result in results for pair in result.warned)),
    )


def _by_network(pool: Iterable[Case]) -> list[list[Case]]:
    """Cases that differ in nothing but the setting of the board, together."""
    found: dict[Case, list[Case]] = {}
    for case in pool:
        found.setdefault(case.model_copy(update={"power_mode": None, "clocks": None}), []).append(case)
    return list(found.values())


def _design_form(backend: Backend) -> Form:
    """The form whose terms a design is for: a simulated law's own, else ``kernels``."""
    return backend.law.as_form if isinstance(backend, SimulatedBackend) else read_form("kernels")


def _telling(
    store: Store, form: Form, taken: Sequence[Case], rest: Sequence[Case], pool: Sequence[Case], count: int
) -> list[Case]:
    """``count`` cases of ``rest`` that teach most beside those ``taken``; none while there is no law to go by."""
    keys = {case.key() for case in taken}
    known = [m for m in store.measurements() if m.case.key() in keys and m.latency_ms is not None]
    measured, candidates, family = (
        [(case.net, case.batch) for case in cases] for cases in ([m.case for m in known], rest, pool)
    )
    try:
        return [rest[i] for i in choose_next(sketch_law(known, form), measured, candidates, family, count)]
    except (FitError, DomainError):
        return list(rest[:count])
