"""Store: measurements on disk, one SQLite file. One transaction per measured round of a case, so that a kill at any
moment loses at most the case under way. Nothing measured is deleted: a round measured again supersedes the old."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof.boards.spec import Estimator
from edgeprof.database import Database, clear_errors
from edgeprof.sweeps.case import Case
from edgeprof.timing.launches import DeviceKernel
from edgeprof.timing.measurement import KernelTimes, Measurement, Round, measurement

SCHEMA = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, uid TEXT NOT NULL UNIQUE, facts TEXT NOT NULL
);
CREATE TABLE sweeps (uid TEXT PRIMARY KEY, spec TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE cases (
    key TEXT PRIMARY KEY, identity TEXT NOT NULL, estimator TEXT NOT NULL, simulated INTEGER NOT NULL,
    wanted INTEGER NOT NULL
);
CREATE TABLE rounds (
    id INTEGER PRIMARY KEY, case_key TEXT NOT NULL REFERENCES cases(key), number INTEGER NOT NULL,
    session TEXT NOT NULL, at TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, repeats INTEGER NOT NULL,
    data BLOB NOT NULL, runs_ns BLOB NOT NULL, superseded INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE designed (case_key TEXT PRIMARY KEY);
CREATE UNIQUE INDEX current_rounds ON rounds (case_key, number) WHERE superseded = 0;
CREATE TABLE sentinels (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, at TEXT NOT NULL, name TEXT NOT NULL, latency_ms REAL NOT NULL,
    load_1m REAL
);
"""
ADD_SESSION = "INSERT OR IGNORE INTO sessions (started, uid, facts) VALUES (?, ?, ?)"
ADD_SWEEP = "INSERT OR IGNORE INTO sweeps (uid, spec, at) VALUES (?, ?, ?)"
ADD_CASE = (
    "INSERT INTO cases (key, identity, estimator, simulated, wanted) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET wanted = max(wanted, excluded.wanted)"
)
ROUND = "case_key, number, session, at, status, reason, repeats, data, runs_ns, superseded"
ADD_ROUND = f"INSERT INTO rounds ({ROUND}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SENTINEL = "session, at, name, latency_ms, load_1m"
ADD_SENTINEL = f"INSERT INTO sentinels ({SENTINEL}) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Sentinel:
    """A sentinel network measured at some moment of a session."""

    session: str
    at: str
    name: str
    latency_ms: float
    load_1m: float | None


