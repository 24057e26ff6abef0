"""New folders outlast a power failure: the folder above each is synced."""

from pathlib import Path

import pytest

from budgetnas.spaces import files


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are synced, in order."""
    found: list[Path] = []
    monkeypatch.setattr(files, "_sync", found.append)
    return found


def test_every_new_folder_is_synced_in_the_one_above(tmp_path: Path, synced: list[Path]) -> None:
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    synced.clear()
    files.make_folder(tmp_path / "a" / "b")
    assert synced == []


def test_a_file_in_the_way_is_an_error(tmp_path: Path, synced: list[Path]) -> None:
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(OSError):
            files.make_folder(path)
    assert synced == []


def test_a_file_system_that_cannot_sync_a_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError("Invalid argument")

    monkeypatch.setattr(files, "_sync", refuse)
    files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
