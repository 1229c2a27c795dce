"""``make torture``: SIGKILL of a real sweep at 100 random moments, and 10,000 files that went wrong.

A failure prints the seed and the number of the file: ``--seed`` repeats it, and ``benchmarks.mutations.mutant`` gives
the file.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.kills import kill_again_and_again
from benchmarks.mutations import READERS, abuse


def kills(count: int, seed: int) -> bool:
    """Kill a sweep ``count`` times. True where nothing was lost."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgeprof-torture-") as name:
        try:
            found = kill_again_and_again(Path(name), count, seed)
        except AssertionError as error:
            (*_, where) = traceback.extract_tb(error.__traceback__)
            print(f"kills: something was lost, repeated or left behind: {where.line}: {error}")
            return False
    print(
        f"kills: {count} of a sweep of {found.cases} cases, {found.in_the_middle} before its end; all {found.rounds}"
        f" rounds there, each measured once ({time.monotonic() - begin:.0f} s)"
    )
    return True


def mutants(count: int, seed: int) -> bool:
    """Give ``count`` files to the readers. True where each was read or refused."""
    fine = True
    for index, reader in enumerate(READERS):
        share = count // len(READERS) + (index < count % len(READERS))
        begin = time.monotonic()
        report = abuse(reader, seed, share)
        counts = ", ".join(f"{number} {what}" for what, number in sorted(report.outcomes.items()))
        took = time.monotonic() - begin
        print(f"{reader}: {counts}; the slowest took {report.slowest_s:.2f} s ({took:.0f} s)", flush=True)
        for number, what in report.trouble:
            print(f"  mutant({reader!r}, {seed}, {number}): {what}")
            fine = False
    return fine


def main() -> int:
    """Both, in a few minutes; status 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="make torture ARGS=…")
    parser.add_argument("--kills", type=int, default=100, help="of a running sweep (100)")
    parser.add_argument("--mutants", type=int, default=10_000, help="ONNX, TOML and JSON files (10000)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of both (random)")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    fine = not given.mutants or mutants(given.mutants, given.seed)
    if given.kills:
        fine = kills(given.kills, given.seed) and fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