def now() -> str:
    """The present moment, UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def check_store(path: Path) -> None:
    """Find out before the work what ``Store(path, create=True)`` would find out; nothing is created.

    :raises StoreError: it cannot be written, is no edgeprof database or of a newer version.
    """
    with clear_errors(path):
        place = path if path.exists() else path.parent
        if path.is_dir() or not place.exists() or not os.access(place, os.W_OK):
            raise sqlite3.OperationalError("unable to open database file")
    if path.exists() and path.stat().st_size:
        Store(path).close()


class Store(Database):
    """An open database of measurements. Several processes may write to one file: each transaction waits for the
    others."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """:raises StoreError: the file is missing, cannot be written, is no edgeprof database or of a newer version."""
        super().__init__(path, SCHEMA, create=create)

    # --- writing

    def add_session(self, uid: str, facts: Mapping[str, Any]) -> None:
        """Keep the circumstances of a run of ``sweep`` or ``validate``."""
        with self._transaction():
            self._db.execute(ADD_SESSION, (now(), uid, _json(facts)))

    def add_sweep(self, spec: Mapping[str, Any]) -> None:
        """Keep what was asked for; the same sweep again is kept once."""
        text = _json(spec)
        with self._transaction():
            self._db.execute(ADD_SWEEP, (text, text, now()))

    def add_cases(self, cases: Iterable[Case], estimator: Estimator, simulated: bool, wanted: int) -> None:
        """Make the cases known; one that is known keeps the larger number of rounds wanted."""
        rows = [(c.key(), _json(c.identity()), estimator, int(simulated), wanted) for c in cases]
        with self._transaction():
            self._db.executemany(ADD_CASE, rows)

    def add_round(self, case: Case, measured: Round, session: str) -> None:
        """Write one round in one transaction. It supersedes an earlier round of that number, but a failure does not
        supersede a success."""
        key = case.key()
        with self._transaction():
            lost = measured.status == "failed" and self._knows(
                "rounds", case_key=key, number=measured.number, superseded=0, status="ok"
            )
            if not lost:
                self._supersede(key, measured.number)
            self._db.execute(
                ADD_ROUND,
                (key, measured.number, session, now(), measured.status, measured.reason, measured.repeats)
                + (_pack(measured), zlib.compress(measured.runs_ns.astype("<i8").tobytes(), 6), int(lost)),
            )

    def warn(self, case: Case, number: int, code: str) -> None:
        """Put a warning on the current row of a round."""
        with self._transaction():
            row = self._db.execute(
                "SELECT id, data FROM rounds WHERE case_key = ? AND number = ? AND superseded = 0",
                (case.key(), number),
            ).fetchone()
            if row is None:
                return
            plain = json.loads(zlib.decompress(row[1]))
            plain["warnings"] = list(dict.fromkeys([*plain["warnings"], code]))
            data = zlib.compress(json.dumps(plain).encode(), 6)
            self._db.execute("UPDATE rounds SET data = ? WHERE id = ?", (data, row[0]))

    def add_designed(self, cases: Iterable[Case]) -> None:
        """Remember that these cases were chosen for what they teach: they are no evidence of accuracy."""
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO designed VALUES (?)", [(c.key(),) for c in cases])

    def supersede(self, cases: Iterable[Case]) -> None:
        """Count nothing measured so far of ``cases``; the rows stay in the file."""
        with self._transaction():
            for case in cases:
                self._supersede(case.key(), None)

    def _supersede(self, key: str, number: int | None) -> None:
        self._db.execute(
            "UPDATE rounds SET superseded = 1 WHERE case_key = ? AND superseded = 0 AND number = coalesce(?, number)",
            (key, number),
        )

    def add_sentinel(self, session: str, name: str, latency_ms: float, load_1m: float | None) -> None:
        """Keep one reading of a sentinel."""
        with self._transaction():
            self._db.execute(ADD_SENTINEL, (session, now(), name, latency_ms, load_1m))

    # --- reading

    def done(self) -> set[tuple[str, int]]:
        """(case, round) of everything that was measured with success."""
        with clear_errors(self.path):
            rows = self._db.execute(
                "SELECT case_key, number FROM rounds WHERE superseded = 0 AND status = 'ok'"
            )
            return {(key, number) for key, number in rows}

    def designed(self) -> set[str]:
        """Keys of the cases that were chosen for what they teach."""
        with clear_errors(self.path):
            return {key for (key,) in self._db.execute("SELECT case_key FROM designed")}

    def identities(self) -> list[dict[str, Any]]:
        """What tells each case from the others."""
        with clear_errors(self.path):
            rows = self._db.execute("SELECT identity FROM cases").fetchall()
        return [json.loads(identity) for (identity,) in rows]

    def sweeps(self) -> list[dict[str, Any]]:
        """The sweeps that were asked for, oldest first."""
        with clear_errors(self.path):
            return [
                json.loads(text) for (text,) in self._db.execute("SELECT spec FROM sweeps ORDER BY at, rowid")
            ]

    def sentinels(self) -> list[Sentinel]:
        """Every reading of a sentinel, oldest first."""
        with clear_errors(self.path):
            rows = self._db.execute(f"SELECT {SENTINEL} FROM sentinels ORDER BY id")
            return [Sentinel(*row) for row in rows]

    def rounds(self) -> dict[str, list[Round]]:
        """Every current round in order, by the key of its case."""
        with clear_errors(self.path):
            facts = {
                uid: json.loads(text) for uid, text in self._db.execute("SELECT uid, facts FROM sessions")
            }
            rounds: dict[str, list[Round]] = {}
            for row in self._db.execute(
                "SELECT case_key, number, status, reason, repeats, data, runs_ns, session FROM rounds"
                " WHERE superseded = 0 ORDER BY number"
            ):
                rounds.setdefault(row[0], []).append(_unpack(row[1:7], facts.get(row[7], {})))
            return rounds

    def measurements(self) -> list[Measurement]:
        """Every case that was measured or failed, in the order first asked for."""
        rounds = self.rounds()
        with clear_errors(self.path):
            cases = self._db.execute(
                "SELECT key, identity, estimator, simulated, wanted FROM cases ORDER BY rowid"
            )
            designed = self.designed()
            return [
                replace(
                    measurement(Case(**_case(identity)), rounds[key], estimator, wanted, bool(simulated)),
                    designed=key in designed,
                )
                for key, identity, estimator, simulated, wanted in cases.fetchall()
                if key in rounds
            ]

    def copy_into(self, target: Store) -> tuple[int, int]:
        """Add everything of this database to ``target``: (rounds added, rounds that were there already).

        Where both measured the same round of the same case, the target's stays current and the other is kept beside it.
        """
        with clear_errors(self.path):
            sessions, sweeps, cases, designed, rounds, sentinels = (
                self._db.execute(query).fetchall()
                for query in (
                    "SELECT started, uid, facts FROM sessions ORDER BY id",
                    "SELECT uid, spec, at FROM sweeps ORDER BY rowid",
                    "SELECT key, identity, estimator, simulated, wanted FROM cases ORDER BY rowid",
                    "SELECT case_key FROM designed",
                    f"SELECT {ROUND} FROM rounds ORDER BY id",
                    f"SELECT {SENTINEL} FROM sentinels ORDER BY id",
                )
            )
        with target._transaction():
            target._db.executemany(ADD_SESSION, sessions)
            target._db.executemany(ADD_SWEEP, sweeps)
            target._db.executemany(ADD_CASE, cases)
            target._db.executemany("INSERT OR IGNORE INTO designed VALUES (?)", designed)
            added = sum(target._take_round(*row) for row in rounds)
            for row in sentinels:
                if not target._knows("sentinels", session=row[0], at=row[1], name=row[2]):
                    target._db.execute(ADD_SENTINEL, row)
        return added, len(rounds) - added

    def _take_round(self, key: str, number: int, session: str, at: str, status: str, *rest: Any) -> bool:
        """Take over a row of another database. False where it is here already."""
        if self._knows("rounds", case_key=key, number=number, session=session, at=at, runs_ns=rest[3]):
            return False
        *content, superseded = rest
        if not superseded and self._knows("rounds", case_key=key, number=number, superseded=0):
            if status == "ok" and self._knows(
                "rounds", case_key=key, number=number, superseded=0, status="failed"
            ):
                self._supersede(key, number)
            else:
                superseded = 1
        self._db.execute(ADD_ROUND, (key, number, session, at, status, *content, superseded))
        return True

    def _knows(self, table: str, **values: Any) -> bool:
        """True where ``table`` has a row with these ``values``."""
        where = " AND ".join(f"{column} = ?" for column in values)
        return (
            self._db.execute(f"SELECT 1 FROM {table} WHERE {where}", tuple(values.values())).fetchone()
            is not None
        )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _case(identity: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(identity)
    return found


def _pack(measured: Round) -> bytes:
    """Everything of a round but its single runs, as compressed JSON."""
    plain = {
        "stopped": measured.stopped,
        "half_width": measured.half_width if math.isfinite(measured.half_width) else None,
        "load_ms": measured.load_ms,
        "first_run_ms": measured.first_run_ms,
        "host_ms": measured.host_ms,
        "profiled_us": measured.profiled_us,
        "kernels": [{n: v for n, v in asdict(k).items() if v is not None} for k in measured.kernels],
        "event_us": measured.event_us,
        "telemetry": dict(measured.telemetry),
        "warnings": measured.warnings,
    }
    return zlib.compress(json.dumps(plain).encode(), 6)


def _unpack(row: tuple[Any, ...], environment: Mapping[str, Any]) -> Round:
    number, status, reason, repeats, data, runs = row
    plain = json.loads(zlib.decompress(data))
    kernels = tuple(
        KernelTimes(
            k["kind"], k["name"], tuple(k["operators"]), tuple(k["us"]), k["glue"], _device(k.get("device"))
        )
        for k in plain["kernels"]
    )
    return Round(
        number=number,
        status=status,
        reason=reason,
        repeats=repeats,
        runs_ns=np.frombuffer(zlib.decompress(runs), "<i8").astype(np.int64),
        kernels=kernels,
        half_width=math.nan if plain["half_width"] is None else plain["half_width"],
        profiled_us=tuple(plain["profiled_us"]),
        warnings=tuple(plain["warnings"]),
        environment=environment,
        **{k: plain[k] for k in ("stopped", "load_ms", "first_run_ms", "host_ms", "event_us", "telemetry")},
    )


def _device(plain: Mapping[str, Any] | None) -> DeviceKernel | None:
    if plain is None:
        return None
    grid, block = tuple(plain["grid"]), tuple(plain["block"])
    return DeviceKernel(plain["name"], grid, block, plain["registers"], plain["shared_bytes"])
