"""Runs the examples in the docstrings of every module that can be imported here."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    ".".join(["budgetnas", *path.relative_to(ROOT).with_suffix("").parts])
    for folder in ("spaces", "harness", "methods", "leaderboards")
    for path in (ROOT / folder).rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("torch", "torchvision", "ray"):
            raise
        pytest.skip(f"{error.name} is not installed")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_examples_to_run() -> None:
    assert len(MODULES) > 40
    texts = [(ROOT / Path(*name.split(".")[1:])).with_suffix(".py").read_text(encoding="utf-8") for name in MODULES]
    assert sum(">>> " in text for text in texts) >= 1
