"""How a board is recognised: clauses of patterns, held against the facts of a machine.

A clause is a table of facts (fields of :class:`edgeprof.boards.detect.Machine`) and patterns; it fits when each of its
facts fits one of its patterns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

Clause = Mapping[str, tuple[str, ...]]
Likeness = tuple[bool, int, int, int, int]

RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")


def likeness(clauses: Sequence[Clause], facts: Mapping[str, Any]) -> Likeness | None:
    """How well clauses, the surest first, fit a machine: the greater the better; None where none fits.

    A clause of any fact is better than an empty one; then an earlier clause, more facts in it, an earlier member of a
    list (a device tree names the most particular first, a driver its first GPU), longer patterns.
    """
    found = (_likeness(number, clause, facts) for number, clause in enumerate(clauses))
    return max((one for one in found if one), default=None)


def fits(fact: Any, pattern: str) -> bool:
    """Whether a pattern fits a fact: ``4000..9000`` a number between the two; in a text it stands anywhere; a member of
    a list it must be in whole, with ``*`` for anything."""
    if isinstance(fact, tuple | list):
        return any(_whole(member, pattern) for member in fact)
    return pattern in fact if isinstance(fact, str) else _whole(fact, pattern)


def _likeness(number: int, clause: Clause, facts: Mapping[str, Any]) -> Likeness | None:
    position = length = 0
    for key, patterns in clause.items():
        fitting = [pattern for pattern in patterns if fits(facts.get(key), pattern)]
        if not fitting:
            return None
        position += min(_position(facts.get(key), pattern) for pattern in fitting)
        length += max(map(len, fitting))
    return bool(clause), -number, len(clause), -position, length


def _position(fact: Any, pattern: str) -> int:
    members = fact if isinstance(fact, tuple | list) else ()
    return next((i for i, member in enumerate(members) if _whole(member, pattern)), 0)


def _whole(fact: Any, pattern: str) -> bool:
    bounds = RANGE.fullmatch(pattern)
    if bounds and isinstance(fact, int | float):
        return float(bounds[1]) <= fact <= float(bounds[2])
    return fact is not None and fnmatchcase(str(fact), pattern)
