"""Readings and how several sources make one."""

from edgeprof.boards.sensors.reading import LABELS, Reading, merged


def test_each_field_is_of_the_first_source_that_knows_it():
    first = Reading(rails_mw={"VDD_IN": 5000.0}, gpu_load_pct=0.0)
    second = Reading(rails_mw={"VDD_IN": 1.0, "VDD_SOC": 2.0}, gpu_load_pct=9.0, gpu_mhz=306.0)
    found, sources = merged([("jtop", first), ("nothing", None), ("sysfs", second)])
    assert found == Reading(rails_mw={"VDD_IN": 5000.0}, gpu_load_pct=0.0, gpu_mhz=306.0)
    assert sources == {"rails_mw": "jtop", "gpu_load_pct": "jtop", "gpu_mhz": "sysfs"}


def test_nothing_known():
    assert merged([]) == (Reading(), {})
    assert Reading().known() == frozenset()
    assert LABELS.keys() == Reading.__dataclass_fields__.keys()
