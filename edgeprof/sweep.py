"""A sweep on a board: cases from its specification, measured in a session, kept in a database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

from edgeprof.backends.base import Backend, Stop
from edgeprof.backends.open import BACKENDS, open_backend
from edgeprof.backends.trt import GPU, checked_device
from edgeprof.boards.detect import Machine, find_board
from edgeprof.boards.power import Rebooting
from edgeprof.boards.sensors.gauges import AS_ROOT, Gauges
from edgeprof.boards.sensors.host import HostReading
from edgeprof.boards.sensors.reading import LABELS
from edgeprof.boards.spec import Board, Estimator
from edgeprof.errors import BackendError, BoardError, SpecError
from edgeprof.modes import Control, Switch, switching
from edgeprof.nets.network import of_family, total_macs, weights_format
from edgeprof.store import Store
from edgeprof.sweeps.case import Case, Workload
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import SweepSpec
from edgeprof.tiles import read_tiles
from edgeprof.timing.load import Total, telemetry
from edgeprof.timing.longrun import LongRun, run_long
from edgeprof.timing.place import HERE, Place
from edgeprof.timing.session import Images, Progress, SweepResult, run_session, together, turns
from edgeprof.timing.soak import soak
from edgeprof.tradeoff import ModeSummary, summaries

if TYPE_CHECKING:
    from edgeprof.backends.simulated import SimulatedBackend

DEVICES = "tensorrt"  # the backend that runs networks on several kinds of device
POOL = 5  # networks drawn for each one that the sample asks for, to choose from
CASE_S = 0.55  # a case and round beside its samples: build, load, profile
TELEMETRY_S = 1.6  # a case and round on a board with sensors of its own
SWITCH_S = 5.0  # to another power mode: nvpmodel, jetson_clocks, until the speed is steady, sentinels before and after
MACS_PER_S = 2e10  # of a thread: a cautious guess, until something was measured
POWER = frozenset(("rails_mw", "counter"))  # of a reading: what tells it
PEAK_SHARE = 0.2  # of a GPU's datasheet: another
GPU_FACTS = ("gpu", "gpu_sms", "gpu_l2_kib", "gpu_memory_mib", "gpu_compute_capability")  # that laws are told
BUSY = 0.5  # load per core from which the machine counts as busy before a sweep


@dataclass(frozen=True)
class Target:
    """Where a sweep runs: a board, an open backend, and what is known of both."""

    board: str
    machine_title: str
    machine: dict[str, Any]
    backend: Backend
    runtime: str
    estimator: Estimator
    threads: int
    place: Place = HERE
    spec: Board | None = None
    power_mode: str | None = None
    clocks: str | None = None

    def case(self, work: Workload, inputs: str = "noise") -> Case:
        """``work`` on this target.

        :raises BackendError: a launch mode or a precision that the backend does not have. :raises BoardError: the
            target has no power modes. :raises SpecError: it has not that mode.
        """
        if self.backend.simulated and (work.power_mode or work.clocks):
            raise SpecError(
                "a simulated board has no power modes to set", "leave out --power-mode and --clocks"
            )
        for what, asked, known in (
            ("launch mode", work.launch, self.backend.launches),
            ("precision", work.precision, self.backend.precisions),
        ):
            if asked not in known:
                raise BackendError(
                    f"{self.backend.name} has no {what} '{asked}'", f"it has {', '.join(known)}"
                )
        return Case(
            net=work.net,
            batch=work.batch,
            precision=_precision(work),
            threads=work.threads or self.threads,
            launch=work.launch,
            provider_options=self.backend.options(_precision(work), work.launch),
            board=self.board,
            machine=self.machine_title,
            backend=self.backend.name,
            runtime=self.runtime,
            inputs=inputs,
            power_mode=self._mode(work.power_mode),
            clocks=self._held(work.clocks),
        )

    def control(self) -> Control:
        """What sets power mode and clocks; the same each time.

        :raises BoardError: that cannot be done from here.
        """
        card = card_of(self)
        return self.place.locks(card) if card else self.place.power()

    def _mode(self, name: str | None) -> str | None:
        return self.control().modes([name])[0].name if name else self.power_mode

    def _held(self, clocks: str | None) -> str | None:
        if clocks and not card_of(self):
            self.control().modes([])  # where there are no power modes, nothing holds clocks
        if clocks and clocks not in (ways := self.control().holds):
            raise SpecError(
                f"clocks cannot be held at '{clocks}' on {self.board}", f"--clocks {', '.join(ways)}"
            )
        return clocks or self.clocks


def _precision(work: Workload) -> str:
    """What ``work`` is computed in: what is asked for, or what a file's weights are in where that is not float32."""
    own = weights_format(work.net)
    return work.precision if own in ("", "fp32") else own


