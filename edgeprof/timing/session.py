"""Session: rounds of cases in fresh random order, with sentinels between them; everything goes into the store."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.backends.base import Backend, Stop
from edgeprof.boards.detect import load_1m
from edgeprof.boards.sensors.host import Disturbance, between, read_host
from edgeprof.boards.spec import Estimator
from edgeprof.errors import BackendError, SpecError, WorkerError
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.tiles import batch_of
from edgeprof.timing.measurement import Round

Images = NDArray[np.float32]  # [n, channels, tile, tile]

SENTINEL_EVERY_S = 20.0
SENTINEL_STOP = Stop(target_ci=0.005, min_runs=20, min_s=0.1, max_s=0.4)
SENTINEL_NET = net_spec(conv=2, depth=32, fc=1, neurons=256)
SENTINEL_BATCH = 8
DRIFT = 0.03
PAUSE_S = 2.0
STOLEN_PCT = 2.0  # of the time: taken by the hypervisor
CONTENDED_PCT = 10.0  # of the time: some task waited for a processor


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
    """What a sweep did. ``failed`` has (case, reason); times in seconds, ``measuring_s`` with a network running."""

    cases: int
    measured: int
    reused: int
    failed: tuple[tuple[Case, str], ...]
    wall_s: float
    measuring_s: float
    stopped: str
    warnings: tuple[str, ...]


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
) -> SweepResult:
    """Measure every case that the store does not have yet, ``rounds`` times, each round in a fresh random order.

    A case that fails is kept with its reason and not tried in later rounds; the others go on. What was measured while
    the sentinel drifted is measured once more.
    """
    stop = stop or Stop()
    clock = onwards(clock)
    if fresh:
        store.supersede(cases)
    done = store.done()
    store.add_cases(cases, estimator, backend.simulated, rounds)
    session = _Session(store, backend, stop, tiles, clock, sleep)
    store.add_session(session.uid, {**backend.facts(), **(facts or {}), "load_1m": load_1m()})
    rng = Random(seed)
    keys = {case: case.key() for case in cases}
    total = len(cases) * rounds
    finished = sum((key, n) in done for key in keys.values() for n in range(1, rounds + 1))
    reused = sum(all((key, n) in done for n in range(1, rounds + 1)) for key in keys.values())
    measured: set[Case] = set()
    failed: dict[Case, str] = {}
    begin, stopped = clock(), ""
    for number in range(1, rounds + 1):
        order = [case for case in cases if (keys[case], number) not in done and case not in failed]
        rng.shuffle(order)
        queue = deque(order)
        again: set[Case] = set()
        while queue and not stopped:
            if budget_s is not None and clock() - begin >= budget_s:
                stopped = "budget"
                break
            case = queue.popleft()
            if case in failed:
                continue
            watch(Progress(finished, total, number, rounds, case.label()))
            result = session.measure(case, number)
            if result.status == "failed":
                failed[case] = result.reason
            else:
                measured.add(case)
            finished += case not in again
            for disturbed in session.watch_sentinel(case, number, last=not queue):
                if disturbed not in again and disturbed not in failed:
                    again.add(disturbed)
                    queue.append(disturbed)
    watch(Progress(finished, total, rounds, rounds, ""))
    return SweepResult(
        cases=len(cases),
        measured=len(measured),
        reused=reused,
        failed=tuple(failed.items()),
        wall_s=clock() - begin,
        measuring_s=session.measuring_s,
        stopped=stopped,
        warnings=tuple(session.warnings),
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
    ) -> None:
        self.uid = uuid.uuid4().hex
        self.measuring_s = 0.0
        self.warnings: list[str] = []
        self._store, self._backend, self._stop, self._tiles = store, backend, stop, tiles
        self._clock, self._sleep = clock, sleep
        self._best: dict[Case, float] = {}  # of each sentinel: they differ in threads and the like
        self._looked = float("-inf")
        self._since: list[Case] = []

    def measure(self, case: Case, number: int) -> Round:
        """Measure one round of one case and keep it; trouble becomes a failed round."""
        before = read_host()
        try:
            with _batch_file(self._tiles, case) as path:
                result = self._backend.measure(case, number, self._stop, path)
        except (WorkerError, BackendError, SpecError) as error:
            result = Round(number=number, status="failed", reason=error.message)
        except MemoryError:
            result = Round(number=number, status="failed", reason="out of memory while the network was built")
        if not self._backend.simulated and result.status == "ok":
            seen = between(before, read_host())
            telemetry = {**result.telemetry, "disturbance": asdict(seen)}
            result = replace(result, telemetry=telemetry, warnings=(*result.warnings, *disturbed(seen)))
        self._store.add_round(case, result, self.uid)
        self.measuring_s += result.running_s
        self.warnings.extend(result.warnings)
        self._since.append(case)
        return result

    def watch_sentinel(self, case: Case, number: int, last: bool) -> list[Case]:
        """Look at the sentinel when it is time. Cases measured since the last good look, where it drifted."""
        if self._backend.simulated or (self._clock() - self._looked < SENTINEL_EVERY_S and not last):
            return []
        drifted = self._drifted(case)
        if drifted:
            self._backend.restart()
            self._sleep(PAUSE_S)
            self._drifted(case)
        since, self._since = self._since, []
        if drifted:
            self.warnings.extend(["drift"] * len(since))
        return since if drifted else []

    def _drifted(self, like: Case) -> bool:
        sentinel = like.model_copy(update={"net": SENTINEL_NET, "batch": SENTINEL_BATCH, "inputs": "noise"})
        try:
            reading = self._backend.measure(sentinel, 0, SENTINEL_STOP, None)
        except (WorkerError, BackendError):
            self._looked = self._clock()
            return True
        latency = min(float(np.median(part)) for part in np.array_split(reading.runs_ns, 5)) / 1e6
        self.measuring_s += reading.running_s
        self._store.add_sentinel(self.uid, "compute", latency, load_1m())
        self._looked = self._clock()
        best = self._best.setdefault(sentinel, latency)
        self._best[sentinel] = min(best, latency)
        return latency > best * (1 + DRIFT)


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


def disturbed(seen: Disturbance) -> tuple[str, ...]:
    """Codes of the advice that a disturbance calls for."""
    found = []
    if seen.steal_pct is not None and seen.steal_pct > STOLEN_PCT:
        found.append("stolen")
    if seen.waited_pct is not None and seen.waited_pct > CONTENDED_PCT:
        found.append("contended")
    if seen.throttle_events:
        found.append("throttled")
    return tuple(found)


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


@contextmanager
def device_lock(device: str, waiting: Callable[[str], None], poll_s: float = 0.5) -> Iterator[None]:
    """One sweep on a device at a time: a second one says so and waits. The lock ends with its process."""
    import fcntl

    path = Path(tempfile.gettempdir()) / f"edgeprof-{device}-{os.getuid()}.lock"
    with path.open("a+") as stream:
        told = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if not told:
                    waiting(f"another sweep is using {device}: waiting for it (Ctrl-C gives up)")
                    told = True
                time.sleep(poll_s)
        yield
