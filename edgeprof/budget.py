"""A budget: a limited time is spent on the networks that teach a law most, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgeprof.backends.base import Backend
from edgeprof.backends.simulated import SimulatedBackend
from edgeprof.errors import DomainError, FitError
from edgeprof.fit.fitting import sketch_law
from edgeprof.fit.forms import Form, read_form
from edgeprof.store import Store
from edgeprof.sweeps.adaptive import choose_next
from edgeprof.sweeps.case import Case
from edgeprof.timing.session import SweepResult

STEP = 6  # networks between two looks at what to measure next


def spend(
    pool: Sequence[Case],
    store: Store,
    backend: Backend,
    measure: Callable[..., SweepResult],
    *,
    rounds: int,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> SweepResult:
    """Spend ``budget_s`` on what teaches a law most: one of the form ``kernels``, or of a simulated law's own.

    In the first round a third of the cases is taken from the random ``pool`` in its order, and the rest chosen from it
    by design, a few at a time; the later rounds measure the same cases again. What the store has of the pool counts.
    """
    begin, form = clock(), _design_form(backend)
    done, designed = store.done(), store.designed()
    taken = [case for case in pool if any((case.key(), n) in done for n in range(1, rounds + 1))]
    reused = sum(all((case.key(), n) in done for n in range(1, rounds + 1)) for case in taken)
    results: list[SweepResult] = []
    while len(taken) < len(pool) and clock() - begin < budget_s / rounds:
        left = [case for case in pool if case not in set(taken)]
        count = STEP // 3 if len(taken) >= STEP else STEP
        drawn, rest = left[:count], left[count:]
        chosen = _telling(store, form, taken, rest, pool, STEP - count) if taken else []
        store.add_designed(case for case in chosen if case.key() not in designed)
        taken += [*drawn, *chosen]
        results.append(
            measure([*drawn, *chosen], rounds=1, budget_s=max(budget_s / rounds - clock() + begin, 0.0))
        )
    results.append(measure(taken, rounds=rounds, budget_s=max(budget_s - clock() + begin, 0.0)))
    failed = dict(pair for result in results for pair in result.failed)
    return SweepResult(
        cases=len(taken),
        measured=len(taken) - reused - len(failed),
        reused=reused,
        failed=tuple(failed.items()),
        wall_s=clock() - begin,
        measuring_s=sum(result.measuring_s for result in results),
        stopped="budget",
        warned=tuple(dict.fromkeys(pair for result in results for pair in result.warned)),
    )


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
