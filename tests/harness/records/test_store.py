"""The run folder: a record is safe when the call returns, one process writes at a time, and every fault gives a one-line error."""

from __future__ import annotations

import fcntl
import multiprocessing
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetnas.harness.records.identity import canonical_json, identity_of
from budgetnas.harness.records.store import Row, RunError, Store

PAYLOAD = {"seed": 1}
IDENTITY = identity_of(PAYLOAD)
RECORD = {"identity": IDENTITY, "status": "ok", "trial": PAYLOAD}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    store.create()
    return store


def change(store: Store, **values: object) -> None:
    """Edit the row of the only record, as a user with a database tool could."""
    connection = sqlite3.connect(store.database.path)
    with connection:
        for name, value in values.items():
            connection.execute(f"UPDATE records SET {name} = ?", (value,))
    connection.close()


def test_a_record_is_kept_as_canonical_json_with_its_timing(store: Store) -> None:
    store.put(RECORD, {"trial_seconds": 0.5})
    assert store.row(IDENTITY).json() == canonical_json(RECORD).encode()
    assert (store.timing(IDENTITY), store.timing("0" * 64)) == ({"trial_seconds": 0.5}, {})
    assert store.get(IDENTITY) == RECORD
    assert (store.done(), store.statuses()) == ({IDENTITY}, {IDENTITY: "ok"})


def test_new_store_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    assert (store.done(), list(store.rows()), store.timing(IDENTITY), store.holds_records()) == (set(), [], {}, False)
    assert not store.root.exists()


def test_failed_write_leaves_nothing(store: Store) -> None:
    target = store.root / "x.json"
    target.write_text("old")
    for value in ({"text": "\udc80"}, {"number": float("nan")}, {"object": object()}):
        with pytest.raises((ValueError, TypeError)):
            store.write(target, value)
        with pytest.raises((ValueError, TypeError)):
            store.put(RECORD | {"report": value})
    assert target.read_text() == "old"
    assert {path.name for path in store.root.iterdir()} == {"x.json", "records.sqlite", "timings", "context"}
    assert store.done() == set()


@pytest.mark.parametrize(
    "record",
    [
        {},
        RECORD | {"identity": "0" * 64},
        RECORD | {"status": "fine"},
        RECORD | {"trial": {"seed": 2}},
        RECORD | {"status": "failed"},
    ],
)
def test_a_record_of_another_trial_or_status_is_refused_by_name(store: Store, record: dict[str, object]) -> None:
    store.put(RECORD)
    other = Row.of({"identity": "x", "status": "y"} | record)
    change(store, content=other.content, sha256=other.sha256)
    with pytest.raises(RunError, match=f"the record of trial {IDENTITY} in .* cannot be used: it is not the record of the trial"):
        store.get(IDENTITY)


def test_a_changed_record_is_refused_by_name(store: Store) -> None:
    store.put(RECORD)
    content = store.row(IDENTITY).content
    other = Row.of(RECORD | {"report": {"better": 1.0}}).content
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b"", b"\xff\xfe", other):
        change(store, content=damaged)
        with pytest.raises(RunError, match=f"{IDENTITY}.* it was changed or damaged; save the others with `budgetnas export .* --recover`"):
            store.get(IDENTITY)


def test_a_record_of_an_unknown_format_is_refused_by_name(store: Store) -> None:
    store.put(RECORD)
    change(store, format=2)
    with pytest.raises(RunError, match=f"{IDENTITY}.* its format is 2, and this version of budgetnas reads 1: update budgetnas"):
        store.get(IDENTITY)


def test_error_for_a_missing_record_names_the_remedy(store: Store) -> None:
    with pytest.raises(RunError, match=r"is missing in .*; run the study again"):
        store.get(IDENTITY)


@pytest.mark.parametrize("blocked", ["run", "run/timings", "run/context", "run/.lock"])
def test_folder_that_cannot_be_created_gives_one_line(tmp_path: Path, blocked: str) -> None:
    place = tmp_path / blocked
    place.parent.mkdir(parents=True, exist_ok=True)
    if blocked.endswith(".lock"):
        place.symlink_to(tmp_path / "nowhere" / "lock")
    else:
        place.write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write the run into .*; choose another folder with --out"), Store(tmp_path / "run").locked():
        pytest.fail("the run was begun")


