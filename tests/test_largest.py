"""The largest batch that fits: bisection, and a real limit on a real runtime's memory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgeprof.backends.base import Stop
from edgeprof.errors import BackendError, OutOfMemory, SpecError
from edgeprof.largest import Largest, fill_memory, largest
from edgeprof.sweeps.expand import expand
from edgeprof.sweeps.spec import parse_sweep
from edgeprof.target import open_target
from edgeprof.timing.place import Here, Start

# 784 KiB a tile behind its convolution
NET = {"conv": 1, "depth": 256, "kernel": 3, "padding": "same", "fc": 0, "threads": 1}
SWEEP = parse_sweep({"name": "s", "net": NET}, "test")
QUICK = Stop(target_ci=0.5, min_runs=3, min_s=0.001, max_s=0.01)


@pytest.mark.parametrize("room", [*range(130), 511, 512, 513, 3000, 2**19 + 7])
def test_it_is_found_to_within_a_hundredth(room: int) -> None:
    tried: list[int] = []

    def fits(batch: int) -> str:
        tried.append(batch)
        return "" if batch <= room else f"{batch} is too much"

    found = largest(fits)
    assert found.batch <= room
    assert found.above is not None
    assert found.above > room
    assert found.above - found.batch <= max(found.batch / 128, 1)
    assert found.reason == f"{found.above} is too much"
    assert len(set(tried)) == len(tried) <= 28


def test_everything_fits() -> None:
    assert largest(lambda batch: "", 1000) == Largest(1000)


class Bounded(Here):
    """This machine, with a limit on what a process's data may take (KiB)."""

    def __init__(self, kib: int) -> None:
        super().__init__()
        self._kib = kib

    def start(self, code: str, environment: Mapping[str, str], scratch: str) -> Start:
        plain = super().start(code, environment, scratch)
        command = ("sh", "-c", f'ulimit -d {self._kib}; exec "$@"', "sh", *plain.command)
        return Start(command, plain.environment)


def data_kib(pid: int) -> int:
    """What a process's data takes."""
    with open(f"/proc/{pid}/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmData:"))


@pytest.fixture(scope="module")
def idle_kib() -> int:
    """What the data of a worker takes that has run next to nothing."""
    with open_target("cpu") as target:
        (work,) = expand(SWEEP.override({"batch": (1,)}))
        target.backend.try_out(target.case(work))
        return data_kib(target.backend._worker.pid)  # type: ignore[attr-defined]


def test_a_real_limit_on_the_processor(idle_kib: int) -> None:
    said: list[str] = []
    with open_target("cpu", place=Bounded(idle_kib + 192 * 1024)) as target:
        (filled,) = fill_memory([SWEEP], target, said.append)
        (found,) = expand(filled)
        assert 16 < found.batch < 190  # 144 MiB; idle workers differ by 8 MiB a thread
        assert target.backend.measure(target.case(found), 1, QUICK, None).status == "ok"
        with pytest.raises(OutOfMemory, match="were asked for") as caught:
            target.backend.measure(
                target.case(found.model_copy(update={"batch": 4 * found.batch})), 1, QUICK, None
            )
        assert caught.value.bytes_asked
    assert len(said) == 1
    assert f"{found.batch} fits" in said[0]
    assert "out of memory" in said[0]


def test_a_network_that_never_fits_stays_and_will_say_why(idle_kib: int) -> None:
    large = SWEEP.override({"tile": (112,)})  # 12 MiB behind its convolution, 32 MiB of weights
    said: list[str] = []
    with open_target("cpu", place=Bounded(idle_kib + 40 * 1024)) as target:
        (filled,) = fill_memory([large], target, said.append)
        assert [work.batch for work in expand(filled)] == [1]
    assert ": 0 fits; 1 does not: out of memory" in said[0]


def test_a_simulated_board_has_no_memory() -> None:
    with open_target("cpu", "simulated:gtx960-theano") as target:
        (work,) = expand(parse_sweep({"name": "s", "net": {"batch": 1}}, "test"))
        with pytest.raises(BackendError, match="no memory to fill"):
            target.backend.try_out(target.case(work))
        with pytest.raises(SpecError, match="no memory to fill"):
            fill_memory([SWEEP], target)
