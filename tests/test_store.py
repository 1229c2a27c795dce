"""The database: real files, real processes, a disk that is really full."""

import contextlib
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.database import APPLICATION_ID, VERSION
from edgeprof.errors import StoreError
from edgeprof.export import as_dict
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.launches import DeviceKernel
from edgeprof.timing.measurement import KernelTimes, Round


def case(fc=1, batch=8):
    return Case(
        net=net_spec(conv=1, fc=fc),
        batch=batch,
        precision="fp32",
        threads=1,
        launch="blocking",
        board="cpu",
        machine="a machine",
        backend="ort-cpu",
        runtime="onnxruntime 1.31.1",
    )


def round_(number=1, ms=1.0, runs=10):
    return Round(
        number=number,
        status="ok",
        runs_ns=np.full(runs, round(ms * 1e6), np.int64),
        half_width=0.004,
        stopped="target",
        load_ms=0.5,
        first_run_ms=2.0,
        host_ms=1.5,
        profiled_us=(1200.0, 1250.0),
        kernels=(KernelTimes("Gemm", "fused fc1", ("fc1", "fc1_relu"), (30.0, 31.0)),),
        event_us=0.7,
        telemetry={"memory_mib": 3.25, "counters": {"cpu_s": 0.1}},
        warnings=("target-missed",),
    )


def failed(number=1, reason="out of memory"):
    return Round(number=number, status="failed", reason=reason)


def rows(path, query):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "edgeprof.db"


@pytest.fixture
def store(path):
    with Store(path, create=True) as opened:
        opened.add_session("s1", {"machine": {"model": "a machine"}})
        opened.add_cases([case()], "minimum", False, 3)
        yield opened


@pytest.fixture
def filled(path):
    """A closed database with two cases."""
    with Store(path, create=True) as opened:
        opened.add_session("s1", {"x": 1})
        opened.add_cases([case(), case(2)], "minimum", False, 1)
        for one in (case(), case(2)):
            opened.add_round(one, round_(runs=5000), "s1")
        opened.add_sentinel("s1", "compute", 1.25, 0.5)
        opened.add_sweep({"name": "quick"})
    return path


# --- what goes in comes out


def test_a_round_comes_back_as_it_was(store):
    given_ = round_()
    store.add_round(case(), given_, "s1")
    (found,) = store.measurements()
    assert found.case == case()
    assert found.latency_ms == 1.0
    assert found.load_ms == 0.5
    assert found.first_run_ms == 2.0
    assert found.host_to_host_ms == 1.5
    assert found.telemetry == given_.telemetry
    assert found.warnings == ("target-missed", "few-rounds")
    assert found.environment == {"machine": {"model": "a machine"}}
    assert [(k.kind, k.name, k.operators) for k in found.kernels] == [
        ("Gemm", "fused fc1", ("fc1", "fc1_relu"))
    ]
    assert found.kernels[0].ms == pytest.approx(0.0298)
    assert (found.status, found.reason) == ("partial", "1 of 3 rounds measured")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=300), st.integers(1, 5))
def test_raw_samples_come_back_exactly(runs, repeats):
    with tempfile.TemporaryDirectory() as folder:
        given_ = Round(number=1, status="ok", runs_ns=np.array(runs, np.int64), repeats=repeats)
        with Store(Path(folder) / "x.db", create=True) as store:
            store.add_cases([case()], "minimum", False, 1)
            store.add_round(case(), given_, "s")
        ((packed, kept),) = rows(Path(folder) / "x.db", "SELECT runs_ns, repeats FROM rounds")
    assert np.frombuffer(zlib.decompress(packed), "<i8").tolist() == runs
    assert kept == repeats


def test_what_a_gpu_told_of_a_kernel_comes_back(store):
    told = DeviceKernel("volta_sgemm_64x64_nn", (8, 2, 1), (256, 1, 1), 96, 4096)
    kernel = KernelTimes("Gemm.gemm.fp32.64x64", "fc1", ("fc1",), (30.0,), device=told)
    store.add_cases([case()], "median", False, 1)
    store.add_round(case(), replace(round_(), kernels=(kernel, *round_().kernels)), "s")
    (found,) = store.rounds()[case().key()]
    assert found.kernels == (kernel, *round_().kernels)
    (measured,) = store.measurements()
    assert [k.device for k in measured.kernels] == [told, None]
    first, second = as_dict(measured)["kernels"]
    assert first["device"] == {
        "name": "volta_sgemm_64x64_nn",
        "grid": (8, 2, 1),
        "block": (256, 1, 1),
        "registers": 96,
        "shared_bytes": 4096,
    }
    assert "device" not in second


