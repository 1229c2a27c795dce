"""Accuracy: predictions of the law that made the measurements are right, and what was fitted on is told apart."""

from __future__ import annotations

import math

import pytest

from edgeprof.nets.network import net_key
from edgeprof.report.figures import held_out_errors, measured_against_predicted, residuals, shares
from edgeprof.report.figures.accuracy import SEEN, UNKNOWN, UNSEEN, judged, score_table, split, worst_table

from ..samples import changed, gridded, kernel_law, random_nets, study_law


def test_predictions_are_near_the_measurements_with_their_intervals() -> None:
    found = judged(kernel_law(), random_nets())
    figure = measured_against_predicted(found)
    assert figure is not None
    (series,) = figure.series
    assert len(series.x) == len(random_nets())
    assert all(abs(y / x - 1) < 0.05 for x, y in zip(series.x, series.y, strict=True))
    assert all(low < y < high for low, y, high in zip(series.low, series.y, series.high, strict=True))
    assert figure.guides[0].slope == 1
    errors = residuals(found)
    assert errors is not None
    assert errors.series[0].y == pytest.approx(
        [100 * (y / x - 1) for x, y in zip(series.x, series.y, strict=True)]
    )


def test_where_no_interval_is_known_there_is_no_bar_and_the_caption_says_so() -> None:
    own = kernel_law()
    law = changed(own, domain={**own.domain, "batch": [1000, 4000]})
    found = judged(law, random_nets())
    bare = [j for j in found if j.row.low_ms is None]
    assert 0 < len(bare) < len(found)  # of batch 16, not of 128
    figure = measured_against_predicted(found)
    assert figure is not None
    assert f"{len(bare)} of {len(found)} have none" in figure.caption
    (series,) = figure.series
    assert sum(a == b for a, b in zip(series.low, series.high, strict=True)) == len(bare)


def test_what_a_law_was_fitted_on_is_told_apart() -> None:
    nets = [m.case.net for m in random_nets()]
    law = changed(kernel_law(), seen=[net_key(net) for net in nets[:10]])
    found = judged(law, random_nets())
    assert [(name, len(rows)) for name, rows in split(found)] == [(UNSEEN, 20), (SEEN, 10)]
    assert [row[:2] for row in score_table(found).rows] == [(UNSEEN, "20"), (SEEN, "10")]
    unknown = judged(changed(kernel_law(), seen=[]), random_nets())
    assert [name for name, _ in split(unknown)] == [UNKNOWN]
    worst = worst_table(found)
    assert len(worst.rows) == 10
    off = [abs(float(row[4])) for row in worst.rows]
    assert off == sorted(off, reverse=True)


def test_errors_of_networks_held_out_have_the_sign_of_the_prediction() -> None:
    law = changed(kernel_law(), conformal=[[2.0, math.log(1.1)], [1.0, math.log(0.8)]], parted_ms=None)
    figure = held_out_errors(law)
    assert figure is not None
    assert figure.series[0].x == (1.0, 2.0)
    assert figure.series[0].y == pytest.approx((25.0, 100 * (1 / 1.1 - 1)))  # predicted over measured
    assert held_out_errors(study_law()) is None


def test_shares_are_those_of_the_law() -> None:
    figure = shares(kernel_law())
    assert figure is not None
    known = {g.name: 100 * g.share for g in kernel_law().groups if g.share is not None}
    assert dict(zip(figure.y.categories, figure.series[0].x, strict=True)) == known
    assert measured_against_predicted([]) is None
    assert residuals([]) is None
    assert len(judged(kernel_law(), gridded())) == len(gridded())
