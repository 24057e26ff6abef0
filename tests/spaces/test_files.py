"""Files that are there whole or not at all, and locks that keep out other processes, also those of version 0.2."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.spaces.files import Busy, exclusive, remove_leftovers, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(old=st.none() | st.binary(max_size=20), new=st.binary(max_size=20), fails=st.booleans(), sync=st.booleans())
def test_a_file_has_its_new_content_or_its_old_one(
    tmp_path_factory: pytest.TempPathFactory, old: bytes | None, new: bytes, fails: bool, sync: bool
) -> None:
    path = tmp_path_factory.mktemp("files") / "a.txt"
    if old is not None:
        path.write_bytes(old)
    try:
        with replacing(path, sync=sync) as partial:
            partial.write_bytes(new)
            assert (path.read_bytes() if path.exists() else None) == old
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    wanted = old if fails else new
    assert (path.read_bytes() if path.exists() else None) == wanted
    assert names(path.parent) == ([] if wanted is None else ["a.txt"])


def test_a_process_killed_before_the_rename_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom budgetnas.spaces.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    leftover, whole = names(tmp_path)
    assert whole == "a.txt" and leftover.startswith(".a.txt.") and leftover.endswith(".partial")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.txt"]


def test_nothing_but_leftovers_is_removed(tmp_path: Path) -> None:
    kept = [".hidden", "a.partial", ".a.partial.txt"]
    for name in (*kept, ".a.b.partial", ".a.partial"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".a.b.partial").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept, "folder"])
    assert names(tmp_path / "folder") == [".a.b.partial"]
    remove_leftovers(tmp_path / "missing")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_permissions_are_those_asked_for_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "read-by-all", "")
        with replacing(tmp_path / "own", mode=0o600) as partial:
            assert partial.stat().st_mode & 0o777 == 0o600  # nobody else reads what is not whole
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("read-by-all", "own")] == [0o644, 0o600]


def test_text_is_utf8_with_plain_line_ends_in_a_new_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "folder" / "a.txt", "é\nx\r\n", sync=True)
    assert (tmp_path / "new" / "folder" / "a.txt").read_bytes() == b"\xc3\xa9\nx\r\n"


@pytest.mark.parametrize("step", ["chmod", "fsync", "replace"])
def test_an_error_of_the_disk_passes_through_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_text(path, "new", sync=True)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("sync", [False, True])
def test_a_full_disk_keeps_the_old_file_and_no_half_one(small_disk: Callable[[int], Path], sync: bool) -> None:
    path = small_disk(64) / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="No space left on device"):
        write_text(path, "x" * 200_000, sync)
    assert path.read_text() == "old" and names(path.parent) == ["a.txt"]


def test_the_file_is_synced_before_the_rename_and_the_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    replace = Path.replace

    def sync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112 - a link of the kernel

    def renamed(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", renamed)
    write_text(tmp_path / "a.txt", "")
    assert steps == ["rename"]
    write_text(tmp_path / "a.txt", "", sync=True)
    assert steps[1:] == ["file", "rename", "folder"]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_text(tmp_path / "a.txt", "new", sync=True)
    assert (tmp_path / "a.txt").read_text() == "new"


# What version 0.2 does: it opens the file (or the folder) and locks it by flock; and what this version does.
OLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY if os.path.isdir(sys.argv[1]) else os.O_RDWR | os.O_CREAT, 0o644)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
NEW = """
import sys
from pathlib import Path
from budgetnas.spaces.files import exclusive
with exclusive(Path(sys.argv[1]), wait=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that holds the lock at `path` until its input is closed or it is killed."""
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()


def old_lock_is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@pytest.fixture(params=["file", "folder"])
def lock(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A lock file that is not there yet, or a folder."""
    path = tmp_path / "lock"
    if request.param == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize("program", [OLD, NEW], ids=["old", "new"])
def test_another_process_keeps_this_one_out(lock: Path, program: str) -> None:
    with holder(program, lock):
        with pytest.raises(Busy, match="another process holds the lock") as raised, exclusive(lock, wait=False):
            pytest.fail("two held it at once")
        assert raised.value.filename == str(lock)
    with exclusive(lock, wait=False):
        pass


def test_this_process_keeps_one_of_version_0_2_out(lock: Path) -> None:
    with exclusive(lock, wait=False):
        assert not old_lock_is_free(lock)
    assert old_lock_is_free(lock)


def test_the_lock_file_stays_the_same_file(tmp_path: Path) -> None:
    """A new file under the same name would be another lock, while a process of version 0.2 waits for the first one."""
    path = tmp_path / "folder" / "lock"
    with exclusive(path, wait=False):
        first = path.stat().st_ino
    with exclusive(path, wait=False):
        assert path.stat().st_ino == first
    assert path.stat().st_ino == first


@pytest.mark.parametrize("program", [OLD, NEW], ids=["old", "new"])
def test_a_lock_goes_with_its_process(lock: Path, program: str) -> None:
    with holder(program, lock) as process:
        process.kill()
        process.wait()
        with exclusive(lock, wait=False):
            pass


def test_one_waits_until_the_other_has_done(lock: Path) -> None:
    program = NEW.replace("    sys.stdin.read()", "    import time\n    time.sleep(0.5)\n    print('left', time.monotonic(), flush=True)")
    with holder(program, lock) as process:
        with exclusive(lock, wait=True):
            entered = time.monotonic()
        assert process.stdout is not None
        word, left = process.stdout.readline().split()
        assert word == "left" and float(left) <= entered


def test_within_a_process_a_lock_is_held_once(lock: Path) -> None:
    with exclusive(lock, wait=False), pytest.raises(Busy), exclusive(lock, wait=False):
        pytest.fail("held twice")


def test_errors_of_the_body_pass_and_free_the_lock(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(lock, wait=False):
        raise ZeroDivisionError
    assert old_lock_is_free(lock)


@pytest.mark.parametrize("use", [lambda path: exclusive(path, wait=True), replacing], ids=["exclusive", "replacing"])
def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path, use: Callable[[Path], object]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), use(tmp_path / "file" / "folder" / "a"):  # type: ignore[attr-defined]
        pytest.fail("entered")