@contextmanager
def open_target(
    board: str = "auto",
    backend: str = "auto",
    machine: Machine | None = None,
    place: Place = HERE,
    device: str | None = None,
) -> Iterator[Target]:
    """The board and backend of these names, ready to measure; ``auto`` is what the machine is. ``place`` is closed at
    the end.

    :param machine: what the machine is, if it is known already. :param place: this machine, or one over ssh.
    :param device: of a backend that knows several: ``dla0``.
    :raises CatalogueError: no such board. :raises BoardError: a kind of board that this machine is not.
    :raises BackendError: a backend that is missing or does not suit the board.
    """
    with ExitStack() as stack:
        stack.callback(place.close)
        machine = machine or place.machine()
        spec = find_board(board, machine)
        backend = with_device(backend, device, spec)
        opened = _open_own(spec, place) if backend == "auto" else open_backend(backend, place)
        stack.callback(opened.close)
        if opened.simulated:
            played = cast("SimulatedBackend", opened)
            law = played.law
            title = str(law.machine.get("model", law.board))
            yield Target(
                law.board,
                title,
                dict(law.machine),
                opened,
                opened.runtime(),
                "median",
                law.threads or 1,
                power_mode=law.machine.get("power_mode"),
                clocks=played.clocks or law.machine.get("clocks"),
            )
        else:
            runtime, facts = _asked(opened, spec, own=backend == "auto")
            yield Target(
                spec.name,
                f"{facts['gpu']}, {machine.model}" if "gpu" in facts else machine.model,
                {**machine.as_dict(), **{name: facts[name] for name in GPU_FACTS if name in facts}},
                opened,
                runtime,
                spec.estimator,
                opened.threads or machine.physical_cores,
                place,
                spec,
                place.power_mode(),
            )


def with_device(backend: str, device: str | None, board: Board) -> str:
    """The backend's name with the device that it is to use: ``tensorrt:dla0``.

    :raises BackendError: a backend that knows none, or a DLA that ``board`` has not.
    """
    name, _, own = backend.partition(":")
    if device and name not in ("auto", DEVICES):
        raise BackendError(f"{name} has no devices to choose from", f"--backend {DEVICES} has")
    if name != DEVICES and not device:
        return backend
    number = checked_device(device or own or GPU).removeprefix("dla")
    if number == GPU:
        return backend if backend == "auto" else DEVICES
    if board.kind != "jetson" or int(number) >= (board.dla or 0):
        has = "is not known to have a DLA" if board.dla is None else f"has {board.dla or 'no'} DLA"
        raise BackendError(
            f"{board.name} {has}: there is no dla{number}",
            "Xavier, Orin NX and AGX Orin have DLAs, numbered from 0 (edgeprof show BOARD)",
        )
    return f"{DEVICES}:dla{number}"


def _asked(backend: Backend, board: Board, own: bool) -> tuple[str, dict[str, Any]]:
    """The runtime and the facts of an open backend.

    :param own: it is the board's, and nobody asked for it by name.
    :raises BackendError: it is missing, or the GPU is.
    """
    try:
        return backend.runtime(), backend.facts()
    except BackendError as error:
        if own and board.kind != "cpu":
            hint = f"{error.hint}; or measure this machine's processor: --board cpu"
            raise BackendError(f"{board.name} cannot be measured: {error.message}", hint) from None
        raise


