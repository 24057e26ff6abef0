import fcntl
import json
import multiprocessing
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetnas.harness.records.identity import canonical_json, identity_of
from budgetnas.harness.records.store import RunError, Store

PAYLOAD = {"seed": 1}
IDENTITY = identity_of(PAYLOAD)
RECORD = {"identity": IDENTITY, "status": "ok", "trial": PAYLOAD}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    store.create()
    return store


def test_a_record_is_canonical_and_readable_by_others(store: Store) -> None:
    store.put(RECORD, {"trial_seconds": 0.5})
    path = store.records / f"{IDENTITY}.json"
    assert path.read_text(encoding="utf-8") == canonical_json(RECORD) + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert json.loads((store.timings / f"{IDENTITY}.json").read_text()) == {"trial_seconds": 0.5}
    assert store.get(IDENTITY) == RECORD
    assert store.done() == {IDENTITY}


def test_what_cannot_be_written_leaves_nothing_behind(store: Store) -> None:
    target = store.records / "x.json"
    target.write_text("old")
    for value in ({"text": "\udc80"}, {"number": float("nan")}, {"object": object()}):
        with pytest.raises((ValueError, TypeError)):
            store.write(target, value)
    assert target.read_text() == "old"
    assert [path.name for path in store.records.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    "damage",
    [
        "",
        '{"identity": "abc", "sta',
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        canonical_json(RECORD | {"identity": "0" * 64}),
        canonical_json(RECORD | {"status": "fine"}),
        canonical_json(RECORD | {"trial": {"seed": 2}}),
        canonical_json(RECORD).replace('"seed":1', '"seed":NaN'),
    ],
)
def test_a_damaged_record_is_named_with_the_remedy(store: Store, damage: str) -> None:
    store.path(IDENTITY).write_text(damage)
    with pytest.raises(RunError, match=f"{IDENTITY}.*delete it and run the study again"):
        store.get(IDENTITY)


def test_bytes_that_are_no_text_and_a_folder_in_the_place_of_a_record(store: Store) -> None:
    store.path(IDENTITY).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="is damaged"):
        store.get(IDENTITY)
    store.path(IDENTITY).unlink()
    store.path(IDENTITY).mkdir()
    with pytest.raises(RunError, match="is damaged"):
        store.get(IDENTITY)


def test_a_missing_record_says_how_to_get_it(store: Store) -> None:
    with pytest.raises(RunError, match="is missing; run the study again"):
        store.get(IDENTITY)


@pytest.mark.parametrize("blocked", ["run", "run/records", "run/timings", "run/context", "run/.lock"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, blocked: str) -> None:
    place = tmp_path / blocked
    place.parent.mkdir(parents=True, exist_ok=True)
    if blocked.endswith(".lock"):
        place.mkdir()
    else:
        place.write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write the run into .*; choose another folder with --out"), Store(tmp_path / "run").locked():
        pytest.fail("the run was begun")


def test_a_write_into_a_folder_that_went_away_is_an_error_of_the_run(store: Store) -> None:
    store.records.rmdir()
    with pytest.raises(RunError, match=r"cannot write .*No such file or directory"):
        store.put(RECORD)


def test_only_one_may_hold_a_run(store: Store) -> None:
    with store.locked(), pytest.raises(RunError, match=r"another process is at work in .*--out"), Store(store.root).locked():
        pytest.fail("two held it at once")
    with store.locked():
        pass


def hold(root: Path, held: object) -> None:
    with (root / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        held.send(True)  # type: ignore[attr-defined]
        held.recv()  # type: ignore[attr-defined]


def test_a_lock_goes_with_the_process_that_held_it(store: Store) -> None:
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


def test_half_written_files_are_removed_and_whole_ones_kept(store: Store) -> None:
    store.put(RECORD)
    for folder in (store.root, store.records, store.timings, store.context):
        (folder / ".0123456789abcdef.xyz.partial").write_text("{")
    with store.locked():
        assert not list(store.root.rglob("*.partial"))
        assert store.done() == {IDENTITY}


def test_discarded_records_are_gone_and_others_stay(store: Store) -> None:
    store.put(RECORD)
    store.discard(["not there"])
    assert store.done() == {IDENTITY}
    store.discard([IDENTITY])
    assert store.done() == set()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system without room, which only the superuser may make."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_error_and_leaves_no_half_file(full_disk: Path) -> None:
    store = Store(full_disk / "run")
    store.create()
    with pytest.raises(RunError, match="No space left on device; make room"):
        store.write(store.records / "large.json", "x" * 200_000)
    assert not list(store.root.rglob("*.partial"))
    assert store.done() == set()
