"""Settings: what tells measurements apart beside their network, and what they are called."""

from __future__ import annotations

from dataclasses import replace

from edgeprof.report.settings import settings_of

from .samples import failed, gridded, gridded_twice


def cases(**changes):
    return tuple(replace(m, case=m.case.model_copy(update=changes)) for m in gridded())


def test_one_setting_has_its_machine_and_runtime_for_a_name() -> None:
    (only,) = settings_of((*gridded(), failed("no memory")))
    assert only.label == "AMD EPYC · onnxruntime 1.31.1 · fp32 · 1 thread · blocking launches"
    assert only.measurements == gridded()
    assert dict(only.parts)["backend"] == only.case.backend


def test_settings_are_called_by_the_fewest_parts_that_tell_them_apart() -> None:
    assert [s.label for s in settings_of(gridded_twice())] == ["AMD EPYC", "slow machine"]
    threads = settings_of((*gridded(), *cases(threads=2)))
    assert [s.label for s in threads] == ["1 thread", "2 threads"]
    both = settings_of(
        (*gridded(), *cases(threads=2), *cases(launch="async"), *cases(threads=2, launch="async"))
    )
    assert [s.label for s in both] == [
        "1 thread · blocking launches",
        "2 threads · blocking launches",
        "1 thread · async launches",
        "2 threads · async launches",
    ]
    modes = settings_of((*cases(power_mode=None), *cases(power_mode="MAXN")))
    assert [s.label for s in modes] == ["no power mode", "power mode MAXN"]
    options = settings_of((*cases(provider_options=()), *cases(provider_options=(("a", "1"), ("b", "2")))))
    assert [s.label for s in options] == ["no provider options", "a=1, b=2"]


def test_what_failed_has_no_setting() -> None:
    assert settings_of([failed("no memory")]) == ()
    assert settings_of([]) == ()