def test_deleted_folder_raises_run_error(store: Store) -> None:
    store.database.path.unlink()
    for folder in (store.timings, store.context, store.root):
        folder.rmdir()
    with pytest.raises(RunError, match=r"cannot read or write .*unable to open database file"):
        store.put(RECORD)
    store.root.write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*plan.json"):
        store.write(store.root / "plan.json", {})


def test_only_one_process_can_lock_a_run(store: Store) -> None:
    with store.locked(), pytest.raises(RunError, match=r"another process is using .*--out"), Store(store.root).locked():
        pytest.fail("two held it at once")
    with store.locked():
        pass


def hold(root: Path, held: object) -> None:
    """Lock a run as version 0.2 did."""
    with (root / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        held.send(True)  # type: ignore[attr-defined]
        held.recv()  # type: ignore[attr-defined]


def test_lock_of_version_02_is_respected_and_ends_with_its_process(store: Store) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(store.root, theirs))
    process.start()
    try:
        assert ours.recv()
        with pytest.raises(RunError, match="another process"), store.locked():
            pytest.fail("two held it at once")
    finally:
        process.kill()
        process.join()
    with store.locked():
        pass


def test_only_half_written_files_are_removed(store: Store) -> None:
    store.put(RECORD)
    store.inbox.mkdir()
    (store.inbox / IDENTITY).write_text("of a trial whose run was killed")
    for folder in (store.root, store.timings, store.context):
        (folder / ".0123456789abcdef.xyz.partial").write_text("{")
    with store.locked():
        assert not list(store.root.rglob("*.partial")) and not store.inbox.exists()
        assert store.done() == {IDENTITY}


def test_discarded_records_are_gone_and_others_stay(store: Store) -> None:
    store.put(RECORD)
    store.discard(["not there"])
    assert store.done() == {IDENTITY}
    store.discard([IDENTITY])
    assert store.done() == set()


def test_record_written_again_adds_its_attempts(store: Store) -> None:
    store.put(RECORD | {"status": "failed"})
    store.put(RECORD)
    assert (store.row(IDENTITY).attempts, store.get(IDENTITY)["status"]) == (2, "ok")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a small file system that is full; only the superuser can mount it."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "none", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk_gives_one_error_and_no_half_written_file(full_disk: Path) -> None:
    store = Store(full_disk / "run")
    store.create()
    store.put(RECORD)
    with pytest.raises(RunError, match="No space left on device; make room"):
        store.write(store.root / "large.json", "x" * 400_000)
    others = [{"seed": seed, "text": "".join(identity_of(seed + n) for n in range(100))} for seed in range(2, 60)]
    with pytest.raises(RunError, match="No space left on device; make room"):
        store.write_rows([Row.of({"identity": identity_of(each), "status": "ok", "trial": each}) for each in others])
    assert not list(store.root.rglob("*.partial"))
    assert store.done() == {IDENTITY} and store.get(IDENTITY) == RECORD
    store.check()


def test_journal_of_a_deleted_file_does_not_reach_the_new_one(store: Store) -> None:
    store.put(RECORD)
    store.database.path.unlink()
    store.database.journal.write_bytes(b"of a transaction that was cut off")
    store.create()
    assert not store.database.journal.exists() and store.done() == set()


def test_error_about_a_damaged_file_names_a_journal_beside_it(store: Store) -> None:
    store.database.path.write_bytes(b"garbled" * 1000)
    store.database.journal.touch()
    with pytest.raises(RunError, match=r"delete records\.sqlite-journal, put that file in its place"):
        store.check()


def test_file_that_cannot_be_deleted_is_one_line(store: Store) -> None:
    (store.context / "board.json").mkdir()
    with pytest.raises(RunError, match=r"cannot delete .*board\.json: Is a directory; delete it yourself"):
        store.delete(store.context / "board.json")
