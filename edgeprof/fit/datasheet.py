"""A law from a board's datasheet alone: a law whose terms are in the board's peaks, put on that board.

The shipped law ``datasheet`` is a roofline (Williams, Waterman and Patterson, Communications of the ACM 52, 2009): a
kernel takes as long as its multiply-accumulates at the peak rate, or its bytes at the peak bandwidth, whichever is
longer, times a factor that is the same for all kernels and boards; each kernel and each run has a price besides. Its
intervals are from boards held out (``benchmarks/datasheet.py``, ``docs/decisions/0026``).
"""

from __future__ import annotations

from edgeprof import catalogue
from edgeprof.boards.spec import Board
from edgeprof.errors import SpecError
from edgeprof.fit.forms import PEAKS
from edgeprof.fit.law import Law


def peaks_of(board: Board) -> dict[str, float]:
    """The board's peaks by the names that terms give them: ``GFLOPS`` float32, ``GBPS`` bytes, both 10⁹ a second.

    :raises SpecError: its file does not have them.
    """
    peaks = board.peaks
    if peaks is None or peaks.fp32_gflops is None or peaks.dram_gbps is None:
        raise SpecError(
            f"board '{board.name}' has no peaks for a law: fp32_gflops and dram_gbps",
            "copy its file, put both under [peaks] with their source, and name the copy: datasheet:./mine.toml",
        )
    return dict(zip(PEAKS, (peaks.fp32_gflops, peaks.dram_gbps), strict=True))


def needs_board(law: Law) -> bool:
    """Whether a law is in peaks that it does not have."""
    return bool(law.as_form.constants & set(PEAKS) - law.constants.keys())


def instead_of(law: Law) -> str:
    """What a law that has nothing to say of a network may be replaced by, for a hint."""
    known = any(law.board == entry.name for entry in catalogue.entries("boards"))
    return f"--law datasheet:{law.board if known else 'BOARD'} prices any network there, widely"


def on_board(law: Law, board: Board) -> Law:
    """``law`` with the peaks of ``board``, under both names.

    :raises SpecError: the law is of a board already, or the board's file has no peaks.
    """
    if not needs_board(law):
        raise SpecError(
            f"law '{law.name}' is of {law.board} alone",
            f"leave out the board, or ask its datasheet: datasheet:{board.name}",
        )
    peaks = peaks_of(board)
    assert board.peaks is not None
    changes = {
        "name": f"{law.name}:{board.name}",
        "about": f"{board.name} by its datasheet alone",
        "board": board.name,
        "machine": {"model": board.about},
        "constants": {**law.constants, **peaks},
        "source": f"peaks: {board.peaks.source}. The rest: {law.source}",
    }
    return law.model_validate({**law.model_dump(), **changes})
