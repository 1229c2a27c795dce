"""A discrete GPU's sensors as readings, from a library in C that stands in for the driver's."""

from __future__ import annotations

from pathlib import Path

from edgeprof.boards.sensors.card import Card, card_reading, open_card
from edgeprof.boards.sensors.gauges import Gauges, Seen, mean
from edgeprof.boards.sensors.reading import Counter, Reading
from edgeprof.boards.spec import read_board


def test_a_card_is_a_source(card: Path) -> None:
    source = open_card("0000:05:00.0")
    assert source is not None
    seen = Gauges([source]).read()
    reading = seen.reading
    assert reading.rails_mw == {"card": 15000}
    assert read_board("a2").total_mw(reading.rails_mw) == 15000
    assert (reading.gpu_mhz, reading.gpu_memory_mhz, reading.temperature_c) == (1200, 6001, {"gpu": 51})
    assert reading.counter is not None
    assert reading.cuts == ()
    assert (reading.power_source, reading.fan_pct) == ("averaged over 1 s", None)
    assert reading.known() - {"power_source"} == source.gives - {"fan_pct"}
    assert set(seen.sources.values()) == {"nvml"}
    assert open_card("0000:06:00.0") is None


def test_what_is_not_told_is_absent() -> None:
    assert card_reading({"at_s": 1.0}) == Reading()
    assert Card(lambda: None).read() is None
    assert read_board("a2").total_mw({}) is None


def test_a_mean_keeps_the_last_counter_and_every_reason() -> None:
    told = [
        card_reading(
            {"gpu_memory_mhz": 5000, "energy_mj": 10, "at_s": 1.0, "throttle_reasons": ["power cap"]}
        ),
        card_reading({"gpu_memory_mhz": 6000, "energy_mj": 30, "at_s": 2.0, "throttle_reasons": []}),
    ]
    found = mean([Seen(reading, {}) for reading in told]).reading
    assert (found.gpu_memory_mhz, found.counter, found.cuts) == (5500, Counter(30, 2.0), ("power cap",))
    assert mean([Seen(Reading(), {})]).reading.cuts is None