def test_an_unknown_half_width_comes_back_as_unknown(store):
    store.add_round(
        case(), Round(number=1, status="ok", runs_ns=np.ones(3, np.int64), half_width=math.inf), "s1"
    )
    assert store.measurements()[0].status == "partial"


def test_a_failed_round_is_kept_with_its_reason_and_is_not_done(store):
    store.add_round(case(), failed(), "s1")
    assert store.done() == set()
    (found,) = store.measurements()
    assert (found.status, found.reason) == ("failed", "out of memory")


def test_a_round_measured_again_supersedes_and_stays_in_the_file(store, path):
    store.add_round(case(), round_(ms=2.0), "s1")
    store.add_round(case(), round_(ms=1.0), "s2")
    assert store.done() == {(case().key(), 1)}
    assert store.measurements()[0].rounds_ms == (1.0,)
    assert rows(path, "SELECT session, superseded FROM rounds ORDER BY id") == [("s1", 1), ("s2", 0)]


def test_superseded_cases_count_as_not_measured(store, path):
    store.add_round(case(), round_(), "s1")
    store.supersede([case()])
    assert store.done() == set()
    assert store.measurements() == []
    assert len(rows(path, "SELECT * FROM rounds")) == 1


def test_the_larger_number_of_rounds_wanted_is_kept(store):
    for wanted in (5, 2):
        store.add_cases([case()], "minimum", False, wanted)
    store.add_round(case(), round_(), "s1")
    assert store.measurements()[0].reason == "1 of 5 rounds measured"


def test_sweeps_and_sentinels_come_back_in_order(store):
    for name in ("b", "a", "b"):
        store.add_sweep({"name": name})
    store.add_sentinel("s1", "compute", 1.5, 0.25)
    store.add_sentinel("s1", "compute", 1.25, None)
    assert [s["name"] for s in store.sweeps()] == ["b", "a"]
    assert [(s.session, s.latency_ms, s.load_1m) for s in store.sentinels()] == [
        ("s1", 1.5, 0.25),
        ("s1", 1.25, None),
    ]


def test_a_warning_is_put_on_the_current_row_alone(store, path):
    for _ in range(2):
        store.add_round(case(), round_(), "s1")
    store.add_round(case(), round_(2), "s1")
    old = rows(path, "SELECT data FROM rounds")
    for _ in range(2):
        store.warn(case(), 1, "drift")
    assert store.measurements()[0].warnings == ("target-missed", "drift", "few-rounds")
    assert [a == b for a, b in zip(old, rows(path, "SELECT data FROM rounds"), strict=True)] == [
        True,
        False,
        True,
    ]
    assert json.loads(zlib.decompress(rows(path, "SELECT data FROM rounds")[1][0]))["kernels"]
    store.warn(case(), 3, "drift")  # never measured
    store.warn(case(2), 1, "drift")


def test_a_transaction_that_fails_leaves_nothing(store):
    def fail():
        with store._transaction():
            store._db.execute("INSERT INTO sweeps VALUES ('x', '{}', 'now')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.sweeps() == []
    store.add_sweep({"name": "after"})


# --- files that are not what they should be


def test_a_new_file_says_what_it_is(path):
    Store(path, create=True).close()
    assert rows(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]


def test_a_missing_file_is_not_made_by_reading(path):
    with pytest.raises(StoreError, match="no database") as caught:
        Store(path)
    assert "edgeprof sweep --db" in caught.value.hint
    assert not path.exists()


@pytest.mark.parametrize("create", [False, True])
def test_a_newer_version_is_refused(filled, create):
    with contextlib.closing(sqlite3.connect(filled)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match=f"version {VERSION + 1}; this edgeprof reads {VERSION}") as caught:
        Store(filled, create=create)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path, create):
    path.write_text("these are my notes\n" * 300)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a database"):
        Store(path, create=create)
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [False, True])
def test_a_database_of_somebody_else_is_refused_and_left_alone(path, create):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match="not an edgeprof database"):
        Store(path, create=create)
    assert rows(path, "SELECT name FROM sqlite_master") == [("recipes",)]


def test_an_empty_file_is_a_new_database_for_a_sweep_and_none_for_a_reader(path):
    path.touch()
    with pytest.raises(StoreError, match="not an edgeprof database"):
        Store(path)
    with Store(path, create=True) as store:
        assert store.measurements() == []


