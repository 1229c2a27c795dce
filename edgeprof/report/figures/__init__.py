"""The figures of a report: functions from measurements and laws to :class:`edgeprof.report.figure.Figure`.

Each gives None, or no figure, where the data for it are missing.
"""

from __future__ import annotations

from edgeprof.report.figures.accuracy import held_out_errors, measured_against_predicted, residuals, shares
from edgeprof.report.figures.disturbance import coverage, round_spread, tails
from edgeprof.report.figures.drift import drift
from edgeprof.report.figures.energy import energy, power
from edgeprof.report.figures.inflight import in_flight_gain, in_flight_table
from edgeprof.report.figures.kernels import kernel_shares, kernel_speed
from edgeprof.report.figures.launches import launch_modes
from edgeprof.report.figures.modes import always_dominated, mode_figures, mode_table
from edgeprof.report.figures.ratios import grid_ratio, kernel_ratio, kernel_ratios, network_ratios
from edgeprof.report.figures.roofline import roofline
from edgeprof.report.figures.speed import every_network, throughput
from edgeprof.report.figures.steps import step_gains, step_times

__all__ = [
    "always_dominated",
    "coverage",
    "drift",
    "energy",
    "every_network",
    "grid_ratio",
    "held_out_errors",
    "in_flight_gain",
    "in_flight_table",
    "kernel_ratio",
    "kernel_ratios",
    "kernel_shares",
    "kernel_speed",
    "launch_modes",
    "measured_against_predicted",
    "mode_figures",
    "mode_table",
    "network_ratios",
    "power",
    "residuals",
    "roofline",
    "round_spread",
    "shares",
    "step_gains",
    "step_times",
    "tails",
    "throughput",
]
