"""Target: a board with an open backend, and what measuring on it needs: sensors, a lock, power modes, its warmth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from edgeprof.backends.base import Backend
from edgeprof.backends.open import BACKENDS, open_backend
from edgeprof.backends.trt import GPU, checked_device
from edgeprof.boards.detect import Machine, find_board
from edgeprof.boards.sensors.gauges import AS_ROOT, Gauges
from edgeprof.boards.sensors.host import HostReading
from edgeprof.boards.sensors.reading import LABELS
from edgeprof.boards.spec import Board, Estimator
from edgeprof.errors import BackendError, SpecError
from edgeprof.modes import Control, Switch, switching
from edgeprof.nets.network import weights_format
from edgeprof.sweeps.case import Case, Workload
from edgeprof.timing.load import Total
from edgeprof.timing.place import HERE, Place, wait_for_restoring

if TYPE_CHECKING:
    from edgeprof.backends.simulated import SimulatedBackend

DEVICES = "tensorrt"  # the backend that runs networks on several kinds of device
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
            target has no power modes. :raises SpecError: it has not that mode. :raises DomainError: it plays a law
            back that has no price for such a network.
        """
        if self.backend.simulated:
            cast("SimulatedBackend", self.backend).check(work.net)
            if work.power_mode or work.clocks:
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
            if board.kind == "jetson":  # its processor is part of the board
                hint = f"--backend ort-cpu measures its processor; for its GPU: {error.hint}"
            raise BackendError(f"{board.name} cannot be measured: {error.message}", hint) from None
        raise


def _open_own(board: Board, place: Place) -> Backend:
    if board.backend not in BACKENDS:
        raise BackendError(
            f"board {board.name} is measured by backend '{board.backend}', which this version of edgeprof has not",
            "--board cpu measures the processor; edgeprof list backends shows what there is",
        )
    return open_backend(board.backend, place)


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
def alone(target: Target, say: Callable[[str], None]) -> Iterator[None]:
    """One sweep at a time on a real device."""
    if target.backend.simulated:
        yield
        return
    with target.place.lock(target.board, say):
        wait_for_restoring(target.place, say)
        yield


def switched(
    target: Target, sets: bool, soak_s: float | None, say: Callable[[str], None]
) -> AbstractContextManager[Switch | None]:
    """What brings the target into the setting of a case; None where nothing is to be set."""
    if not sets:
        return nullcontext()
    return switching(target.control(), target.backend, warmth(target), soak_s, say)


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
