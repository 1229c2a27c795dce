"""Side: one half of a comparison: a database, some of the cases in it, or a law that predicts the other half."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeprof.boards.spec import Estimator
from edgeprof.errors import CompareError, EdgeprofError, SpecError
from edgeprof.fit.examples import matching
from edgeprof.fit.law import Law
from edgeprof.fit.law_clocks import clocks_in
from edgeprof.fit.law_file import read_law
from edgeprof.fit.prediction import Prediction, predict_many
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Measurement, Round, Status, kinds_ms
from edgeprof.timing.ratio import Reading
from edgeprof.timing.stats import RECIPES

DEFAULT = "edgeprof.db"
SELECTION = re.compile(r"(.*?):([a-z_]+=.*)", re.DOTALL)
SQLITE = b"SQLite format 3"


@dataclass(frozen=True)
class Timed:
    """What a side says of one case: its time, each kind of kernel's, and what these leave of it (ms per run). Of a
    failed case only why. ``outside`` tells what of a predicted network is out of the law's domain, ``interval_unknown``
    why no interval of it is known."""

    case: Case
    status: Status
    reason: str = ""
    latency: Reading | None = None
    kinds: Mapping[str, Reading] = field(default_factory=dict)
    rest_ms: float | None = None
    outside: tuple[str, ...] = ()
    interval_unknown: str = ""


@dataclass(frozen=True)
class Side:
    """A side by the name that it was given: measured cases, or a law and what it predicts; codes of the advice on the
    cases, and the estimators that they were measured with."""

    source: str
    cases: tuple[Timed, ...] = ()
    law: Law | None = None
    simulated: bool = False
    estimators: tuple[Estimator, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["measured", "simulated", "predicted"]:
        """Where its times come from."""
        return "predicted" if self.law else "simulated" if self.simulated else "measured"


def read_side(text: str) -> Side:
    """The side that ``text`` names: ``FILE.db``, ``FILE.db:KEY=VALUE,KEY=VALUE`` for some of its cases (without a file,
    those of ``edgeprof.db``), or a law, by file or name. A law has no cases yet: :func:`predicted` gives them.

    :raises StoreError: no such database. :raises CatalogueError: no such law. :raises SpecError: a law that is wrong.
    :raises FitError: a condition that is none, or that no case meets.
    """
    if not text.strip(":"):
        raise SpecError("a side has no name", "give FILE.db, FILE.db:KEY=VALUE or a law")
    file, where = _parts(text)
    path = Path(file or DEFAULT)
    if not where and _is_law(file, path):
        law = read_law(file)
        return Side(text, law=law, simulated=law.simulated)
    with Store(path) as store:
        rounds = store.rounds()
        measurements = matching(store.measurements(), where)
    return measured_side(text, [(m, rounds.get(m.case.key(), ())) for m in measurements])


def measured_side(source: str, measured: Sequence[tuple[Measurement, Sequence[Round]]]) -> Side:
    """The side of these measurements, each with its rounds, which tell how well its kernels are known."""
    return Side(
        source=source,
        cases=tuple(
            _measured(m, kinds_ms([r for r in rounds if r.status == "ok"], m.estimator))
            for m, rounds in measured
        ),
        simulated=any(m.simulated for m, _ in measured),
        estimators=tuple(sorted({m.estimator for m, _ in measured})),
        warnings=tuple(code for m, _ in measured for code in m.warnings),
    )


def _parts(text: str) -> tuple[str, tuple[str, ...]]:
    """The file and the conditions of a selection. A value may hold commas and colons, as a backend's name does."""
    found = SELECTION.fullmatch(text)
    if Path(text).is_file():
        return text, ()
    if not found:
        file, _, rest = text.partition(":")
        return (file, (rest,)) if rest and Path(file).is_file() else (text, ())
    keys = "|".join(Case.model_fields)
    return found[1], tuple(part.strip() for part in re.split(rf",(?=\s*(?:{keys})\s*=)", found[2]))


