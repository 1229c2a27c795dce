"""Results of sweeps: added up, and made longer."""

from __future__ import annotations

from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.case import Case
from edgeprof.timing.result import SweepResult, together

HERE = {"precision": "fp32", "threads": 1, "launch": "blocking", "board": "cpu", "machine": "m"}
ONE, TWO = (
    Case(net=net_spec(fc=fc), batch=1, backend="ort-cpu", runtime="r", **HERE)  # type: ignore[arg-type]
    for fc in (1, 2)
)


def result(case: Case, stopped: str = "") -> SweepResult:
    return SweepResult(3, 1, 1, ((case, "too large"),), 2.0, 1.5, stopped, ((case, "drift"), (None, "busy")))


def test_parts_of_a_sweep_add_up_and_a_warning_counts_once() -> None:
    found = together([result(ONE), result(TWO, "budget"), result(ONE, "reboot")])
    assert (found.cases, found.measured, found.reused) == (9, 3, 3)
    assert (found.wall_s, found.measuring_s, found.stopped) == (6.0, 4.5, "budget")
    assert found.failed == ((ONE, "too large"), (TWO, "too large"), (ONE, "too large"))
    assert found.warned == ((ONE, "drift"), (None, "busy"), (TWO, "drift"))
    assert found.warnings == ("drift", "busy", "drift")
    assert together([]).cases == 0


def test_what_runs_on_makes_it_longer() -> None:
    found = result(ONE).longer(10.0, [(TWO, "lost")])
    assert (found.wall_s, found.measuring_s) == (12.0, 11.5)
    assert found.failed == ((ONE, "too large"), (TWO, "lost"))
    assert (found.cases, found.warned) == (3, result(ONE).warned)
