"""Checkpoints: the saved values are read back exactly, or an error gives the reason; the last checkpoint is never lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")

import torch

from budgetnas.harness.training import checkpoint
from budgetnas.harness.training.checkpoint import BadCheckpoint

IDENTITY = {"space": "nasbench201", "genes": [1, 2], "seed": 3}
PAYLOAD = {"weights": {"a": torch.arange(40.0)}, "epochs": [{"loss": 0.5, "validation": None}], "epoch": 1}


def test_the_saved_payload_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "checkpoint.pt"
    assert checkpoint.load(path, IDENTITY) is None
    checkpoint.save(path, IDENTITY, PAYLOAD)
    found = checkpoint.load(path, IDENTITY)
    assert found is not None and torch.equal(found["weights"]["a"], PAYLOAD["weights"]["a"])  # type: ignore[index]
    assert (found["epochs"], found["epoch"]) == (PAYLOAD["epochs"], 1)
    checkpoint.save(path, IDENTITY, {"epoch": 2})
    assert checkpoint.load(path, IDENTITY) == {"epoch": 2}
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint.pt"]


@given(data=st.data())
def test_any_damage_is_detected_and_the_file_is_unchanged(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damaged") / "checkpoint.pt"
    checkpoint.save(path, IDENTITY, PAYLOAD)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        position, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
        damaged = whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :]
    path.write_bytes(damaged)
    with pytest.raises(BadCheckpoint, match=r"checkpoint.pt is cut off, damaged or no checkpoint; move .* away, or delete it"):
        checkpoint.load(path, IDENTITY)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({**IDENTITY, "seed": 4}, "its seed is 3, here it is 4; choose another folder with --out, or move"),
        ({**IDENTITY, "genes": [1, 3]}, "its genes is [1, 2], here it is [1, 3]"),
        ({**IDENTITY, "space": "darts"}, "its space is nasbench201, here it is darts"),
        ({**IDENTITY, "method": "darts"}, "its method is None, here it is darts"),
    ],
)
def test_a_checkpoint_of_another_training_is_an_error_with_the_difference(tmp_path: Path, other: dict[str, object], message: str) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, IDENTITY, PAYLOAD)
    with pytest.raises(BadCheckpoint) as raised:
        checkpoint.load(path, other)
    assert message in str(raised.value)


def test_a_failed_write_does_not_change_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, IDENTITY, {"epoch": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadCheckpoint, match=r"cannot write the checkpoint .*: No space left on device; choose another folder"):
        checkpoint.save(path, IDENTITY, {"epoch": 2})
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(Interrupted):
        checkpoint.save(path, IDENTITY, {"epoch": 3})
    assert checkpoint.load(path, IDENTITY) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


class Interrupted(BaseException):
    pass


def interrupted(descriptor: int) -> None:
    raise Interrupted


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_code_in_a_file_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, IDENTITY, {"harmful": Harmful()})
    with pytest.raises(BadCheckpoint, match="damaged or no checkpoint"):
        checkpoint.load(path, IDENTITY)
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadCheckpoint, match="cannot write the checkpoint"):
        checkpoint.save(tmp_path / "file" / "checkpoint.pt", IDENTITY, {})
