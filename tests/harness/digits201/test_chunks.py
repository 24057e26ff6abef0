"""Long computations in small files: if interrupted and resumed, they give the same results as without interruption."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from budgetnas.harness.digits201.chunks import BuildError, Chunks, resume

pytestmark = pytest.mark.slow

ITEMS = tuple(range(3, 24, 2))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    return tmp_path


def roots() -> Chunks:
    return Chunks("roots", {"function": "square root"}, ITEMS, 4)


class Shown:
    """Records the progress."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.steps.append((done, total))


@pytest.mark.parametrize("workers", [1, 2])
def test_each_item_is_computed_once_and_progress_is_shown(workers: int) -> None:
    shown, again = Shown(), Shown()
    resume(roots(), math.sqrt, workers, shown)
    assert roots().all() == {item: math.sqrt(item) for item in ITEMS}
    assert sorted(shown.steps) == shown.steps
    assert (shown.steps[0], shown.steps[-1], len(shown.steps)) == ((0, 11), (11, 11), 4)
    resume(roots(), os.abort, workers, again)  # nothing is left to compute
    assert again.steps == [(11, 11)]


def test_a_killed_process_loses_only_its_current_chunk(home: Path) -> None:
    program = (
        "import math, os, signal\n"
        "from budgetnas.harness.digits201.chunks import Chunks, resume\n"
        f"chunks = Chunks('roots', {{'function': 'square root'}}, {ITEMS}, 4)\n"
        "def compute(item):\n"
        "    if item == 15: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return math.sqrt(item)\n"
        "resume(chunks, compute, 1, lambda done, total: None)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert roots().missing() == [1, 2]
    shown = Shown()
    resume(roots(), math.sqrt, 1, shown)
    assert shown.steps == [(4, 11), (8, 11), (11, 11)]
    assert roots().all() == {item: math.sqrt(item) for item in ITEMS}


@pytest.mark.parametrize("damage", [lambda text: text[:40], lambda text: text.replace("1.7", "1.8"), lambda text: "[]", lambda text: "{}"])
def test_a_damaged_file_is_computed_again(damage) -> None:
    resume(roots(), math.sqrt, 1, Shown())
    path = roots().path(0)
    path.write_text(damage(path.read_text()))
    assert roots().missing() == [0]
    with pytest.raises(BuildError, match="1 of 3 parts are missing; run the command again"):
        roots().all()
    resume(roots(), math.sqrt, 1, Shown())
    assert roots().all() == {item: math.sqrt(item) for item in ITEMS}


def test_other_conditions_have_another_folder() -> None:
    folders = {Chunks(name, {"recipe": recipe}, items, size).folder for name, recipe, items, size in CASES}
    assert len(folders) == len(CASES)


CASES = [("a", "1", (1, 2), 1), ("b", "1", (1, 2), 1), ("a", "2", (1, 2), 1), ("a", "1", (1, 3), 1), ("a", "1", (1, 2), 2)]


def test_files_left_by_an_interrupted_write_are_removed() -> None:
    leftover = roots().folder / ".00000.json.abc.partial"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    resume(roots(), math.sqrt, 1, Shown())
    assert not leftover.exists()


def test_a_second_build_in_the_same_folder_is_refused() -> None:
    with roots().held(), pytest.raises(BuildError, match=r"another process is using .*; wait until it has finished"):
        resume(roots(), math.sqrt, 1, Shown())


def test_a_killed_worker_is_an_error_with_a_remedy() -> None:
    with pytest.raises(BuildError, match="trained networks ended unexpectedly; run the command again: it resumes where it stopped"):
        resume(roots(), os._exit, 2, Shown())


def test_an_error_in_a_worker_is_raised() -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        resume(Chunks("roots", {}, (-1,), 1), math.sqrt, 2, Shown())


def test_a_folder_that_cannot_be_created_is_an_error_with_a_remedy(home: Path) -> None:
    (home / "digits201-build").touch()
    with pytest.raises(BuildError, match=r"cannot write .*digits201-build.*; set BUDGETNAS_DATA to a writable folder"):
        resume(roots(), math.sqrt, 1, Shown())