def read_all(path):
    with Store(path) as store:
        store.measurements()
        store.sentinels()
        store.sweeps()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_database_is_an_error_of_one_line(filled, share):
    size = filled.stat().st_size
    with filled.open("r+b") as stream:
        stream.truncate(int(size * share))
    with pytest.raises(StoreError) as caught:
        read_all(filled)
    assert "\n" not in caught.value.message


def test_rubbish_in_a_round_is_an_error_of_one_line(filled):
    with contextlib.closing(sqlite3.connect(filled)) as db, db:
        db.execute("UPDATE rounds SET data = x'00112233'")
    with Store(filled) as store, pytest.raises(StoreError, match=r"edgeprof\.db"):
        store.measurements()


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(StoreError):
        Store(tmp_path, create=True)
    with pytest.raises(StoreError):
        Store(tmp_path / "nowhere" / "x.db", create=True)


@contextlib.contextmanager
def somebody():
    """Somebody to whom the permissions of files apply, as they do not to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared(filled):
    """A folder that everybody may enter, with a database in it."""
    folder = Path(tempfile.mkdtemp())
    shutil.copy(filled, folder / "x.db")
    os.chmod(folder / "x.db", 0o444)
    os.chmod(folder, 0o555)
    yield folder
    os.chmod(folder, 0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_can_be_read(shared):
    with somebody(), Store(shared / "x.db") as store:
        assert len(store.measurements()) == 2
        with pytest.raises(StoreError, match=r"readonly|read-only|unable to open") as caught:
            store.add_sweep({})
    assert "give another file" in caught.value.hint


def write_into(path):
    with Store(path, create=True) as store:
        store.add_sweep({})


def test_a_sweep_into_a_read_only_file_or_folder_is_refused(shared):
    with somebody():
        with pytest.raises(StoreError) as caught:
            write_into(shared / "x.db")
        assert "writable" in caught.value.hint
        with pytest.raises(StoreError) as caught:
            Store(shared / "new.db", create=True)
        assert "writable" in caught.value.hint


# --- a full disk

FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from edgeprof.errors import StoreError
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Round

path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
case = Case(net=net_spec(), batch=8, precision="fp32", threads=1, launch="blocking", board="cpu", machine="m",
            backend="ort-cpu", runtime="r")
rng = np.random.default_rng(0)
with Store(path, create=True) as store:
    store.add_cases([case], "minimum", False, 3)
    for number in range(1, 1000):
        try:
            store.add_round(case, Round(number=number, status="ok", runs_ns=rng.integers(0, 2**60, 2000)), "s")
        except StoreError as error:
            print(number - 1, len(store.measurements()[0].rounds_ms), error.hint, error, sep="|")
            break
"""


def fill(path, limit):
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    written, read, hint, message = done.stdout.strip().split("|")
    assert int(written) == int(read) > 0
    return int(written), hint, message


