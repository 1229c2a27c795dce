"""Names and comments that no language takes amiss."""

from __future__ import annotations

from edgeprof.fit.emit.names import clean, identifiers, slugs


def test_names_are_allowed_in_every_language() -> None:
    assert identifiers(["blocks", "double", "lambda", "π", "INFINITY", "x_1", "before"]) == {
        "blocks": "blocks",
        "double": "defined_2_",
        "lambda": "defined_3_",
        "π": "defined_4_",
        "INFINITY": "defined_5_",
        "x_1": "x_1",
        "before": "defined_7_",
    }
    assert slugs(["Conv, NCHWc", "conv nchwc", "⌈⌉"]) == {
        "Conv, NCHWc": "conv_nchwc",
        "conv nchwc": "conv_nchwc_2",
        "⌈⌉": "x",
    }
    assert clean("a */ b\n/* c\u2028d\x00") == "a * / b / * c d?"
