"""Steps: a staircase is drawn with the model that finds it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprof.fit.quanta import Evidence, weigh
from edgeprof.fit.series import Series
from edgeprof.report.figures import step_gains, step_times

X = np.arange(1, 161)


@pytest.fixture(scope="module")
def stairs() -> Evidence:
    ms = 0.1 + 0.01 * np.ceil(X / 32) * 32
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(len(X)))
    return weigh([Series("Gemm", "M", (("N", 784), ("padding", "same")), X, ms * noise)])


def test_the_model_jumps_where_the_blocks_end(stairs: Evidence) -> None:
    figure = step_times(stairs)
    assert [(s.name, s.mark) for s in figure.series] == [
        ("measured", "points"),
        ("blocks of 32", "curve"),
        ("smooth curve", "dashed"),
    ]
    model = figure.series[1]
    jumps = [x for x, a, b in zip(model.x[1:], model.y, model.y[1:], strict=False) if b > 1.1 * a]
    assert jumps == [33, 65, 97, 129]
    assert "33 cost as much as 64" in figure.caption
    assert "N 784" in figure.caption


def test_the_quantum_has_the_tallest_bar(stairs: Evidence) -> None:
    figure = step_gains(stairs)
    assert figure is not None
    blocks = figure.series[0]
    assert blocks.name == "blocks"
    assert figure.x.categories[int(np.argmax(blocks.y))] == "32"
    assert min(blocks.y) >= 0
