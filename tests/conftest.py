"""What every test may rely on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.emulation import write_board


def pytest_configure() -> None:
    """Ctrl-C is met as in the foreground: a shell's background job, and all that it starts, would ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made():
    """Make one side of a comparison: networks measured in rounds that are made up (:func:`made_rounds`)."""

    def side(**settings):
        from edgeprof.side import measured_side
        from edgeprof.timing.measurement import measurement

        simulated, estimator = settings.pop("simulated", False), settings.pop("estimator", "low-decile")
        found = made_rounds(**settings)
        measured = [(measurement(case, rounds, estimator, 3, simulated), rounds) for case, rounds in found]
        return measured_side("made", measured)

    return side


@pytest.fixture
def database():
    """Write networks measured in rounds that are made up (:func:`made_rounds`) to a database."""

    def write(path, **settings):
        from edgeprof.store import Store

        with Store(Path(path), create=True) as store:
            for case, rounds in made_rounds(**settings):
                store.add_cases([case], "low-decile", False, 3)
                for measured in rounds:
                    store.add_round(case, measured, "s")

    return write


def made_rounds(
    *,
    nets,
    first=0,
    rounds=3,
    noise=0.01,
    seed=0,
    factors=None,
    slow=None,
    names=None,
    failing=None,
    same_net=False,
    profiled=True,
    **identity,
):
    """(case, rounds) of networks. Number i of ``first`` … ``first + nets - 1`` has batch i + 1, a Conv of i + 2 ms
    and a Gemm of 1 ms, each times its kind's part in ``factors``, both times what ``slow`` says of the network; their
    noise from round to round is ``noise``. ``names`` calls kinds otherwise; ``failing`` has why a network fails."""
    from edgeprof.nets.spec import net_spec
    from edgeprof.sweeps.case import Case
    from edgeprof.timing.measurement import KernelTimes, Round

    where = dict(
        precision="fp32",
        threads=1,
        launch="blocking",
        board="cpu",
        machine="EPYC",
        backend="ort-cpu",
        runtime="onnxruntime 1.31.1",
    )
    rng = np.random.default_rng([seed, 11])
    found = []
    for i in range(first, first + nets):
        net = net_spec(depth=8 if same_net else 8 + i)
        case = Case(**{**where, "net": net, "batch": i + 1, **identity})
        if i in (failing or {}):
            found.append((case, [Round(number=1, status="failed", reason=failing[i])]))
            continue
        base = {"Conv.nchwc": i + 2.0, "Gemm": 1.0}
        of = np.array([ms * (factors or {}).get(kind, 1.0) for kind, ms in base.items()])
        own = []
        for number in range(1, rounds + 1):
            ms = of * (slow or {}).get(i, 1.0) * np.exp(noise * rng.normal(size=2))
            kernels = tuple(
                KernelTimes((names or {}).get(kind, kind), f"{kind}1", ("conv1",), (us,) * 5)
                for kind, us in zip(base, 1e3 * ms, strict=True)
            )
            own.append(
                Round(
                    number=number,
                    status="ok",
                    runs_ns=np.rint(1e6 * ms.sum() * np.exp(0.001 * rng.normal(size=40))).astype(np.int64),
                    stopped="target",
                    half_width=0.001,
                    kernels=kernels if profiled else (),
                    profiled_us=(1e3 * ms.sum(),) * 5 if profiled else (),
                )
            )
        found.append((case, own))
    return found


@pytest.fixture
def emulated(tmp_path: Path) -> Callable[[str], Path]:
    """Write an emulated Jetson and give its root: tx1, nano, xavier-nx, orin-nano, agx-orin or thor."""
    return lambda name: write_board(tmp_path / name, name)
