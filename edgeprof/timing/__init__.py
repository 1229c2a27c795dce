"""Timing a network: the worker process, its loop, statistics, kernel breakdown and the session of rounds."""
