"""Sensors: one reader per source. A reading is a frozen value; what a source does not have is None or absent."""
