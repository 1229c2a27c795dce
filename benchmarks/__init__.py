"""Figures that must be measured, not tested: ``make bench``."""