def _open_own(board: Board, place: Place) -> Backend:
    if board.backend not in BACKENDS:
        raise BackendError(
            f"board {board.name} is measured by backend '{board.backend}', which this version of edgeprof has not",
            "--board cpu measures the processor; edgeprof list backends shows what there is",
        )
    return open_backend(board.backend, place)


def modes_measured(db: Path, target: Target) -> tuple[ModeSummary, ...]:
    """The power modes of a target that a database has the same networks of."""
    with Store(db) as store:
        found = store.measurements()
    own = (target.board, target.machine_title, target.backend.name, target.runtime)
    return summaries(
        m for m in found if (m.case.board, m.case.machine, m.case.backend, m.case.runtime) == own
    )


def by_setting(cases: Iterable[Case], target: Target) -> tuple[Case, ...]:
    """Cases of a power mode (and of held clocks) together; those of the mode that the target is in come first."""
    here_first = sorted(cases, key=lambda case: case.power_mode != target.power_mode)
    return tuple(chain.from_iterable(turns(here_first, None)))


def switched(
    target: Target, sets: bool, soak_s: float | None, say: Callable[[str], None]
) -> AbstractContextManager[Switch | None]:
    """What brings the target into the setting of a case; None where nothing is to be set."""
    if not sets:
        return nullcontext()
    return switching(target.control(), target.backend, warmth(target), soak_s, say)


def estimate_s(cases: Iterable[Case], rounds: int, stop: Stop, board: Board | None = None) -> float:
    """A guess of the wall time (s) of measuring ``cases``, with telemetry where the board has it."""
    beside = CASE_S + (TELEMETRY_S if board and board.power and board.power.total else 0.0)
    total, settings = 0.0, set()
    for case in cases:
        settings.add(case.setting)
        rate = MACS_PER_S * max(case.threads, 1)
        if board and board.gpu and board.peaks and board.peaks.fp32_gflops and case.backend == board.backend:
            rate = PEAK_SHARE * board.peaks.fp32_gflops * 1e9 / 2
        run_s = total_macs(case.net, case.batch) / rate + 5e-5
        total += beside + min(max(stop.min_s, stop.min_runs * run_s), stop.max_s) * 1.5 + 20 * run_s
    switches = (len(settings) - 1) * rounds + 1 if len(settings) > 1 else 0
    return total * rounds + SWITCH_S * switches


def cases_of(sweeps: Sequence[SweepSpec], target: Target, tiles: Path | None = None) -> tuple[Case, ...]:
    """Every case of several sweeps, once; where a sweep names no launch mode, in all those that the backend usually
    measures."""
    inputs = "noise" if tiles is None else f"tiles:{tiles.name}"
    works = (
        work for sweep in sweeps for work in launched(sweep, target.backend.launches[: target.backend.usual])
    )
    return tuple(dict.fromkeys(target.case(work, inputs) for work in works))


def launched(sweep: SweepSpec, launches: Sequence[str]) -> Iterator[Workload]:
    """The workloads of a sweep, each in every one of these launch modes where the sweep names none."""
    named = sweep.names("launch")
    for work in expand(sweep):
        for launch in () if named else launches:
            yield work.model_copy(update={"launch": launch})
        if named:
            yield work


