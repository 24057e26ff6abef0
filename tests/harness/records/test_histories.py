"""Histories: the recorded steps of a search are read back unchanged, from Parquet and from the JSON of version 0.2."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import golden_identities as golden
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.evaluators.step_history import History
from budgetnas.harness.records.histories import history_path, read_history, write_history
from budgetnas.harness.records.store import RunError
from budgetnas.spaces.space import SearchedCell

OLD = golden.HERE / "runs" / "searched"
IDENTITIES = sorted(path.stem for path in (OLD / "histories").glob("*.json"))


@dataclass
class Relaxed:
    """The part of a relaxation that a history needs."""

    cells: list[SearchedCell]
    history: History


def relaxed(cells: list[dict[str, Any]], steps: list[dict[str, Any]], stages: list[dict[str, Any]]) -> Relaxed:
    made = [SearchedCell(cell["name"], tuple(map(tuple, cell["edges"])), tuple(cell["operations"])) for cell in cells]
    return Relaxed(made, History(1, steps, stages))


def filled(content: dict[str, Any]) -> dict[str, Any]:
    """Return a history in which every step has every figure; figures that a step does not have are None."""
    names = {name for step in content["steps"] for name in step}
    return content | {"steps": [dict.fromkeys(names) | step for step in content["steps"]]}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_history_of_version_02_is_read_and_written_again_unchanged(tmp_path: Path, identity: str) -> None:
    content = json.loads((OLD / "histories" / f"{identity}.json").read_text(encoding="utf-8"))
    old = read_history(OLD, identity)
    assert old == content and old["steps"] and old["stages"]
    write_history(tmp_path, identity, [relaxed([], [], []), relaxed(**old)])  # the last relaxation counts
    assert read_history(tmp_path, identity) == filled(old)
    assert [path.name for path in (tmp_path / "histories").iterdir()] == [f"{identity}.parquet"]


def test_parquet_file_takes_precedence_over_json(tmp_path: Path) -> None:
    shutil.copytree(OLD / "histories", tmp_path / "histories")
    write_history(tmp_path, IDENTITIES[0], [relaxed([], [{"step": 0, "loss": 1.5}], [])])
    assert read_history(tmp_path, IDENTITIES[0]) == {"cells": [], "steps": [{"step": 0, "loss": 1.5}], "stages": []}


def test_trial_without_a_relaxation_has_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path, "0" * 64) is None


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["loss", "alphas", "figures", "_figures", "__alphas", "lambda", "Verlust [nat]", "µ", ""]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=5
).filter(lambda name: name != "step")
STEPS = st.lists(st.integers(0, 50), unique=True, max_size=8).map(sorted)


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, unique=True, max_size=6))
    steps = [{"step": step} | {name: draw(NUMBERS) for name in names if draw(st.booleans())} for step in draw(STEPS)]
    cell = st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3), max_size=3)
    stages = [{"step": step, "alphas": draw(st.lists(cell, max_size=2))} for step in draw(STEPS)]
    cells = [{"name": name, "edges": [[0, 1]], "operations": ["none", "skip"]} for name in draw(st.lists(st.text("ab"), max_size=2))]
    return {"cells": cells, "steps": steps, "stages": stages}


@given(content=histories())
def test_any_history_is_read_back(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    root = tmp_path_factory.getbasetemp()
    write_history(root, "x", [relaxed(**content)])
    found = read_history(root, "x")
    assert found == filled(content)


def test_history_is_a_plain_parquet_table(tmp_path: Path) -> None:
    steps = [{"step": 0, "loss": 2.0}, {"step": 5, "loss": 1.0, "penalty": None}]
    cells = [{"name": "cell", "edges": [[0, 1]], "operations": ["none", "skip"]}]
    write_history(tmp_path, "x", [relaxed(cells, steps, [{"step": 3, "alphas": [[[0.5, -0.5]]]}])])
    table = pq.read_table(history_path(tmp_path, "x"))
    assert table.to_pydict() == {
        "step": [0, 3, 5],
        "figures": [True, False, True],
        "loss": [2.0, None, 1.0],
        "penalty": [None, None, None],
        "alphas": [None, [[[0.5, -0.5]]], None],
    }
    assert json.loads(table.schema.metadata[b"cells"]) == cells


def refused(root: Path, path: Path) -> None:
    with pytest.raises(RunError, match=f"{path} is not a history, or is damaged; delete it"):
        read_history(root, path.stem)


@pytest.mark.parametrize(
    "columns",
    [
        {"figures": [True], "alphas": [None]},
        {"step": [0], "alphas": [None]},
        {"step": [0], "figures": [True]},
        {"step": [0], "figures": [True], "alphas": [None], "loss": ["a text"]},
        {"step": [0], "figures": [True], "alphas": [None], "loss": [float("nan")]},
        {"step": [0], "figures": [True], "alphas": [None], "loss": [float("inf")]},
    ],
)
def test_table_with_other_columns_is_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = history_path(tmp_path, "x")
    path.parent.mkdir()
    pq.write_table(pa.table(columns).replace_schema_metadata({"cells": "[]"}), path)
    refused(tmp_path, path)


@pytest.mark.parametrize("metadata", [None, {}, {"cells": "["}, {"cells": "[" * 100_000}, {"cells": b"\xff"}])
def test_a_table_without_cells_is_refused(tmp_path: Path, metadata: dict[str, Any] | None) -> None:
    path = history_path(tmp_path, "x")
    path.parent.mkdir()
    pq.write_table(pa.table({"step": [0], "figures": [True], "alphas": [None]}).replace_schema_metadata(metadata), path)
    refused(tmp_path, path)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    write_history(tmp_path, "x", [relaxed(**read_history(OLD, IDENTITIES[0]))])  # type: ignore[arg-type]
    path = history_path(tmp_path, "x")
    whole = path.read_bytes()
    for part in range(20):
        path.write_bytes(whole[: len(whole) * part // 20])
        refused(tmp_path, path)
    path.write_text("no table")
    refused(tmp_path, path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_is_refused_or_changes_no_figure(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    root = tmp_path_factory.getbasetemp()
    expected = read_history(OLD, IDENTITIES[0])
    assert expected is not None
    write_history(root, "x", [relaxed(**expected)])
    path = history_path(root, "x")
    content = bytearray(path.read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")  # the footer holds names and types, and has no checksum
    changed = int(place * len(content))
    content[changed] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = read_history(root, "x")
    except RunError as error:
        assert str(path) in str(error)
        return
    if changed < footer:
        assert found == filled(expected)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "5", '{"cells": [], "steps": []}', '{"cells": 5, "steps": [], "stages": []}', "[" * 100_000]
)
def test_a_damaged_history_of_version_02_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "histories" / "x.json"
    path.parent.mkdir()
    path.write_text(damage)
    refused(tmp_path, path)


def test_unwritable_folder_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "histories").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write .*histories/x.parquet: File exists; make room or choose another folder"):
        write_history(tmp_path, "x", [relaxed([], [], [])])
