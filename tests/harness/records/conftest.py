"""Fixtures: rows of made-up records, the same in every run, and folders that cannot be written."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from budgetnas.harness.records.database import Row
from budgetnas.harness.records.identity import identity_of

MakeRow = Callable[..., Row]


def _made_row(number: int, size: int = 200, version: int = 0, status: str = "ok", timing: float = 0.5, attempts: int = 1) -> Row:
    trial = {"seed": number}
    noise = random.Random(f"{number} {version}").randbytes(size).hex()
    record = {"identity": identity_of(trial), "status": status, "trial": trial, "version": version, "noise": noise}
    return Row.of(record, {"trial_seconds": timing}, attempts)


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """Return a function that makes the row of trial `number`: about `size` bytes of content, different for every `version`."""
    return _made_row


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Return a function that copies a folder to a place where nobody can write, not even the superuser, and returns the copy."""
    places: list[Path] = []

    def copy(folder: Path) -> Path:
        place = tmp_path / "read-only"
        place.mkdir()
        mounted = os.geteuid() == 0
        if mounted and subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], capture_output=True, check=False).returncode:
            pytest.skip("the superuser may write everywhere, and no file system can be mounted here")
        places.append(place)
        shutil.copytree(folder, place / "run")
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        else:
            for path in [place / "run", *(place / "run").rglob("*")]:
                path.chmod(0o555 if path.is_dir() else 0o444)
        return place / "run"

    yield copy
    for place in places:
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", str(place)], check=True)
        else:
            for path in [place / "run", *(place / "run").rglob("*")]:
                path.chmod(0o755)