def test_a_full_disk_is_an_error_and_keeps_what_was_measured(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        written, hint, message = fill(folder / "x.db", 0)
        assert "free some space" in hint, message
        with Store(folder / "x.db") as store:
            assert len(store.measurements()[0].rounds_ms) == written
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_that_may_not_grow_is_an_error_and_keeps_what_was_measured(path):
    written, _, message = fill(path, 300_000)
    assert str(path) in message
    with Store(path) as store:
        assert len(store.measurements()[0].rounds_ms) == written
    with Store(path, create=True) as store:
        store.add_sweep({"name": "there is room again"})


# --- several processes

WRITE = """
import sys
from pathlib import Path
import numpy as np
from edgeprof.nets.spec import net_spec
from edgeprof.store import Store
from edgeprof.sweeps.case import Case
from edgeprof.timing.measurement import Round

path, who = Path(sys.argv[1]), int(sys.argv[2])
case = Case(net=net_spec(fc=who), batch=8, precision="fp32", threads=1, launch="blocking", board="cpu", machine="m",
            backend="ort-cpu", runtime="r")
print("ready", flush=True)
sys.stdin.readline()
with Store(path, create=True) as store:
    store.add_session(f"s{who}", {})
    store.add_cases([case], "minimum", False, 30)
    for number in range(1, 31):
        store.add_round(case, Round(number=number, status="ok", runs_ns=np.full(100, who)), f"s{who}")
"""


def test_processes_that_make_and_write_one_file_at_once_all_succeed(path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path), str(who)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for who in range(1, 5)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    with Store(path) as store:
        found = store.measurements()
    assert sorted(m.case.net.fc for m in found) == [1, 2, 3, 4]
    assert {m.status for m in found} == {"ok"}
    assert all(m.rounds_ms == (m.case.net.fc / 1e6,) * 30 for m in found)


def test_a_reader_sees_what_a_writer_has_finished(store, path):
    store.add_round(case(), round_(), "s1")
    with Store(path) as reader:
        assert len(reader.measurements()) == 1
        store.add_round(case(), round_(2), "s1")
        assert len(reader.measurements()[0].rounds_ms) == 2


# --- merging


def filled_with(path, *rounds, session, wanted=3, cases=None):
    cases = cases or (case(),)
    with Store(path, create=True) as opened:
        opened.add_session(session, {"from": session})
        opened.add_sweep({"name": f"sweep {session}"})
        opened.add_cases(cases, "minimum", False, wanted)
        for one in cases:
            for measured in rounds:
                opened.add_round(one, measured, session)
        opened.add_sentinel(session, "compute", 1.0, None)
    return path


def merged(target, *sources):
    with Store(target, create=True) as store:
        counts = []
        for source in sources:
            with Store(source) as opened:
                counts.append(opened.copy_into(store))
        return counts, store.measurements()


def test_databases_with_different_cases_add_up(tmp_path):
    a = filled_with(tmp_path / "a.db", round_(1), round_(2), session="a", cases=(case(1),))
    b = filled_with(tmp_path / "b.db", round_(1), session="b", cases=(case(2),), wanted=1)
    counts, found = merged(tmp_path / "c.db", a, b)
    assert counts == [(2, 0), (1, 0)]
    assert [(m.case.net.fc, m.status, m.environment["from"]) for m in found] == [
        (1, "partial", "a"),
        (2, "ok", "b"),
    ]
    with Store(tmp_path / "c.db") as store:
        assert [s["name"] for s in store.sweeps()] == ["sweep a", "sweep b"]
        assert [s.session for s in store.sentinels()] == ["a", "b"]


def test_merging_again_adds_nothing(tmp_path):
    a = filled_with(tmp_path / "a.db", round_(1), failed(2), session="a")
    counts, _ = merged(tmp_path / "c.db", a, a)
    assert counts == [(2, 0), (0, 2)]
    with Store(tmp_path / "c.db") as store:
        assert len(store.sentinels()) == 1


def test_of_a_round_measured_twice_the_targets_stays_and_both_are_kept(tmp_path):
    a = filled_with(tmp_path / "a.db", round_(1, ms=1.0), session="a")
    b = filled_with(tmp_path / "b.db", round_(1, ms=2.0), session="b")
    _, found = merged(tmp_path / "c.db", a, b)
    assert found[0].rounds_ms == (1.0,)
    assert rows(tmp_path / "c.db", "SELECT session, superseded FROM rounds ORDER BY id") == [
        ("a", 0),
        ("b", 1),
    ]


def test_a_measured_round_takes_the_place_of_a_failed_one_in_either_order(tmp_path):
    good = filled_with(tmp_path / "good.db", round_(1), session="good", wanted=1)
    bad = filled_with(tmp_path / "bad.db", failed(1), session="bad", wanted=1)
    for name, order in (("1.db", (good, bad)), ("2.db", (bad, good))):
        _, found = merged(tmp_path / name, *order)
        assert (found[0].status, found[0].rounds_ms) == ("ok", (1.0,))
        assert len(rows(tmp_path / name, "SELECT * FROM rounds")) == 2


def test_the_larger_number_of_rounds_wanted_survives_a_merge(tmp_path):
    a = filled_with(tmp_path / "a.db", round_(1), session="a", wanted=1)
    b = filled_with(tmp_path / "b.db", round_(2), session="b", wanted=5)
    _, found = merged(tmp_path / "c.db", a, b)
    assert found[0].reason == "2 of 5 rounds measured"


def test_superseded_rounds_stay_superseded_in_a_merge(tmp_path):
    a = filled_with(tmp_path / "a.db", round_(1, ms=3.0), round_(1, ms=1.0), session="a")
    _, found = merged(tmp_path / "c.db", a)
    assert found[0].rounds_ms == (1.0,)


def test_a_failure_does_not_supersede_a_success(store):
    store.add_round(case(), round_(), "s1")
    store.add_round(case(), failed(), "s1")
    (kept,) = store.measurements()
    assert kept.rounds_ms == (1.0,)
    assert rows(store.path, "SELECT status, superseded FROM rounds ORDER BY id") == [("ok", 0), ("failed", 1)]


def test_a_name_that_means_memory_to_sqlite_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store(Path(":memory:"), create=True).close()
    assert (tmp_path / ":memory:").stat().st_size > 0
