"""Runs the command in this process, for tests that run it often."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from budgetnas.harness.cli import main

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    """Run the command in this process, in a data folder without tables unless the test sets one. Returns (exit code, output, errors)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["budgetnas", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("COLUMNS", "200")
    return run
