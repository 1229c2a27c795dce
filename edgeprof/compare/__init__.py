"""Compare: two sides → their cases in pairs → how many times as fast one is, and whether that may pass (side → pairs →
comparison → rows, gate)."""

from edgeprof.compare.comparison import Comparison, Pair, verdict
from edgeprof.compare.pairs import compare_sides
from edgeprof.compare.rows import flat_rows, kind_row, pair_row

__all__ = ["Comparison", "Pair", "compare_sides", "flat_rows", "kind_row", "pair_row", "verdict"]
