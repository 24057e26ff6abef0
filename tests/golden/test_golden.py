"""Identities, checksums and runs of version 0.2, which pin that users' runs stay readable and can continue."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import golden_identities as golden
import pytest

from budgetnas.harness.records.store import Store
from budgetnas.harness.studies.study import own_studies

GOLDEN = json.loads(golden.FILE.read_text(encoding="utf-8"))
RUNS = golden.HERE / "runs"
TRAINS = {"relaxed", "supernet", "training", "searched"}  # planning these needs PyTorch
REMEDY = (
    "identities changed, so users' runs would start again. If that is intended, name the entry in CHANGELOG.md and write the file again"
)


def _require_torch() -> None:
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")


def test_every_small_study_is_pinned() -> None:
    assert sorted(GOLDEN["small"]) == golden.SMALL and len(GOLDEN["small"]) >= 6


@pytest.mark.parametrize("name", golden.SMALL)
def test_identities_of_small_studies_are_those_of_version_02(name: str) -> None:
    if name in TRAINS:
        _require_torch()
    assert golden.identities_of_small_study(name) == GOLDEN["small"][name], REMEDY


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(GOLDEN["shipped"]))
def test_identities_of_shipped_studies_are_those_of_version_02(name: str, request: pytest.FixtureRequest) -> None:
    _require_torch()
    if golden.needs_real_tables(name):
        request.getfixturevalue("real_tables")
    if golden.needs_operators(name):
        request.getfixturevalue("real_operators")
    assert golden.identity_of_shipped_study(name) == GOLDEN["shipped"][name], REMEDY


def test_no_shipped_study_is_missing() -> None:
    assert set(GOLDEN["shipped"]) <= set(own_studies())


@pytest.mark.parametrize("kind", ["recipes", "tables"])
def test_checksums_of_recipes_and_tables_are_those_of_version_02(kind: str) -> None:
    found = golden.checksums()[kind]
    assert {name: found.get(name) for name in GOLDEN[kind]} == GOLDEN[kind], REMEDY


def _copy(name: str, tmp_path: Path) -> Path:
    run = tmp_path / name
    shutil.copytree(RUNS / name, run)
    for file in run.rglob("*.json"):
        file.chmod(0o644)  # the fixture may be read-only
    return run


def _old_records(run: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes().rstrip(b"\n") for path in sorted((run / "records").glob("*.json"))}


def _records(run: Path) -> dict[str, bytes]:
    return {row.identity: row.json() for row in Store(run).rows()}


@pytest.mark.slow
def test_a_run_of_version_02_continues_byte_for_byte(command: Callable[..., object], tmp_path: Path) -> None:
    run = _copy("table-seed", tmp_path)
    before = _old_records(run)
    assert len(before) == 24
    for identity in list(before)[::3]:  # as if the run had been stopped early; these include failures and a user's method
        (run / "records" / f"{identity}.json").unlink()
    result = command("run", str(golden.HERE / "studies" / "table-seed.toml"), "--out", str(run))
    assert "24 trials (16 were there already), 4 of them failed" in result.stdout, result.stderr  # type: ignore[attr-defined]
    assert _records(run) == before


@pytest.mark.slow
def test_a_run_of_version_02_is_shown(command: Callable[..., object], tmp_path: Path) -> None:
    run = _copy("table-seed", tmp_path)
    result = command("leaderboard", str(run))
    assert "begin with" in result.stdout, result.stderr  # type: ignore[attr-defined]
    page = (run / "leaderboards" / "README.md").read_text(encoding="utf-8")
    assert "mine, failing" in page and "random_search" in page


@pytest.mark.slow
def test_searches_of_version_02_are_found_and_shown(command: Callable[..., object], tmp_path: Path) -> None:
    _require_torch()
    run = _copy("searched", tmp_path)
    before = _old_records(run)
    result = command("run", str(golden.HERE / "studies" / "searched.toml"), "--out", str(run))
    assert "4 trials (4 were there already)" in result.stdout, result.stderr  # type: ignore[attr-defined]
    assert _records(run) == before
    shown = command("leaderboard", str(run))
    assert "begin with" in shown.stdout, shown.stderr  # type: ignore[attr-defined]
    assert list((run / "leaderboards").glob("*history*.png"))
    assert (run / "leaderboards" / "searches.csv").exists()
