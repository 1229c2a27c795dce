"""Energy is drawn where it was sensed, and only there."""

from __future__ import annotations

from edgeprof.report.figures import energy, power
from edgeprof.report.settings import settings_of

from ..samples import gridded, with_telemetry


def test_energy_and_power_of_the_cases_that_have_them() -> None:
    sensed = with_telemetry(gridded()[:5], energy_mj_per_tile=0.5, power_mw=4000.0)
    settings = settings_of((*sensed, *gridded()[5:]))
    drawn = energy(settings)
    assert drawn is not None
    assert drawn.series[0].y == (0.5,) * 5
    assert drawn.y.title == "energy (mJ/tile)"
    watts = power(settings)
    assert watts is not None
    assert sorted(watts.series[0].x) == sorted(m.tiles_per_ms for m in gridded()[:5])


def test_nothing_sensed_is_no_figure() -> None:
    for telemetry in ({}, {"energy_mj_per_tile": None}, {"energy_mj_per_tile": 0.0}):
        assert energy(settings_of(with_telemetry(gridded(), **telemetry))) is None
    assert power(settings_of(gridded())) is None