def _is_law(file: str, path: Path) -> bool:
    if path.is_file():
        with path.open("rb") as opened:
            start = opened.read(len(SQLITE))
        return not start.startswith(SQLITE) and (start.lstrip()[:1] == b"{" or path.suffix == ".json")
    return bool(file) and (path.suffix == ".json" or (not path.suffix and "/" not in file))


def _measured(m: Measurement, rounds_ms: Mapping[str, tuple[float, ...]]) -> Timed:
    if m.latency_ms is None:
        return Timed(m.case, m.status, m.reason)
    least = RECIPES[m.estimator].least
    kinds: dict[str, float] = {}
    for kernel in m.kernels:
        kinds[kernel.kind] = kinds.get(kernel.kind, 0.0) + kernel.ms
    return Timed(
        case=m.case,
        status=m.status,
        reason=m.reason,
        latency=Reading(m.latency_ms, m.rounds_ms, least),
        kinds={kind: Reading(ms, _positive(rounds_ms.get(kind, ())), least) for kind, ms in kinds.items()},
        rest_ms=m.unattributed_ms,
    )


def _positive(times: tuple[float, ...]) -> tuple[float, ...]:
    """Times of which a logarithm can be taken, or none: a kernel may be too short for the profiler."""
    return times if min(times, default=0.0) > 0 else ()


def predicted(side: Side, cases: Sequence[Case], level: float) -> Side:
    """``side``, a law, with what it says of the networks of ``cases``, as if they had been measured where the law was.

    :raises EdgeprofError: the law can price none of them.
    """
    law = side.law
    if law is None:
        raise CompareError(f"{side.source} is no law", "only a law can predict networks")
    own = tuple(dict.fromkeys(_case_by(law, case) for case in cases))
    try:
        clocks = [clocks_in(law, case) for case in own]
        nets = [(case.net, case.batch) for case in own]
        found: list[Prediction | EdgeprofError] = [*predict_many(law, nets, level, clocks)]
    except EdgeprofError:
        found = [_one(law, case, level) for case in own]
    if (first := next(iter(found), None)) and all(isinstance(f, EdgeprofError) for f in found):
        assert isinstance(first, EdgeprofError)
        raise first
    return Side(
        source=side.source,
        cases=tuple(_predicted(case, f) for case, f in zip(own, found, strict=True)),
        law=law,
        simulated=side.simulated,
    )


def _case_by(law: Law, case: Case) -> Case:
    """A case as the law's board would have run it."""
    return case.model_copy(
        update={
            "board": law.board,
            "machine": str(law.machine.get("model", law.board)),
            "backend": law.backend,
            "runtime": law.runtime,
            "precision": law.precision,
            "launch": law.launch,
            "threads": law.threads or case.threads,
        }
    )


def _one(law: Law, case: Case, level: float) -> Prediction | EdgeprofError:
    try:
        return predict_many(law, [(case.net, case.batch)], level, [clocks_in(law, case)])[0]
    except EdgeprofError as error:
        return error


def _predicted(case: Case, found: Prediction | EdgeprofError) -> Timed:
    if isinstance(found, EdgeprofError):
        return Timed(case, "failed", found.message)
    half = math.log(found.interval_ms[1] / found.latency_ms) if found.interval_ms else None
    kinds: dict[str, float] = {}
    for kernel in found.kernels:
        kinds[kernel.kind] = kinds.get(kernel.kind, 0.0) + kernel.ms
    return Timed(
        case=case,
        status="ok",
        latency=Reading(found.latency_ms, half_width=half, level=found.level),
        kinds={kind: Reading(ms) for kind, ms in kinds.items()},
        rest_ms=found.overhead_ms,
        outside=tuple(dict.fromkeys(str(item["what"]) for item in found.outside)),
        interval_unknown=found.interval_unknown,
    )
