"""Runs of version 0.2 are migrated completely, even if the process is stopped at any step, and nothing is deleted."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import golden_identities as golden
import pytest

from budgetnas.harness.records import migration
from budgetnas.harness.records.database import Database, Row, RunError, connect
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.records.store import DATABASE, Store
from budgetnas.spaces.files import exclusive

RUNS = golden.HERE / "runs"
NAMES = ("table-seed", "searched")


def copy_of(name: str, folder: Path) -> Path:
    shutil.copytree(RUNS / name, folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the fixture may be read-only
    return folder


def old_files(name: str, part: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((RUNS / name / part).glob("*.json"))}


def contents(root: Path) -> dict[str, bytes]:
    """Return every file of a folder, except those of the database and the lock."""
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith((DATABASE, ".lock", f".{DATABASE}"))}


def rows_of(root: Path) -> list[tuple[str, bytes, str]]:
    return [(row.identity, row.json(), row.timing) for row in Store(root).rows()]


def expected_rows(name: str) -> list[tuple[str, bytes, str]]:
    timings = {identity: json.loads(content) for identity, content in old_files(name, "timings").items()}
    return [(name, content.rstrip(b"\n"), canonical_json(timings[name])) for name, content in old_files(name, "records").items()]


@pytest.mark.parametrize("name", NAMES)
def test_all_records_and_timings_are_migrated_and_the_old_folders_kept(tmp_path: Path, name: str) -> None:
    root = copy_of(name, tmp_path / "run")
    store = Store(root)
    assert store.holds_records() and rows_of(root) == expected_rows(name)  # before the migration
    before = contents(root)
    store.take_over()
    assert rows_of(root) == expected_rows(name)
    assert all((row.migrated, row.attempts, row.record()["identity"]) == (True, 1, row.identity) for row in store.rows())
    after = contents(root)
    records = {path: content for path, content in before.items() if path.startswith("records/")}
    assert records and {path.replace("records/", "records.v02/"): content for path, content in records.items()}.items() <= after.items()
    for path, content in before.items():
        if path.startswith("timings/") and f"records/{Path(path).name}" in records:
            assert after[path.replace("timings/", "timings.v02/")] == content
        elif not path.startswith("records/"):  # files without a record, such as the versions of packages, stay where they were
            assert after[path] == content
    assert len(after) == len(before)
    for identity, content in old_files(name, "timings").items():
        if f"records/{identity}.json" in records:
            assert store.timing(identity) == json.loads(content)
    store.take_over()
    assert (rows_of(root), contents(root)) == (expected_rows(name), after)


class Stopped(BaseException):
    """Raised as if the process had been killed."""


class Steps:
    """Counts the steps that change the disk, and stops before or after one of them."""

    def __init__(self, stop: int, after: bool) -> None:
        self.stop, self.after, self.count = stop, after, 0

    def take(self, step: Callable[[], Any]) -> Any:
        self.count += 1
        if self.count == self.stop and not self.after:
            raise Stopped
        result = step()
        if self.count == self.stop:
            raise Stopped
        return result


@contextmanager
def stopping(steps: Steps) -> Iterator[Callable[[Path], sqlite3.Connection]]:
    """Count the calls that change folders while the block runs; yield a connection factory whose statements are counted, too."""

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if statement.startswith("PRAGMA synchronous"):
                statement = "PRAGMA synchronous = OFF"  # nothing here depends on it, and this test makes many commits
            run = super().execute
            return steps.take(lambda: run(statement, *values))  # type: ignore[no-any-return]

        def executemany(self, statement: str, values: Any) -> sqlite3.Cursor:
            run = super().executemany
            return steps.take(lambda: run(statement, values))  # type: ignore[no-any-return]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values, **named: steps.take(lambda: function(*values, **named))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "mkdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        yield lambda path: sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, factory=Connection)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", [False, True], ids=["before a step", "after a step"])
def test_migration_stopped_at_any_step_loses_nothing_and_can_be_completed(
    tmp_path: Path, name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "CHUNK", 9)
    root = copy_of(name, tmp_path / "whole")
    Store(root).take_over()
    expected, files, ended = expected_rows(name), contents(root), 0
    for stop in range(1, 1000):
        root = copy_of(name, tmp_path / str(stop))
        steps = Steps(stop, after)
        with stopping(steps) as counting:
            try:
                Store(root, counting).take_over()
                ended = stop
            except Stopped:
                pass
        assert rows_of(root) == expected  # as a process that may only read
        kept = contents(root)
        assert sorted(kept.values()) == sorted(files.values())
        Store(root).take_over()
        assert (rows_of(root), contents(root)) == (expected, files)
        shutil.rmtree(root)
        if ended:
            break
    assert ended > 20


def test_read_only_folder_is_read_without_migration(read_only: Callable[[Path], Path], command: Callable[..., Any]) -> None:
    root = read_only(RUNS / "table-seed")
    store = Store(root)
    store.take_over()
    assert rows_of(root) == expected_rows("table-seed")
    assert store.done() == set(old_files("table-seed", "records"))
    identity = min(store.done())
    assert store.row(identity).migrated and store.timing(identity) == json.loads(old_files("table-seed", "timings")[identity])
    with pytest.raises(RunError, match=r"cannot write .*: (Read-only file system|Permission denied); choose another folder"):
        store.create()
    shown = command("export", str(root))
    assert (shown.returncode, shown.stdout) == (0, "".join(content.decode() for content in old_files("table-seed", "records").values()))


def test_locked_folder_is_read_without_migration(tmp_path: Path) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    with exclusive(root / ".lock", wait=False):
        Store(root).take_over()
        assert (root / "records").is_dir() and rows_of(root) == expected_rows("table-seed")


DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"identity": "abc", "sta',
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
}


def damaged_run(folder: Path, damage: Callable[[Path], object]) -> tuple[Path, Path, dict[str, bytes]]:
    root = copy_of("table-seed", folder)
    victim = sorted((root / "records").iterdir())[11]
    damage(victim)
    return root, victim, contents(root)


def refused(root: Path, victim: Path, files: dict[str, bytes]) -> None:
    """Check that the run is neither migrated nor read, that one line names the file, and that no file has changed."""
    for use in (Store(root).take_over, Store(root).statuses, lambda: list(Store(root).rows()), lambda: Store(root).locked().__enter__()):
        with pytest.raises(RunError, match=f"{victim} .*; delete it and run the study again") as error:
            use()
        assert "\n" not in str(error.value)
        assert contents(root) == files


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_is_refused_by_name_and_the_folder_is_unchanged(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "CHUNK", 5)  # some records are written before the error
    root, victim, files = damaged_run(tmp_path / "run", lambda path: path.write_bytes(DAMAGES[damage]))
    refused(root, victim, files)
    victim.unlink()
    Store(root).take_over()
    assert rows_of(root) == [row for row in expected_rows("table-seed") if row[0] != victim.stem]


CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "of another trial": lambda record: record | {"identity": "0" * 64},
    "with another seed": lambda record: record | {"trial": record["trial"] | {"seed": 77}},
    "with an unknown status": lambda record: record | {"status": "fine"},
    "without a status": lambda record: {name: value for name, value in record.items() if name != "status"},
    "with NaN": lambda record: record | {"regret": float("nan")},
    "with NaN in its trial": lambda record: record | {"trial": record["trial"] | {"seed": float("nan")}},
    "with a lone surrogate": lambda record: record | {"failure": "\udc80"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_record_is_refused_by_name_and_the_folder_is_unchanged(tmp_path: Path, change: str) -> None:
    def damage(path: Path) -> None:
        path.write_text(json.dumps(CHANGES[change](json.loads(path.read_text()))))

    refused(*damaged_run(tmp_path / "run", damage))


def test_folder_in_place_of_a_record_is_refused(tmp_path: Path) -> None:
    def damage(path: Path) -> None:
        path.unlink()
        path.mkdir()

    refused(*damaged_run(tmp_path / "run", damage))


@pytest.mark.parametrize("damage", ["", "{", "[]", "5", "null", '{"trial_seconds": NaN}', '{"machine": "\\udc80"}'])
def test_a_damaged_timing_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    victim = sorted((root / "timings").glob("[0-9a-f]*.json"))[11]
    victim.write_text(damage)
    refused(root, victim, contents(root))


def test_record_without_a_timing_is_migrated(tmp_path: Path) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    shutil.rmtree(root / "timings")
    Store(root).take_over()
    assert rows_of(root) == [(identity, content, "{}") for identity, content, _ in expected_rows("table-seed")]


def used_again(root: Path, identities: list[str]) -> None:
    """Act as version 0.2 that runs trials in a migrated folder: it creates its own folders again."""
    for part in ("records", "timings"):
        (root / part).mkdir(exist_ok=True)
        for identity in identities:
            (root / part / f"{identity}.json").write_bytes(old_files("table-seed", part)[identity])


def test_records_that_version_02_adds_later_are_migrated_too(tmp_path: Path, read_only: Callable[[Path], Path]) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    identities = sorted(old_files("table-seed", "records"))
    for identity in identities[::3]:
        for part in ("records", "timings"):
            (root / part / f"{identity}.json").unlink()
    Store(root).take_over()
    assert len(rows_of(root)) == 16
    used_again(root, identities[::2])  # some of them are also in the database
    for place in (root, read_only(root)):
        assert rows_of(place) == expected_rows_of(identities[::2], identities[::3])  # before the migration: from both places
        assert sorted(Store(place).statuses()) == [identity for identity, _, _ in rows_of(place)]
    Store(root).take_over()
    assert rows_of(root) == expected_rows_of(identities[::2], identities[::3])
    assert all(row.attempts == 1 for row in Store(root).rows())
    used_again(root, identities)
    Store(root).take_over()
    assert rows_of(root) == expected_rows("table-seed")
    kept = [{path.name for path in (root / f"records.v02{number}").iterdir()} for number in ("", "-2", "-3")]
    assert [len(names) for names in kept] == [16, 12, 24]


def expected_rows_of(again: list[str], missing: list[str]) -> list[tuple[str, bytes, str]]:
    return [row for row in expected_rows("table-seed") if row[0] in again or row[0] not in missing]


def test_two_different_records_of_one_trial_are_named_and_both_kept(tmp_path: Path) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    Store(root).take_over()
    identity = min(Store(root).done())
    used_again(root, [identity])
    path = root / "records" / f"{identity}.json"
    path.write_text(canonical_json(json.loads(path.read_text()) | {"queries": 1_000_000}))
    files = contents(root)
    with pytest.raises(RunError, match=f"{path} and the record of that trial in .*{DATABASE} differ; move one of the two away"):
        Store(root).take_over()
    assert contents(root) == files
    path.unlink()
    Store(root).take_over()
    assert rows_of(root) == expected_rows("table-seed")


def test_folders_are_not_renamed_if_a_record_cannot_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    write = Database.write
    monkeypatch.setattr(Database, "write", lambda self, rows: write(self, [row for row in rows if row.identity[0] != "5"]))
    with pytest.raises(RunError, match=r"records/5.*json and the record of that trial in .* differ"):
        Store(root).take_over()
    assert (root / "records").is_dir() and not (root / "records.v02").exists()


def test_rows_of_both_places_are_sorted_and_unique() -> None:
    def row(identity: str, status: str) -> Row:
        return Row(identity, status, "", b"")

    kept = [row(identity, "kept") for identity in "bdeg"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migration, "old_rows", lambda root: iter([row(identity, "old") for identity in "abefh"]))
        found = list(migration.with_old_rows(Path(), iter(kept)))
    assert [(each.identity, each.status) for each in found] == [
        ("a", "old"), ("b", "kept"), ("d", "kept"), ("e", "kept"), ("f", "old"), ("g", "kept"), ("h", "old"),
    ]  # fmt: skip


def test_connections_of_these_tests_have_the_settings_of_the_code(tmp_path: Path) -> None:
    Database(tmp_path / DATABASE).create()
    with stopping(Steps(0, False)) as counting:
        for make in (connect, counting):
            connection = make(tmp_path / DATABASE)
            assert connection.isolation_level is None
            connection.close()


def test_second_migration_keeps_the_backup_of_the_first(tmp_path: Path) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    store = Store(root)
    store.take_over()
    identities = sorted(old_files("table-seed", "records"))
    for part in ("records", "timings"):  # version 0.2 is used again, and writes three more records
        (root / part).mkdir(exist_ok=True)
        for identity in identities[:3]:
            (root / part / f"{identity}.json").write_bytes(old_files("table-seed", part)[identity])
    store.take_over()
    kept = [sorted(path.stem for path in (root / name).glob("*.json")) for name in ("records.v02", "records.v02-2", "timings.v02")]
    assert kept == [identities, identities[:3], identities]
    assert rows_of(root) == expected_rows("table-seed")


def test_reader_continues_if_another_process_migrates_meanwhile(tmp_path: Path) -> None:
    root = copy_of("table-seed", tmp_path / "run")
    reading = Store(root).rows()
    read = [next(reading) for _ in range(5)]
    Store(root).take_over()
    read += reading
    assert [(row.identity, row.json(), row.timing) for row in read] == expected_rows("table-seed")
