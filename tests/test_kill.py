"""``kill -9`` of a whole sweep at any moment; ``make torture`` does the same a hundred times."""

from benchmarks.kills import kill_again_and_again


def test_a_sweep_that_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path):
    found = kill_again_and_again(tmp_path, kills=20, seed=20161114)
    assert found.in_the_middle >= 3
