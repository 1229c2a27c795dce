"""What to measure: sweep files, and the cases they expand to."""
