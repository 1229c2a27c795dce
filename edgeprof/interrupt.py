"""How an interrupted command ends: in order, and with the status of an interrupt."""

from __future__ import annotations

INTERRUPTED = 130  # as a shell has it: 128 and the number of SIGINT


def met() -> int:
    """The status of a command whose Ctrl-C was met.

    ``python -m`` ends by the signal itself where the interrupt fell into code that was made from text, as data classes
    are, even when it was caught (CPython's run_eval_code_obj remembers it until more such code is run): so some is.
    """
    exec("")
    return INTERRUPTED
