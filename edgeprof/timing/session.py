"""Session: rounds of cases in fresh random order, with sentinels between them; everything goes into the store."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.backends.base import Backend, Stop
from edgeprof.boards.sensors.host import HostReading, between, read_host
from edgeprof.boards.spec import Estimator
from edgeprof.errors import BackendError, SpecError, WorkerError
from edgeprof.store import Store
from edgeprof.sweeps.case import Case, Setting
from edgeprof.tiles import batch_of
from edgeprof.timing.drift import READING, Sentinels, reading_ms
from edgeprof.timing.measurement import Round
from edgeprof.timing.noise import of_machine
from edgeprof.timing.result import Progress, SweepResult

Images = NDArray[np.float32]  # [n, channels, tile, tile]

SENTINEL_EVERY_S = 20.0
SENTINEL_EVERY_ROUNDS = 10.0  # where time is simulated
PAUSES_S = (2.0, 4.0, 8.0)  # where a restart did not mend it: waits, with a look after each
WAIT_S = 60.0  # of a session, all pauses together
AGAIN = 2  # times at most that a disturbed round is measured again
HEADROOM_C = 5.0  # below a passive trip point: less, and a round is not begun
COOL_C = 10.0  # and waits for this much, or
COOL_S = 60.0  # so long
VAIN = 3  # rounds in a row that were throttled again: no more of them are measured again
COOL_STEP_S = 2.0
COOLING_S = 300.0  # of a session, all waits together
MENDED = 2  # drifts that a restart mended, after which the worker is restarted again and again
FRESH = 0.1  # of a drift: what may come between two such restarts
OF_ONE_CASE = (WorkerError, BackendError, SpecError)  # others, such as a board that is gone, end the session


def run_session(
    cases: Sequence[Case],
    store: Store,
    backend: Backend,
    estimator: Estimator,
    *,
    rounds: int = 3,
    stop: Stop | None = None,
    budget_s: float | None = None,
    fresh: bool = False,
    tiles: Images | None = None,
    facts: Mapping[str, Any] | None = None,
    seed: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    sentinel_s: float = SENTINEL_EVERY_S,
    sense: Callable[[], HostReading] = read_host,
    observe: Callable[[Case], Mapping[str, Any]] = lambda case: {},
    patient: bool = True,
    enter: Callable[[Case], None] = lambda case: None,
) -> SweepResult:
    """Measure every case that the store does not have yet, ``rounds`` times, each round in a fresh random order.

    Cases of one setting of the board (power mode, clocks) stand together in a round, and the next round begins with the
    setting at which the last one ended. ``enter`` brings the board into the setting of a case; sentinels are looked at
    after it and before it is left.

    A case that fails is kept with its reason and not tried in later rounds; the others go on. Every ``sentinel_s``
    sentinels are looked at: what was measured while they drifted is measured again, or carries a warning. ``sense``
    reads the machine's counters, before and after each round; ``observe`` runs a case once more for its telemetry. Who
    is not ``patient`` does not wait for better times.
    """
    stop = stop or Stop()
    clock = onwards(clock)
    if fresh:
        store.supersede(cases)
    done = store.done()
    store.add_cases(cases, estimator, backend.simulated, rounds)
    begin, stopped = clock(), ""
    deadline = float("inf") if budget_s is None else begin + budget_s
    session = _Session(
        store, backend, stop, tiles, clock, sleep, sentinel_s, deadline, sense, observe, patient, enter
    )
    store.add_session(session.uid, {**backend.facts(), **(facts or {}), "load_1m": sense().load_1m})
    rng = Random(seed)
    keys = {case: case.key() for case in cases}
    several = len({case.setting for case in cases}) > 1
    total = len(cases) * rounds
    finished = sum((key, n) in done for key in keys.values() for n in range(1, rounds + 1))
    reused = sum(all((key, n) in done for n in range(1, rounds + 1)) for key in keys.values())
    measured: set[Case] = set()
    failed: dict[Case, str] = {}
    queue: deque[tuple[Case, int]] = deque()
    again: set[tuple[Case, int]] = set()
    for number in range(1, rounds + 1):
        left = [case for case in cases if (keys[case], number) not in done and case not in failed]
        for order in turns(left, session.setting):
            rng.shuffle(order)
            queue.extend((case, number) for case in order)
            while not stopped:
                if not queue and (number == rounds or several):
                    queue.extend(session.settle())
                    again.update(queue)
                if not queue:
                    break
                if clock() >= deadline:
                    stopped = "budget"
                    break
                case, turn = queue.popleft()
                if case in failed:
                    continue
                session.enter(case)
                disturbed = session.watch_sentinels(case)
                watch(Progress(finished, total, turn, rounds, case.label()))
                result = session.measure(case, turn)
                if result.status == "failed":
                    failed[case] = result.reason
                else:
                    measured.add(case)
                finished += (case, turn) not in again
                disturbed += session.throttled(case, turn)
                again.update(disturbed)
                queue.extend(disturbed)
    if stopped:
        session.settle(wait=False)
    watch(Progress(finished, total, rounds, rounds, ""))
    return SweepResult(
        cases=len(cases),
        measured=len(measured),
        reused=reused,
        failed=tuple(failed.items()),
        wall_s=clock() - begin,
        measuring_s=session.measuring_s,
        stopped=stopped,
        warned=session.warned(),
    )


class _Session:
    """What a session knows while it goes on."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        stop: Stop,
        tiles: Images | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        sentinel_s: float,
        deadline: float,
        sense: Callable[[], HostReading],
        observe: Callable[[Case], Mapping[str, Any]],
        patient: bool,
        enter: Callable[[Case], None],
    ) -> None:
        self.uid = uuid.uuid4().hex
        self.measuring_s = 0.0
        self.setting: Setting | None = None
        self._enter = enter
        self._store, self._backend, self._stop, self._tiles = store, backend, stop, tiles
        self._clock, self._sleep = clock, sleep
        self._deadline = deadline
        self._sense, self._observe = sense, observe
        self._pauses = PAUSES_S if patient else ()
        self._count = 0  # of rounds: the time of a simulated backend
        self._every = SENTINEL_EVERY_ROUNDS if backend.simulated else sentinel_s
        self._watching = not backend.simulated or bool(backend.facts().get("faults"))
        self._sentinels = Sentinels(self._read)
        self._looked = float("-inf")
        self._last: Case | None = None
        self._codes: dict[tuple[Case, int], tuple[str, ...]] = {}  # warnings of each round
        self._slow = False
        self._mended = 0
        self._restarted = self._now()
        self._restart_every = float("inf")
        self._waited = 0.0
        self._cooled = 0.0
        self._hot: Counter[tuple[Case, int]] = Counter()
        self._vain = 0
        self._taken: dict[tuple[Case, int], tuple[int, int]] = {}  # looks before and after each round
        self._open: list[tuple[Case, int]] = []  # rounds since the last look
        self._flagged: dict[tuple[Case, int], None] = {}
        self._queued: set[tuple[Case, int]] = set()
        self._repeats: Counter[tuple[Case, int]] = Counter()

    def enter(self, case: Case) -> None:
        """Bring the board into the setting of ``case``; sentinels are looked at anew in another one."""
        if case.setting != self.setting:
            self._enter(case)
            self.setting = case.setting
            self._looked = float("-inf")

    def measure(self, case: Case, number: int) -> Round:
        """Measure one round of one case and keep it; trouble becomes a failed round. It waits for a board that is about
        to cut its clocks."""
        before = self._cool(self._sense(), HEADROOM_C)
        try:
            with _batch_file(self._tiles, case) as path:
                result = self._backend.measure(case, number, self._stop, path)
        except OF_ONE_CASE as error:
            result = Round(number=number, status="failed", reason=error.message)
        except MemoryError:
            result = Round(number=number, status="failed", reason="out of memory while the network was built")
        if not self._backend.simulated and result.status == "ok":
            seen = between(before, self._sense())
            noise = {**asdict(seen), **result.telemetry.get("disturbance", {})}
            found = dict(self._observe(case))
            self.measuring_s += found.get("loaded_s", 0.0)
            events = [n for n in (seen.throttle_events, found.pop("throttle_events", None)) if n is not None]
            if events:  # what a device told of itself stands
                found["throttled"] = any(events) or bool(result.telemetry.get("throttled"))
            result = replace(
                result,
                telemetry={**result.telemetry, **found, "disturbance": noise},
                warnings=(
                    *result.warnings,
                    *of_machine(replace(seen, throttle_events=sum(events))),
                    *(["unobserved"] if "unobserved" in found else []),
                ),
            )
        self._store.add_round(case, result, self.uid)
        self.measuring_s += result.running_s
        self._codes[case, number] = result.warnings
        self._count, self._last = self._count + 1, case
        self._queued.discard((case, number))
        if result.status == "ok":
            self._flagged.pop((case, number), None)
            self._open.append((case, number))
        return result

    def throttled(self, case: Case, number: int) -> list[tuple[Case, int]]:
        """The round, where it ran under cut clocks, to be measured again when the board is cooler."""
        key = case, number
        if "throttled" not in self._codes[key]:
            self._vain = 0 if self._hot[key] else self._vain
            return []
        self._vain += self._hot[key] > 0
        if self._hot[key] >= AGAIN or self._vain >= VAIN:
            return []
        self._hot[key] += 1
        self._cool(self._sense(), COOL_C)
        return [key]

    def _cool(self, seen: HostReading, least_c: float) -> HostReading:
        """Wait, in bounds, where the board has less than ``least_c`` to go until it cuts its clocks."""
        spent = 0.0
        while not self._backend.simulated and seen.headroom_c is not None and seen.headroom_c < least_c:
            if spent >= COOL_S or self._cooled >= COOLING_S or self._clock() + COOL_STEP_S > self._deadline:
                break
            self._sleep(COOL_STEP_S)
            spent, self._cooled = spent + COOL_STEP_S, self._cooled + COOL_STEP_S
            least_c = COOL_C
            seen = self._sense()
        return seen

    def watch_sentinels(self, case: Case) -> list[tuple[Case, int]]:
        """Look at the sentinels when it is time. Rounds that are to be measured again."""
        if not self._watching:
            return []
        again = self._turn(case) if self._now() - self._looked >= self._every else []
        if self._now() - self._restarted >= self._restart_every:
            self._restart()
        return again

    def _turn(self, case: Case) -> list[tuple[Case, int]]:
        """Look; mend what can be mended by a restart, then by waiting, once for each drift."""
        found = self._look(case)
        if found > 1 and not self._slow:
            fresh_for = self._now() - self._restarted
            self._restart()
            self._slow = self._look(case) > 1
            if self._slow:
                self._wait(case)
            elif found < float("inf"):
                self._mended += 1
                if self._mended >= MENDED:
                    self._restart_every = min(self._restart_every, fresh_for * FRESH / found)
        else:
            self._slow = found > 1
        return self._disturbed()

    def settle(self, wait: bool = True) -> list[tuple[Case, int]]:
        """A last look, with a wait for better times where they are needed. Rounds that are to be measured again."""
        if not self._watching or not self._last or not (self._open or self._slow):
            return []
        if not wait:
            self._slow = self._look(self._last) > 1
            return self._disturbed()
        again = self._turn(self._last)
        if self._slow and self._flagged:
            self._wait(self._last)
            again += self._disturbed()
        return again

    def warned(self) -> tuple[tuple[Case, str], ...]:
        """Each case with each warning that one of its rounds has, those measured during drift among them."""
        found = [(case, code) for (case, _), codes in self._codes.items() for code in codes]
        found += [(case, "drift") for case, _ in self._flagged]
        found += [(key[0], "drift-mended") for key in self._repeats if key not in self._flagged]
        return tuple(dict.fromkeys(found))

    def _restart(self) -> None:
        self._backend.restart()
        self._restarted = self._now()

    def _now(self) -> float:
        return float(self._count) if self._backend.simulated else self._clock()

    def _look(self, case: Case) -> float:
        """How slow the machine is; above 1 is drift."""
        before = len(self._sentinels) - 1
        found = self._sentinels.look(case)
        self._taken.update(dict.fromkeys(self._open, (before, before + 1)))
        self._open = []
        self._looked = self._now()
        return found

    def _wait(self, case: Case) -> None:
        """Wait until the machine is as fast as it was, in bounds."""
        for pause in self._pauses:
            if self._waited + pause > WAIT_S or self._clock() + pause > self._deadline:
                break
            self._waited += pause
            if not self._backend.simulated:
                self._sleep(pause)
            self._slow = self._look(case) > 1
            if not self._slow:
                break

    def _disturbed(self) -> list[tuple[Case, int]]:
        """Put the warning on what was measured next to a look that found drift. What of it can be measured again now:
        nothing while the machine is slow."""
        drifting = self._sentinels.drifting()
        for key, looks in self._taken.items():
            if key not in self._flagged and drifting.intersection(looks):
                self._store.warn(*key, "drift")
                self._flagged[key] = None
        if self._slow:
            return []
        here = [k for k in self._flagged if k[0].setting == self.setting]
        again = [k for k in here if k not in self._queued and self._repeats[k] < AGAIN]
        self._queued.update(again)
        self._repeats.update(again)
        return again

    def _read(self, name: str, sentinel: Case) -> float | None:
        try:
            reading = self._backend.measure(sentinel, 0, READING, None)
        except OF_ONE_CASE:
            return None
        self.measuring_s += reading.running_s
        latency = reading_ms(reading)
        self._store.add_sentinel(self.uid, name, latency, self._sense().load_1m)
        return latency


def turns(cases: Sequence[Case], last: Setting | None) -> list[list[Case]]:
    """Cases by setting, in the order first met, or backwards where that begins with the setting which is there now."""
    found: dict[Setting, list[Case]] = {}
    for case in cases:
        found.setdefault(case.setting, []).append(case)
    groups = list(found.values())
    return groups[::-1] if groups and groups[-1][0].setting == last else groups


def onwards(clock: Callable[[], float]) -> Callable[[], float]:
    """A clock of the seconds that ``clock`` went forwards: it stands still where ``clock`` jumps back, so that a budget
    stays what it is."""
    last, spent = clock(), 0.0

    def read() -> float:
        nonlocal last, spent
        now = clock()
        spent += max(now - last, 0.0)
        last = now
        return spent

    return read


@contextmanager
def _batch_file(tiles: Images | None, case: Case) -> Iterator[Path | None]:
    """The batch of ``case`` cut from real tiles, as a file that the worker can read."""
    if tiles is None:
        yield None
        return
    with tempfile.NamedTemporaryFile(suffix=".npy") as stream:
        np.save(stream, batch_of(tiles, case.batch), allow_pickle=False)
        stream.flush()
        yield Path(stream.name)