def run_sweep(
    sweeps: Sequence[SweepSpec],
    db: Path,
    target: Target,
    *,
    rounds: int = 3,
    stop: Stop | None = None,
    budget_s: float | None = None,
    fresh: bool = False,
    tiles: Path | None = None,
    seed: int | None = None,
    soak_s: float | None = None,
    long: LongRun | None = None,
    agree: Callable[[str], bool] = lambda what: False,
    begins: Callable[[], None] = lambda: None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> SweepResult:
    """Measure what ``sweeps`` ask for and ``db`` does not have yet. Where they name power modes or clocks, these are
    set as the cases need them, and put back at the end, whatever it is.

    :param tiles: a folder or picture of real inputs, instead of noise. :param seed: of the order within rounds.
    :param soak_s: warm the board up first, and after each change of its power mode, until its temperature is steady, so
        long at most.
    :param long: what each case does beside its rounds: on and on, at a rate, several times at once.
    :param agree: asked before the board is rebooted for a power mode.
    :param begins: called once all that can be refused has been, and measuring begins.
    :raises EdgeprofError: the request is wrong or cannot be met here.
    """
    check_long(target, long)
    cases = by_setting(cases_of(sweeps, target, tiles), target)
    images = images_for(cases, tiles)
    sets = any(sweep.sets for sweep in sweeps)
    designed = budget_s is not None and len(sweeps) == 1 and sweeps[0].sample is not None and not fresh
    pool: tuple[Case, ...] = ()
    if designed:
        drawn = expand(sweeps[0].resampled(_pool(sweeps[0]), None))
        pool = by_setting((target.case(work, cases[0].inputs) for work in drawn), target)
    results: list[SweepResult] = []
    warnings: tuple[str, ...] = ()
    begin = 0.0

    def measured(part: Sequence[Case]) -> SweepResult:
        left_s = None if budget_s is None else max(budget_s - time.monotonic() + begin, 0.0)
        if designed and left_s is not None:
            from edgeprof.budget import spend  # it fits laws: SymPy and SciPy are of no use to other sweeps

            own = turns([case for case in pool if case.setting in {c.setting for c in part}], None)
            share_s = left_s / max(len(own), 1)
            found = together(
                [spend(p, store, target.backend, measure, rounds=rounds, budget_s=share_s) for p in own]
            )
        else:
            found = measure(part, rounds=rounds, budget_s=left_s, fresh=fresh)
        if long:
            total = total_of(target)
            found = found.longer(
                *run_long(part, store, target.backend, gauges, total, long, watch, say, enter)
            )
        return found

    try:
        with (
            alone(target, say),
            switched(target, sets, soak_s, say) as switch,
            gauges_of(target, say) as gauges,
            Store(db, create=True) as store,
        ):
            warnings = noticed(target)
            left = cases if fresh or long or designed else _left(cases, store, rounds)
            beyond = switch.behind_reboot(left, agree) if switch else set()
            near = [case for case in cases if case.power_mode not in beyond]
            far = turns([case for case in cases if case.power_mode in beyond], None)
            begins()
            if soak_s and not sets and not target.backend.simulated:
                soaked = soak(cases[0], target.backend, warmth(target), soak_s)
                say(soaked.told() if soaked else "not warmed up: no temperature can be read, or nothing runs")
            for sweep in sweeps:
                store.add_sweep(sweep.model_dump(mode="json"))
            enter: Callable[[Case], None] = switch or (lambda case: None)
            measure = session_on(
                target,
                gauges,
                store,
                noticed=warnings,
                stop=stop,
                tiles=images,
                seed=seed,
                watch=watch,
                enter=enter,
            )
            begin = time.monotonic()
            for part in filter(None, (near, *far)):
                results.append(measured(part))
    except Rebooting as end:
        say(end.message)
        results.append(replace(together(()), stopped="reboot"))
    result = together(results)
    few = ["few-rounds"] * result.cases if rounds < 3 else []
    general = [(None, code) for code in (*warnings, *few)]
    return replace(result, warned=(*general, *result.warned))


def check_long(target: Target, wanted: LongRun | None) -> None:
    """See that ``target`` can do long runs.

    :raises SpecError: it is simulated. :raises BoardError: energy is wanted, and nothing tells its power.
    """
    if wanted and target.backend.simulated:
        raise SpecError(
            "a simulated board does not run on and on",
            "leave out --sustained, --rate, --energy and --in-flight",
        )
    if wanted and wanted.energy_s:
        with closing(target.place.gauges(card_of(target))) as gauges:
            if not any(source.gives & POWER for source in gauges.sources):
                raise BoardError(
                    f"nothing tells the power of {target.machine_title}: no energy can be measured",
                    "leave out --energy; a GPU's driver is asked through nvidia-ml-py (edgeprof doctor)",
                )


def images_for(cases: Sequence[Case], tiles: Path | None) -> Images | None:
    """Real inputs for ``cases`` from a folder or a picture; None where none are asked for.

    :raises SpecError: they are not for these networks. :raises EdgeprofError: they cannot be read.
    """
    if tiles is None:
        return None
    nets = [of_family(c.net, "real tiles are for square images") for c in cases]
    sizes = {(net.tile, net.channels) for net in nets}
    if len(sizes) > 1:
        raise SpecError(
            "real tiles need networks of one tile size and number of channels", "leave out --tiles"
        )
    return read_tiles(tiles, *next(iter(sizes)))


def _left(cases: Sequence[Case], store: Store, rounds: int) -> list[Case]:
    """Those of which not every round is measured."""
    done = store.done()
    return [case for case in cases if any((case.key(), n) not in done for n in range(1, rounds + 1))]


def session_on(
    target: Target,
    gauges: Gauges,
    store: Store,
    *,
    noticed: Sequence[str] = (),
    stop: Stop | None = None,
    tiles: Images | None = None,
    seed: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    enter: Callable[[Case], None] = lambda case: None,
) -> Callable[..., SweepResult]:
    """:func:`edgeprof.timing.session.run_session` on ``target``, with the circumstances that its measurements keep."""
    facts = {
        "machine": target.machine,
        "board": target.board,
        "backend": target.backend.name,
        "pid": os.getpid(),
        "noticed": noticed,
    }
    return partial(
        run_session,
        store=store,
        backend=target.backend,
        estimator=target.estimator,
        stop=stop,
        tiles=tiles,
        facts=facts,
        seed=Random().randrange(2**31) if seed is None else seed,
        watch=watch,
        sense=target.place.sense,
        observe=partial(_observed, target, gauges),
        enter=enter,
    )


def _pool(sweep: SweepSpec) -> int:
    assert sweep.sample is not None
    return sweep.sample.nets * POOL


def noticed(target: Target) -> tuple[str, ...]:
    """What about the machine will disturb a sweep, before it begins."""
    if target.backend.simulated:
        return ()
    found = []
    cores = target.machine.get("physical_cores", target.threads)
    if (target.place.sense().load_1m or 0) > BUSY * cores:
        found.append("busy")
    if target.spec and target.spec.kind == "jetson" and target.place.desktop():
        found.append("desktop")
    if target.machine.get("governor") not in (None, "performance"):
        found.append("governor")
    return tuple(found)


@contextmanager
def gauges_of(target: Target, say: Callable[[str], None]) -> Iterator[Gauges]:
    """The board's own sensors; what root alone may read is said once."""
    if target.backend.simulated:
        yield Gauges(())
        return
    with closing(target.place.gauges(card_of(target))) as gauges:
        if gauges.denied:
            say(
                f"not measured without root: {', '.join(LABELS[name] for name in gauges.denied)} · {AS_ROOT} sweep …"
            )
        yield gauges


def _observed(target: Target, gauges: Gauges, case: Case) -> dict[str, Any]:
    """Telemetry of a case, by the board's own sensors; a discrete GPU's are read by the process that uses it."""
    return {} if discrete(target) else telemetry(case, target.backend, gauges, total_of(target))


def discrete(target: Target) -> bool:
    """Whether networks run on a discrete GPU."""
    return target.spec is not None and target.spec.kind == "discrete"


def warmth(target: Target) -> Callable[[], HostReading]:
    """What tells how warm that is which is measured: of a discrete GPU its own temperature."""
    card = card_of(target)
    if card is None:
        return target.place.sense
    gauges = target.place.gauges(card)
    return lambda: HostReading(time.monotonic(), temperature_c=gauges.read().reading.temperature_c)


def card_of(target: Target) -> str | None:
    """The PCI address of the discrete GPU that networks run on; None where they run on none."""
    return target.backend.facts().get("gpu_address") if discrete(target) else None


def total_of(target: Target) -> Total:
    """What tells the power of all that the board takes in from that of its rails."""
    return target.spec.total_mw if target.spec else lambda rails: None


@contextmanager
def alone(target: Target, say: Callable[[str], None]) -> Iterator[None]:
    """One sweep at a time on a real device."""
    if target.backend.simulated:
        yield
        return
    with target.place.lock(target.board, say):
        yield
